//! W3C Trace Context: which trace of the caller's a request is part of. Read and kept, never decided on.

/// A `traceparent` as it is kept, or `None` where there is nothing to follow: the standard has a reader act as if what is
/// malformed were not there (§3.2.2, §4.3). Of a version that is not known yet, what version 00 has is kept.
pub fn traceparent(text: &str) -> Option<String> {
    let (known, more) = text.split_at_checked(LENGTH)?;
    let mut parts = known.split('-');
    let (version, trace, parent, flags) = (parts.next()?, parts.next()?, parts.next()?, parts.next()?);
    let well_formed = parts.next().is_none()
        && [(version, 2), (trace, 32), (parent, 16), (flags, 2)].into_iter().all(|(part, length)| is_hex(part, length));
    let stands_for_one = [trace, parent].into_iter().all(|id| id.bytes().any(|b| b != b'0'));
    let fits_version = match version {
        "00" => more.is_empty(),
        "ff" => false,
        _ => more.is_empty() || more.starts_with('-'),
    };
    (well_formed && stands_for_one && fits_version).then(|| known.to_string())
}

/// The trace that a `traceparent` as it is kept is part of.
pub fn trace_id(kept: &str) -> Option<&str> {
    kept.split('-').nth(1)
}

/// Of version 00, in bytes.
const LENGTH: usize = 55;

/// The standard takes lower case alone.
fn is_hex(part: &str, length: usize) -> bool {
    part.len() == length && part.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_malformed_is_as_if_it_were_not_there() {
        let (trace, parent) = ("0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331");
        let good = format!("00-{trace}-{parent}-01");
        let table = [
            (good.clone(), true),
            (format!("00-{trace}-{parent}-ff"), true),
            (format!("00-{trace}-{parent}-01-what-the-future-will-be"), false),
            (format!("00-{trace}-{parent}-01-"), false),
            (format!("cc-{trace}-{parent}-01"), true),
            (format!("cc-{trace}-{parent}-01-what-the-future-will-be"), true),
            (format!("cc-{trace}-{parent}-01.what-the-future-will-be"), false),
            (format!("ff-{trace}-{parent}-01"), false),
            (format!("0-{trace}-{parent}-001"), false),
            (format!("00-{}-{parent}-01", "0".repeat(32)), false),
            (format!("00-{trace}-{}-01", "0".repeat(16)), false),
            (format!("00-{}-{parent}-01", trace.to_uppercase()), false),
            (format!("00-{trace}-{parent}-0G"), false),
            (format!("00-{trace}0-{parent}-1"), false),
            (format!("00-{trace}-{parent}"), false),
            (format!(" {good}"), false),
            (format!("00_{trace}_{parent}_01"), false),
            ("ü".repeat(40), false),
            (String::new(), false),
        ];
        for (text, kept) in table {
            let want = kept.then(|| text.get(..LENGTH).unwrap().to_string());
            assert_eq!(traceparent(&text), want, "{text}");
        }
    }
}
