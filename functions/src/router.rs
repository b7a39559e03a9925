//! Finds the route of a request in the table.

use crate::problem::Stranded;
use crate::route::{Parameters, Route};
use crate::routes;
use aegis_core::id::RequestId;
use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Response};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The routes of one path.
type Methods = Vec<(&'static Method, &'static Route)>;

static ROUTER: LazyLock<matchit::Router<Methods>> = LazyLock::new(|| {
    let mut paths: HashMap<&'static str, Methods> = HashMap::new();
    for route in routes::table() {
        paths.entry(route.path).or_default().push((&route.method, route));
    }
    let mut router = matchit::Router::new();
    for (path, methods) in paths {
        #[expect(clippy::expect_used, reason = "the table is a constant; every test that routes builds this")]
        router.insert(path, methods).expect("two routes collide");
    }
    router
});

/// Why there is no route for a request.
#[derive(Debug)]
pub(crate) enum Missing {
    Method { allowed: String },
    Path,
}

/// The route for a method and a path, and the path's parameters, decoded.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Route, Parameters), Missing> {
    let found = ROUTER.at(path).map_err(|_| Missing::Path)?;
    let Some((_, route)) = found.value.iter().find(|(known, _)| *known == method) else {
        let allowed: Vec<&str> = found.value.iter().map(|(method, _)| method.as_str()).collect();
        return Err(Missing::Method { allowed: allowed.join(", ") });
    };
    let mut parameters = Parameters::default();
    for (name, value) in found.params.iter() {
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        let known = ["agent", "alias", "credential", "human", "key", "record"].into_iter().find(|known| *known == name);
        parameters.0.extend(known.map(|known| (known, value)));
    }
    Ok((route, parameters))
}

impl Missing {
    pub(crate) fn response(self, request_id: &RequestId) -> Response<Bytes> {
        let mut response = match &self {
            Self::Method { .. } => Stranded::NoSuchMethod.response(request_id),
            Self::Path => Stranded::NoSuchPath.response(request_id),
        };
        if let Self::Method { allowed } = self
            && let Ok(value) = HeaderValue::from_str(&allowed)
        {
            response.headers_mut().insert(ALLOW, value);
        }
        response
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_route_is_found_with_its_parameters_decoded() {
        for route in routes::table() {
            let path = route.path.replace("{human}", "alice%40org").replace(['{', '}'], "");
            let (found, parameters) = find(&route.method, &path).unwrap();
            assert_eq!((found.path, &found.method), (route.path, &route.method));
            if route.path.contains("{human}") {
                assert_eq!(parameters.0["human"], "alice@org");
            }
        }
        assert!(matches!(find(&Method::GET, "/v1/nothing"), Err(Missing::Path)));
        assert!(matches!(find(&Method::PUT, "/v1/keys"), Err(Missing::Method { .. })));
    }
}
