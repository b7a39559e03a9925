//! What a second plan would change.
#![expect(clippy::indexing_slicing, reason = "what a document does not have is null")]

use serde_json::Value;

/// What MiniStack 1.5.33 tells wrongly: of which resource, of its attributes these, and how.
const KNOWN: &[(&str, &[&str], &str)] = &[
    (
        "module.aegis.aws_api_gateway_stage.this",
        &["access_log_settings"],
        "GetStage has an empty accessLogSettings where there are none",
    ),
    (
        "module.aegis.aws_cloudwatch_metric_alarm.this[",
        &[
            "actions_enabled",
            "alarm_actions",
            "alarm_description",
            "dimensions",
            "ok_actions",
            "period",
            "statistic",
            "treat_missing_data",
        ],
        "DescribeAlarms leaves half of an alarm out of its XML",
    ),
];

/// Of a plan as `terraform show -json` prints it, what would change and is not known to be the emulator's doing.
pub(crate) fn unexplained(plan: &Value) -> Vec<String> {
    let changes = plan["resource_changes"].as_array().map(Vec::as_slice).unwrap_or_default();
    changes.iter().filter_map(unexplained_of).collect()
}

fn unexplained_of(resource: &Value) -> Option<String> {
    let address = resource["address"].as_str().unwrap_or_default();
    let actions: Vec<&str> = resource["change"]["actions"].as_array()?.iter().filter_map(Value::as_str).collect();
    match actions.as_slice() {
        ["no-op" | "read"] => None,
        ["update"] => {
            let mut attributes = changed(&resource["change"]);
            attributes.retain(|attribute| !is_known(address, attribute));
            (!attributes.is_empty()).then(|| format!("{address}: {}", attributes.join(", ")))
        }
        actions => Some(format!("{address}: {}", actions.join(", "))),
    }
}

fn is_known(address: &str, attribute: &str) -> bool {
    KNOWN.iter().any(|(what, attributes, _)| address.starts_with(what) && attributes.contains(&attribute))
}

/// The attributes that an update would change, also to what is known only then.
fn changed(change: &Value) -> Vec<&str> {
    let attributes = change["before"].as_object().into_iter().flatten().map(|(name, _)| name.as_str());
    attributes
        .filter(|name| change["before"][name] != change["after"][name] || is_unknown(&change["after_unknown"][name]))
        .collect()
}

fn is_unknown(part: &Value) -> bool {
    match part {
        Value::Bool(unknown) => *unknown,
        Value::Array(parts) => parts.iter().any(is_unknown),
        Value::Object(parts) => parts.values().any(is_unknown),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn told(address: &str, actions: &[&str], before: Value, after: Value) -> Vec<String> {
        let change = json!({ "actions": actions, "before": before, "after": after, "after_unknown": {} });
        unexplained(&json!({ "resource_changes": [{ "address": address, "change": change }] }))
    }

    #[test]
    fn what_the_emulator_tells_wrongly_is_no_drift() {
        let [stage, alarm, key] = [
            "module.aegis.aws_api_gateway_stage.this",
            "module.aegis.aws_cloudwatch_metric_alarm.this[\"api-5xx\"]",
            "module.aegis.aws_kms_key.root",
        ];
        let (empty, logs) = (json!({ "access_log_settings": [{}] }), json!({ "access_log_settings": [] }));
        assert!(told(stage, &["update"], empty.clone(), logs.clone()).is_empty());
        assert_eq!(told(key, &["update"], empty.clone(), logs.clone()).len(), 1);
        assert!(
            told(alarm, &["update"], json!({ "dimensions": {} }), json!({ "dimensions": { "Stage": "v1" } }))
                .is_empty()
        );
        // An attribute that is not known to be told wrongly, and another end than a change in place.
        let thresholds =
            [json!({ "threshold": 0, "dimensions": {} }), json!({ "threshold": 5, "dimensions": { "Stage": "v1" } })];
        let [before, after] = thresholds;
        assert_eq!(told(alarm, &["update"], before.clone(), after.clone()), [format!("{alarm}: threshold")]);
        assert_eq!(told(alarm, &["delete", "create"], before, after), [format!("{alarm}: delete, create")]);
        assert_eq!(told(stage, &["create"], Value::Null, logs), [format!("{stage}: create")]);
        assert!(told(key, &["no-op"], json!({ "policy": "x" }), json!({ "policy": "x" })).is_empty());
    }

    #[test]
    fn what_is_known_only_after_the_change_is_a_change() {
        let change = json!({
            "actions": ["update"], "before": { "policy": "x", "tags": null }, "after": { "tags": null },
            "after_unknown": { "policy": [{ "sid": true }], "tags": {} },
        });
        let plan = json!({ "resource_changes": [{ "address": "module.aegis.aws_kms_key.root", "change": change }] });
        assert_eq!(unexplained(&plan), ["module.aegis.aws_kms_key.root: policy"]);
    }
}
