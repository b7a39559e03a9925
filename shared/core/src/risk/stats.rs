//! Tails and sums. Evidence is counted in decades: 2 means that a healthy actor shows at least this on one day in 100.

/// More decades than this are not told apart: no model of behaviour is right that far out.
pub const MOST_DECADES: f64 = 12.0;

/// Decades of seeing at least `count` where `shape` were seen in `exposure` units: the tail of a Poisson variable whose
/// rate is uncertain (Gamma), which is the negative binomial.
pub fn count_decades(count: u32, shape: f64, exposure: f64) -> f64 {
    let success = 1.0 / (exposure + 1.0);
    // ln P(0), then upwards; the tail is what is left.
    let mut term = (shape * (1.0 - success).ln()).exp();
    let mut below = 0.0;
    for k in 0..count.min(64) {
        below += term;
        let k = f64::from(k);
        term *= (shape + k) / (k + 1.0) * success;
    }
    // Where subtraction has no digits left, the tail is its first term, times the series it begins.
    let tail = (1.0 - below).max(term);
    if count == 0 { 0.0 } else { decades(tail) }
}

/// Decades of a Student-t variable of `freedom` degrees being at least `t`, by Wallace's normal approximation: within
/// 0.05 decades for 3 degrees and more.
pub fn t_decades(t: f64, freedom: f64) -> f64 {
    if t <= 0.0 {
        return 0.0;
    }
    let z = (8.0 * freedom + 1.0) / (8.0 * freedom + 3.0) * (freedom * (t * t / freedom).ln_1p()).sqrt();
    normal_decades(z)
}

/// Decades of a standard normal variable being at least `z` (Abramowitz and Stegun 26.2.17, and 26.2.12 far out).
pub fn normal_decades(z: f64) -> f64 {
    if z <= 0.0 {
        return 0.0;
    }
    let ln_density = -z * z / 2.0 - 0.918_938_533_204_672_7;
    let t = 1.0 / (1.0 + 0.231_641_9 * z);
    let series =
        t * (0.319_381_530 + t * (-0.356_563_782 + t * (1.781_477_937 + t * (-1.821_255_978 + t * 1.330_274_429))));
    (-(ln_density + series.ln()) / std::f64::consts::LN_10).clamp(0.0, MOST_DECADES)
}

/// A probability in decades.
pub fn decades(probability: f64) -> f64 {
    if probability >= 1.0 { 0.0 } else { (-probability.max(1e-300).log10()).min(MOST_DECADES) }
}

/// As it is kept.
#[expect(clippy::as_conversions, reason = "rounding to the nearest single float is what is wanted")]
pub fn kept(x: f64) -> f32 {
    x as f32
}

/// The whole part, within what fits.
#[expect(clippy::as_conversions, reason = "a float becomes an integer by saturating; not-a-number becomes 0")]
pub fn whole(x: f64) -> u32 {
    x as u32
}

/// A count as a float; beyond 2^53 it is rounded.
#[expect(clippy::as_conversions, reason = "rounding to the nearest float is what is wanted")]
pub fn float(n: u64) -> f64 {
    n as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tails_are_those_of_the_tables() {
        // Student: t tables at one-sided 0.05, 0.01, 0.001. Normal: Q(1.6449), Q(3.0902), Q(4.7534).
        for (t, freedom, p) in
            [(2.353, 3.0, 0.05), (4.541, 3.0, 0.01), (1.812, 10.0, 0.05), (4.144, 10.0, 0.001), (1.697, 30.0, 0.05)]
        {
            assert!((t_decades(t, freedom) - decades(p)).abs() < 0.06, "t {t} {freedom}: {}", t_decades(t, freedom));
        }
        for (z, p) in [(1.644_9, 0.05), (3.090_2, 0.001), (4.753_4, 1e-6)] {
            assert!((normal_decades(z) - decades(p)).abs() < 0.001, "z {z}: {}", normal_decades(z));
        }
    }

    #[test]
    fn counts_follow_the_negative_binomial() {
        // With shape 1 it is geometric: P(at least k) = (1 / (exposure + 1))^k.
        for (count, exposure, want) in [(1, 9.0, 1.0), (2, 9.0, 2.0), (3, 99.0, 6.0), (0, 9.0, 0.0)] {
            let got = count_decades(count, 1.0, exposure);
            assert!((got - want).abs() < 0.01, "{count} {exposure}: {got}");
        }
    }
}
