//! No token is verified that was not issued, whatever it looks like.
//!
//! An input is `=` and a token, or `+` and a header, a line feed and claims, which are then signed by the genuine key:
//! that is what a fault in issuing could lead to, and how the checks behind the signature are reached.
#![no_main]

use aegis_core::ambient::Timestamp;
use aegis_core::token::{Claims, LEEWAY, TokenKeys};
use aegis_fuzz::deployment::NOW;
use aegis_fuzz::seed;
use aegis_fuzz::signer::{Signer, signed_part};
use libfuzzer_sys::fuzz_target;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::sync::LazyLock;

struct Issuer {
    signer: Signer,
    keys: TokenKeys,
    kid: String,
    /// What was signed of each token that was issued.
    issued: HashSet<String>,
}

static ISSUER: LazyLock<Issuer> = LazyLock::new(|| {
    let signer = Signer::of_aegis();
    let keys = TokenKeys::new(NAME.into(), "aegis".into(), &signer.pkcs8).unwrap();
    let kid = keys.jwks().keys[0].common.key_id.clone().unwrap();
    let id = |prefix: &str, n: u8| format!("{prefix}_{n:032x}");
    let human = json!({
        "iss": NAME, "sub": "alice@org", "aud": "aegis", "client_id": "aegis", "iat": NOW, "nbf": NOW,
        "exp": NOW + 3_600, "jti": id("crd", 1), "auth_time": NOW, "amr": ["pwd"],
        "epoch": { "deployment": 1, "human": 2 },
    });
    let agent = json!({
        "iss": NAME, "sub": "alice@org", "aud": "aegis", "client_id": "aegis", "iat": NOW, "nbf": NOW,
        "exp": NOW + 3_600, "jti": id("crd", 2),
        "act": { "sub": id("agt", 2), "act": { "sub": id("agt", 1) } },
        "authorization_details": [{ "type": "aegis_key_use", "keys": [id("key", 1), "team=billing"], "actions": ["sign"] }],
        "epoch": { "deployment": 1, "human": 2, "agents": [0, 3] }, "via": [id("crd", 1)],
    });
    let run = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let issue = |claims: &Value| {
        let asked = serde_json::from_value::<Claims>(claims.clone()).unwrap();
        let token = run.block_on(keys.sign(&asked)).unwrap();
        seed(&format!("issued-{}", claims["jti"].as_str().unwrap()), format!("={token}").as_bytes());
        let header = json!({ "typ": "at+jwt", "alg": "ES256", "kid": kid });
        seed(&format!("signed-{}", claims["jti"].as_str().unwrap()), format!("+{header}\n{claims}").as_bytes());
        signed_part(&token).to_string()
    };
    let issued = [&human, &agent].map(issue).into();
    Issuer { signer, keys, kid, issued }
});

fuzz_target!(|input: &[u8]| {
    let (issuer, now) = (&*ISSUER, Timestamp::from_second(NOW).unwrap());
    match input.split_first() {
        Some((b'=', token)) => {
            let Ok(token) = std::str::from_utf8(token) else { return };
            if issuer.keys.verify(token, now).is_ok() {
                assert!(issuer.issued.contains(signed_part(token)), "{token}");
            }
        }
        Some((b'+', parts)) => {
            let mut parts = parts.splitn(2, |byte| *byte == b'\n');
            let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            let token = issuer.signer.sign(header, claims);
            if let Ok(verified) = issuer.keys.verify(&token, now) {
                let header: Value = serde_json::from_slice(header).unwrap();
                assert_eq!((&header["typ"], &header["kid"]), (&json!("at+jwt"), &json!(issuer.kid)), "{header}");
                assert_eq!((&header["alg"], &header["crit"]), (&json!("ES256"), &Value::Null), "{header}");
                assert_eq!((verified.iss.as_str(), verified.aud.as_str()), (NAME, "aegis"));
                assert!(verified.exp + LEEWAY > NOW && verified.nbf - LEEWAY <= NOW && verified.cnf.is_none());
                // Twice: the second time it is known.
                assert!(issuer.keys.look_up(&token).is_known() && issuer.keys.verify(&token, now).is_ok());
            }
        }
        _ => {}
    }
});

const NAME: &str = "urn:aegis:fuzz";
