//! Tools, prompts and resources that the official conformance suite asks for, beside the product's and on its very HTTP stack.
//! Only in builds with the feature `mcp-fixtures`, which no release has: they use no key and are of no other use.

#![expect(deprecated, reason = "the suite asks for what the earlier version has")]

mod rounds;

use super::VERSIONS;
use super::server::Aegis;
use super::visit::Visit;
use rmcp::model::{
    CacheScope, CallToolRequestParams, CallToolResponse, CallToolResult, CompleteRequestParams, CompleteResult,
    ContentBlock, DiscoverResult, GetPromptRequestParams, GetPromptResponse, Implementation, InitializeRequestParams,
    InitializeResult, JsonObject, ListPromptsResult, ListResourceTemplatesResult, ListResourcesResult, ListToolsResult,
    LoggingLevel, LoggingMessageNotificationParam, PaginatedRequestParams, ProgressNotificationParam, Prompt,
    ProtocolVersion, ReadResourceRequestParams, ReadResourceResponse, ResultType, ServerCapabilities, ServerConfig,
    SetLevelRequestParams, SubscribeRequestParams, Tool, UnsubscribeRequestParams,
};
use rmcp::service::RequestContext;
use rmcp::{ErrorData, RoleServer, ServerHandler};
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::borrow::Cow;
use std::sync::LazyLock;

pub(super) struct Fixtures;

/// Everything that is always the same.
static THINGS: LazyLock<Value> = LazyLock::new(|| {
    let text = include_str!("fixtures/things.json").replace("<png>", PNG).replace("<wav>", WAV);
    serde_json::from_str(&text).unwrap_or_default()
});

/// The smallest image, and the shortest sound.
const PNG: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mP8z8BQDwAEhQGAhKmMIQAAAABJRU5ErkJggg==";
const WAV: &str = "UklGRiQAAABXQVZFZm10IBAAAAABAAEAQB8AAIA+AAACABAAZGF0YQAAAAA=";

fn thing(path: &str) -> Value {
    THINGS.pointer(path).cloned().unwrap_or_default()
}

fn read<T: DeserializeOwned>(value: Value) -> Result<T, ErrorData> {
    serde_json::from_value(value).map_err(|error| ErrorData::internal_error(error.to_string(), None))
}

/// Of the named member of a map that is keyed by names with any characters.
fn entry(map: &str, name: &str) -> Option<Value> {
    THINGS.get(map)?.get(name).cloned()
}

fn tools() -> Vec<Tool> {
    let none = json!({ "type": "object", "properties": {}, "additionalProperties": false });
    let listed = thing("/tools");
    let with_schema = |tool: &Value| {
        let mut tool = tool.clone();
        if let Some(members) = tool.as_object_mut() {
            members.entry("inputSchema").or_insert_with(|| none.clone());
        }
        read(tool).ok()
    };
    listed.as_array().into_iter().flatten().filter_map(with_schema).collect()
}

fn text(said: impl Into<String>) -> CallToolResponse {
    CallToolResult::success(vec![ContentBlock::text(said)]).into()
}

