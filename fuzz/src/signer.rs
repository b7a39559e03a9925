//! Tokens signed over any header and any claims, by a key that is the same in every run.

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};

pub struct Signer {
    pub pkcs8: Vec<u8>,
    pair: EcdsaKeyPair,
}

impl Signer {
    /// Of Aegis's own tokens.
    pub fn of_aegis() -> Self {
        Self::new(AEGIS)
    }

    /// Of the identity provider's.
    pub fn of_the_provider() -> Self {
        Self::new(PROVIDER)
    }

    fn new(pkcs8: &str) -> Self {
        let pkcs8 = STANDARD.decode(pkcs8).unwrap();
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8).unwrap();
        Self { pkcs8, pair }
    }

    /// A JWS over whatever the two are.
    pub fn sign(&self, header: &[u8], claims: &[u8]) -> String {
        let part = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        let signed = format!("{}.{}", part(header), part(claims));
        let signature = self.pair.sign(&SystemRandom::new(), signed.as_bytes()).unwrap();
        format!("{signed}.{}", part(signature.as_ref()))
    }
}

/// All of a token but its signature: anyone can turn an ECDSA signature into a second valid one.
pub fn signed_part(token: &str) -> &str {
    token.rsplit_once('.').map_or(token, |(signed, _)| signed)
}

// Made for this crate, and known to everyone.
const AEGIS: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgi2i/2yxM4Uv4Tm4IUHi46yvcFy1r4QqljONYIw+AnuOh\
    RANCAATDYFIwy/Vs37D/3DwXMtbw/jdZQ+PMUXSwMkEDcfddA5Z3TCp/VV0Kb4PCCAO34cHA3Kqh0Lnb0W8+IRsTa4rw";
const PROVIDER: &str = "\
    MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgMiDFsF8XMPKYtqjxp87qA1GZIxyDMqe+3QYFiMWapC6h\
    RANCAATVmxcyoYveXuqz1cvwZ4B/FE0eaTA0neYbLw2JHTCijkBltowpfQ37Ce6y4SmMWFuWDPIStXz61VvFLFLwjpW4";
