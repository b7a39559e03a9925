//! The tools as frameworks take them.

use crate::Reply;
use crate::call::Call;
use crate::tools::{Tool, shown_to};
use aegis_core::error::Error;
use aegis_core::operations::effective::{EffectiveQuery, effective_scope};
use aegis_core::pipeline::{Done, Permit};
use rmcp::model::{JsonObject, ToolAnnotations};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ListedQuery {
    /// `json-schema` if absent.
    #[serde(default)]
    format: Format,
}

/// Whose shape the tools have.
#[derive(Clone, Copy, Debug, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
enum Format {
    Anthropic,
    #[default]
    JsonSchema,
    Openai,
}

/// In the shape that was asked for.
#[derive(JsonSchema, Serialize)]
#[serde(untagged)]
pub(crate) enum Listed {
    Anthropic(Vec<OfAnthropic>),
    JsonSchema(Vec<OfJsonSchema>),
    Openai(Vec<OfOpenai>),
}

/// Anthropic's Messages API.
#[derive(JsonSchema, Serialize)]
pub(crate) struct OfAnthropic {
    name: &'static str,
    description: &'static str,
    input_schema: &'static JsonObject,
}

/// All there is to say of a tool; annotations as MCP has them.
#[derive(JsonSchema, Serialize)]
pub(crate) struct OfJsonSchema {
    name: &'static str,
    title: Option<&'static str>,
    description: &'static str,
    input_schema: &'static JsonObject,
    /// Of the result, and of the refusal.
    output_schema: Option<&'static JsonObject>,
    #[schemars(with = "Option<JsonObject>")]
    annotations: Option<&'static ToolAnnotations>,
}

/// OpenAI's Chat Completions. Never `strict`: that would have each argument be given, and most tools have some that need not.
#[derive(JsonSchema, Serialize)]
pub(crate) struct OfOpenai {
    r#type: Kind,
    function: Function,
}

#[derive(JsonSchema, Serialize)]
#[serde(rename_all = "snake_case")]
enum Kind {
    Function,
}

#[derive(JsonSchema, Serialize)]
struct Function {
    name: &'static str,
    description: &'static str,
    parameters: &'static JsonObject,
}

/// On record as the scope explorer is: what is shown follows the scope.
pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Result<Done<Reply>, Error> {
    let query: ListedQuery = call.query()?;
    let own = effective_scope(call.app, permit, &EffectiveQuery { without_keys: true }).await?;
    let shown = shown_to(&own.value.actions, &own.value.operations);
    let listed = match query.format {
        Format::Anthropic => Listed::Anthropic(shown.map(OfAnthropic::of).collect()),
        Format::JsonSchema => Listed::JsonSchema(shown.map(OfJsonSchema::of).collect()),
        Format::Openai => Listed::Openai(shown.map(OfOpenai::of).collect()),
    };
    let reply = Reply::json(&listed)?;
    Ok(own.map(|_| reply))
}

impl OfAnthropic {
    fn of(tool: &'static Tool) -> Self {
        Self { name: &tool.shown.name, description: description(tool), input_schema: &tool.shown.input_schema }
    }
}

impl OfJsonSchema {
    fn of(tool: &'static Tool) -> Self {
        let shown = &tool.shown;
        Self {
            name: &shown.name,
            title: shown.title.as_deref(),
            description: description(tool),
            input_schema: &shown.input_schema,
            output_schema: shown.output_schema.as_deref(),
            annotations: shown.annotations.as_ref(),
        }
    }
}

impl OfOpenai {
    fn of(tool: &'static Tool) -> Self {
        let (name, parameters) = (&tool.shown.name, &tool.shown.input_schema);
        Self { r#type: Kind::Function, function: Function { name, description: description(tool), parameters } }
    }
}

fn description(tool: &'static Tool) -> &'static str {
    tool.shown.description.as_deref().unwrap_or_default()
}
