//! The page on which a human answers an approval, at the local issuer. It is the same for every approval and holds nothing:
//! what it shows, it asks of the API with a login of its own, as the command line does.

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Response;
use http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, HeaderName, HeaderValue, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
    X_FRAME_OPTIONS,
};
use std::sync::LazyLock;

/// Where it is, before the approval's id.
pub(super) const PATH: &str = "/local/approve/";

const CSS: &str = include_str!("page/approve.css");
const JS: &str = include_str!("page/approve.js");
static HTML: LazyLock<Bytes> = LazyLock::new(|| {
    let html = include_str!("page/approve.html").replace("{css}", CSS).replace("{js}", JS);
    Bytes::from(html)
});
/// Nothing but the page's own script and style runs, it talks to its own server alone, and no other page shows it.
static POLICY: LazyLock<Option<HeaderValue>> = LazyLock::new(|| {
    let hash = |text: &str| format!("'sha256-{}'", STANDARD.encode(digest(&SHA256, text.as_bytes())));
    let policy = format!(
        "default-src 'none'; script-src {}; style-src {}; connect-src 'self'; base-uri 'none'; form-action 'none'; \
         frame-ancestors 'none'",
        hash(JS),
        hash(CSS)
    );
    HeaderValue::from_str(&policy).ok()
});

pub(super) fn approve() -> Response<Bytes> {
    let mut response = Response::new(HTML.clone());
    let fixed: [(HeaderName, &'static str); 5] = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (http::header::CACHE_CONTROL, "no-store"),
        (REFERRER_POLICY, "no-referrer"),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (X_FRAME_OPTIONS, "DENY"),
    ];
    let headers = response.headers_mut();
    headers.extend(fixed.map(|(name, value)| (name, HeaderValue::from_static(value))));
    headers.extend(POLICY.clone().map(|policy| (CONTENT_SECURITY_POLICY, policy)));
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn script_and_style_stand_in_the_page_as_they_were_hashed() {
        let page = std::str::from_utf8(&HTML).unwrap();
        assert!(page.contains(&format!("<script>{JS}</script>")) && page.contains(&format!("<style>{CSS}</style>")));
        let response = approve();
        let policy = response.headers()[CONTENT_SECURITY_POLICY].to_str().unwrap();
        assert!(policy.starts_with("default-src 'none'") && policy.matches("'sha256-").count() == 2, "{policy}");
    }
}
