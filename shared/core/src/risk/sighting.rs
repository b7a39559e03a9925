//! What somebody did, or tried to do, with a key, as far as behaviour is concerned: hashes, a time and an outcome. It holds no
//! name, address or text.

use std::hash::Hasher;
use std::net::IpAddr;

/// What was seen. A hash of 0 stands for what is not known.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    /// Of the record's id: the same record is counted once.
    pub id: u32,
    /// Unix milliseconds.
    pub at: i64,
    pub key: u32,
    pub operation: u32,
    pub class: Class,
    pub network: Network,
    /// The client's product, without its version.
    pub client: u32,
    pub outcome: Seen,
    /// How many keys the credential may use; 0 where that is not known.
    pub scope: u32,
}

/// Where a request came from: its network (IPv4 /24, IPv6 /48) and the wider one around it (/16, /32).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Network {
    pub near: u32,
    pub wide: u32,
}

impl Network {
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => {
                let [a, b, c, _] = address.octets();
                Self { near: hash(&[4, a, b, c]), wide: hash(&[4, a, b]) }
            }
            IpAddr::V6(address) => {
                let [a, b, c, d, e, f, ..] = address.octets();
                Self { near: hash(&[6, a, b, c, d, e, f]), wide: hash(&[6, a, b, c, d]) }
            }
        }
    }
}

#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Seen {
    Ok,
    /// It was tried and failed; a key that does not exist, among other things.
    Error,
    /// Refused for a reason that says nothing of scope: a limit, a window, a stale login.
    Refused,
    /// Refused, and it may have been for the scope.
    Denied,
}

/// The byte a variant is kept as.
macro_rules! codes {
    ($name:ident { $($code:literal $variant:ident)* }) => {
        impl $name {
            pub(super) fn code(self) -> u8 {
                match self { $(Self::$variant => $code,)* }
            }

            pub(super) fn from_code(code: u8) -> Option<Self> {
                match code { $($code => Some(Self::$variant),)* _ => None }
            }
        }
    };
}

pub(super) use codes;

codes! { Seen { 0 Ok 1 Error 2 Refused 3 Denied } }
codes! { Class { 0 Look 1 Make 2 Release 3 Govern } }

/// What an operation can do to a key, or with it.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum Class {
    /// Reveals nothing and makes nothing: verify, describe, list.
    Look,
    /// Makes something under the key: sign, mac, encrypt, wrap, generate a data key.
    Make,
    /// Takes the protection off something: decrypt, unwrap, export.
    Release,
    /// Changes the key itself.
    Govern,
}

impl Class {
    /// Of an operation's name, in the words of any key store. What is unknown counts as making something.
    pub fn of(operation: &str) -> Self {
        let has = |words: &[&str]| words.iter().any(|word| operation.contains(word));
        // The policy, the grants and the tags of a key are looked at by names that say what is looked at.
        let looks = ["describe", "list", "get"].iter().any(|word| operation.starts_with(word));
        if looks
            && operation != "get"
            && !has(&["secret", "datakey", "data-key", "import", "export", "decrypt", "unwrap", "reveal"])
        {
            return Self::Look;
        }
        if has(&[
            "rotate",
            "create",
            "delete",
            "destroy",
            "disable",
            "enable",
            "import",
            "update",
            "put",
            "policy",
            "grant",
            "tag",
            "alias",
            "schedule",
            "cancel",
            "revoke",
            "suspend",
            "resume",
            "activate",
            "compromise",
        ]) {
            return Self::Govern;
        }
        // A new data key protects nothing yet: to ask for one is to encrypt, in the words of envelope encryption.
        if has(&["generatedatakey", "generate-data-key"]) {
            return Self::Make;
        }
        if has(&[
            "decrypt",
            "unwrap",
            "export",
            "reencrypt",
            "re-encrypt",
            "datakey",
            "data-key",
            "getsecret",
            "reveal",
        ]) || operation == "get"
        {
            return Self::Release;
        }
        if has(&["verify", "describe", "list", "get", "public", "head", "read", "whoami"]) {
            return Self::Look;
        }
        Self::Make
    }
}

