//! The bytes of a backup file.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | the letters `AEGISBAK` |
//! | 8 | 4 | format: 1 |
//! | 12 | 8 | when it was made: milliseconds since 1970, signed |
//! | 20 | 32 | salt, random |
//! | 52 | 4 | n, the length of the root file |
//! | 56 | n | `root.sealed` of the data folder, as it lay there |
//! | 56 + n | rest | the store: chunks of 65,536 bytes, the last one of as many or fewer, each sealed by AES-256-GCM |
//!
//! Numbers are big-endian. Each chunk is followed by its tag of 16 bytes. The key is HKDF-SHA-256 of the root's
//! key-encryption key, with the salt, and as info the text `aegis/backup/1` and the SHA-256 of all that precedes the
//! chunks, so that nothing of it can change. The nonce is three zero bytes, the number of the chunk from 0 (8 bytes),
//! and 1 for the last chunk or 0 for any other: chunks cannot change places, and none can be missing from the end
//! (STREAM: Hoang, Reyhanitabar, Rogaway and Vizár, CRYPTO 2015). No two files have one key, as the salt is fresh, so
//! no nonce comes twice under one.

use aegis_core::ambient::{Entropy, Timestamp};
use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, MAX_TAG_LEN, Nonce, UnboundKey};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::error::Unspecified;
use aws_lc_rs::hkdf::{HKDF_SHA256, Salt};
use std::io::{self, ErrorKind, Read, Write};

/// Why a file was not sealed or not opened.
#[derive(Debug)]
pub(super) enum Error {
    Altered,
    Io(io::Error),
    NewerFormat { found: u32 },
    NotABackup,
}

impl From<io::Error> for Error {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            ErrorKind::UnexpectedEof => Self::Altered,
            _ => Self::Io(error),
        }
    }
}

/// What precedes the chunks. Not secret: the root file in it is sealed under its passphrase.
pub(super) struct Header {
    pub(super) made_at: Timestamp,
    salt: [u8; 32],
    pub(super) root: Vec<u8>,
}

impl Header {
    pub(super) fn new(made_at: Timestamp, root: Vec<u8>) -> Self {
        let mut salt = [0; 32];
        Entropy::system().fill(&mut salt);
        Self { made_at, salt, root }
    }

    pub(super) fn write(&self, to: &mut impl Write) -> Result<(), Error> {
        Ok(to.write_all(&self.bytes()?)?)
    }

    pub(super) fn read(from: &mut impl Read) -> Result<Self, Error> {
        match exactly(from) {
            Ok(MAGIC) => (),
            Ok(_) | Err(Error::Altered) => return Err(Error::NotABackup),
            Err(error) => return Err(error),
        }
        match u32::from_be_bytes(exactly(from)?) {
            FORMAT => (),
            found if found > FORMAT => return Err(Error::NewerFormat { found }),
            _ => return Err(Error::Altered),
        }
        let made_at = Timestamp::from_millisecond(i64::from_be_bytes(exactly(from)?)).map_err(|_| Error::Altered)?;
        let salt = exactly(from)?;
        let length = u64::from(u32::from_be_bytes(exactly(from)?));
        let mut root = Vec::new();
        from.take(length.min(LONGEST_ROOT)).read_to_end(&mut root)?;
        match u64::try_from(root.len()) == Ok(length) {
            true => Ok(Self { made_at, salt, root }),
            false => Err(Error::Altered),
        }
    }

    /// The key of the chunks, from the key-encryption key of the root in this header.
    pub(super) fn key(&self, kek: &[u8; 32]) -> Result<LessSafeKey, Error> {
        let digest = digest(&SHA256, &self.bytes()?);
        let derived = Salt::new(HKDF_SHA256, &self.salt).extract(kek);
        let info: [&[u8]; 2] = [b"aegis/backup/1", digest.as_ref()];
        let key = derived.expand(&info, &AES_256_GCM).map(UnboundKey::from).map_err(broken)?;
        Ok(LessSafeKey::new(key))
    }

    fn bytes(&self) -> Result<Vec<u8>, Error> {
        let length = u32::try_from(self.root.len()).map_err(|_| io::Error::other("the root file is too long"))?;
        let made_at = self.made_at.as_millisecond().to_be_bytes();
        let parts: [&[u8]; 6] =
            [&MAGIC, &FORMAT.to_be_bytes(), &made_at, &self.salt, &length.to_be_bytes(), &self.root];
        Ok(parts.concat())
    }
}

