//! What Terraform tells a function, in its environment.

use crate::oidc::{Issuer, Oidc, Unusable, openid};
use aegis_core::login::{HumanClaim, RoleMap};
use aegis_core::webhook::Reach;
use aegis_keystores::aws_kms::Principals;
use serde::Deserialize;
use serde::de::DeserializeOwned;

/// The settings of a deployment, as each of its functions reads them.
#[derive(Clone, Debug)]
pub struct Settings {
    pub(super) state_table: String,
    pub(super) journal_table: String,
    pub(super) permit_keys_table: String,
    pub(super) bus: String,
    pub(super) root_key: String,
    pub(super) token_key: String,
    /// Grows with each restore.
    pub(super) epoch: u32,
    /// What clients call the deployment by; without it a name is made of the deployment's id.
    pub(super) public_url: Option<String>,
    pub(super) oidc: Option<Oidc>,
    pub(super) roles: RoleMap,
    /// The one operation that this function serves, or `public`.
    pub(super) operation: Option<String>,
    pub(super) alert_topic: Option<String>,
    /// What the names of the deployment's functions begin with. Only the one that calls others knows.
    pub(super) function_prefix: Option<String>,
    /// Whether webhooks may be sent to the machine that the function runs on: on an emulator, where their receiver is.
    pub(super) webhooks_to_this_machine: bool,
    /// Whom the keys of KMS are meant for. Only those that tell who else can use them know.
    pub(super) kms_principals: Principals,
    /// What keys that KMS makes are marked with; absent where it makes none.
    pub(super) kms_made_by: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct KmsPrincipals {
    aegis: Vec<String>,
    break_glass: Vec<String>,
}

impl Settings {
    /// On AWS what listens on this machine is the runtime that hands the function its calls.
    pub(super) fn webhooks_reach(&self) -> Reach {
        Reach { private: false, this_machine: self.webhooks_to_this_machine }
    }