impl ServerHandler for Fixtures {
    fn supported_protocol_versions(&self) -> Cow<'static, [ProtocolVersion]> {
        Cow::Borrowed(&VERSIONS)
    }

    fn get_info(&self) -> ServerConfig {
        let builder = ServerCapabilities::builder().enable_tools().enable_prompts().enable_resources();
        ServerConfig::new(builder.enable_completions().build())
            .with_server_info(Implementation::new("Aegis fixtures", env!("CARGO_PKG_VERSION")))
            .with_protocol_version(ProtocolVersion::V_2025_11_25)
    }

    /// What the later version no longer has, the earlier one is told of.
    async fn initialize(
        &self,
        request: InitializeRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<InitializeResult, ErrorData> {
        let mut begun = self.negotiate_initialize(&request)?;
        begun.capabilities.logging = Some(JsonObject::new());
        if let Some(resources) = begun.capabilities.resources.as_mut() {
            resources.subscribe = Some(true);
        }
        Ok(begun)
    }

    async fn discover(&self, _: RequestContext<RoleServer>) -> Result<DiscoverResult, ErrorData> {
        Ok(DiscoverResult::from_server_info(VERSIONS.to_vec(), self.get_info()))
    }

    async fn list_tools(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut listed = Aegis.list_tools(page, context).await?;
        listed.tools.extend(tools());
        Ok(listed)
    }

    fn get_tool(&self, name: &str) -> Option<Tool> {
        tools().into_iter().find(|tool| tool.name == name).or_else(|| Aegis.get_tool(name))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        if let Some(result) = entry("results", &request.name) {
            let mut result: CallToolResult = read(result)?;
            result.result_type = Some(ResultType::COMPLETE);
            return Ok(result.into());
        }
        if let Some(asked) = entry("rounds", &request.name) {
            let (visit, _) = Visit::of(&context)?;
            let round = rounds::Round { name: &request.name, asked, state: request.request_state.as_deref() };
            let given = request.input_responses.as_ref();
            return match round.answer(&visit.host, given, context.client_capabilities().as_ref())? {
                rounds::Outcome::Asks(asks) => Ok(asks.into()),
                rounds::Outcome::Done(said) => Ok(text(said)),
            };
        }
        match request.name.as_ref() {
            "test_tool_with_logging" => {
                for said in ["Tool execution started", "Tool processing data", "Tool execution completed"] {
                    log(&context, said).await;
                }
                Ok(text("logged"))
            }
            "test_logging_tool" => {
                if context.meta.log_level().is_some() {
                    log(&context, "asked for").await;
                }
                Ok(text("logged, if asked to"))
            }
            "test_tool_with_progress" => {
                if let Some(token) = context.meta.get_progress_token() {
                    for progress in [0.0, 50.0, 100.0] {
                        let told = ProgressNotificationParam::new(token.clone(), progress).with_total(100.0);
                        // Who has left hears nothing.
                        let _ = context.peer.notify_progress(told).await;
                    }
                }
                Ok(text("done"))
            }
            "test_missing_capability" => {
                let samples = context.client_capabilities().is_some_and(|able| able.sampling.is_some());
                match samples {
                    true => Ok(text("the client samples")),
                    false => Err(ErrorData::missing_required_client_capability(read(json!({ "sampling": {} }))?)),
                }
            }
            "test_custom_headers" | "json_schema_2020_12_tool" => {
                Ok(text(Value::Object(request.arguments.unwrap_or_default()).to_string()))
            }
            _ => Aegis.call_tool(request, context).await,
        }
    }

    async fn list_prompts(
        &self,
        page: Option<PaginatedRequestParams>,
        context: RequestContext<RoleServer>,
    ) -> Result<ListPromptsResult, ErrorData> {
        let mut listed = Aegis.list_prompts(page, context).await?;
        listed.prompts.extend(read::<Vec<Prompt>>(thing("/prompts"))?);
        Ok(listed)
    }

    async fn get_prompt(
        &self,
        request: GetPromptRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<GetPromptResponse, ErrorData> {
        let (visit, _) = Visit::of(&context)?;
        if let Some(asked) = entry("rounds", &request.name) {
            let round = rounds::Round { name: &request.name, asked, state: request.request_state.as_deref() };
            let given = request.input_responses.as_ref();
            if let rounds::Outcome::Asks(asks) =
                round.answer(&visit.host, given, context.client_capabilities().as_ref())?
            {
                return Ok(asks.into());
            }
        }
        let Some(messages) = entry("messages", &request.name) else { return Aegis.get_prompt(request, context).await };
        let mut messages = messages.to_string();
        for (name, value) in request.arguments.unwrap_or_default() {
            let value = serde_json::to_string(value.as_str().unwrap_or_default()).unwrap_or_default();
            messages = messages.replace(&format!("<{name}>"), value.trim_matches('"'));
        }
        let messages: Value = serde_json::from_str(&messages).unwrap_or_default();
        Ok(read::<rmcp::model::GetPromptResult>(json!({ "messages": messages, "resultType": "complete" }))?.into())
    }

    async fn list_resources(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourcesResult, ErrorData> {
        let listed = ListResourcesResult::with_all_items(read(thing("/resources"))?);
        Ok(listed.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    async fn list_resource_templates(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListResourceTemplatesResult, ErrorData> {
        let listed = ListResourceTemplatesResult::with_all_items(read(thing("/templates"))?);
        Ok(listed.with_ttl_ms(0).with_cache_scope(CacheScope::Private))
    }

    async fn read_resource(
        &self,
        request: ReadResourceRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<ReadResourceResponse, ErrorData> {
        let by_id = request.uri.strip_prefix("test://template/").and_then(|rest| rest.strip_suffix("/data"));
        let content = entry("contents", &request.uri).or_else(|| {
            let data = json!({ "id": by_id?, "templateTest": true, "data": format!("Data for ID: {}", by_id?) });
            Some(json!({ "mimeType": "application/json", "text": data.to_string() }))
        });
        let missing = || ErrorData::resource_not_found("no such resource", Some(json!({ "uri": request.uri })));
        let mut content = content.ok_or_else(missing)?;
        if let Some(members) = content.as_object_mut() {
            members.insert("uri".into(), request.uri.clone().into());
        }
        let result = json!({ "contents": [content], "resultType": "complete", "ttlMs": 0, "cacheScope": "private" });
        Ok(read::<rmcp::model::ReadResourceResult>(result)?.into())
    }

    async fn complete(
        &self,
        _: CompleteRequestParams,
        _: RequestContext<RoleServer>,
    ) -> Result<CompleteResult, ErrorData> {
        let values = json!({ "values": ["paris", "park", "party"], "total": 3, "hasMore": false });
        read(json!({ "completion": values, "resultType": "complete" }))
    }

    async fn set_level(&self, _: SetLevelRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn subscribe(&self, _: SubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }

    async fn unsubscribe(&self, _: UnsubscribeRequestParams, _: RequestContext<RoleServer>) -> Result<(), ErrorData> {
        Ok(())
    }
}

async fn log(context: &RequestContext<RoleServer>, said: &str) {
    let told = LoggingMessageNotificationParam::new(LoggingLevel::Info, said.into());
    // Who has left hears nothing.
    let _ = context.peer.notify_logging_message(told).await;
}
