//! Metrics in the embedded format of CloudWatch: lines of the log. `infra/alarms.tf` looks for them by these names.

use aegis_core::ambient::Timestamp;
use serde_json::{Value, json};

/// One value that is told of a deployment.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    pub(super) name: &'static str,
    pub(super) unit: &'static str,
    pub(super) value: i64,
}

impl Metric {
    pub(super) fn tell(self, deployment: &str, now: Timestamp) {
        let line = self.line(deployment, now);
        #[expect(clippy::print_stdout, reason = "CloudWatch reads metrics from standard output")]
        {
            println!("{line}");
        }
    }

    /// The deployment is called what its bus is (`infra/bus.tf`).
    fn line(self, deployment: &str, now: Timestamp) -> Value {
        let metric = json!({ "Name": self.name, "Unit": self.unit });
        let metrics = json!([{ "Namespace": "Aegis", "Dimensions": [[DEPLOYMENT]], "Metrics": [metric] }]);
        json!({
            "_aws": { "Timestamp": now.as_millisecond(), "CloudWatchMetrics": metrics },
            DEPLOYMENT: deployment,
            self.name: self.value,
        })
    }
}

const DEPLOYMENT: &str = "Deployment";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lambda::{authorizer, scheduled};

    /// Each name in a dimension, and of a metric, is a member of the line itself.
    #[test]
    fn what_an_alarm_looks_for_is_told_of_the_deployment() {
        for metric in [authorizer::FAILED, scheduled::lag(7)] {
            let line = metric.line("aegis-prod", Timestamp::UNIX_EPOCH);
            let [directive] = line["_aws"]["CloudWatchMetrics"].as_array().unwrap().as_slice() else {
                panic!("{line}")
            };
            let named =
                [&directive["Dimensions"][0][0], &directive["Metrics"][0]["Name"]].map(|name| name.as_str().unwrap());
            assert_eq!(named.map(|name| &line[name]), [&json!("aegis-prod"), &json!(metric.value)]);
            let alarms = include_str!("../../../infra/alarms.tf");
            let looked_for = format!("metric = \"{}\"", metric.name);
            assert!(alarms.contains(&looked_for) && alarms.contains(named[0]), "{named:?}");
        }
    }
}
