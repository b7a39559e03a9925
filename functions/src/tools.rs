//! The tools, each of which stands for a route. What a tool takes and returns is what its route does. MCP and Agent-AI
//! have them in common; what is theirs alone is how a call is written, and how it is answered.

mod arguments;
mod catalogue;
mod refusal;
mod schema;
pub(crate) mod words;

use crate::route::Route;
use aegis_core::error::Failed;
use aegis_core::operation::Operation;
use aegis_core::scope::Action;
use rmcp::model::ToolAnnotations;
use std::collections::BTreeSet;
use std::sync::{Arc, LazyLock};

use catalogue::{Hints, Line, Listed};

pub(crate) use arguments::Asked;
pub(crate) use refusal::{Refusal, Verdict};

/// One of them.
pub(crate) struct Tool {
    pub(crate) route: &'static Route,
    listed: Listed,
    /// Names of what the query or the body has.
    members: BTreeSet<String>,
    /// As it is listed.
    pub(crate) shown: rmcp::model::Tool,
}

static TOOLS: LazyLock<Vec<Tool>> = LazyLock::new(|| catalogue::LINES.iter().filter_map(Tool::new).collect());

/// Every tool there is, in the order in which they are listed.
pub(crate) fn all() -> &'static [Tool] {
    &TOOLS
}

/// Those that an agent is shown that may do this.
pub(crate) fn shown_to<'a>(
    actions: &'a BTreeSet<Action>,
    operations: &'a BTreeSet<Operation>,
) -> impl Iterator<Item = &'static Tool> + use<'a> {
    all().iter().filter(|tool| tool.is_for(actions, operations))
}

/// The tool of this name, whether or not it is listed to anybody.
pub(crate) fn named(name: &str) -> Option<&'static Tool> {
    all().iter().find(|tool| tool.shown.name == name)
}

impl Tool {
    fn new(line: &'static Line) -> Option<Self> {
        let found = |route: &&Route| route.path == line.path && route.method == line.method;
        let route = crate::routes::table().iter().find(found)?;
        let schema::Schemas { members, input, output } = schema::of(route, line.left_out);
        let Hints { read_only, destructive, idempotent } = line.hints;
        let annotations = ToolAnnotations::with_title(line.title)
            .read_only(read_only)
            .destructive(destructive)
            .idempotent(idempotent)
            // Only what this deployment holds is ever touched.
            .open_world(false);
        let shown = rmcp::model::Tool::new(line.name, line.description, Arc::new(input))
            .with_title(line.title)
            .with_raw_output_schema(Arc::new(output))
            .with_annotations(annotations);
        Some(Self { route, listed: line.listed, members, shown })
    }

    pub(crate) fn path_parameters(&self) -> impl Iterator<Item = &'static str> {
        parameters_of(self.route)
    }

    pub(crate) fn takes(&self, argument: &str) -> bool {
        self.members.contains(argument)
    }

    /// The same in words.
    pub(crate) fn shown_to(&self) -> String {
        match self.listed {
            Listed::Always => "every agent".to_string(),
            Listed::With(action) => format!("agents that may `{}` with some key", action.as_str()),
            Listed::Permitted(operation) => format!("agents whom policy permits `{operation}`"),
        }
    }

    /// Whether an agent that may do this is shown the tool. What is shown is a help and no right.
    fn is_for(&self, actions: &BTreeSet<Action>, operations: &BTreeSet<Operation>) -> bool {
        match self.listed {
            Listed::Always => true,
            Listed::With(action) => actions.contains(&action),
            Listed::Permitted(operation) => operations.contains(&operation),
        }
    }
}

/// Why what an agent asked for came to nothing.
pub(crate) enum NotDone {
    /// Of an agent: what is answered to her tells.
    Refused(Box<Refusal>),
    /// Of nobody, or of a human: HTTP tells.
    TurnedAway(Failed),
}

impl<E: Into<Failed>> From<E> for NotDone {
    fn from(error: E) -> Self {
        Self::TurnedAway(error.into())
    }
}

/// The names in braces.
fn parameters_of(route: &'static Route) -> impl Iterator<Item = &'static str> {
    route.path.split('/').filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_of_the_catalogue_is_a_tool_that_no_argument_of_another_kind_gets_into() {
        assert_eq!(all().len(), catalogue::LINES.len(), "each names a route of the table");
        for tool in all() {
            let input = &tool.shown.input_schema;
            assert_eq!(input.get("additionalProperties"), Some(&false.into()), "{}", tool.shown.name);
            let properties = input["properties"].as_object().unwrap();
            let taken = |name: &String| {
                tool.takes(name)
                    || tool.path_parameters().any(|parameter| parameter == name)
                    || name == "idempotency_key"
            };
            assert!(properties.keys().all(taken), "{}", tool.shown.name);
            let description = tool.shown.description.as_ref().unwrap();
            assert!(description.len() < 600);
            let unfit = ["Do not", "Never", "Not for", "not for", "Not needed", "Only where", "never shows"];
            assert!(unfit.iter().any(|words| description.contains(words)), "{}: when not?", tool.shown.name);
        }
        assert!(!named("list_keys").unwrap().takes("unused_for"));
    }
}
