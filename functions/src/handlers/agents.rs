//! Agents.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::agents::{
    agent_scope, amend_agent, freeze_agent, get_agent, issue_agent, list_agents, revoke_agent, unfreeze_agent,
};
use aegis_core::operations::reports::agent_report;
use aegis_core::operations::usage::agents_usage;
use aegis_core::pipeline::Permit;

pub(crate) async fn issue(call: &Call<'_>, permit: &Permit, earlier: Option<String>) -> Answered {
    json(issue_agent(call.app, permit, &call.json()?, earlier).await?)
}

pub(crate) async fn list(call: &Call<'_>, permit: &Permit) -> Answered {
    json(list_agents(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn usage(call: &Call<'_>, permit: &Permit) -> Answered {
    json(agents_usage(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn report(call: &Call<'_>, permit: &Permit) -> Answered {
    json(agent_report(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn show(permit: &Permit) -> Answered {
    json(get_agent(permit).await?)
}

pub(crate) async fn amend(call: &Call<'_>, permit: &Permit) -> Answered {
    json(amend_agent(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn scope(call: &Call<'_>, permit: &Permit) -> Answered {
    json(agent_scope(call.app, permit).await?)
}

pub(crate) async fn revoke(call: &Call<'_>, permit: &Permit) -> Answered {
    json(revoke_agent(call.app, permit).await?)
}

pub(crate) async fn freeze(call: &Call<'_>, permit: &Permit) -> Answered {
    json(freeze_agent(call.app, permit).await?)
}

pub(crate) async fn unfreeze(call: &Call<'_>, permit: &Permit) -> Answered {
    json(unfreeze_agent(call.app, permit).await?)
}
