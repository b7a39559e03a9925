//! THE route table. The router (`router`), the OpenAPI document and the unauthorized test are made of it.

use crate::Reply;
use crate::agent_ai;
use crate::agent_ai::authzen::{self, Endpoint};
use crate::agent_ai::calls::{Answered, Calls};
use crate::agent_ai::evaluation::{Evaluated, Evaluation};
use crate::agent_ai::tools::{Listed, ListedQuery};
use crate::call::Call;
use crate::handlers::{
    access_requests, agents, approvals, audit, credentials, deployment, humans, keys, oauth, own, recommendations,
    responses, rules, uses, webhooks,
};
use crate::route::{Access, Answer, Handler, Route, TargetKind};
use aegis_core::access_request::{AccessRequest, AskAccess};
use aegis_core::agent::{Agent, Credential};
use aegis_core::approval::Approval;
use aegis_core::human::Human;
use aegis_core::key::Key;
use aegis_core::operation::Operation;
use aegis_core::operations::access::{CheckAccess, CheckedAccess};
use aegis_core::operations::activity::{ActivityPage, ActivityQuery};
use aegis_core::operations::agents::{AgentScope, AmendAgent, IssueAgent};
use aegis_core::operations::aliases::SetAlias;
use aegis_core::operations::approvals::{ApprovalDetail, ApprovalQuery, Approve};
use aegis_core::operations::audit::{AuditPage, AuditQuery};
use aegis_core::operations::audit_tally::{AuditRedriven, AuditVerified, RedriveAudit, VerifyAudit};
use aegis_core::operations::baselines::Usual;
use aegis_core::operations::credentials::{IssueCredential, IssuedCredential};
use aegis_core::operations::effective::{EffectiveQuery, EffectiveScope};
use aegis_core::operations::envelope::{OpenReply, OpenRequest, SealReply, SealRequest};
use aegis_core::operations::humans::Whoami;
use aegis_core::operations::key_import::{ImportKey, ImportParameters};
use aegis_core::operations::key_lifecycle::{CreateKey, DestroyKey, UpdateKey};
use aegis_core::operations::key_mac::{MacReply, MacRequest, VerifyMacRequest};
use aegis_core::operations::key_register::RegisterKey;
use aegis_core::operations::key_use::{
    DataKeyReply, DataKeyRequest, DecryptReply, DecryptRequest, EncryptReply, EncryptRequest, PublicKeyReply,
    ReEncryptRequest, SignReply, SignRequest, UnwrapReply, UnwrapRequest, VerifyReply, VerifyRequest, WrapReply,
    WrapRequest,
};
use aegis_core::operations::listing::{PageOf, PageQuery};
use aegis_core::operations::recommendations::AnswerRecommendation;
use aegis_core::operations::reports::{Report, ReportQuery};
use aegis_core::operations::responses::{ResponsePage, ResponseQuery};
use aegis_core::operations::rules::{ApplyRules, RollBackRules, RulesChange, RulesQuery, RulesView};
use aegis_core::operations::rules_dry_run::{DryRunRules, RulesDryRun};
use aegis_core::operations::tokens::Introspection;
use aegis_core::operations::usage::{AgentUsageQuery, AgentUsageReply, KeyQuery, KeyUsageReply};
use aegis_core::operations::webhooks::{
    CreateWebhook, CreatedWebhook, DeliveryQuery, Redrive, Redriven, WebhookStatus,
};
use aegis_core::pipeline::{Done, Permit};
use aegis_core::recommendation::RecommendationRecord;
use aegis_core::record::{AuditRecord, Plane};
use aegis_core::survey::Lockdown;
use aegis_core::webhook::Delivery;
use http::{Method, StatusCode};
use std::sync::LazyLock;

/// The paths that need no credential. A closed list: a test compares it with the table.
pub const PUBLIC: [&str; 8] = [
    "/.well-known/authzen-configuration",
    "/.well-known/jwks.json",
    "/.well-known/oauth-protected-resource",
    "/.well-known/oauth-protected-resource/mcp",
    "/healthz",
    "/readyz",
    "/v1/oauth/token",
    "/v1/openapi.json",
];

/// Every route.
pub fn table() -> &'static [Route] {
    &TABLE
}

static TABLE: LazyLock<Vec<Route>> = LazyLock::new(|| {
    [
        deployment_routes(),
        key_routes(),
        use_routes(),
        agent_routes(),
        own_routes(),
        audit_routes(),
        recommendation_routes(),
        rules_routes(),
        access_request_routes(),
        approval_routes(),
        webhook_routes(),
        mcp_routes(),
        agent_ai_routes(),
        authzen_routes(),
    ]
    .into_iter()
    .flatten()
    .collect()
});