/// Seals all that `from` has. `moved` hears how many bytes each chunk was.
pub(super) fn seal(
    key: &LessSafeKey,
    from: &mut impl Read,
    to: &mut impl Write,
    moved: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    each_chunk(from, CHUNK, moved, |nonce, mut chunk| {
        key.seal_in_place_append_tag(nonce, Aad::empty(), &mut chunk).map_err(broken)?;
        Ok(to.write_all(&chunk)?)
    })
}

/// Opens all that `from` has. On an error what was written is worth nothing: the rest of it may have been cut off.
pub(super) fn open(
    key: &LessSafeKey,
    from: &mut impl Read,
    to: &mut impl Write,
    moved: &mut dyn FnMut(u64),
) -> Result<(), Error> {
    each_chunk(from, CHUNK.saturating_add(TAG), moved, |nonce, mut chunk| {
        let plain = key.open_in_place(nonce, Aad::empty(), &mut chunk).map_err(|_| Error::Altered)?;
        Ok(to.write_all(plain)?)
    })
}

/// Whether a chunk is the last is known once nothing follows it. An empty input is one empty chunk.
fn each_chunk(
    from: &mut impl Read,
    size: u64,
    moved: &mut dyn FnMut(u64),
    mut work: impl FnMut(Nonce, Vec<u8>) -> Result<(), Error>,
) -> Result<(), Error> {
    let mut next = || -> io::Result<Vec<u8>> {
        let mut chunk = Vec::new();
        from.take(size).read_to_end(&mut chunk)?;
        Ok(chunk)
    };
    let mut chunk = next()?;
    for number in 0_u64.. {
        let following = next()?;
        let last = following.is_empty();
        let length = u64::try_from(chunk.len()).unwrap_or(u64::MAX);
        work(nonce(number, last), std::mem::replace(&mut chunk, following))?;
        moved(length);
        if last {
            break;
        }
    }
    Ok(())
}

fn nonce(number: u64, last: bool) -> Nonce {
    let [a, b, c, d, e, f, g, h] = number.to_be_bytes();
    Nonce::from(&[0, 0, 0, a, b, c, d, e, f, g, h, u8::from(last)])
}

fn exactly<const N: usize>(from: &mut impl Read) -> Result<[u8; N], Error> {
    let mut bytes = [0; N];
    from.read_exact(&mut bytes)?;
    Ok(bytes)
}

fn broken(_: Unspecified) -> Error {
    Error::Io(io::Error::other("sealing failed"))
}

