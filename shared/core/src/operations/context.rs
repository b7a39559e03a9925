//! The context of a ciphertext: its bounds, and the part of it that callers may not use.

use crate::error::Error;
use crate::keystore::Context;
use schemars::JsonSchema;
use serde::de::{MapAccess, Visitor};
use serde::{Deserialize, Deserializer};

/// Most pairs in a context, and most characters (Unicode scalar values, as JSON Schema counts) in one name or value.
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

/// `#[serde(deserialize_with)]`: a name that comes twice is refused, for readers differ on which of the two counts.
///
/// # Errors
/// The deserializer's.
pub(super) fn distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Context, D::Error> {
    Distinct::deserialize(deserializer).map(|Distinct(context)| context)
}

/// [`distinct`] for a field that may be absent or `null`.
///
/// # Errors
/// The deserializer's.
pub(super) fn optional_distinct<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Context>, D::Error> {
    Ok(Option::<Distinct>::deserialize(deserializer)?.map(|Distinct(context)| context))
}

struct Distinct(Context);

impl<'de> Deserialize<'de> for Distinct {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Pairs)
    }
}

struct Pairs;

impl<'de> Visitor<'de> for Pairs {
    type Value = Distinct;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object of strings")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut pairs: A) -> Result<Distinct, A::Error> {
        let mut context = Context::new();
        while let Some((name, value)) = pairs.next_entry()? {
            if context.insert(name, value).is_some() {
                return Err(serde::de::Error::custom("a name comes twice"));
            }
        }
        Ok(Distinct(context))
    }
}

pub(super) fn check_context(context: &Context) -> Result<(), Error> {
    let text_ok = |text: &String| text.chars().take(MAX_CONTEXT_TEXT.saturating_add(1)).count() <= MAX_CONTEXT_TEXT;
    let pairs_ok = context.iter().all(|(name, value)| text_ok(name) && text_ok(value) && !name.starts_with(RESERVED));
    match context.len() <= MAX_CONTEXT && pairs_ok {
        true => Ok(()),
        false => Err(Error::invalid(
            "context",
            "it has at most 16 pairs, each name and value at most 256 characters, no name beginning with `aegis:`",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bounds_of_a_context() {
        let pairs = |count: usize| (0..count).map(|n| (n.to_string(), String::new())).collect::<Context>();
        let pair = |name: &str, value: &str| Context::from([(name.to_string(), value.to_string())]);
        // A character is one, however many bytes it has.
        let (full, beyond) = ("\u{10ffff}".repeat(256), "a".repeat(257));
        let table = [
            (pairs(16), true),
            (pairs(17), false),
            (pair(&full, &full), true),
            (pair(&beyond, ""), false),
            (pair("a", &beyond), false),
            (pair("aegis:purpose", ""), false),
            (pair("aegis", "aegis:purpose"), true),
        ];
        for (context, fits) in table {
            assert_eq!(check_context(&context).is_ok(), fits, "{context:?}");
        }
    }
}