fn deployment_routes() -> Vec<Route> {
    vec![
        public(Method::GET, "/healthz", |call| Box::pin(deployment::health(call)))
            .summary("Whether the process answers"),
        public(Method::GET, "/readyz", |call| Box::pin(deployment::ready(call))).summary("Whether the store answers"),
        public(Method::GET, "/.well-known/jwks.json", |call| Box::pin(deployment::jwks(call)))
            .summary("The public keys that access tokens are signed with"),
        public(Method::GET, "/.well-known/oauth-protected-resource", |call| Box::pin(deployment::resource(call)))
            .summary("Protected-resource metadata (RFC 9728)")
            .reply::<deployment::ResourceMetadata<'_>>(),
        public(Method::GET, "/.well-known/oauth-protected-resource/mcp", |call| {
            Box::pin(deployment::mcp_resource(call))
        })
        .summary("The same of the MCP endpoint")
        .reply::<deployment::ResourceMetadata<'_>>(),
        public(Method::GET, "/v1/openapi.json", |call| Box::pin(deployment::openapi(call))).summary("This document"),
        public(Method::POST, "/v1/oauth/token", |call| Box::pin(oauth::token(call)))
            .summary("Exchanges an ID token for a human's session (RFC 8693)")
            .form::<oauth::TokenRequest>()
            .reply::<oauth::TokenReply>()
            .unverified()
            .oauth_errors(),
        post("/v1/oauth/revoke", Operation::CredentialRevoke, TargetKind::Own, |call, permit, _| {
            Box::pin(oauth::revoke(call, permit))
        })
        .summary("Refuses a token from now on, if it is the caller's to revoke (RFC 7009)")
        .form::<oauth::PresentedToken>(),
        post("/v1/oauth/introspect", Operation::CredentialIntrospect, TargetKind::Own, |call, permit, _| {
            Box::pin(oauth::introspect(call, permit))
        })
        .summary("Whether a token is good, and for what, if it is the caller's to see (RFC 7662)")
        .form::<oauth::PresentedToken>()
        .reply::<Introspection>(),
        get("/v1/whoami", Operation::Whoami, TargetKind::Own, |call, permit, _| Box::pin(humans::whoami(call, permit)))
            .summary("Who the caller is to Aegis")
            .reply::<Whoami>(),
        get("/v1/humans/{human}/report", Operation::HumanReport, TargetKind::Human, |call, permit, _| {
            Box::pin(humans::report(call, permit))
        })
        .summary("What a human and all her agents did")
        .query::<ReportQuery>()
        .reply::<Report>(),
        post("/v1/humans/{human}/revoke", Operation::HumanRevoke, TargetKind::Human, |call, _, _| {
            Box::pin(humans::revoke(call))
        })
        .summary("Refuses a human and all her agents from now on")
        .reply::<Human>(),
        post("/v1/humans/{human}/reinstate", Operation::HumanReinstate, TargetKind::Human, |call, _, _| {
            Box::pin(humans::reinstate(call))
        })
        .summary("Lets a revoked human log in again; nothing issued before lives again")
        .reply::<Human>(),
    ]
}

