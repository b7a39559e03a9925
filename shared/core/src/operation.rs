//! Every operation there is. The route table, the policy's actions, records and metrics use these names.

use crate::scope::Action;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

macro_rules! operations {
    ($($variant:ident $name:literal)*) => {
        #[derive(Clone, Copy, Debug, Deserialize, Eq, Hash, JsonSchema, Ord, PartialEq, PartialOrd, Serialize)]
        pub enum Operation {
            $(#[serde(rename = $name)] $variant,)*
        }

        impl Operation {
            pub const ALL: &[Self] = &[$(Self::$variant,)*];

            pub fn as_str(self) -> &'static str {
                match self {
                    $(Self::$variant => $name,)*
                }
            }
        }
    };
}

operations! {
    AccessCheck "access.check"
    AccessRequestCreate "access-request.create"
    AccessRequestDeny "access-request.deny"
    AccessRequestGet "access-request.get"
    AccessRequestList "access-request.list"
    AgentActivity "agent.activity"
    AgentAmend "agent.amend"
    AgentFreeze "agent.freeze"
    AgentGet "agent.get"
    AgentIssue "agent.issue"
    AgentList "agent.list"
    AgentReport "agent.report"
    AgentRevoke "agent.revoke"
    AgentScope "agent.scope"
    AgentUnfreeze "agent.unfreeze"
    AliasDelete "alias.delete"
    AliasSet "alias.set"
    ApprovalApprove "approval.approve"
    ApprovalDeny "approval.deny"
    ApprovalGet "approval.get"
    ApprovalList "approval.list"
    AuditGet "audit.get"
    AuditQuery "audit.query"
    AuditRedrive "audit.redrive"
    AuditVerify "audit.verify"
    BaselineGet "baseline.get"
    CredentialIntrospect "credential.introspect"
    CredentialIssue "credential.issue"
    CredentialRevoke "credential.revoke"
    DeploymentRestore "deployment.restore"
    HumanEnrol "human.enrol"
    HumanLogin "human.login"
    HumanReinstate "human.reinstate"
    HumanReport "human.report"
    HumanRevoke "human.revoke"
    IntentUndo "intent.undo"
    KeyActivate "key.activate"
    KeyCancelDestroy "key.cancel-destroy"
    KeyCompromise "key.compromise"
    KeyCreate "key.create"
    KeyDeactivate "key.deactivate"
    KeyDecrypt "key.decrypt"
    KeyDestroy "key.destroy"
    KeyEncrypt "key.encrypt"
    KeyGenerateDataKey "key.generate-data-key"
    KeyGet "key.get"
    KeyImport "key.import"
    KeyImportParameters "key.import-parameters"
    KeyList "key.list"
    KeyLockdown "key.lockdown"
    KeyMac "key.mac"
    KeyReEncrypt "key.re-encrypt"
    KeyRegister "key.register"
    KeyResume "key.resume"
    KeyRotate "key.rotate"
    KeySign "key.sign"
    KeySurvey "key.survey"
    KeySuspend "key.suspend"
    KeyUnwrap "key.unwrap"
    KeyUpdate "key.update"
    KeyUsage "key.usage"
    KeyVerify "key.verify"
    KeyVerifyMac "key.verify-mac"
    KeyWrap "key.wrap"
    PolicyUpgrade "policy.upgrade"
    RecommendationDismiss "recommendation.dismiss"
    RecommendationGet "recommendation.get"
    RecommendationList "recommendation.list"
    RecommendationRaise "recommendation.raise"
    RecommendationUndo "recommendation.undo"
    ResponseAct "response.act"
    ResponseList "response.list"
    RulesApply "rules.apply"
    RulesConfirm "rules.confirm"
    RulesDryRun "rules.dry-run"
    RulesGet "rules.get"
    RulesRollback "rules.rollback"
    Unidentified "unidentified"
    WebhookCreate "webhook.create"
    WebhookDelete "webhook.delete"
    WebhookDeliveries "webhook.deliveries"
    WebhookDisable "webhook.disable"
    WebhookGet "webhook.get"
    WebhookList "webhook.list"
    WebhookRedrive "webhook.redrive"
    WebhookRotateSecret "webhook.rotate-secret"
    WebhookTest "webhook.test"
    Whoami "whoami"
}

impl Operation {
    /// The action a grant must hold for an agent to do this; `None` for what no grant gives.
    pub fn granted_as(self) -> Option<Action> {
        // A new version is no use of the key: nothing is protected or processed with it.
        self.action().or((self == Self::KeyRotate).then_some(Action::Rotate))
    }

    /// Whether an agent that does this draws on the limits of its grant.
    pub fn is_counted(self) -> bool {
        self.granted_as().is_some() || self == Self::KeyCreate
    }

    /// How this uses a key; `None` for what does not.
    pub fn action(self) -> Option<Action> {
        match self {
            Self::KeyDecrypt => Some(Action::Decrypt),
            Self::KeyEncrypt => Some(Action::Encrypt),
            Self::KeyGenerateDataKey => Some(Action::GenerateDataKey),
            Self::KeyMac => Some(Action::Mac),
            Self::KeyReEncrypt => Some(Action::ReEncrypt),
            Self::KeySign => Some(Action::Sign),
            Self::KeyUnwrap => Some(Action::Unwrap),
            Self::KeyVerify => Some(Action::Verify),
            Self::KeyVerifyMac => Some(Action::VerifyMac),
            Self::KeyWrap => Some(Action::Wrap),
            _ => None,
        }
    }

