use super::*;
use crate::encoding::base64url;
use crate::token::public_jwk;
use aws_lc_rs::encoding::AsDer;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::rsa::{KeyPair, KeySize};
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair};
use jsonwebtoken::{EncodingKey, Header};
use serde_json::json;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU32, Ordering};

const NOW: i64 = 1_790_000_000;

#[tokio::test]
async fn claims_decide_as_openid_connect_says() {
    let bad = Some(Reason::InvalidSubjectToken);
    let late = Some(Reason::SubjectTokenExpired);
    let table: [(&str, Value, Option<Reason>); 26] = [
        ("jti", json!("whatever"), None),
        ("iss", json!("https://elsewhere.example"), bad),
        ("iss", json!("https://provider.example/"), bad),
        ("iss", Value::Null, bad),
        ("aud", json!("another"), bad),
        ("aud", json!(["aegis"]), None),
        ("aud", json!([]), bad),
        ("aud", json!(["another"]), bad),
        ("aud", json!(["aegis", "another"]), bad),
        ("aud", Value::Null, bad),
        ("azp", json!("aegis"), None),
        ("azp", json!("another"), bad),
        ("azp", json!(7), bad),
        ("exp", json!(NOW - LEEWAY + 1), None),
        ("exp", json!(NOW - LEEWAY), late),
        ("exp", json!("never"), bad),
        ("exp", Value::Null, bad),
        ("iat", json!(NOW - ID_TOKEN_AGE + 1), None),
        ("iat", json!(NOW - ID_TOKEN_AGE), late),
        ("iat", json!(NOW + LEEWAY + 1), bad),
        ("iat", Value::Null, bad),
        ("nbf", json!(NOW + LEEWAY), None),
        ("nbf", json!(NOW + LEEWAY + 1), bad),
        ("auth_time", json!("now"), bad),
        ("sub", json!("not a name!"), bad),
        ("sub", Value::Null, bad),
    ];
    for (claim, value, want) in table {
        let mut claims = claims();
        claims[claim] = value.clone();
        check(&provider(), &ES.signs(&claims), want, &format!("{claim}: {value}")).await;
    }
    let mut both = claims();
    (both["aud"], both["azp"]) = (json!(["another", "aegis"]), json!("aegis"));
    check(&provider(), &ES.signs(&both), None, "two audiences, and ours the authorized party").await;
}

#[tokio::test]
async fn headers_decide_before_a_key_is_asked_for() {
    let unsigned = |header: Value| {
        let part = |value: &Value| base64url(value.to_string().as_bytes());
        format!("{}.{}.", part(&header), part(&claims()))
    };
    let hmac = |secret: &[u8]| {
        let header = Header { kid: Some(RSA.kid.clone()), ..Header::new(Algorithm::HS256) };
        jsonwebtoken::encode(&header, &claims(), &EncodingKey::from_secret(secret)).unwrap()
    };
    let with = |change: fn(&mut Header)| {
        let mut header = ES.header();
        change(&mut header);
        ES.signs_under(&header, &claims())
    };
    let mut long = claims();
    long["groups"] = json!(vec!["x".repeat(64); 256]);
    let refused = [
        ("nothing", String::new()),
        ("no token", "a.b.c".into()),
        ("alg none", unsigned(json!({ "alg": "none", "kid": ES.kid }))),
        ("alg NONE", unsigned(json!({ "alg": "NONE", "kid": ES.kid }))),
        ("HS256 with the RSA key's DER as its secret", hmac(&RSA.public)),
        ("HS256 with the RSA key's JWK as its secret", hmac(serde_json::to_string(&RSA.jwk).unwrap().as_bytes())),
        ("an access token", with(|header| header.typ = Some("at+jwt".into()))),
        ("an access token in full", with(|header| header.typ = Some("application/at+jwt".into()))),
        ("a logout token", with(|header| header.typ = Some("logout+jwt".into()))),
        ("a critical header", with(|header| header.crit = Some(vec!["exp".into()]))),
        ("no key id", with(|header| header.kid = None)),
        ("too long", ES.signs(&long)),
    ];
    for (what, token) in refused {
        let (provider, asked) = counted(vec![ES.jwk.clone(), RSA.jwk.clone()]);
        check(&provider, &token, Some(Reason::InvalidSubjectToken), what).await;
        assert_eq!(asked.load(Ordering::SeqCst), 0, "{what}");
    }
    check(&provider(), &with(|header| header.typ = None), None, "no type").await;
    check(&provider(), &with(|header| header.typ = Some("jwt".into())), None, "the type in lower case").await;
}