fn key_routes() -> Vec<Route> {
    let lifecycle =
        |path, operation, act, summary| post(path, operation, TargetKind::Key, act).summary(summary).reply::<Key>();
    vec![
        post("/v1/keys", Operation::KeyCreate, TargetKind::Deployment, |call, permit, earlier| {
            Box::pin(keys::create(call, permit, earlier))
        })
        .summary("Makes a key")
        .body::<CreateKey>()
        .reply::<Key>()
        .status(StatusCode::CREATED)
        .idempotent(),
        post(
            "/v1/keys/import-parameters",
            Operation::KeyImportParameters,
            TargetKind::Deployment,
            |call, permit, _| Box::pin(keys::import_parameters(call, permit)),
        )
        .summary("Makes a wrapping key for one import")
        .reply::<ImportParameters>()
        .status(StatusCode::CREATED),
        post("/v1/keys/import", Operation::KeyImport, TargetKind::Deployment, |call, permit, earlier| {
            Box::pin(keys::import(call, permit, earlier))
        })
        .summary("Makes a key of the caller's key bytes, wrapped")
        .body::<ImportKey>()
        .reply::<Key>()
        .status(StatusCode::CREATED)
        .idempotent(),
        post("/v1/keys/register", Operation::KeyRegister, TargetKind::Deployment, |call, permit, earlier| {
            Box::pin(keys::register(call, permit, earlier))
        })
        .summary("Puts a key under Aegis that a back end has already, and that stays there")
        .body::<RegisterKey>()
        .reply::<Key>()
        .status(StatusCode::CREATED)
        .idempotent(),
        get("/v1/keys", Operation::KeyList, TargetKind::Deployment, |call, permit, _| {
            Box::pin(keys::list(call, permit))
        })
        .summary("Lists keys: all for a human, those in scope for an agent")
        .query::<KeyQuery>()
        .reply::<PageOf<Key>>(),
        get("/v1/keys/{key}", Operation::KeyGet, TargetKind::Key, |_, permit, _| Box::pin(keys::show(permit)))
            .summary("Shows a key; never its material")
            .reply::<Key>(),
        route(Method::PATCH, "/v1/keys/{key}", Operation::KeyUpdate, TargetKind::Key, |call, permit, _| {
            Box::pin(keys::update(call, permit))
        })
        .summary("Changes what describes a key")
        .body::<UpdateKey>()
        .reply::<Key>(),
        get("/v1/keys/{key}/usage", Operation::KeyUsage, TargetKind::Key, |call, permit, _| {
            Box::pin(keys::usage(call, permit))
        })
        .summary("How a key is used; not for agents")
        .reply::<KeyUsageReply>(),
        get("/v1/keys/{key}/lockdown", Operation::KeyLockdown, TargetKind::Key, |call, permit, _| {
            Box::pin(keys::locked_down(call, permit))
        })
        .summary("How the key is kept from everybody but Aegis at its back end; not for agents")
        .reply::<Lockdown>(),
        get("/v1/keys/{key}/public-key", Operation::KeyGet, TargetKind::Key, |_, permit, _| {
            Box::pin(uses::public_key(permit))
        })
        .summary("Exports the public half of an asymmetric key")
        .reply::<PublicKeyReply>(),
        lifecycle(
            "/v1/keys/{key}/activate",
            Operation::KeyActivate,
            |call, permit, _| Box::pin(keys::activate(call, permit)),
            "Lets a pre-active key protect and process",
        ),
        lifecycle(
            "/v1/keys/{key}/deactivate",
            Operation::KeyDeactivate,
            |call, permit, _| Box::pin(keys::deactivate(call, permit)),
            "From now on the key only verifies and decrypts",
        ),
        lifecycle(
            "/v1/keys/{key}/suspend",
            Operation::KeySuspend,
            |call, permit, _| Box::pin(keys::suspend(call, permit, true)),
            "Makes the key unusable until resumed",
        ),
        lifecycle(
            "/v1/keys/{key}/resume",
            Operation::KeyResume,
            |call, permit, _| Box::pin(keys::suspend(call, permit, false)),
            "Ends a suspension",
        ),
        lifecycle(
            "/v1/keys/{key}/compromise",
            Operation::KeyCompromise,
            |call, permit, _| Box::pin(keys::compromise(call, permit)),
            "Records that the key may be known to others",
        ),
        lifecycle(
            "/v1/keys/{key}/rotate",
            Operation::KeyRotate,
            |call, permit, earlier| Box::pin(keys::rotate(call, permit, earlier)),
            "Makes a fresh version the one that signs and encrypts",
        )
        .idempotent(),
        lifecycle(
            "/v1/keys/{key}/destroy",
            Operation::KeyDestroy,
            |call, permit, _| Box::pin(keys::destroy(call, permit)),
            "Begins the pending window at whose end the material is gone",
        )
        .optional_body::<DestroyKey>(),
        lifecycle(
            "/v1/keys/{key}/cancel-destroy",
            Operation::KeyCancelDestroy,
            |call, permit, _| Box::pin(keys::cancel_destroy(call, permit)),
            "Keeps a key whose destruction is pending",
        ),
        route(Method::PUT, "/v1/aliases/{alias}", Operation::AliasSet, TargetKind::Deployment, |call, permit, _| {
            Box::pin(keys::set_alias(call, permit))
        })
        .summary("Makes a name lead to a key")
        .body::<SetAlias>()
        .reply::<Key>(),
        route(
            Method::DELETE,
            "/v1/aliases/{alias}",
            Operation::AliasDelete,
            TargetKind::Deployment,
            |call, permit, _| Box::pin(keys::delete_alias(call, permit)),
        )
        .summary("Makes a name lead nowhere")
        .status(StatusCode::NO_CONTENT),
    ]
}