const MAGIC: [u8; 8] = *b"AEGISBAK";
pub(super) const FORMAT: u32 = 1;
/// Small beside any memory, and large enough that the tags are a four-thousandth of the file.
const CHUNK: u64 = 64 * 1024;
const TAG: u64 = 16;
const _: () = assert!(MAX_TAG_LEN == 16);
/// What `Root` reads at most.
const LONGEST_ROOT: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: usize = 64 * 1024;

    fn key() -> LessSafeKey {
        header().key(&[7; 32]).unwrap()
    }

    fn header() -> Header {
        Header { made_at: Timestamp::from_second(1_790_000_000).unwrap(), salt: [3; 32], root: b"a root file".to_vec() }
    }

    /// Bytes of which no two chunks are alike.
    fn content(length: usize) -> Vec<u8> {
        (0..length).map(|at| u8::try_from((at / 251 + at) % 256).unwrap()).collect()
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        seal(&key(), &mut &*content, &mut bytes, &mut |_| ()).unwrap();
        bytes
    }

    fn opened(bytes: &[u8]) -> Result<Vec<u8>, Error> {
        let mut content = Vec::new();
        open(&key(), &mut &*bytes, &mut content, &mut |_| ()).map(|()| content)
    }

    #[test]
    fn every_length_opens_as_it_was_sealed() {
        for length in [0, 1, FULL - 1, FULL, FULL + 1, 2 * FULL, 3 * FULL + 5] {
            let (content, mut told) = (content(length), Vec::new());
            let mut bytes = Vec::new();
            seal(&key(), &mut &*content, &mut bytes, &mut |moved| told.push(moved)).unwrap();
            assert_eq!(opened(&bytes).unwrap(), content, "{length}");
            assert_eq!(told.iter().sum::<u64>(), u64::try_from(length).unwrap());
            assert_eq!(bytes.len(), length + 16 * told.len());
        }
    }

    #[test]
    fn a_file_that_was_cut_lengthened_or_rearranged_does_not_open() {
        let whole = sealed(&content(2 * FULL + 100));
        let ends = [FULL + 16, 2 * (FULL + 16), whole.len()];
        let (first, second) = (&whole[..ends[0]], &whole[ends[0]..ends[1]]);
        let last = &whole[ends[1]..];
        let mut table: Vec<(String, Vec<u8>)> = vec![
            ("two chunks swapped".into(), [second, first, last].concat()),
            ("a chunk left out".into(), [first, last].concat()),
            ("the first left out".into(), [second, last].concat()),
            ("a chunk twice".into(), [first, first, second, last].concat()),
            ("the last twice".into(), [first, second, last, last].concat()),
            ("a byte more".into(), [whole.as_slice(), &[0]].concat()),
            ("another file's end".into(), [first, second, &sealed(&content(100))].concat()),
            ("nothing".into(), Vec::new()),
        ];
        for end in ends {
            for cut in [end.saturating_sub(17), end - 16, end - 1, end, end + 1, end + 16] {
                if cut < whole.len() {
                    table.push((format!("cut to {cut}"), whole[..cut].to_vec()));
                }
            }
        }
        assert!(opened(&whole).is_ok());
        for (what, bytes) in table {
            assert!(matches!(opened(&bytes), Err(Error::Altered)), "{what}");
        }
    }

    #[test]
    fn no_bit_of_a_chunk_or_its_tag_can_change() {
        let whole = sealed(&content(2 * FULL));
        let chunk = FULL + 16;
        for at in [0, 1, FULL / 2, FULL - 1, FULL, chunk - 1, chunk, chunk + FULL, whole.len() - 16, whole.len() - 1] {
            let mut altered = whole.clone();
            altered[at] ^= 1 << (at % 8);
            assert!(matches!(opened(&altered), Err(Error::Altered)), "byte {at}");
        }
    }

    #[test]
    fn each_byte_of_the_header_is_part_of_the_key() {
        let whole = header().bytes().unwrap();
        let bytes = sealed(b"content");
        let mut read = 0;
        for at in 0..whole.len() {
            let mut altered = whole.clone();
            altered[at] ^= 1;
            let refused = match (at, Header::read(&mut altered.as_slice())) {
                (0..8, Err(Error::NotABackup)) | (8..11, Err(Error::NewerFormat { .. })) => true,
                // No format, no time, or a root longer than what follows.
                (11..20 | 52..55, Err(Error::Altered)) => true,
                (12.., Ok(header)) => {
                    read += 1;
                    let mut content = Vec::new();
                    let key = header.key(&[7; 32]).unwrap();
                    matches!(open(&key, &mut &*bytes, &mut content, &mut |_| ()), Err(Error::Altered))
                }
                _ => false,
            };
            assert!(refused, "byte {at}");
        }
        assert!(read >= 32 + b"a root file".len(), "the salt, the root, and most of the time");
        for length in 0..whole.len() {
            let read = Header::read(&mut &whole[..length]);
            assert!(matches!(read, Err(Error::Altered | Error::NotABackup)), "cut to {length}");
        }
    }

    #[test]
    fn no_two_files_have_one_key() {
        let made = || Header::new(Timestamp::UNIX_EPOCH, Vec::new());
        assert_ne!(made().salt, made().salt);
    }

    /// Fixed bytes: what is written today must open for ever.
    #[test]
    fn the_format_does_not_change() {
        let whole = [header().bytes().unwrap(), sealed(b"content")].concat();
        let hex: String = whole.iter().map(|byte| format!("{byte:02x}")).collect();
        let header = concat!(
            "414547495342414b 00000001 000001a0c4506c00 ",
            "0303030303030303030303030303030303030303030303030303030303030303 ",
            "0000000b 6120726f6f742066696c65",
        );
        // Computed with Python's `cryptography`, too.
        let chunk = "3035dbd82c7f8df383943db528341cbab74bbfa764b7bd";
        assert_eq!(hex, format!("{header}{chunk}").replace(' ', ""));
    }
}