#[tokio::test]
async fn only_the_provider_s_keys_sign_and_each_only_as_it_may() {
    let stranger = Signer::es();
    let foreign = |kid: &str| {
        let header = Header { kid: Some(kid.into()), jwk: Some(stranger.jwk.clone()), ..Header::new(Algorithm::ES256) };
        stranger.signs_under(&header, &claims())
    };
    for (what, token) in [("another key under a known id", foreign(&ES.kid)), ("a key of its own", foreign("unknown"))]
    {
        check(&provider(), &token, Some(Reason::InvalidSubjectToken), what).await;
    }
    let (mut altered, valid) = (claims(), ES.signs(&claims()));
    altered["sub"] = json!("mallory@org");
    let altered = ES.signs(&altered);
    let swapped = format!("{}.{}", altered.rsplit_once('.').unwrap().0, valid.rsplit_once('.').unwrap().1);
    check(&provider(), &swapped, Some(Reason::InvalidSubjectToken), "another token's signature").await;

    let named = |signer: &Signer, name: Option<&str>, usage: Option<PublicKeyUse>| {
        let mut jwk = signer.jwk.clone();
        jwk.common.key_algorithm = name.map(|name| name.parse().unwrap());
        jwk.common.public_key_use = usage;
        jwk
    };
    let bad = Some(Reason::InvalidSubjectToken);
    let table = [
        (&*RSA, Some("RS256"), None, Algorithm::RS256, None),
        (&*RSA, Some("RS256"), None, Algorithm::PS256, bad),
        (&*RSA, None, None, Algorithm::RS256, None),
        (&*RSA, None, None, Algorithm::RS512, None),
        (&*RSA, None, None, Algorithm::PS256, None),
        (&*RSA, Some("RSA-OAEP"), None, Algorithm::RS256, bad),
        (&*RSA, None, Some(PublicKeyUse::Signature), Algorithm::RS256, None),
        (&*RSA, None, Some(PublicKeyUse::Encryption), Algorithm::RS256, bad),
        (&*ES, None, None, Algorithm::ES256, None),
        (&*ES, Some("ES384"), None, Algorithm::ES256, bad),
    ];
    for (signer, name, usage, algorithm, want) in table {
        let (provider, _) = counted(vec![named(signer, name, usage.clone())]);
        let header = Header { kid: Some(signer.kid.clone()), ..Header::new(algorithm) };
        let token = signer.signs_under(&header, &claims());
        check(&provider, &token, want, &format!("{name:?} {usage:?} {algorithm:?}")).await;
    }
}

#[test]
fn a_key_signs_what_fits_its_type() {
    let key = |json: Value| serde_json::from_value::<Jwk>(json).unwrap();
    let rsa = key(json!({ "kty": "RSA", "n": "AQAB", "e": "AQAB" }));
    let p256 = key(json!({ "kty": "EC", "crv": "P-256", "x": "AA", "y": "AA" }));
    let p384 = key(json!({ "kty": "EC", "crv": "P-384", "x": "AA", "y": "AA" }));
    let ed25519 = key(json!({ "kty": "OKP", "crv": "Ed25519", "x": "AA" }));
    let secret = key(json!({ "kty": "oct", "k": "AA", "alg": "HS256" }));
    let all = ASYMMETRIC.into_iter().chain([Algorithm::HS256, Algorithm::HS384, Algorithm::HS512]);
    for algorithm in all {
        let name = format!("{algorithm:?}");
        assert_eq!(signs(&rsa, algorithm), name.starts_with("RS") || name.starts_with("PS"), "{name}");
        assert_eq!(signs(&p256, algorithm), name == "ES256", "{name}");
        assert_eq!(signs(&p384, algorithm), name == "ES384", "{name}");
        assert_eq!(signs(&ed25519, algorithm), name == "EdDSA", "{name}");
        assert!(!signs(&secret, algorithm), "{name}");
    }
}

#[tokio::test]
async fn a_human_is_named_by_the_claim_that_was_chosen() {
    let by_email = Provider { human_claim: HumanClaim::Email, ..provider() };
    let with = |more: Value| {
        let mut claims = claims();
        claims.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        ES.signs(&claims)
    };
    let verified = with(json!({ "email": "Alice@Org.example", "email_verified": true }));
    let named = |login: Result<Login, Error>| login.unwrap().human.to_string();
    assert_eq!(named(provider().verify(&verified, at(NOW)).await), "alice@org");
    assert_eq!(named(by_email.verify(&verified, at(NOW)).await), "alice@org.example");
    for more in [
        json!({ "email": "alice@org.example" }),
        json!({ "email": "alice@org.example", "email_verified": false }),
        json!({ "email": "alice@org.example", "email_verified": "true" }),
        json!({ "email_verified": true }),
        json!({ "email": ["alice@org.example"], "email_verified": true }),
    ] {
        check(&by_email, &with(more.clone()), Some(Reason::InvalidSubjectToken), &more.to_string()).await;
    }
}