fn use_routes() -> Vec<Route> {
    vec![
        post("/v1/keys/{key}/sign", Operation::KeySign, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::sign(call, permit))
        })
        .summary("Signs a message, or its digest")
        .body::<SignRequest>()
        .reply::<SignReply>(),
        post("/v1/keys/{key}/verify", Operation::KeyVerify, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::verify(call, permit))
        })
        .summary("Verifies a signature")
        .body::<VerifyRequest>()
        .reply::<VerifyReply>(),
        post("/v1/keys/{key}/mac", Operation::KeyMac, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::mac(call, permit))
        })
        .summary("Makes a message authentication code")
        .body::<MacRequest>()
        .reply::<MacReply>(),
        post("/v1/keys/{key}/verify-mac", Operation::KeyVerifyMac, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::verify_mac(call, permit))
        })
        .summary("Verifies a message authentication code")
        .body::<VerifyMacRequest>()
        .reply::<VerifyReply>(),
        post("/v1/keys/{key}/encrypt", Operation::KeyEncrypt, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::encrypt(call, permit))
        })
        .summary("Encrypts at most 64 KiB")
        .body::<EncryptRequest>()
        .reply::<EncryptReply>(),
        post("/v1/keys/{key}/decrypt", Operation::KeyDecrypt, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::decrypt(call, permit))
        })
        .summary("Decrypts with the version that encrypted")
        .body::<DecryptRequest>()
        .reply::<DecryptReply>(),
        post("/v1/keys/{key}/re-encrypt", Operation::KeyReEncrypt, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::re_encrypt(call, permit))
        })
        .summary("Encrypts anew with the present version, without showing the plaintext")
        .body::<ReEncryptRequest>()
        .reply::<EncryptReply>(),
        post("/v1/keys/{key}/wrap", Operation::KeyWrap, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::wrap(call, permit))
        })
        .summary("Wraps key bytes so that only unwrap opens them")
        .body::<WrapRequest>()
        .reply::<WrapReply>(),
        post("/v1/keys/{key}/unwrap", Operation::KeyUnwrap, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::unwrap(call, permit))
        })
        .summary("Opens what wrap or generate-data-key made")
        .body::<UnwrapRequest>()
        .reply::<UnwrapReply>(),
        post("/v1/keys/{key}/generate-data-key", Operation::KeyGenerateDataKey, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::generate_data_key(call, permit))
        })
        .summary("Makes a random data key, in the clear and wrapped")
        .optional_body::<DataKeyRequest>()
        .reply::<DataKeyReply>(),
    ]
}

fn agent_routes() -> Vec<Route> {
    vec![
        post("/v1/agents", Operation::AgentIssue, TargetKind::Deployment, |call, permit, earlier| {
            Box::pin(agents::issue(call, permit, earlier))
        })
        .summary("Issues an agent, or a sub-agent of the agent who asks")
        .body::<IssueAgent>()
        .reply::<Agent>()
        .status(StatusCode::CREATED)
        .idempotent(),
        get("/v1/agents", Operation::AgentList, TargetKind::Own, |call, permit, _| {
            Box::pin(agents::list(call, permit))
        })
        .summary("Lists agents: all for operators and auditors, else one's own")
        .query::<PageQuery>()
        .reply::<PageOf<Agent>>(),
        get("/v1/agents/usage", Operation::AgentList, TargetKind::Own, |call, permit, _| {
            Box::pin(agents::usage(call, permit))
        })
        .summary("What agents were granted, and what of it they used: all for operators and auditors, else one's own")
        .query::<AgentUsageQuery>()
        .reply::<PageOf<AgentUsageReply>>(),
        get("/v1/agents/{agent}/report", Operation::AgentReport, TargetKind::Agent, |call, permit, _| {
            Box::pin(agents::report(call, permit))
        })
        .summary("What an agent did")
        .query::<ReportQuery>()
        .reply::<Report>(),
        get("/v1/agents/{agent}", Operation::AgentGet, TargetKind::Agent, |_, permit, _| {
            Box::pin(agents::show(permit))
        })
        .summary("Shows an agent and its grant")
        .reply::<Agent>(),
        route(Method::PATCH, "/v1/agents/{agent}", Operation::AgentAmend, TargetKind::Agent, |call, permit, _| {
            Box::pin(agents::amend(call, permit))
        })
        .summary("Replaces parts of an agent's grant")
        .body::<AmendAgent>()
        .reply::<Agent>(),
        get("/v1/agents/{agent}/scope", Operation::AgentScope, TargetKind::Agent, |call, permit, _| {
            Box::pin(agents::scope(call, permit))
        })
        .summary("What an agent may do, and how much of it is left")
        .reply::<AgentScope>(),
        post(
            "/v1/agents/{agent}/credentials",
            Operation::CredentialIssue,
            TargetKind::Agent,
            |call, permit, earlier| Box::pin(credentials::issue(call, permit, earlier)),
        )
        .summary("Issues a token to an agent; it is shown once")
        .optional_body::<IssueCredential>()
        .reply::<IssuedCredential>()
        .status(StatusCode::CREATED)
        .idempotent(),
        post("/v1/agents/{agent}/revoke", Operation::AgentRevoke, TargetKind::Agent, |call, permit, _| {
            Box::pin(agents::revoke(call, permit))
        })
        .summary("Refuses an agent, and all below it, for ever")
        .reply::<Agent>(),
        post("/v1/agents/{agent}/freeze", Operation::AgentFreeze, TargetKind::Agent, |call, permit, _| {
            Box::pin(agents::freeze(call, permit))
        })
        .summary("Refuses an agent, and all below it, until unfrozen")
        .reply::<Agent>(),
        post("/v1/agents/{agent}/unfreeze", Operation::AgentUnfreeze, TargetKind::Agent, |call, permit, _| {
            Box::pin(agents::unfreeze(call, permit))
        })
        .summary("Lets a frozen agent go on")
        .reply::<Agent>(),
        post(
            "/v1/credentials/{credential}/revoke",
            Operation::CredentialRevoke,
            TargetKind::Credential,
            |call, _, _| Box::pin(credentials::revoke(call)),
        )
        .summary("Refuses one credential from now on")
        .reply::<Credential>(),
    ]
}

