//! A baseline as bytes: a version, then the fields in order, little-endian. At most [`MOST_BYTES`].

use super::baseline::{Baseline, Peak};
use super::table::Table;
use crate::encoding::base64_bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest encoded baseline, in bytes.
pub const MOST_BYTES: usize = 2_048;
const VERSION: u8 = 1;

#[derive(Debug, thiserror::Error)]
#[error("not a baseline of a version this program knows")]
pub struct UnknownBaseline;

/// Reads and writes every field in one order, so that the two cannot differ.
macro_rules! fields {
    ($($field:ident)*) => {
        impl Baseline {
            pub fn encode(&self) -> Vec<u8> {
                let mut out = Vec::with_capacity(MOST_BYTES);
                out.push(VERSION);
                $(self.$field.write(&mut out);)*
                out
            }

            /// # Errors
            /// [`UnknownBaseline`] for anything that `encode` did not write.
            pub fn decode(bytes: &[u8]) -> Result<Self, UnknownBaseline> {
                let read = |bytes: &mut &[u8]| -> Option<Self> {
                    (u8::read(bytes)? == VERSION).then_some(())?;
                    Some(Self { $($field: Field::read(bytes)?,)* })
                };
                let mut rest = bytes;
                read(&mut rest).filter(|_| rest.is_empty()).ok_or(UnknownBaseline)
            }
        }
    };
}

fields! {
    through born keys uses operations networks clients refused adopted days refused_days mixed_days peaks today hours
    day_types today_hours volume scatter excess ten_minutes hour day hour_keys hour_surprise heat mixed_since turns on_new
}

impl Serialize for Baseline {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        base64_bytes::serialize(&self.encode(), serializer)
    }
}

impl<'de> Deserialize<'de> for Baseline {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::decode(&base64_bytes::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

trait Field: Sized {
    fn write(&self, out: &mut Vec<u8>);
    fn read(bytes: &mut &[u8]) -> Option<Self>;
}

macro_rules! numbers {
    ($($number:ty)*) => {
        $(impl Field for $number {
            fn write(&self, out: &mut Vec<u8>) {
                out.extend_from_slice(&self.to_le_bytes());
            }

            fn read(bytes: &mut &[u8]) -> Option<Self> {
                take(bytes).map(|bytes| Self::from_le_bytes(*bytes))
            }
        })*
    };
}

numbers! { u8 u16 u32 u64 f32 }

impl Field for bool {
    fn write(&self, out: &mut Vec<u8>) {
        out.push(u8::from(*self));
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        u8::read(bytes).map(|byte| byte != 0)
    }
}

impl Field for Peak {
    fn write(&self, out: &mut Vec<u8>) {
        [self.days, self.sum, self.squares, self.highest].write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let [days, sum, squares, highest] = Field::read(bytes)?;
        Some(Self { days, sum, squares, highest })
    }
}

impl<T: Field + Copy + Default, const N: usize> Field for [T; N] {
    fn write(&self, out: &mut Vec<u8>) {
        self.iter().for_each(|field| field.write(out));
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let mut fields = [T::default(); N];
        for field in &mut fields {
            *field = T::read(bytes)?;
        }
        Some(fields)
    }
}

impl<const N: usize> Field for Table<N> {
    fn write(&self, out: &mut Vec<u8>) {
        Table::write(self, out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Table::read(bytes)
    }
}

/// The next `N` bytes.
pub(super) fn take<'a, const N: usize>(bytes: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (head, rest) = bytes.split_first_chunk::<N>()?;
    *bytes = rest;
    Some(head)
}
