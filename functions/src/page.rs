//! The page on which a human answers an approval. It is the same for every approval and holds nothing: what it shows, it
//! asks of the API with a login of its own, as the command line does. She logs in at the local issuer, or at the
//! deployment's identity provider, which the page leads her to and from which it fetches the ID token itself.

use crate::oidc::{Endpoints, Fetched, Oidc, Unusable};
use aegis_core::ambient::Timestamp;
use aegis_core::error::Error;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use serde_json::json;

/// Where it is at the local issuer, before the approval's id.
pub const LOCAL: &str = "/local/approve/";
/// Where it is with a provider, before the approval's id.
pub const PATH: &str = "/approve/";
/// Where the provider leads back to, after that; no approval is called so.
const BACK: &str = "login";

const CSS: &str = include_str!("page/approve.css");
const LOCAL_JS: &str = concat!(include_str!("page/approve.js"), include_str!("page/passphrase.js"));
const PROVIDER_JS: &str = concat!(include_str!("page/approve.js"), include_str!("page/provider.js"));

/// Whether a path is a page's.
pub fn is_one(path: &str, before: &str) -> bool {
    path.strip_prefix(before).is_some_and(|id| !id.is_empty() && !id.contains('/'))
}

/// The page at the local issuer.
pub fn at_local_issuer() -> Response<Bytes> {
    page(LOCAL_JS, include_str!("page/passphrase.html"), "", "")
}

/// The page where humans log in at a provider.
pub struct AtProvider {
    issuer: String,
    client_id: String,
    scope: String,
    /// What the provider must know as an address to lead back to.
    redirect_uri: String,
    endpoints: Fetched<Endpoints>,
}

impl AtProvider {
    /// `url` is what browsers reach this server by, without a slash at its end.
    pub fn new(oidc: &Oidc, url: &str) -> Result<Self, Unusable> {
        Ok(Self {
            issuer: oidc.issuer.to_string(),
            client_id: oidc.client_id.clone(),
            scope: oidc.scopes.join(" "),
            redirect_uri: format!("{url}{PATH}{BACK}"),
            endpoints: oidc.endpoints()?,
        })
    }

    /// # Errors
    /// [`Error::Unavailable`] while the provider does not say where to log in.
    pub async fn answer(&self, now: Timestamp) -> Result<Response<Bytes>, Error> {
        let unusable = |why: &str| Error::Unavailable { dependency: "the identity provider", source: why.into() };
        let found = self.endpoints.pick(now, |found| Some(found.clone())).await?;
        let found = found.ok_or_else(|| unusable("it was asked less than 30 seconds ago"))?;
        let token_origin = origin(&found.token).ok_or_else(|| unusable("its token endpoint has no plain name"))?;
        let told = json!({
            "authorization_endpoint": found.authorization,
            "token_endpoint": found.token,
            "issuer": self.issuer,
            "client_id": self.client_id,
            "scope": self.scope,
            "redirect_uri": self.redirect_uri,
        });
        // Data, which ends where its element does, and runs nowhere.
        let told = told.to_string().replace('<', "\\u003c");
        let told = format!("<script type=\"application/json\" id=\"provider\">{told}</script>\n");
        Ok(page(PROVIDER_JS, include_str!("page/provider.html"), &told, &format!(" {token_origin}")))
    }
}

/// Nothing but the page's own script and style runs, it talks to its own server and to whom `asked` names, and no other
/// page shows it.
fn page(js: &str, login: &str, told: &str, asked: &str) -> Response<Bytes> {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'{asked}; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'",
        hash(js),
        hash(CSS)
    );
    // What is told comes last, so that nothing in it is replaced.
    let html = include_str!("page/approve.html").replace("{css}", CSS).replace("{js}", js).replace("{login}", login);
    let mut response = Response::new(Bytes::from(html.replace("{told}", told)));
    let fixed: [(HeaderName, &'static str); 6] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (http::header::CACHE_CONTROL, "no-store"),
        // Who opened it keeps no hold of it.
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(HeaderValue::from_str(&policy).ok().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    response
}

/// Scheme, host and port of an address, if nothing in them means something in a policy.
fn origin(address: &str) -> Option<String> {
    let uri: http::Uri = address.parse().ok()?;
    let (scheme, host) = (uri.scheme_str()?, uri.host()?);
    let port = uri.port_u16().map(|port| format!(":{port}")).unwrap_or_default();
    let plain = host.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_'));
    plain.then(|| format!("{scheme}://{host}{port}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn script_and_style_stand_in_the_page_as_they_were_hashed() {
        let oidc = serde_json::json!({
            "issuer": "https://login.example", "client_id": "</script>{js}", "scopes": ["openid", "groups"],
        });
        let oidc: Oidc = serde_json::from_value(oidc).unwrap();
        let endpoints = Endpoints {
            authorization: "https://login.example/authorize?tenant=a".to_string(),
            token: "https://token.login.example:8443/token".to_string(),
        };
        let at_provider = AtProvider {
            endpoints: Fetched::new(move || Ok(endpoints.clone())),
            ..AtProvider::new(&oidc, "https://aegis.example").unwrap()
        };
        let at_provider = at_provider.answer(Timestamp::UNIX_EPOCH).await.unwrap();
        for (response, js, asks) in [
            (at_local_issuer(), LOCAL_JS, "connect-src 'self';"),
            (at_provider, PROVIDER_JS, "connect-src 'self' https://token.login.example:8443;"),
        ] {
            let page = std::str::from_utf8(response.body()).unwrap();
            assert!(
                page.contains(&format!("<script>{js}</script>")) && page.contains(&format!("<style>{CSS}</style>"))
            );
            assert!(!page.contains("</script>{js}"));
            let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
            assert!(policy.starts_with("default-src 'none'") && policy.matches("'sha256-").count() == 2, "{policy}");
            assert!(policy.contains(asks), "{policy}");
        }
    }

    #[test]
    fn an_origin_says_nothing_else_in_a_policy() {
        let table = [
            ("https://login.example/token", Some("https://login.example")),
            ("http://127.0.0.1:3000/token?x=y", Some("http://127.0.0.1:3000")),
            ("https://user@login.example/token", Some("https://login.example")),
            ("https://login.example;script-src/token", None),
            ("https://*/token", None),
            ("/token", None),
        ];
        for (address, want) in table {
            assert_eq!(origin(address).as_deref(), want, "{address}");
        }
    }
}