/// What agents ask about themselves.
fn own_routes() -> Vec<Route> {
    vec![
        get("/v1/scope", Operation::AgentScope, TargetKind::Own, |call, permit, _| Box::pin(own::scope(call, permit)))
            .summary("What the agent that asks may do now, with the token it asks with")
            .query::<EffectiveQuery>()
            .reply::<EffectiveScope>(),
        get("/v1/activity", Operation::AgentActivity, TargetKind::Own, |call, permit, _| {
            Box::pin(own::activity(call, permit))
        })
        .summary("What the agent that asks did, newest first, as it was told at the time")
        .query::<ActivityQuery>()
        .reply::<ActivityPage>(),
        post("/v1/keys/{key}/check-access", Operation::AccessCheck, TargetKind::Key, |call, permit, _| {
            Box::pin(own::check_access(call, permit))
        })
        .summary("What would be decided if the agent that asks used a key; nothing is done")
        .body::<CheckAccess>()
        .reply::<CheckedAccess>(),
    ]
}

/// Whoever follows a request changes the agent's grant, by the route that does that.
fn access_request_routes() -> Vec<Route> {
    vec![
        post("/v1/access-requests", Operation::AccessRequestCreate, TargetKind::Own, |call, permit, _| {
            Box::pin(access_requests::create(call, permit))
        })
        .summary("Asks the human of the agent that asks for a wider grant, and grants nothing")
        .body::<AskAccess>()
        .reply::<AccessRequest>(),
        get("/v1/access-requests", Operation::AccessRequestList, TargetKind::Own, |call, permit, _| {
            Box::pin(access_requests::list(call, permit))
        })
        .summary(
            "Lists what agents asked for, newest first: all for operators, admins and auditors, else one's own agents",
        )
        .query::<PageQuery>()
        .reply::<PageOf<AccessRequest>>(),
        get(
            "/v1/agents/{agent}/access-requests/{access_request}",
            Operation::AccessRequestGet,
            TargetKind::Agent,
            |call, permit, _| Box::pin(access_requests::show(call, permit)),
        )
        .summary("Shows a request of an agent for a wider grant")
        .reply::<AccessRequest>(),
        post(
            "/v1/agents/{agent}/access-requests/{access_request}/deny",
            Operation::AccessRequestDeny,
            TargetKind::Agent,
            |call, permit, _| Box::pin(access_requests::deny(call, permit)),
        )
        .summary("Refuses a request of an agent for a wider grant, for a week from when it was made")
        .reply::<AccessRequest>(),
    ]
}

fn approval_routes() -> Vec<Route> {
    vec![
        get("/v1/approvals", Operation::ApprovalList, TargetKind::Own, |call, permit, _| {
            Box::pin(approvals::list(call, permit))
        })
        .summary(
            "Lists approvals, newest first: all for operators, admins and auditors, else those of one's own agents",
        )
        .query::<ApprovalQuery>()
        .reply::<PageOf<Approval>>(),
        get("/v1/approvals/{approval}", Operation::ApprovalGet, TargetKind::Approval, |call, permit, _| {
            Box::pin(approvals::show(call, permit))
        })
        .summary("Shows an approval, and what would be done")
        .reply::<ApprovalDetail>(),
        post(
            "/v1/approvals/{approval}/approve",
            Operation::ApprovalApprove,
            TargetKind::Approval,
            |call, permit, _| Box::pin(approvals::approve(call, permit)),
        )
        .summary("Lets an agent's request be made once; needs a login of its own (scope `approve`)")
        .body::<Approve>()
        .reply::<Approval>(),
        post("/v1/approvals/{approval}/deny", Operation::ApprovalDeny, TargetKind::Approval, |call, permit, _| {
            Box::pin(approvals::deny(call, permit))
        })
        .summary("Refuses an agent's request; needs a login of its own (scope `approve`)")
        .reply::<Approval>(),
    ]
}

