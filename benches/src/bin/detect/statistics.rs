//! Figures of merit and their intervals.

/// The area under the ROC curve: how likely a malicious event scores above a benign one, ties counting half.
/// And the area under the precision-recall curve, as average precision, all of one score taken in together.
/// `scores` are sorted here; NaN if one of the classes is empty.
pub(crate) fn areas(scores: &mut [(f32, bool)]) -> (f64, f64) {
    scores.sort_unstable_by(|a, b| b.0.total_cmp(&a.0));
    let positives = scores.iter().filter(|(_, malicious)| *malicious).count() as f64;
    let negatives = scores.len() as f64 - positives;
    let (mut found, mut wrong, mut roc, mut precision_recall) = (0.0, 0.0, 0.0, 0.0);
    for tied in scores.chunk_by(|a, b| a.0 == b.0) {
        let more = tied.iter().filter(|(_, malicious)| *malicious).count() as f64;
        let worse = tied.len() as f64 - more;
        roc += worse * (found + more / 2.0);
        found += more;
        wrong += worse;
        precision_recall += more / positives * found / (found + wrong);
    }
    (roc / (positives * negatives), precision_recall)
}

/// The 95 % interval of a Poisson count's mean (Garwood): exact, by bisection.
pub(crate) fn poisson_interval(count: usize) -> (f64, f64) {
    let solve = |below: &dyn Fn(f64) -> bool| {
        let (mut low, mut high) = (0.0, 20.0 + 3.0 * count as f64);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if below(middle) { low = middle } else { high = middle }
        }
        low
    };
    // P(at least `count`) is 2.5 % at the lower end, P(at most `count`) at the upper.
    let lower = if count == 0 { 0.0 } else { solve(&|mean| 1.0 - poisson_at_most(count - 1, mean) < 0.025) };
    (lower, solve(&|mean| poisson_at_most(count, mean) > 0.025))
}

fn poisson_at_most(count: usize, mean: f64) -> f64 {
    let mut log_term = -mean;
    let mut sum = libm::exp(log_term);
    for k in 1..=count {
        log_term += libm::log(mean / k as f64);
        sum += libm::exp(log_term);
    }
    sum.min(1.0)
}

/// The 95 % interval of a proportion (Wilson).
pub(crate) fn wilson_interval(found: usize, of: usize) -> (f64, f64) {
    if of == 0 {
        return (0.0, 1.0);
    }
    let (n, z) = (of as f64, 1.959_964);
    let p = found as f64 / n;
    let middle = p + z * z / (2.0 * n);
    let half = z * libm::sqrt(p * (1.0 - p) / n + z * z / (4.0 * n * n));
    let scale = 1.0 + z * z / n;
    ((middle - half) / scale, (middle + half) / scale)
}

/// By nearest rank; `None` of nothing.
pub(crate) fn percentile(values: &[f64], share: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_unstable_by(f64::total_cmp);
    let rank = (share * sorted.len() as f64).ceil().max(1.0) as usize;
    sorted.get(rank - 1).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(found: f64, expected: f64) {
        assert!((found - expected).abs() < 5e-4, "{found} is not {expected}");
    }

    #[test]
    fn areas_are_as_counted_by_hand() {
        // Malicious 0.9, 0.6, 0.6; benign 0.6, 0.3. Of 6 pairs 4 are right and 2 are ties: 5/6. Precision is 1 at a
        // third of the recall, 3/4 at all of it: 1/3 + 2/3 * 3/4 = 5/6.
        let mut scores = [(0.6, false), (0.9, true), (0.3, false), (0.6, true), (0.6, true)];
        let (roc, precision_recall) = areas(&mut scores);
        close(roc, 5.0 / 6.0);
        close(precision_recall, 5.0 / 6.0);
        // Benign 0.8 above malicious 0.7, benign 0.2 below: 1/2; precision at its recall is 1/2.
        let (roc, precision_recall) = areas(&mut [(0.8, false), (0.7, true), (0.2, false)]);
        close(roc, 0.5);
        close(precision_recall, 0.5);
        let (roc, precision_recall) = areas(&mut [(0.5, false), (0.5, true), (0.5, false), (0.5, false)]);
        close(roc, 0.5);
        close(precision_recall, 0.25);
    }

    /// Garwood's table, as in Johnson, Kotz and Kemp.
    #[test]
    fn poisson_intervals_are_the_printed_ones() {
        for (count, lower, upper) in [(0, 0.0, 3.6889), (1, 0.0253, 5.5716), (3, 0.6187, 8.7673), (10, 4.7954, 18.3904)]
        {
            let (low, high) = poisson_interval(count);
            close(low, lower);
            close(high, upper);
        }
    }

    /// 8 of 10: (0.8 + 0.19207 -+ 1.96 * sqrt(0.016 + 0.0096)) / 1.38415.
    #[test]
    fn wilson_intervals_are_as_computed_by_hand() {
        let (low, high) = wilson_interval(8, 10);
        close(low, 0.4902);
        close(high, 0.9433);
        let (low, high) = wilson_interval(0, 10);
        close(low, 0.0);
        close(high, 0.2775);
    }

    #[test]
    fn percentiles_are_by_rank() {
        let values = [5.0, 1.0, 4.0, 2.0, 3.0];
        assert_eq!(percentile(&values, 0.5), Some(3.0));
        assert_eq!(percentile(&values, 0.9), Some(5.0));
        assert_eq!(percentile(&[], 0.5), None);
    }
}