/// Of an operation's name: `key.generate-data-key`, `GenerateDataKey` and `generatedatakey` are one.
pub fn operation_hash(name: &str) -> u32 {
    let name = name.strip_prefix("key.").unwrap_or(name);
    let letters = name.bytes().filter(u8::is_ascii_alphanumeric).map(|b| b.to_ascii_lowercase());
    let mut hasher = Fnv::default();
    letters.for_each(|b| hasher.write_u8(b));
    hasher.short()
}

/// Of a client's name without its versions, which change with every roll-out.
pub fn client_hash(user_agent: &str) -> u32 {
    let mut hasher = Fnv::default();
    let letters = user_agent.bytes().filter(u8::is_ascii_alphabetic).map(|b| b.to_ascii_lowercase());
    letters.take(64).for_each(|b| hasher.write_u8(b));
    hasher.short()
}

/// Never 0.
pub fn hash(bytes: &[u8]) -> u32 {
    let mut hasher = Fnv::default();
    hasher.write(bytes);
    hasher.short()
}

/// Of a name that many others must not share.
pub fn hash_of_name(name: &str) -> u64 {
    let mut hasher = Fnv::default();
    hasher.write(name.as_bytes());
    hasher.finish().max(1)
}

/// Of two hashes together.
pub fn pair(a: u32, b: u32) -> u32 {
    let mut hasher = Fnv::default();
    hasher.write_u32(a);
    hasher.write_u32(b);
    hasher.short()
}

/// Of several hashes together.
pub(super) fn hash_of_numbers(numbers: &[u32]) -> u64 {
    let mut hasher = Fnv::default();
    numbers.iter().for_each(|number| hasher.write_u32(*number));
    hasher.finish()
}

/// FNV-1a, 64 bits, mixed: the same on every host and in every release, since baselines outlive both. A collision
/// makes something new look known to one actor; an attacker who can choose key ids cannot choose what they hash to
/// within another agent's baseline without knowing it.
struct Fnv(u64);

impl Default for Fnv {
    fn default() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }
}

impl Hasher for Fnv {
    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }

    fn finish(&self) -> u64 {
        // The finalizer of MurmurHash3.
        let x = (self.0 ^ (self.0 >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
        let x = (x ^ (x >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
        x ^ (x >> 33)
    }
}

impl Fnv {
    fn short(&self) -> u32 {
        u32::try_from(self.finish() >> 32).unwrap_or(0).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operation_is_one_in_the_words_of_every_plane() {
        for name in ["key.generate-data-key", "GenerateDataKey", "generatedatakey", "generate_data_key"] {
            assert_eq!(operation_hash(name), operation_hash("generatedatakey"), "{name}");
            assert_eq!(Class::of(&name.to_ascii_lowercase().replace('_', "-")), Class::Make, "{name}");
        }
        assert_ne!(operation_hash("sign"), operation_hash("decrypt"));
    }

    #[test]
    fn what_an_operation_can_do_is_told_by_its_name() {
        let table = [
            (
                Class::Look,
                "describekey getkeypolicy listgrants listaliases listresourcetags getpublickey verify key.get",
            ),
            (Class::Make, "sign encrypt wrap generatemac key.generate-data-key generatedatakeypair"),
            (Class::Release, "get getsecretvalue decrypt unwrap getdatakey reencrypt"),
            (
                Class::Govern,
                "putkeypolicy getparametersforimport creategrant tagresource schedulekeydeletion rotatekey key.destroy",
            ),
        ];
        for (class, names) in table {
            for name in names.split(' ') {
                assert_eq!(Class::of(name), class, "{name}");
            }
        }
    }

    #[test]
    fn a_new_version_of_a_client_is_no_new_client() {
        assert_eq!(client_hash("aegis-sdk/1.2.3 python/3.11"), client_hash("aegis-sdk/1.3.0 python/3.12"));
        assert_ne!(client_hash("aegis-sdk/1.2.3"), client_hash("curl/8.1"));
    }

    #[test]
    fn networks_are_told_apart_near_and_wide() {
        let of = |text: &str| Network::of(text.parse().unwrap());
        assert_eq!(of("10.1.2.3"), of("10.1.2.77"));
        assert_eq!(of("::ffff:10.1.2.3"), of("10.1.2.77"));
        assert_ne!(of("10.1.2.3").near, of("10.1.3.3").near);
        assert_eq!(of("10.1.2.3").wide, of("10.1.3.3").wide);
        assert_ne!(of("2001:db8:1::1").near, of("2001:db8:2::1").near);
    }
}