#[test]
fn a_claim_is_held_in_the_singular_or_the_plural_and_an_address_only_if_verified() {
    let table = [
        (json!({ "group": "security" }), "group", true),
        (json!({ "groups": ["staff", "security"] }), "group", true),
        (json!({ "groups": ["staff"] }), "group", false),
        (json!({ "groups": "security-guests" }), "group", false),
        (json!({ "groups": { "security": true } }), "group", false),
        (json!({ "sub": "security" }), "sub", true),
        (json!({ "email": "security", "email_verified": true }), "email", true),
        (json!({ "email": "security" }), "email", false),
    ];
    for (claims, claim, want) in table {
        let human = "alice@org".parse().unwrap();
        let login = Login { human, auth_time: None, amr: vec![], claims: claims.as_object().unwrap().clone() };
        assert_eq!(login.has(claim, "security"), want, "{claims}");
    }
}

#[tokio::test]
async fn a_provider_that_does_not_answer_is_named() {
    struct Down;
    #[async_trait]
    impl ProviderKeys for Down {
        async fn find(&self, _: &str, _: Timestamp) -> Result<Option<Jwk>, Error> {
            Err(Error::Unavailable { dependency: "the identity provider", source: "down".into() })
        }
    }
    let provider = Provider { keys: Arc::new(Down), ..provider() };
    let error = provider.verify(&ES.signs(&claims()), at(NOW)).await.unwrap_err();
    assert_eq!(error.to_string(), "the identity provider did not answer");
}

/// Verifies `token`, to be taken or refused for that reason.
async fn check(provider: &Provider, token: &str, want: Option<Reason>, what: &str) {
    let got = match provider.verify(token, at(NOW)).await {
        Ok(_) => None,
        Err(Error::SubjectToken { reason }) => Some(reason),
        Err(error) => panic!("{what}: {error}"),
    };
    assert_eq!(got, want, "{what}");
}

fn provider() -> Provider {
    counted(vec![ES.jwk.clone()]).0
}

/// A provider with these keys, and how often it was asked for one.
fn counted(keys: Vec<Jwk>) -> (Provider, Arc<AtomicU32>) {
    struct Counted(JwkSet, Arc<AtomicU32>);
    #[async_trait]
    impl ProviderKeys for Counted {
        async fn find(&self, kid: &str, now: Timestamp) -> Result<Option<Jwk>, Error> {
            self.1.fetch_add(1, Ordering::SeqCst);
            ProviderKeys::find(&self.0, kid, now).await
        }
    }
    let asked = Arc::new(AtomicU32::new(0));
    let keys = Arc::new(Counted(JwkSet { keys }, Arc::clone(&asked)));
    let (issuer, client_id) = ("https://provider.example".into(), "aegis".into());
    let (human_claim, humans_from) = (HumanClaim::Sub, String::new());
    (Provider { issuer, humans_from, client_id, human_claim, keys, device_scopes: None }, asked)
}

struct Signer {
    key: EncodingKey,
    jwk: Jwk,
    kid: String,
    algorithm: Algorithm,
    /// The public key in DER.
    public: Vec<u8>,
}

static ES: LazyLock<Signer> = LazyLock::new(Signer::es);
static RSA: LazyLock<Signer> = LazyLock::new(|| {
    let pair = KeyPair::generate(KeySize::Rsa2048).unwrap();
    let der: aws_lc_rs::encoding::Pkcs8V1Der = pair.as_der().unwrap();
    let key = EncodingKey::from_rsa_der(&pkcs1(der.as_ref()));
    let mut jwk = Jwk::from_encoding_key(&key, Algorithm::RS256).unwrap();
    jwk.common.key_id = Some("rsa".into());
    use aws_lc_rs::signature::KeyPair as _;
    Signer { key, jwk, kid: "rsa".into(), algorithm: Algorithm::RS256, public: pair.public_key().as_ref().to_vec() }
});

impl Signer {
    fn es() -> Self {
        let pair = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new()).unwrap();
        let key = EncodingKey::from_ec_der(pair.as_ref());
        let jwk = public_jwk(&key).unwrap();
        let kid = jwk.common.key_id.clone().unwrap();
        Self { key, jwk, kid, algorithm: Algorithm::ES256, public: Vec::new() }
    }

    fn header(&self) -> Header {
        Header { kid: Some(self.kid.clone()), ..Header::new(self.algorithm) }
    }

    fn signs(&self, claims: &Value) -> String {
        self.signs_under(&self.header(), claims)
    }

    fn signs_under(&self, header: &Header, claims: &Value) -> String {
        jsonwebtoken::encode(header, claims, &self.key).unwrap()
    }
}

/// The PKCS#1 key within a PKCS#8 one of 2048 bits: all that follows 26 bytes.
fn pkcs1(pkcs8: &[u8]) -> Vec<u8> {
    pkcs8[26..].to_vec()
}

fn claims() -> Value {
    json!({ "iss": "https://provider.example", "sub": "alice@org", "aud": "aegis", "iat": NOW, "exp": NOW + 300 })
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(seconds).unwrap()
}