fn audit_routes() -> Vec<Route> {
    vec![
        get("/v1/audit", Operation::AuditQuery, TargetKind::Own, |call, permit, _| {
            Box::pin(audit::query(call, permit))
        })
        .summary("Finds audit records, newest first")
        .query::<AuditQuery>()
        .reply::<AuditPage>(),
        get("/v1/audit/{record}", Operation::AuditGet, TargetKind::Record, |call, permit, _| {
            Box::pin(audit::show(call, permit))
        })
        .summary("Shows one audit record")
        .reply::<AuditRecord>(),
        get("/v1/audit/verify", Operation::AuditVerify, TargetKind::Deployment, |call, permit, _| {
            Box::pin(audit::verify(call, permit))
        })
        .summary("Compares, by minute and shard, the audit trail with what its consumers took in")
        .query::<VerifyAudit>()
        .reply::<AuditVerified>(),
        post("/v1/audit/redrive", Operation::AuditRedrive, TargetKind::Deployment, |call, permit, _| {
            Box::pin(audit::redrive(call, permit))
        })
        .summary("Has audit records told to their consumers again, a thousand at a time")
        .body::<RedriveAudit>()
        .reply::<AuditRedriven>(),
    ]
}

fn recommendation_routes() -> Vec<Route> {
    let answer = |path, operation, act, summary| {
        post(path, operation, TargetKind::Deployment, act)
            .summary(summary)
            .optional_body::<AnswerRecommendation>()
            .reply::<RecommendationRecord>()
    };
    vec![
        usual_of("/v1/baselines/{actor}")
            .summary("What is usual for an agent or a human: what requests are weighed against"),
        get("/v1/recommendations", Operation::RecommendationList, TargetKind::Own, |call, permit, _| {
            Box::pin(recommendations::list(call, permit))
        })
        .summary("What detectors said and what was done about it, newest first; of one's own agents, or all")
        .query::<PageQuery>()
        .reply::<PageOf<RecommendationRecord>>(),
        get(
            "/v1/recommendations/{recommendation}",
            Operation::RecommendationGet,
            TargetKind::Own,
            |call, permit, _| Box::pin(recommendations::show(call, permit)),
        )
        .summary("Shows one recommendation, with its evidence")
        .reply::<RecommendationRecord>(),
        answer(
            "/v1/recommendations/{recommendation}/dismiss",
            Operation::RecommendationDismiss,
            |call, permit, _| Box::pin(recommendations::dismiss(call, permit)),
            "Says that what was found is normal, which the baseline learns",
        ),
        answer(
            "/v1/recommendations/{recommendation}/undo",
            Operation::RecommendationUndo,
            |call, permit, _| Box::pin(recommendations::undo(call, permit)),
            "Undoes what was done about it, where that has meaning",
        ),
        get("/v1/responses", Operation::ResponseList, TargetKind::Own, |call, permit, _| {
            Box::pin(responses::list(call, permit))
        })
        .summary("What rules and humans did about misuse, newest first; about one's own agents, or all")
        .query::<ResponseQuery>()
        .reply::<ResponsePage>(),
    ]
}

fn rules_routes() -> Vec<Route> {
    let change = |method, path, operation, act, summary| {
        route(method, path, operation, TargetKind::Deployment, act).summary(summary).reply::<RulesChange>().may_wait()
    };
    vec![
        get("/v1/response-rules", Operation::RulesGet, TargetKind::Deployment, |call, _, _| {
            Box::pin(rules::show(call))
        })
        .summary("Shows the response rules in force, or another version")
        .query::<RulesQuery>()
        .reply::<RulesView>(),
        change(
            Method::PUT,
            "/v1/response-rules",
            Operation::RulesApply,
            |call, permit, _| Box::pin(rules::apply(call, permit)),
            "Puts response rules in force, or proposes them to a second human where they protect less",
        )
        .body::<ApplyRules>(),
        change(
            Method::POST,
            "/v1/response-rules/rollback",
            Operation::RulesRollback,
            |call, permit, _| Box::pin(rules::roll_back(call, permit)),
            "Puts an earlier version in force again, or proposes it",
        )
        .body::<RollBackRules>(),
        post("/v1/response-rules/dry-run", Operation::RulesDryRun, TargetKind::Deployment, |call, permit, _| {
            Box::pin(rules::dry_run(call, permit))
        })
        .summary("What rules would have done about the recorded past, beside what was done")
        .body::<DryRunRules>()
        .reply::<RulesDryRun>(),
        post(
            "/v1/response-rules/{version}/confirm",
            Operation::RulesConfirm,
            TargetKind::Deployment,
            |call, permit, _| Box::pin(rules::confirm(call, permit)),
        )
        .summary("Puts in force what another human proposed")
        .reply::<RulesChange>(),
    ]
}