    /// Whether a request for this is held against what is usual of whoever asks: it uses a key, or changes one. What makes a
    /// key is not: it is new to everybody. To look at a key is no use of it: what is known only by sight is as new as ever. Nor is
    /// to suspend one, which can be taken back and must be open to whoever ends misuse.
    pub fn is_sighted(self) -> bool {
        let changes = matches!(
            self,
            Self::KeyActivate
                | Self::KeyCancelDestroy
                | Self::KeyCompromise
                | Self::KeyDeactivate
                | Self::KeyDestroy
                | Self::KeyResume
                | Self::KeyRotate
                | Self::KeyUpdate
        );
        self.action().is_some() || changes
    }

    /// Whether it belongs to what keys somebody uses. What a human changes does not: she changes keys that others use, and those that
    /// she made a moment ago; and what she changed is not known of her when she comes to use it.
    pub fn is_of_own_keys(self, by_agent: bool) -> bool {
        by_agent || self.action().is_some()
    }

    /// Whether the risk of a request for this decides on it: it uses a key, or changes what others may do. Reading, and
    /// stopping somebody, is always open to those whom policy permits it.
    pub fn is_weighed(self) -> bool {
        let stops = matches!(
            self,
            Self::AccessRequestDeny
                | Self::AgentFreeze
                | Self::AgentRevoke
                | Self::ApprovalDeny
                | Self::CredentialRevoke
                | Self::HumanRevoke
                | Self::KeySuspend
        );
        let reads = matches!(
            self,
            Self::AccessCheck
                | Self::AccessRequestGet
                | Self::AccessRequestList
                | Self::AgentActivity
                | Self::AgentGet
                | Self::AgentList
                | Self::AgentReport
                | Self::AgentScope
                | Self::ApprovalGet
                | Self::ApprovalList
                | Self::AuditGet
                | Self::AuditQuery
                // Tells what was told before: who runs after an outage must not be asked because of it.
                | Self::AuditRedrive
                | Self::AuditVerify
                | Self::BaselineGet
                | Self::CredentialIntrospect
                | Self::HumanReport
                | Self::KeyGet
                | Self::KeyList
                | Self::KeyLockdown
                | Self::RecommendationGet
                | Self::RecommendationList
                | Self::ResponseList
                | Self::RulesDryRun
                | Self::RulesGet
                | Self::KeyUsage
                | Self::WebhookDeliveries
                | Self::WebhookGet
                | Self::WebhookList
                | Self::Whoami
        );
        // To ask grants nothing, and is what whoever was refused shall do.
        let asks = self == Self::AccessRequestCreate;
        !stops && !reads && !asks
    }

    /// Whether it takes an agent, a credential, a human or a key out of use: what a human does about misuse.
    pub fn stops_somebody(self) -> bool {
        matches!(
            self,
            Self::AgentFreeze
                | Self::AgentRevoke
                | Self::CredentialRevoke
                | Self::HumanRevoke
                | Self::KeyCompromise
                | Self::KeyDeactivate
                | Self::KeySuspend
        )
    }

    /// Whether this takes a key out of use in a way that is hard to undo.
    pub fn is_destructive(self) -> bool {
        matches!(self, Self::KeyCompromise | Self::KeyDeactivate | Self::KeyDestroy)
    }

    /// Whether a human must have logged in within the last five minutes (DESIGN §5). Of issuing a credential its body decides.
    pub fn needs_fresh_login(self) -> bool {
        matches!(
            self,
            Self::AgentAmend
                | Self::AgentIssue
                | Self::AgentUnfreeze
                | Self::ApprovalApprove
                | Self::ApprovalDeny
                | Self::HumanReinstate
                | Self::KeyDestroy
                // A key that is worth something already may come under a label that grants name.
                | Self::KeyImport
                | Self::KeyImportParameters
                | Self::KeyRegister
                // Labels are what scopes select keys by: a new one may widen many grants.
                | Self::KeyUpdate
                // Both let somebody go on whom Aegis stopped, or would stop.
                | Self::RecommendationDismiss
                | Self::RecommendationUndo
                | Self::RulesApply
                | Self::RulesConfirm
                | Self::RulesRollback
                // What is on record goes to where a webhook points.
                | Self::WebhookCreate
                | Self::WebhookDelete
                | Self::WebhookRotateSecret
        )
    }
}

impl Operation {
    /// Whether it answers an approval: with a login of its own, never with a session that is kept (DESIGN §5).
    pub fn answers_an_approval(self) -> bool {
        matches!(self, Self::ApprovalApprove | Self::ApprovalDeny)
    }

    /// Whether a login for approving may do this: besides answering, see what is asked.
    pub fn serves_approving(self) -> bool {
        let sees = matches!(self, Self::ApprovalGet | Self::ApprovalList | Self::Whoami);
        sees || self.answers_an_approval() || self == Self::CredentialRevoke
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

impl std::str::FromStr for Operation {
    type Err = UnknownOperation;

    fn from_str(text: &str) -> Result<Self, UnknownOperation> {
        Self::ALL.iter().copied().find(|operation| operation.as_str() == text).ok_or(UnknownOperation)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("unknown operation; they read like key.sign, agent.revoke")]
pub struct UnknownOperation;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_action_of_a_grant_is_the_operation_of_the_same_name() {
        let named = |operation: &Operation| Some((operation.as_str(), operation.granted_as()?.as_str()));
        let pairs: Vec<_> = Operation::ALL.iter().filter_map(named).collect();
        assert_eq!(pairs.len(), Action::ALL.len());
        for (operation, action) in pairs {
            assert_eq!(operation, format!("key.{action}"));
        }
        assert!(Action::ALL.into_iter().all(|action| action.operation().granted_as() == Some(action)));
    }
}
