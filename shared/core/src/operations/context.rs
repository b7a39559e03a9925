//! The context of a ciphertext: its bounds, and the part of it that callers may not use.

use crate::error::Error;
use crate::keystore::Context;
use schemars::JsonSchema;

/// Most pairs in a context, and most bytes in one name or value.
const MAX_CONTEXT: usize = 16;
const MAX_CONTEXT_TEXT: usize = 256;
/// Names of a context that callers may not use.
const RESERVED: &str = "aegis:";

/// Stands for [`Context`] in JSON Schemas, with the bounds that `check_context` sets; but for the reserved names, which
/// only a lookahead could tell, and not every reader of patterns has that.
pub(super) struct ContextText;

impl JsonSchema for ContextText {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Context".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "type": "object",
            "maxProperties": MAX_CONTEXT,
            "propertyNames": { "maxLength": MAX_CONTEXT_TEXT },
            "additionalProperties": { "type": "string", "maxLength": MAX_CONTEXT_TEXT },
        })
    }
}

pub(super) fn check_context(context: &Context) -> Result<(), Error> {
    let text_ok = |text: &String| text.len() <= MAX_CONTEXT_TEXT;
    let pairs_ok = context.iter().all(|(name, value)| text_ok(name) && text_ok(value) && !name.starts_with(RESERVED));
    match context.len() <= MAX_CONTEXT && pairs_ok {
        true => Ok(()),
        false => Err(Error::invalid(
            "context",
            "it has at most 16 pairs, each name and value at most 256 bytes, no name beginning with `aegis:`",
        )),
    }
}

/// The context under which key bytes are wrapped: that of no other ciphertext.
pub(super) fn wrap_context(context: &Context) -> Result<Context, Error> {
    check_context(context)?;
    let mut marked = context.clone();
    marked.insert(format!("{RESERVED}purpose"), "wrap".to_string());
    Ok(marked)
}
