//! What each algorithm is made of in `aws-lc-rs`: the one place that knows all of them. Holds no keys.

use aegis_core::algorithm::Algorithm;
use aws_lc_rs::digest::{self, SHA256, SHA384, SHA512};
use aws_lc_rs::hmac::{self, HMAC_SHA256, HMAC_SHA384, HMAC_SHA512};
use aws_lc_rs::rsa::KeySize;
use aws_lc_rs::signature::{
    ECDSA_P256_SHA256_ASN1, ECDSA_P256_SHA256_ASN1_SIGNING, ECDSA_P256K1_SHA256_ASN1, ECDSA_P256K1_SHA256_ASN1_SIGNING,
    ECDSA_P384_SHA384_ASN1, ECDSA_P384_SHA384_ASN1_SIGNING, ECDSA_P521_SHA512_ASN1, ECDSA_P521_SHA512_ASN1_SIGNING,
    ED25519, EcdsaSigningAlgorithm, EcdsaVerificationAlgorithm, ML_DSA_44, ML_DSA_44_SIGNING, ML_DSA_65,
    ML_DSA_65_SIGNING, ML_DSA_87, ML_DSA_87_SIGNING, PqdsaSigningAlgorithm, PqdsaVerificationAlgorithm,
    RSA_PKCS1_2048_8192_SHA256, RSA_PKCS1_SHA256, RSA_PSS_2048_8192_SHA256, RSA_PSS_SHA256, RsaParameters,
    RsaSignatureEncoding, VerificationAlgorithm,
};

#[derive(Clone, Copy)]
pub(crate) enum Scheme {
    /// With a key of so many bytes.
    Aes(usize),
    Ecdsa(&'static EcdsaSigningAlgorithm, &'static EcdsaVerificationAlgorithm, &'static digest::Algorithm),
    Ed25519,
    Hmac(hmac::Algorithm),
    MlDsa(&'static PqdsaSigningAlgorithm, &'static PqdsaVerificationAlgorithm),
    Oaep(KeySize),
    Rsa(KeySize, Padding),
}

/// How RSA signs, and how that is verified.
type Padding = (&'static RsaSignatureEncoding, &'static RsaParameters);

impl Scheme {
    pub(crate) fn of(algorithm: Algorithm) -> Self {
        use KeySize::{Rsa2048, Rsa3072, Rsa4096};
        match algorithm {
            Algorithm::Aes128Gcm => Self::Aes(16),
            Algorithm::Aes192Gcm => Self::Aes(24),
            Algorithm::Aes256Gcm => Self::Aes(32),
            Algorithm::EcdsaP256 => Self::Ecdsa(&ECDSA_P256_SHA256_ASN1_SIGNING, &ECDSA_P256_SHA256_ASN1, &SHA256),
            Algorithm::EcdsaP384 => Self::Ecdsa(&ECDSA_P384_SHA384_ASN1_SIGNING, &ECDSA_P384_SHA384_ASN1, &SHA384),
            Algorithm::EcdsaP521 => Self::Ecdsa(&ECDSA_P521_SHA512_ASN1_SIGNING, &ECDSA_P521_SHA512_ASN1, &SHA512),
            Algorithm::EcdsaSecp256k1 => {
                Self::Ecdsa(&ECDSA_P256K1_SHA256_ASN1_SIGNING, &ECDSA_P256K1_SHA256_ASN1, &SHA256)
            }
            Algorithm::Ed25519 => Self::Ed25519,
            Algorithm::HmacSha256 => Self::Hmac(HMAC_SHA256),
            Algorithm::HmacSha384 => Self::Hmac(HMAC_SHA384),
            Algorithm::HmacSha512 => Self::Hmac(HMAC_SHA512),
            Algorithm::MlDsa44 => Self::MlDsa(&ML_DSA_44_SIGNING, &ML_DSA_44),
            Algorithm::MlDsa65 => Self::MlDsa(&ML_DSA_65_SIGNING, &ML_DSA_65),
            Algorithm::MlDsa87 => Self::MlDsa(&ML_DSA_87_SIGNING, &ML_DSA_87),
            Algorithm::Rsa2048OaepSha256 => Self::Oaep(Rsa2048),
            Algorithm::Rsa2048Pkcs1Sha256 => Self::Rsa(Rsa2048, PKCS1),
            Algorithm::Rsa2048PssSha256 => Self::Rsa(Rsa2048, PSS),
            Algorithm::Rsa3072OaepSha256 => Self::Oaep(Rsa3072),
            Algorithm::Rsa3072Pkcs1Sha256 => Self::Rsa(Rsa3072, PKCS1),
            Algorithm::Rsa3072PssSha256 => Self::Rsa(Rsa3072, PSS),
            Algorithm::Rsa4096OaepSha256 => Self::Oaep(Rsa4096),
            Algorithm::Rsa4096Pkcs1Sha256 => Self::Rsa(Rsa4096, PKCS1),
            Algorithm::Rsa4096PssSha256 => Self::Rsa(Rsa4096, PSS),
        }
    }

    /// How signatures are verified, and the hash whose digests can be signed in place of messages, if there is one.
    /// `None` for what does not sign.
    pub(super) fn verification(
        self,
    ) -> Option<(&'static dyn VerificationAlgorithm, Option<&'static digest::Algorithm>)> {
        match self {
            Self::Ecdsa(_, verifying, hash) => Some((verifying, Some(hash))),
            Self::Ed25519 => Some((&ED25519, None)),
            Self::MlDsa(_, verifying) => Some((verifying, None)),
            Self::Rsa(_, (_, verifying)) => Some((verifying, Some(&SHA256))),
            Self::Aes(_) | Self::Hmac(_) | Self::Oaep(_) => None,
        }
    }

    /// Whether a private operation takes more than a millisecond: one thread makes 2,800 signatures a second with
    /// RSA-2048, 520 with RSA-4096.
    pub(crate) fn is_slow(self) -> bool {
        matches!(self, Self::Oaep(size) | Self::Rsa(size, _) if size != KeySize::Rsa2048)
    }

    /// Whether making a key means searching for primes.
    pub(crate) fn is_slow_to_generate(self) -> bool {
        matches!(self, Self::Oaep(_) | Self::Rsa(..))
    }
}

const PKCS1: Padding = (&RSA_PKCS1_SHA256, &RSA_PKCS1_2048_8192_SHA256);
const PSS: Padding = (&RSA_PSS_SHA256, &RSA_PSS_2048_8192_SHA256);
