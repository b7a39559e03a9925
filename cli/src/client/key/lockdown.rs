//! `aegis key lockdown`: how a key is kept from everybody but Aegis at its back end.

use crate::Failure;
use crate::client::connection::Client;
use crate::client::output::{self, field};
use aegis_core::name::KeyRef;
use serde_json::Value;

#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum PolicyFormat {
    /// The policy document
    Json,
    /// A resource of Terraform's AWS provider, `aws_kms_key_policy`
    Terraform,
}

pub(super) fn lockdown(client: &Client, key: &KeyRef, format: PolicyFormat) -> Result<(), Failure> {
    let found = client.api.get(&format!("/v1/keys/{key}/lockdown"))?.ok("print the policy")?;
    if client.json {
        return output::json(&found);
    }
    let others = |pointer: &str| found.pointer(pointer).and_then(Value::as_array).into_iter().flatten();
    for other in others("/leaves_out") {
        output::note(&format!("Refused once it is applied: {}", named(other)));
    }
    for other in others("/remains") {
        output::note(&format!("Stays, until it is ended at the back end: {}", named(other)));
    }
    output::note(&format!("{APPLIED_BY}."));
    let policy = found.get("policy").unwrap_or(&Value::Null);
    match format {
        PolicyFormat::Json => output::line(&format!("{policy:#}")),
        PolicyFormat::Terraform => output::line(&terraform(&field(&found, "/object"), policy)),
    }
}

/// Or its caller could not take it back; and what it leaves out it leaves out of the key's own stack, too.
const APPLIED_BY: &str = "Only who stands under BreakGlass can apply it and, of people, look at the key from then on: keep it in a stack of theirs";

/// The document is JSON and stays it: in a heredoc nothing but `${` and `%{` means anything to Terraform.
fn terraform(object: &str, policy: &Value) -> String {
    let policy = format!("{policy:#}").replace("${", "$${").replace("%{", "%%{");
    let object = Value::from(object).to_string().replace("${", "$${").replace("%{", "%%{");
    // Of names Terraform takes letters, digits, `_` and `-`.
    format!(
        "# {APPLIED_BY}.\nresource \"aws_kms_key_policy\" \"aegis_lockdown\" {{\n  key_id = {object}\n  policy = <<-POLICY\n{policy}\nPOLICY\n}}"
    )
}

/// Somebody who can use a key without Aegis.
pub(super) fn named(other: &Value) -> String {
    let (principal, grant) = (field(other, "/principal"), field(other, "/grant"));
    let who = match field(other, "/by").as_str() {
        "account" => format!("{principal}: whom policies of that account name"),
        "everybody" => "everybody".to_string(),
        "grant" => format!("{principal}, by grant {grant}"),
        "replica" => format!("{principal}, a replica with a policy of its own"),
        "unread" => "unknown: the back end does not tell Aegis who".to_string(),
        _ => principal,
    };
    let conditional = if field(other, "/conditional") == "yes" { ", under conditions" } else { "" };
    let may = field(other, "/may");
    let may = if may.is_empty() { may } else { format!(" ({may})") };
    format!("{who}{conditional}{may}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn who_else_there_is_is_named_for_people() {
        let table = [
            (json!({"principal": "arn:a", "by": "policy", "may": ["Sign", "Verify"]}), "arn:a (Sign, Verify)"),
            (json!({"principal": "arn:a", "by": "policy", "conditional": true}), "arn:a, under conditions"),
            (json!({"principal": "arn:r", "by": "account"}), "arn:r: whom policies of that account name"),
            (json!({"principal": "*", "by": "everybody"}), "everybody"),
            (json!({"principal": "arn:a", "by": "grant", "grant": "g1"}), "arn:a, by grant g1"),
            (json!({"principal": "*", "by": "unread"}), "unknown: the back end does not tell Aegis who"),
        ];
        for (other, want) in table {
            assert_eq!(named(&other), want);
        }
    }

    #[test]
    fn nothing_in_a_policy_is_an_expression_of_terraform() {
        let text = terraform("arn:aws:kms:x", &json!({ "Sid": "${aws:username}%{if}" }));
        assert!(text.contains("$${aws:username}%%{if}"), "{text}");
        assert!(text.contains("key_id = \"arn:aws:kms:x\""), "{text}");
    }
}
