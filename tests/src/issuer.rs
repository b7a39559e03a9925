//! An identity provider of the test's own, where a deployment fetches its keys: on a loopback port, for this process.

use aegis_core::token::public_jwk;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

pub struct Issuer {
    url: String,
    signer: EncodingKey,
    kid: String,
    logins: AtomicU64,
}

impl Issuer {
    /// Answers at `url` from now on, if that is on this machine; elsewhere somebody else does, who knows the key. The key is kept
    /// in a file: a provider whose keys change from one run to the next is asked again for them only after a while.
    pub fn at(url: &str, key: &Path) -> Self {
        if !key.exists() {
            std::fs::write(key, crate::deployment::p256()).unwrap();
        }
        let signer = EncodingKey::from_ec_der(&std::fs::read(key).unwrap());
        let jwk = public_jwk(&signer).unwrap();
        let kid = jwk.common.key_id.clone().unwrap();
        if let Some(here) = url.strip_prefix("http://") {
            listen(TcpListener::bind(here).unwrap(), url, &jwk);
        }
        Self { url: url.to_string(), signer, kid, logins: AtomicU64::new(0) }
    }

    /// What a login now gives.
    pub fn id_token(&self, human: &str, roles: &[&str]) -> String {
        self.id_token_of(human, roles, 0)
    }

    /// What it gives to who proved who she is so many seconds ago.
    pub fn id_token_of(&self, human: &str, roles: &[&str], ago: u64) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
        let claims: Value = json!({
            "iss": self.url, "sub": human, "aud": "aegis", "iat": now, "exp": now + 300, "auth_time": now - ago,
            "email": human, "email_verified": true, "roles": roles, "jti": self.logins.fetch_add(1, Ordering::SeqCst).to_string(),
        });
        self.signs(&claims)
    }

    /// A token with these claims.
    pub fn signs(&self, claims: &Value) -> String {
        let header = Header { kid: Some(self.kid.clone()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, claims, &self.signer).unwrap()
    }

    pub fn url(&self) -> &str {
        &self.url
    }
}

fn listen(listener: TcpListener, url: &str, jwk: &Jwk) {
    let at = |path: &str| format!("{url}/{path}");
    let discovery = json!({
        "issuer": url, "jwks_uri": at("jwks"), "authorization_endpoint": at("authorize"), "token_endpoint": at("token"),
    });
    let discovery = discovery.to_string();
    let keys = json!({ "keys": [jwk] }).to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            // Whoever hangs up gets nothing.
            let _ = answer(&stream, &discovery, &keys);
        }
    });
}

fn answer(mut stream: &TcpStream, discovery: &str, keys: &str) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream).lines();
    let request = lines.next().transpose()?.unwrap_or_default();
    for line in lines {
        if line?.is_empty() {
            break;
        }
    }
    let body = if request.contains("/jwks") { keys } else { discovery };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: {length}\r\nconnection: close\r\n\r\n{body}"
    )
}
