//! A baseline as bytes: a version, then the fields in order, little-endian. At most [`MOST_BYTES`].

use super::baseline::{Baseline, Peak};
use super::sighting::{Class, Seen};
use super::table::Table;
use super::used::Used;
use super::window::{Minute, Trace};
use crate::encoding::base64_bytes;
use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Largest encoded baseline, in bytes.
pub const MOST_BYTES: usize = 2_048;
const VERSION: u8 = 4;

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
    through born keys used new_keys uses operations networks clients refused adopted days refused_days mixed_days peaks today hours
    day_types today_hours yesterday_hours volume scatter deviations excess daily_excess daily ten_minutes hour day hour_keys hour_surprise mixed_since turns on_new mix mix_today mix_hour mix_day
}

pub(super) fn encode_state(sealed: &Baseline, open: &[Minute], newest: u32) -> Vec<u8> {
    let mut out = vec![VERSION];
    let baseline = sealed.encode();
    u16::try_from(baseline.len()).unwrap_or(u16::MAX).write(&mut out);
    out.extend_from_slice(&baseline);
    newest.write(&mut out);
    list(open, &mut out, |minute, out| {
        minute.minute.write(out);
        list(&minute.ids, out, Field::write);
        list(&minute.seconds, out, Field::write);
        minute.mix.write(out);
        list(&minute.traces, out, write_trace);
    });
    out
}

pub(super) fn decode_state(bytes: &[u8]) -> Result<(Baseline, Vec<Minute>, u32), UnknownBaseline> {
    let mut rest = bytes;
    let read = |bytes: &mut &[u8]| {
        (u8::read(bytes)? == VERSION).then_some(())?;
        let length = usize::from(u16::read(bytes)?);
        let (baseline, after) = bytes.split_at_checked(length)?;
        let baseline = Baseline::decode(baseline).ok()?;
        *bytes = after;
        let newest = u32::read(bytes)?;
        let open = unlist(bytes, |bytes| {
            let minute = u32::read(bytes)?;
            let (ids, seconds) = (unlist(bytes, Field::read)?, unlist(bytes, Field::read)?);
            let mix = Field::read(bytes)?;
            Some(Minute { minute, ids, seconds, mix, traces: unlist(bytes, read_trace)? })
        })?;
        Some((baseline, open, newest))
    };
    read(&mut rest).filter(|_| rest.is_empty()).ok_or(UnknownBaseline)
}

fn write_trace(trace: &Trace, out: &mut Vec<u8>) {
    [trace.key, trace.operation, trace.near, trace.wide, trace.client, trace.scope].write(out);
    [trace.first, trace.last, trace.count].write(out);
    [trace.class.code(), trace.outcome.code()].write(out);
}

fn read_trace(bytes: &mut &[u8]) -> Option<Trace> {
    let [key, operation, near, wide, client, scope] = Field::read(bytes)?;
    let [first, last, count] = Field::read(bytes)?;
    let [class, outcome] = Field::read(bytes)?;
    let (class, outcome) = (Class::from_code(class)?, Seen::from_code(outcome)?);
    Some(Trace { key, operation, class, near, wide, client, outcome, first, last, count, scope })
}

/// Bounded by what a minute holds, which fits.
fn list<T>(items: &[T], out: &mut Vec<u8>, write: impl Fn(&T, &mut Vec<u8>)) {
    u16::try_from(items.len()).unwrap_or(u16::MAX).write(out);
    items.iter().for_each(|item| write(item, out));
}

fn unlist<T>(bytes: &mut &[u8], read: impl Fn(&mut &[u8]) -> Option<T>) -> Option<Vec<T>> {
    let count = u16::read(bytes)?;
    (0..count).map(|_| read(bytes)).collect()
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

numbers! { i8 u8 u16 u32 u64 f32 }

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
        [self.sum, self.squares, self.highest].write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        let [sum, squares, highest] = Field::read(bytes)?;
        Some(Self { sum, squares, highest })
    }
}

impl Field for Used {
    fn write(&self, out: &mut Vec<u8>) {
        self.known.write(out);
        self.lately.write(out);
        self.since.write(out);
    }

    fn read(bytes: &mut &[u8]) -> Option<Self> {
        Some(Self { known: Field::read(bytes)?, lately: Field::read(bytes)?, since: Field::read(bytes)? })
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
