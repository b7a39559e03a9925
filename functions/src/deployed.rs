//! What of the route table lies behind an API gateway, and which function serves it: `infra/routes.json` is made of it,
//! and Terraform is made of that.

use crate::route::{Access, Route, TargetKind};
use crate::{caller, routes, tools};
use aegis_core::operation::Operation;
use serde::Serialize;

/// One route as it is deployed.
#[derive(Debug, Eq, PartialEq, Serialize)]
pub struct Deployed {
    pub method: String,
    /// Parameters in braces.
    pub path: &'static str,
    /// What a caller must be permitted; absent where no credential is needed, and where the body says what is asked for.
    pub operation: Option<&'static str>,
    /// Routes that share an operation share a function, and with it its rights.
    pub function: String,
    /// What the path names.
    pub target: TargetKind,
    /// Whether what it made is remembered by the caller's idempotency key.
    pub idempotent: bool,
    /// Whether messages ask for it, so that the function that reads them calls this one.
    pub asked_by_messages: bool,
}

/// Every route, in the order of their paths.
pub fn table() -> Vec<Deployed> {
    let mut deployed: Vec<_> = routes::table().iter().map(Deployed::of).collect();
    deployed.sort_by(|a, b| (a.path, &a.method).cmp(&(b.path, &b.method)));
    deployed
}

impl Deployed {
    fn of(route: &Route) -> Self {
        let operation = match route.access {
            Access::Bearer(operation) if !route.takes_messages() => Some(operation),
            _ => None,
        };
        let function = match operation {
            Some(operation) => function_of(operation),
            None if route.takes_messages() => MESSAGES.to_string(),
            None => PUBLIC.to_string(),
        };
        Self {
            method: route.method.to_string(),
            path: route.path,
            operation: operation.map(Operation::as_str),
            function,
            target: route.kind,
            idempotent: route.takes_idempotency_key,
            asked_by_messages: is_asked_by_messages(route),
        }
    }
}

/// The function that serves an operation.
pub fn function_of(operation: Operation) -> String {
    format!("op-{}", operation.as_str().replace('.', "-"))
}

fn is_asked_by_messages(route: &Route) -> bool {
    let own = caller::whoami().into_iter();
    tools::all().iter().map(|tool| tool.route).chain(own).any(|asked| std::ptr::eq(asked, route))
}

/// The function that reads messages, and does nothing itself.
const MESSAGES: &str = "mcp";

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
    fn what_needs_no_credential_and_what_reads_messages_have_a_function_each() {
        for route in table() {
            let beside = route.function == MESSAGES;
            assert_eq!(route.function == PUBLIC, PUBLIC_PATHS.contains(&route.path) && !beside, "{}", route.path);
            assert_eq!(route.operation.is_none(), route.function == PUBLIC || beside, "{}", route.path);
        }
    }

    #[test]
    fn messages_ask_for_what_tools_stand_for_and_for_nothing_without_a_credential() {
        let asked = table().into_iter().filter(|route| route.asked_by_messages);
        let paths: BTreeSet<&str> = asked.inspect(|route| assert!(route.operation.is_some())).map(|r| r.path).collect();
        for path in ["/v1/whoami", "/v1/keys/{key}/sign", "/v1/scope"] {
            assert!(paths.contains(path), "{paths:?}");
        }
        assert!(!paths.contains("/v1/keys/{key}/destroy"), "{paths:?}");
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

    const INFRA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../infra");

    /// What the blocks of a kind in a file of the module are called.
    fn named(file: &str, kind: &str) -> BTreeSet<String> {
        let text = std::fs::read_to_string(format!("{INFRA}/{file}")).unwrap();
        let begins = format!("{kind} \"");
        let names = text.lines().filter_map(|line| line.strip_prefix(&begins)?.split('"').next());
        names.map(ToString::to_string).collect()
    }

    #[test]
    fn all_that_the_module_takes_and_gives_is_in_its_readme() {
        let readme = std::fs::read_to_string(format!("{INFRA}/README.md")).unwrap();
        let (takes, gives) = readme.split_once("\n| output | |\n").unwrap();
        for (table, file, kind) in [(takes, "variables.tf", "variable"), (gives, "outputs.tf", "output")] {
            let names = named(file, kind);
            assert!(names.len() > 5, "{names:?}");
            for name in names {
                assert!(table.contains(&format!("\n| `{name}` | ")), "{kind} {name}");
            }
        }
    }

    #[test]
    fn the_module_names_each_program_that_it_needs() {
        let variables = std::fs::read_to_string(format!("{INFRA}/variables.tf")).unwrap();
        let (_, artifacts) = variables.split_once("variable \"artifacts\"").unwrap();
        let (artifacts, _) = artifacts.split_once("\n}").unwrap();
        let programs = std::fs::read_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/src/bin")).unwrap();
        for program in programs.map(|file| file.unwrap().path()) {
            let zip = format!(" {}.zip", program.file_stem().unwrap().to_str().unwrap());
            assert!(artifacts.contains(&zip), "{zip}");
        }
    }
}