fn webhook_routes() -> Vec<Route> {
    let on = TargetKind::Deployment;
    vec![
        post("/v1/webhooks", Operation::WebhookCreate, on, |call, permit, earlier| {
            Box::pin(webhooks::create(call, permit, earlier))
        })
        .summary("Makes a webhook; its secret is shown once")
        .body::<CreateWebhook>()
        .reply::<CreatedWebhook>()
        .status(StatusCode::CREATED)
        .idempotent(),
        get("/v1/webhooks", Operation::WebhookList, on, |call, _, _| Box::pin(webhooks::list(call)))
            .summary("Lists webhooks, and how their deliveries stand")
            .reply::<PageOf<WebhookStatus>>(),
        get("/v1/webhooks/{webhook}", Operation::WebhookGet, on, |call, _, _| Box::pin(webhooks::show(call)))
            .summary("Shows a webhook, and how its deliveries stand")
            .reply::<WebhookStatus>(),
        route(Method::DELETE, "/v1/webhooks/{webhook}", Operation::WebhookDelete, on, |call, _, _| {
            Box::pin(webhooks::delete(call))
        })
        .summary("Deletes a webhook: what still waits for it is never sent")
        .status(StatusCode::NO_CONTENT),
        post("/v1/webhooks/{webhook}/rotate-secret", Operation::WebhookRotateSecret, on, |call, _, _| {
            Box::pin(webhooks::rotate_secret(call))
        })
        .summary("Makes a new secret; the one before it signs beside it for another day")
        .reply::<CreatedWebhook>(),
        get("/v1/webhooks/{webhook}/deliveries", Operation::WebhookDeliveries, on, |call, _, _| {
            Box::pin(webhooks::deliveries(call))
        })
        .summary("Lists the deliveries of a webhook in one state, the oldest record first")
        .query::<DeliveryQuery>()
        .reply::<PageOf<Delivery>>(),
        post("/v1/webhooks/{webhook}/redrive", Operation::WebhookRedrive, on, |call, _, _| {
            Box::pin(webhooks::redrive(call))
        })
        .summary("Sends dead letters again; a disabled webhook is active again")
        .optional_body::<Redrive>()
        .reply::<Redriven>(),
        post("/v1/webhooks/{webhook}/test", Operation::WebhookTest, on, |call, permit, _| {
            Box::pin(webhooks::test(call, permit))
        })
        .summary("Sends an event that says nothing, to see whether the receiver hears")
        .reply::<Delivery>(),
    ]
}

/// Access is to the endpoint itself; a tool call is a request of the route that the tool stands for.
fn mcp_routes() -> Vec<Route> {
    let speak = (Access::Bearer(Operation::Whoami), TargetKind::Own, Handler::Mcp);
    vec![
        Route::new(Method::POST, "/mcp", speak.0, speak.1, speak.2)
            .summary("Model Context Protocol: JSON-RPC over streamable HTTP, without sessions; for agents")
            .by(Plane::Mcp)
            .body::<serde_json::Map<String, serde_json::Value>>()
            .reply::<serde_json::Map<String, serde_json::Value>>(),
    ]
}

