use super::*;
use aegis_core::ambient::Timestamp;
use aegis_embedded::store::SqliteStore;

#[tokio::test]
async fn another_users_guesses_lock_nobody_out() {
    let folder = tempfile::tempdir().unwrap();
    let issuer = issuer(folder.path());
    let code = issuer.enrolment(false).await.unwrap().unwrap().to_string();
    let asked = EnrollRequest { code, human: alice(), passphrase: Passphrase(RIGHT.into()) };
    issuer.enroll(asked, by(1)).await.unwrap();
    let guess = async |passphrase: &str, user: u32| {
        let asked = TokenRequest { human: alice(), passphrase: Passphrase(passphrase.into()) };
        issuer.log_in(asked, by(user)).await
    };
    for _ in 0..ATTEMPTS_PER_MINUTE {
        let refused = guess("not her passphrase", 2).await;
        assert!(matches!(refused, Err(Error::Unauthenticated { reason: Reason::LoginRefused })));
    }
    let limited = guess(RIGHT, 2).await;
    assert!(matches!(limited, Err(Error::LimitReached { reason: Reason::RateLimited, .. })));
    guess(RIGHT, 1).await.unwrap();
}

const RIGHT: &str = "correct horse battery staple";

fn issuer(folder: &std::path::Path) -> LocalIssuer {
    let random = aws_lc_rs::rand::SystemRandom::new();
    let kind = &aws_lc_rs::signature::ECDSA_P256_SHA256_FIXED_SIGNING;
    let key = aws_lc_rs::signature::EcdsaKeyPair::generate_pkcs8(kind, &random).unwrap();
    let clock = Clock::new(|| Timestamp::from_second(1_790_000_000).unwrap());
    let store = Arc::new(SqliteStore::open(folder).unwrap());
    LocalIssuer::new("urn:test".into(), key.as_ref(), store, clock, Entropy::system(), 8400).unwrap()
}

fn alice() -> HumanId {
    "alice@org".parse().unwrap()
}

/// A program of this user of the machine.
fn by(user: u32) -> Origin {
    Origin { source: [127, 0, 0, 1].into(), caller: Caller::User(user) }
}
