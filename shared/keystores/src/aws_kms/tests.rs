//! What the emulator would let pass.

use super::*;
use aws_lc_rs::digest::{SHA256, SHA384};

#[test]
fn kms_gets_no_message_longer_than_it_takes() {
    for (length, want) in [(0, "DIGEST"), (1, "RAW"), (4_096, "RAW"), (4_097, "DIGEST"), (1_048_576, "DIGEST")] {
        let text = vec![7; length];
        let (kind, sent) = message(&SHA384, MessageType::Raw, &text).unwrap();
        let whole = (want == "RAW").then_some(text.as_slice());
        assert_eq!(
            (kind.as_str(), sent.as_ref()),
            (want, whole.unwrap_or(digest(&SHA384, &text).as_ref())),
            "{length}"
        );
    }
    for (length, good) in [(0, false), (31, false), (32, true), (33, false), (48, false)] {
        assert_eq!(message(&SHA256, MessageType::Digest, &vec![7; length]).is_ok(), good, "{length}");
    }
}
