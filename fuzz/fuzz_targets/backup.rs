//! The reader of backup files and the reader of root files: nothing opens that was not sealed, to its last byte.
//!
//! An input is `=` and a backup file, `r` and a root file, or any other byte, which is the number of a genuine backup,
//! with a recipe of what to change in it.
#![no_main]

use aegis_core::ambient::Timestamp;
use aegis_embedded::backup::{opened, sealed};
use aegis_embedded::root::Root;
use aegis_fuzz::deployment::NOW;
use aegis_fuzz::{altered, seed};
use libfuzzer_sys::fuzz_target;
use std::sync::LazyLock;

struct Genuine {
    root: Vec<u8>,
    store: Vec<u8>,
    bytes: Vec<u8>,
}

static GENUINE: LazyLock<Vec<Genuine>> = LazyLock::new(|| {
    // Around the size of a chunk.
    let lengths = [0, 1, 5_000, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK];
    let genuine = lengths.map(|length| {
        let store: Vec<u8> = (0..length).map(|at| u8::try_from((at / 251 + at) % 256).unwrap()).collect();
        let root = b"a root file".to_vec();
        let bytes = sealed(&root, &store, Timestamp::from_second(NOW).unwrap(), &KEK).unwrap();
        Genuine { root, store, bytes }
    });
    for (n, _) in genuine.iter().enumerate() {
        seed(&format!("number-{n}"), &[u8::try_from(n).unwrap()]);
    }
    seed("genuine", &[b"=".as_slice(), &known()].concat());
    genuine.into()
});

/// The file of `the_format_does_not_change`, beside the code.
fn known() -> Vec<u8> {
    let header = b"AEGISBAK\0\0\0\x01\0\0\x01\xa0\xc4\x50\x6c\0";
    let chunk = b"\x30\x35\xdb\xd8\x2c\x7f\x8d\xf3\x83\x94\x3d\xb5\x28\x34\x1c\xba\xb7\x4b\xbf\xa7\x64\xb7\xbd";
    [header.as_slice(), &[3; 32], &[0, 0, 0, 11], b"a root file", chunk].concat()
}

fuzz_target!(|input: &[u8]| {
    let genuine = &*GENUINE;
    match input.split_first() {
        Some((b'=', bytes)) => match opened(bytes, &KEK) {
            Some((root, store)) => {
                assert_eq!(
                    (bytes, root.as_slice(), store.as_slice()),
                    (&*known(), &b"a root file"[..], &b"content"[..])
                );
            }
            None => assert_ne!(bytes, known()),
        },
        Some((b'r', bytes)) => assert!(Root::open_with_key(bytes, KEK).is_err(), "nobody sealed that"),
        Some((number, recipe)) => {
            let genuine = &genuine[usize::from(*number) % genuine.len()];
            let bytes = altered(&genuine.bytes, recipe);
            match opened(&bytes, &KEK) {
                Some((root, store)) => {
                    assert!(bytes == genuine.bytes && root == genuine.root && store == genuine.store);
                }
                None => assert_ne!(bytes, genuine.bytes),
            }
        }
        None => {}
    }
});

const KEK: [u8; 32] = [7; 32];
const CHUNK: usize = 64 * 1024;
