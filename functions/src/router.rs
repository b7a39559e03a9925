//! Finds the route of a request in the table.

use crate::problem::Stranded;
use crate::route::{Parameters, Route};
use crate::routes;
use aegis_core::id::RequestId;
use bytes::Bytes;
use http::header::{ALLOW, HeaderValue};
use http::{Method, Response};
use std::sync::LazyLock;

/// The routes of each method by themselves: a path that stands for something under one method, as `/v1/keys/import`,
/// takes no name from another, as `/v1/keys/{key}`.
static ROUTERS: LazyLock<Vec<(&'static Method, matchit::Router<&'static Route>)>> = LazyLock::new(|| {
    let mut routers: Vec<(&Method, matchit::Router<&Route>)> = Vec::new();
    for route in routes::table() {
        let place = routers.iter().position(|(method, _)| **method == route.method).unwrap_or_else(|| {
            routers.push((&route.method, matchit::Router::new()));
            routers.len().saturating_sub(1)
        });
        #[expect(clippy::expect_used, reason = "the table is a constant; every test that routes builds this")]
        let inserted =
            routers.get_mut(place).map(|(_, router)| router.insert(route.path, route).expect("no collision"));
        debug_assert!(inserted.is_some());
    }
    routers
});

/// Why there is no route for a request.
#[derive(Debug)]
pub(crate) enum Missing {
    Method { allowed: String },
    Path,
}

/// The route for a method and a path, and the path's parameters, decoded.
pub(crate) fn find(method: &Method, path: &str) -> Result<(&'static Route, Parameters), Missing> {
    let found = ROUTERS.iter().find(|(known, _)| *known == method).and_then(|(_, router)| router.at(path).ok());
    let Some(found) = found else {
        let others = ROUTERS.iter().filter(|(_, router)| router.at(path).is_ok());
        let allowed: Vec<&str> = others.map(|(method, _)| method.as_str()).collect();
        return Err(if allowed.is_empty() { Missing::Path } else { Missing::Method { allowed: allowed.join(", ") } });
    };
    let mut parameters = Parameters::default();
    for (name, value) in found.params.iter() {
        let value = percent_encoding::percent_decode_str(value).decode_utf8_lossy().into_owned();
        parameters.0.extend(parameter(name).map(|known| (known, value)));
    }
    Ok((found.value, parameters))
}

/// The name, if a path has a parameter of that name.
pub(crate) fn parameter(name: &str) -> Option<&'static str> {
    let known = [
        "access_request",
        "actor",
        "agent",
        "alias",
        "approval",
        "credential",
        "human",
        "key",
        "recommendation",
        "record",
        "version",
        "webhook",
    ];
    known.into_iter().find(|known| *known == name)
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
        assert!(matches!(find(&Method::PUT, "/v1/keys"), Err(Missing::Method { allowed }) if allowed == "GET, POST"));
    }

    #[test]
    fn a_key_may_be_called_as_a_path_is() {
        for name in ["import", "import-parameters", "register"] {
            let path = format!("/v1/keys/{name}");
            let (found, parameters) = find(&Method::GET, &path).unwrap();
            assert_eq!((found.path, parameters.0["key"].as_str()), ("/v1/keys/{key}", name));
            assert_eq!(find(&Method::POST, &path).unwrap().0.path, path);
            assert_eq!(find(&Method::POST, &format!("{path}/sign")).unwrap().0.path, "/v1/keys/{key}/sign");
        }
    }
}
