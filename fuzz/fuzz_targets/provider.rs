//! What an identity provider, or somebody in its place, sends: its key set, and ID tokens.
//!
//! An input is a key set, a line feed, and `=` with a token, or `+` with a header, a line feed and claims, which the
//! provider's genuine key then signs. Keys of any kind lie before the provider's own; no token opens anything that the
//! genuine key did not sign, unless the set says who else may.
#![no_main]

use aegis_fuzz::deployment::{Deployment, ISSUER, NOW};
use aegis_fuzz::seed;
use aegis_fuzz::signer::signed_part;
use bytes::Bytes;
use http::Request;
use libfuzzer_sys::fuzz_target;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::LazyLock;

/// As the server reads it: keys one by one.
#[derive(Deserialize)]
struct KeySet {
    keys: Vec<Value>,
}

static DEPLOYMENT: LazyLock<Deployment> = LazyLock::new(|| {
    let deployment = Deployment::new();
    let kid = &deployment.provider_jwk.common.key_id;
    let own = serde_json::to_value(&deployment.provider_jwk).unwrap();
    let rsa = json!({ "kty": "RSA", "kid": "r", "alg": "RS256", "use": "sig", "n": "u1SU", "e": "AQAB" });
    let okp = json!({ "kty": "OKP", "kid": "o", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo" });
    let oct = json!({ "kty": "oct", "kid": "s", "alg": "HS256", "k": "c2VjcmV0" });
    let keys = json!({ "keys": [rsa, okp, oct, own] });
    let header = json!({ "alg": "ES256", "typ": "JWT", "kid": kid });
    let claims = json!({
        "iss": ISSUER, "sub": "bob@org", "aud": ["aegis", "other"], "azp": "aegis", "iat": NOW, "nbf": NOW,
        "exp": NOW + 300, "auth_time": NOW, "amr": ["pwd"], "roles": ["admin"], "role": "user", "email": "b@o",
        "email_verified": true, "typ": "ID", "token_use": "id",
    });
    seed("presented", format!("{keys}\n={}", deployment.word("$idtoken")).as_bytes());
    seed("signed", format!("{keys}\n+{header}\n{claims}").as_bytes());
    for (kid, alg) in [("r", "RS256"), ("o", "EdDSA"), ("s", "HS256"), ("r", "PS512")] {
        let header = json!({ "alg": alg, "kid": kid });
        seed(&format!("foreign-{alg}"), format!("{keys}\n+{header}\n{claims}").as_bytes());
    }
    deployment
});

fuzz_target!(|input: &[u8]| {
    let deployment = &*DEPLOYMENT;
    let mut parts = input.splitn(2, |byte| *byte == b'\n');
    let (keys, rest) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
    let keys = serde_json::from_slice(keys).map_or_else(|_| Vec::new(), |KeySet { keys }| keys);
    let keys: Vec<_> = keys.into_iter().filter_map(|key| serde_json::from_value(key).ok()).collect();
    let foreign = keys.iter().any(|jwk| *jwk != deployment.provider_jwk);
    deployment.reset(keys);
    let (token, claims) = match rest.split_first() {
        Some((b'=', token)) => match std::str::from_utf8(token) {
            Ok(token) => (token.to_string(), None),
            Err(_) => return,
        },
        Some((b'+', parts)) => {
            let mut parts = parts.splitn(2, |byte| *byte == b'\n');
            let (header, claims) = (parts.next().unwrap_or_default(), parts.next().unwrap_or_default());
            (deployment.provider.sign(header, claims), Some(claims))
        }
        _ => return,
    };
    let form = [
        ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
        ("subject_token", &token),
        ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
    ];
    let escape =
        |text: &str| percent_encoding::utf8_percent_encode(text, percent_encoding::NON_ALPHANUMERIC).to_string();
    let body = form.map(|(name, value)| format!("{name}={}", escape(value))).join("&");
    let request = || {
        let request = Request::post("/v1/oauth/token").header("content-type", "application/x-www-form-urlencoded");
        request.body(Bytes::from(body.clone())).unwrap()
    };
    let status = deployment.answer(request()).status();
    assert!(!status.is_server_error(), "{status}");
    if !status.is_success() {
        return;
    }
    match claims {
        Some(claims) => {
            let claims: Value = serde_json::from_slice(claims).unwrap();
            assert_eq!(claims["iss"], ISSUER);
            assert!(claims["aud"] == "aegis" || claims["aud"].as_array().is_some_and(|a| a.contains(&json!("aegis"))));
            assert!(claims["exp"].as_i64().unwrap() > NOW - 60);
        }
        None => assert!(foreign || signed_part(&token) == signed_part(deployment.word("$idtoken")), "{token}"),
    }
    assert!(!deployment.answer(request()).status().is_success(), "exchanged twice");
});
