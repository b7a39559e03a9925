//! What of the route table lies behind an API gateway, and which function serves it: `infra/routes.json` is made of it,
//! and Terraform is made of that.

use crate::route::{Access, Route, TargetKind};
use crate::routes;
use serde::Serialize;

/// One route as it is deployed.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Deployed {
    pub method: String,
    /// Parameters in braces.
    pub path: &'static str,
    /// What a caller must be permitted; absent where no credential is needed.
    pub operation: Option<&'static str>,
    /// Routes that share an operation share a function, and with it its rights.
    pub function: String,
    /// What the path names.
    pub target: TargetKind,
    /// Whether what it made is remembered by the caller's idempotency key.
    pub idempotent: bool,
}

/// Every route that is not for a process alone, in the order of their paths.
pub fn table() -> Vec<Deployed> {
    let mut deployed: Vec<_> = routes::table().iter().filter(|route| !route.embedded_only).map(Deployed::of).collect();
    deployed.sort_by(|a, b| (a.path, &a.method).cmp(&(b.path, &b.method)));
    deployed
}

impl Deployed {
    fn of(route: &Route) -> Self {
        let operation = match route.access {
            Access::Bearer(operation) => Some(operation.as_str()),
            Access::Public => None,
        };
        let function = operation.map_or(PUBLIC.to_string(), |name| format!("op-{}", name.replace('.', "-")));
        Self {
            method: route.method.to_string(),
            path: route.path,
            operation,
            function,
            target: route.kind,
            idempotent: route.takes_idempotency_key,
        }
    }
}

/// The function of all routes without a credential, and of what is no route.
const PUBLIC: &str = "public";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::routes::PUBLIC as PUBLIC_PATHS;
    use std::collections::{BTreeMap, BTreeSet};

    /// With `AEGIS_BLESS` set, the file is written instead.
    #[test]
    fn the_deployment_is_made_of_the_table() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra/routes.json");
        let text = serde_json::to_string_pretty(&table()).unwrap() + "\n";
        if std::env::var_os("AEGIS_BLESS").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        assert_eq!(std::fs::read_to_string(path).unwrap(), text, "bless {path}");
    }

    #[test]
    fn only_what_agents_speak_to_is_for_a_process_alone() {
        let alone: BTreeSet<&str> =
            routes::table().iter().filter(|route| route.embedded_only).map(|route| route.path).collect();
        let agents: BTreeSet<&str> =
            routes::table().iter().filter(|route| route.plane.is_for_agents()).map(|route| route.path).collect();
        assert_eq!(alone, agents);
    }

    #[test]
    fn what_needs_no_credential_has_a_function_of_its_own() {
        for route in table() {
            assert_eq!(route.function == PUBLIC, PUBLIC_PATHS.contains(&route.path), "{}", route.path);
        }
    }

    /// AWS allows 64 characters, and the deployment's name comes before it.
    #[test]
    fn a_function_serves_one_operation_and_has_a_short_name() {
        let mut served: BTreeMap<String, BTreeSet<Option<&str>>> = BTreeMap::new();
        for route in table() {
            served.entry(route.function).or_default().insert(route.operation);
        }
        assert!(served.values().all(|operations| operations.len() == 1));
        assert!(served.keys().all(|name| name.len() <= 32), "{:?}", served.keys());
    }

    /// A gateway takes one name for a parameter in one place.
    #[test]
    fn a_place_in_a_path_has_one_parameter() {
        let mut names: BTreeMap<String, &str> = BTreeMap::new();
        for route in table() {
            for (at, _) in route.path.match_indices("/{") {
                let parameter = route.path.get(at..).unwrap().trim_start_matches('/').split('/').next().unwrap();
                let before = names.entry(route.path.get(..at).unwrap().to_string()).or_insert(parameter);
                assert_eq!(*before, parameter, "{}", route.path);
            }
        }
    }
}
