//! Seeded random numbers, the same on every platform: xoshiro256++ (Blackman, Vigna) and the distributions the fleets
//! draw from, with the logarithms and exponentials of `libm`, which do not depend on the system's.

use std::ops::{Range, RangeInclusive};

pub(crate) struct Random([u64; 4]);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // SplitMix64, as the authors of xoshiro ask for.
        let mut state = seed;
        Self(std::array::from_fn(|_| {
            state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ (z >> 31)
        }))
    }

    /// A stream of its own, so that a change in what one actor draws leaves the others as they were.
    pub(crate) fn fork(&mut self) -> Self {
        Self::new(self.next())
    }

    fn next(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.0;
        let drawn = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let t = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= t;
        *s3 = s3.rotate_left(45);
        drawn
    }

    /// At least 0, below 1.
    pub(crate) fn unit(&mut self) -> f64 {
        (self.next() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    pub(crate) fn within(&mut self, range: Range<f64>) -> f64 {
        range.start + (range.end - range.start) * self.unit()
    }

    pub(crate) fn count(&mut self, range: RangeInclusive<usize>) -> usize {
        let (low, high) = (*range.start(), *range.end());
        low + ((high - low + 1) as f64 * self.unit()) as usize
    }

    pub(crate) fn day(&mut self, range: Range<u32>) -> u32 {
        range.start + (f64::from(range.end - range.start) * self.unit()) as u32
    }

    pub(crate) fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    pub(crate) fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.count(0..=from.len() - 1)]
    }

    /// An index, as likely as its weight.
    pub(crate) fn weighted(&mut self, weights: &[f64]) -> usize {
        let mut left = self.unit() * weights.iter().sum::<f64>();
        weights
            .iter()
            .position(|weight| {
                left -= weight;
                left < 0.0
            })
            .unwrap_or(weights.len() - 1)
    }

    pub(crate) fn shuffle<T>(&mut self, items: &mut [T]) {
        for last in (1..items.len()).rev() {
            items.swap(last, self.count(0..=last));
        }
    }

    /// So many different ones, or all.
    pub(crate) fn sample<T: Clone>(&mut self, from: &[T], count: RangeInclusive<usize>) -> Vec<T> {
        let mut items = from.to_vec();
        self.shuffle(&mut items);
        items.truncate(self.count(count));
        items
    }

    pub(crate) fn normal(&mut self) -> f64 {
        let radius = libm::sqrt(-2.0 * libm::log(1.0 - self.unit()));
        radius * libm::cos(std::f64::consts::TAU * self.unit())
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log(1.0 - self.unit())
    }

    pub(crate) fn lognormal(&mut self, median: f64, sigma: f64) -> f64 {
        median * libm::exp(sigma * self.normal())
    }

    pub(crate) fn poisson(&mut self, mean: f64) -> usize {
        if mean > 50.0 {
            return (mean + libm::sqrt(mean) * self.normal()).round().max(0.0) as usize;
        }
        let (limit, mut product, mut count) = (libm::exp(-mean), self.unit(), 0);
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first outputs for the state 1, 2, 3, 4, as in the test of the crate `rand_xoshiro`.
    #[test]
    fn the_generator_is_xoshiro256_plus_plus() {
        let mut random = Random([1, 2, 3, 4]);
        let drawn: Vec<_> = (0..4).map(|_| random.next()).collect();
        assert_eq!(drawn, [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386]);
    }

    #[test]
    fn the_distributions_have_their_means() {
        let mut random = Random::new(1);
        let mut mean = |draw: fn(&mut Random) -> f64| (0..20_000).map(|_| draw(&mut random)).sum::<f64>() / 20_000.0;
        type Draw = fn(&mut Random) -> f64;
        let table: [(f64, Draw); 5] = [
            (0.5, |r| r.unit()),
            (3.0, |r| r.exponential(3.0)),
            (4.0, |r| r.poisson(4.0) as f64),
            (90.0, |r| r.poisson(90.0) as f64),
            (2.0, |r| r.count(1..=3) as f64),
        ];
        for (expected, draw) in table {
            let found = mean(draw);
            assert!((found / expected - 1.0).abs() < 0.03, "{found} is not {expected}");
        }
    }
}
