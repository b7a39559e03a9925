//! Two texts, line by line.

/// Most lines around a change that are shown with it.
const CONTEXT: usize = 2;

/// The lines that differ, each after `-` or `+`, with a few around them; `...` where some are left out.
pub(super) fn between(old: &str, new: &str) -> Vec<String> {
    let (old, new): (Vec<&str>, Vec<&str>) = (old.lines().collect(), new.lines().collect());
    let script = script(&old, &new);
    let changed: Vec<usize> =
        script.iter().enumerate().filter(|(_, (sign, _))| *sign != ' ').map(|(place, _)| place).collect();
    let near = |place: usize| {
        let next = changed.partition_point(|changed| *changed < place);
        let before = next.checked_sub(1).and_then(|before| changed.get(before));
        [before, changed.get(next)].into_iter().flatten().any(|changed| changed.abs_diff(place) <= CONTEXT)
    };
    let mut shown = Vec::new();
    let mut cut = false;
    for (place, (sign, line)) in script.iter().enumerate() {
        match near(place) {
            true => shown.push(format!("{sign} {line}").trim_end().to_string()),
            false if !cut && !changed.is_empty() => shown.push("...".to_string()),
            false => {}
        }
        cut = !near(place);
    }
    shown
}

/// The shortest way from one text to the other: of the lines they share in order the most are kept.
fn script<'a>(old: &[&'a str], new: &[&'a str]) -> Vec<(char, &'a str)> {
    // shared[i][j]: how many lines old[i..] and new[j..] share.
    let mut shared = vec![vec![0_u32; new.len().saturating_add(1)]; old.len().saturating_add(1)];
    let at = |shared: &[Vec<u32>], i: usize, j: usize| shared.get(i).and_then(|row| row.get(j)).copied().unwrap_or(0);
    for (i, left) in old.iter().enumerate().rev() {
        for (j, right) in new.iter().enumerate().rev() {
            let (down, across) = (i.saturating_add(1), j.saturating_add(1));
            let count = match left == right {
                true => at(&shared, down, across).saturating_add(1),
                false => at(&shared, down, j).max(at(&shared, i, across)),
            };
            if let Some(cell) = shared.get_mut(i).and_then(|row| row.get_mut(j)) {
                *cell = count;
            }
        }
    }
    let (mut i, mut j, mut script) = (0_usize, 0_usize, Vec::new());
    loop {
        let (left, right) = (old.get(i), new.get(j));
        match (left, right) {
            (None, None) => return script,
            (Some(line), Some(same)) if line == same => {
                script.push((' ', *line));
                (i, j) = (i.saturating_add(1), j.saturating_add(1));
            }
            (Some(line), other)
                if other.is_none() || at(&shared, i.saturating_add(1), j) >= at(&shared, i, j.saturating_add(1)) =>
            {
                script.push(('-', *line));
                i = i.saturating_add(1);
            }
            (_, Some(line)) => {
                script.push(('+', *line));
                j = j.saturating_add(1);
            }
            (Some(_), None) => return script,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_is_shown_with_the_lines_around_it() {
        let (old, new) = ("a\nb\nc\nd\ne\nf\ng\n", "a\nb\nc\nD\nd2\ne\nf\ng\n");
        assert_eq!(between(old, new), ["...", "  b", "  c", "- d", "+ D", "+ d2", "  e", "  f", "..."]);
        assert_eq!(between(old, old), Vec::<String>::new());
        assert_eq!(between("", "a"), ["+ a"]);
    }

    #[test]
    fn the_kept_and_the_removed_are_the_old_the_kept_and_the_added_the_new() {
        let texts =
            (0..243_usize).map(|number| (0..5).map(move |digit| ["a", "b", ""][number / 3_usize.pow(digit) % 3]));
        let texts: Vec<Vec<&str>> = texts.map(|lines| lines.filter(|line| !line.is_empty()).collect()).collect();
        for old in &texts {
            for new in &texts {
                let script = script(old, new);
                let without = |sign| script.iter().filter(move |(s, _)| *s != sign).map(|(_, line)| *line);
                assert_eq!(without('+').collect::<Vec<_>>(), *old, "{old:?} {new:?}");
                assert_eq!(without('-').collect::<Vec<_>>(), *new, "{old:?} {new:?}");
            }
        }
    }
}