    /// # Errors
    /// [`Unusable`]: what is missing, or cannot be what it should be.
    pub fn read(variable: impl Fn(&str) -> Option<String>) -> Result<Self, Unusable> {
        let needed = |name: &str| variable(name).ok_or_else(|| Unusable(format!("{name} is not set")));
        let epoch = needed("AEGIS_DEPLOYMENT_EPOCH")?;
        let oidc = match variable("AEGIS_OIDC_ISSUER") {
            None => None,
            Some(issuer) => Some(Oidc {
                issuer: Issuer::try_from(issuer).map_err(|error| Unusable(format!("AEGIS_OIDC_ISSUER: {error}")))?,
                client_id: needed("AEGIS_OIDC_CLIENT_ID")?,
                scopes: match variable("AEGIS_OIDC_SCOPES") {
                    None => openid(),
                    Some(names) => names.split_whitespace().map(ToString::to_string).collect(),
                },
                human_claim: match variable("AEGIS_OIDC_HUMAN_CLAIM") {
                    None => HumanClaim::default(),
                    Some(name) => json("AEGIS_OIDC_HUMAN_CLAIM", &format!("{name:?}"))?,
                },
                ca_file: None,
                approval_page: variable("AEGIS_APPROVAL_PAGE").is_some_and(|value| value == "true"),
            }),
        };
        let KmsPrincipals { aegis, break_glass } = match variable("AEGIS_KMS_PRINCIPALS") {
            None => KmsPrincipals::default(),
            Some(text) => json("AEGIS_KMS_PRINCIPALS", &text)?,
        };
        let kms_principals =
            Principals::new(aegis, break_glass).map_err(|error| Unusable(format!("AEGIS_KMS_PRINCIPALS: {error}")))?;
        Ok(Self {
            state_table: needed("AEGIS_STATE_TABLE")?,
            journal_table: needed("AEGIS_JOURNAL_TABLE")?,
            permit_keys_table: needed("AEGIS_PERMIT_KEYS_TABLE")?,
            bus: needed("AEGIS_BUS")?,
            root_key: needed("AEGIS_ROOT_KEY")?,
            token_key: needed("AEGIS_TOKEN_KEY")?,
            epoch: json("AEGIS_DEPLOYMENT_EPOCH", &epoch)?,
            public_url: variable("AEGIS_PUBLIC_URL"),
            oidc,
            roles: json("AEGIS_ROLES", &variable("AEGIS_ROLES").unwrap_or_else(|| "{}".to_string()))?,
            operation: variable("AEGIS_OPERATION"),
            webhooks_to_this_machine: variable("AEGIS_WEBHOOKS_TO_THIS_MACHINE").is_some_and(|value| value == "true"),
            alert_topic: variable("AEGIS_ALERT_TOPIC"),
            function_prefix: variable("AEGIS_FUNCTION_PREFIX"),
            kms_principals,
            kms_made_by: variable("AEGIS_KMS_MADE_BY"),
        })
    }
}

fn json<T: DeserializeOwned>(name: &str, text: &str) -> Result<T, Unusable> {
    serde_json::from_str(text).map_err(|error| Unusable(format!("{name}: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aegis_core::human::Role;
    use std::collections::HashMap;

    const GOOD: [(&str, &str); 11] = [
        ("AEGIS_STATE_TABLE", "a-state"),
        ("AEGIS_JOURNAL_TABLE", "a-journal"),
        ("AEGIS_PERMIT_KEYS_TABLE", "a-permit-keys"),
        ("AEGIS_BUS", "a"),
        ("AEGIS_ROOT_KEY", "arn:root"),
        ("AEGIS_TOKEN_KEY", "arn:token"),
        ("AEGIS_DEPLOYMENT_EPOCH", "3"),
        ("AEGIS_OIDC_ISSUER", "https://login.example"),
        ("AEGIS_OIDC_CLIENT_ID", "aegis"),
        ("AEGIS_OIDC_HUMAN_CLAIM", "email"),
        ("AEGIS_ROLES", r#"{"admin": ["group:security"]}"#),
    ];

    fn read(changed: &str, to: Option<&str>) -> Result<Settings, Unusable> {
        let mut variables = HashMap::from(GOOD);
        match to {
            Some(value) => drop(variables.insert(changed, value)),
            None => drop(variables.remove(changed)),
        }
        Settings::read(|name| variables.get(name).map(ToString::to_string))
    }

    #[test]
    fn what_terraform_sets_is_read() {
        let settings = read("AEGIS_OPERATION", Some("key.sign")).unwrap();
        assert_eq!(settings.kms_made_by, None);
        assert_eq!(read("AEGIS_KMS_MADE_BY", Some("prod")).unwrap().kms_made_by.as_deref(), Some("prod"));
        assert_eq!((settings.epoch, settings.operation.as_deref()), (3, Some("key.sign")));
        assert_eq!(settings.oidc.unwrap().human_claim, HumanClaim::Email);
        assert!(settings.roles[&Role::Admin].contains("group:security"));
    }

    #[test]
    fn what_is_missing_or_wrong_is_named() {
        let needed = GOOD
            .iter()
            .filter(|(name, _)| !["AEGIS_OIDC_ISSUER", "AEGIS_OIDC_HUMAN_CLAIM", "AEGIS_ROLES"].contains(name));
        let wrong = [
            ("AEGIS_DEPLOYMENT_EPOCH", Some("minus one")),
            ("AEGIS_OIDC_ISSUER", Some("http://login.example")),
            ("AEGIS_OIDC_HUMAN_CLAIM", Some("nickname")),
            ("AEGIS_ROLES", Some("{\"emperor\": []}")),
            ("AEGIS_KMS_PRINCIPALS", Some("{\"aegis\": []}")),
            ("AEGIS_KMS_PRINCIPALS", Some("{\"aegis\": [\"*\"], \"break_glass\": []}")),
        ];
        for (name, to) in needed.map(|(name, _)| (*name, None)).chain(wrong) {
            let error = read(name, to).unwrap_err();
            assert!(error.0.contains(name), "{name}: {error}");
        }
    }
}