/// Access to the calls is to the endpoint itself; each is a request of the route that its tool stands for.
fn agent_ai_routes() -> Vec<Route> {
    let call = (Access::Bearer(Operation::Whoami), TargetKind::Own, Handler::Calls);
    vec![
        get("/v1/agent-ai/tools", Operation::AgentScope, TargetKind::Own, |call, permit, _| {
            Box::pin(agent_ai::tools::list(call, permit))
        })
        .summary("The tools the agent that asks is shown, in the shape its framework takes; for agents")
        .by(Plane::AgentAi)
        .query::<ListedQuery>()
        .reply::<Listed>(),
        usual_of("/v1/agent-ai/baselines/{actor}")
            .summary("What is usual for somebody else's agent, or another human; for agents that may read it")
            .by(Plane::AgentAi),
        get("/v1/agent-ai/recommendations", Operation::RecommendationList, TargetKind::Own, |call, permit, _| {
            Box::pin(recommendations::list_to_model(call, permit))
        })
        .summary("What detectors said of other humans and their agents, newest first; for agents that may read it")
        .by(Plane::AgentAi)
        .query::<PageQuery>()
        .reply::<PageOf<RecommendationRecord>>(),
        Route::new(Method::POST, "/v1/agent-ai/calls", call.0, call.1, call.2)
            .summary("Does what a model called for: one call, or up to 16 in their order; for agents")
            .by(Plane::AgentAi)
            .body::<Calls>()
            .reply::<Answered>(),
        Route::new(
            Method::POST,
            "/v1/agent-ai/risk/evaluate",
            Access::Bearer(Operation::AccessCheck),
            TargetKind::Own,
            Handler::Evaluate,
        )
        .summary("How risky a use of a key would be and what would be decided; nothing is done; for agents")
        .by(Plane::AgentAi)
        .body::<Evaluation>()
        .reply::<Evaluated>(),
        post("/v1/agent-ai/keys/{key}/seal", Operation::KeyGenerateDataKey, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::seal(call, permit))
        })
        .summary("Encrypts up to 512 KiB under a data key of its own, which lies beside it, wrapped; for agents")
        .by(Plane::AgentAi)
        .body::<SealRequest>()
        .reply::<SealReply>(),
        post("/v1/agent-ai/keys/{key}/open", Operation::KeyUnwrap, TargetKind::Key, |call, permit, _| {
            Box::pin(uses::open(call, permit))
        })
        .summary("Opens what seal made; for agents")
        .by(Plane::AgentAi)
        .body::<OpenRequest>()
        .reply::<OpenReply>(),
    ]
}

/// What is asked about is asked of the route that checks access.
fn authzen_routes() -> Vec<Route> {
    let asked = |path, access, kind, endpoint| {
        Route::new(Method::POST, path, access, kind, Handler::AuthZen(endpoint)).by(Plane::AgentAi)
    };
    let (check, own) = (Access::Bearer(Operation::AccessCheck), TargetKind::Own);
    vec![
        Route {
            method: Method::GET,
            ..asked(
                "/.well-known/authzen-configuration",
                Access::Public,
                TargetKind::Deployment,
                Endpoint::Configuration,
            )
        }
        .summary("Where access evaluations are asked for (AuthZEN 1.0)")
        .reply::<authzen::Configuration>(),
        asked("/access/v1/evaluation", check, own, Endpoint::Evaluation)
            .summary("What would be decided on a use of a key (AuthZEN 1.0); nothing is done; for agents")
            .body::<authzen::Evaluation>()
            .reply::<authzen::Decided>(),
        asked("/access/v1/evaluations", check, own, Endpoint::Evaluations)
            .summary("The same of up to 16 uses (AuthZEN 1.0), in their order; nothing is done; for agents")
            .body::<authzen::Evaluations>()
            .reply::<authzen::Decisions>(),
    ]
}

fn usual_of(path: &'static str) -> Route {
    get(path, Operation::BaselineGet, TargetKind::Actor, |call, permit, _| {
        Box::pin(recommendations::usual(call, permit))
    })
    .reply::<Usual>()
}

type Act = for<'a> fn(&'a Call<'a>, &'a Permit, Option<String>) -> Answer<'a, Done<Reply>>;

fn route(method: Method, path: &'static str, operation: Operation, kind: TargetKind, act: Act) -> Route {
    Route::new(method, path, Access::Bearer(operation), kind, Handler::Permitted(act))
}

fn get(path: &'static str, operation: Operation, kind: TargetKind, act: Act) -> Route {
    route(Method::GET, path, operation, kind, act)
}

fn post(path: &'static str, operation: Operation, kind: TargetKind, act: Act) -> Route {
    route(Method::POST, path, operation, kind, act)
}

fn public(method: Method, path: &'static str, act: for<'a> fn(&'a Call<'a>) -> Answer<'a, Reply>) -> Route {
    Route::new(method, path, Access::Public, TargetKind::Deployment, Handler::Public(act))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn the_public_routes_are_the_closed_list() {
        let public: BTreeSet<&str> =
            table().iter().filter(|route| route.access == Access::Public).map(|route| route.path).collect();
        assert_eq!(public, PUBLIC.into_iter().collect());
    }

    /// What was made before is answered without a human's leave being asked for again, or used up.
    #[test]
    fn no_use_of_a_key_takes_an_idempotency_key() {
        let uses =
            table().iter().filter(|route| route.asked_operation().is_ok_and(|operation| operation.action().is_some()));
        assert!(uses.clone().count() > 8);
        assert!(uses.clone().all(|route| !route.takes_idempotency_key));
    }

    #[test]
    fn every_route_says_what_it_does() {
        assert!(table().iter().all(|route| !route.summary.is_empty()));
    }
}
