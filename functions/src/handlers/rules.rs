//! The response rules.

use super::{Answered, json};
use crate::Reply;
use crate::call::Call;
use aegis_core::error::Error;
use aegis_core::operations::rules::{
    ChangeOutcome, RulesChange, apply_rules, confirm_rules, get_rules, roll_back_rules,
};
use aegis_core::operations::rules_dry_run::dry_run_rules;
use aegis_core::pipeline::{Done, Permit};
use http::StatusCode;

pub(crate) async fn show(call: &Call<'_>) -> Answered {
    json(get_rules(call.app, &call.query()?).await?)
}

pub(crate) async fn apply(call: &Call<'_>, permit: &Permit) -> Answered {
    change(apply_rules(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn roll_back(call: &Call<'_>, permit: &Permit) -> Answered {
    change(roll_back_rules(call.app, permit, &call.json()?).await?)
}

pub(crate) async fn confirm(call: &Call<'_>, permit: &Permit) -> Answered {
    change(confirm_rules(call.app, permit, version(call)?).await?)
}

pub(crate) async fn dry_run(call: &Call<'_>, permit: &Permit) -> Answered {
    json(dry_run_rules(call.app, permit, &call.json()?).await?)
}

/// What waits for a second human is accepted, and not done.
fn change(done: Done<RulesChange>) -> Answered {
    let waits = done.value.outcome == ChangeOutcome::Proposed;
    let mut reply = Reply::json(&done.value)?;
    reply.status = waits.then_some(StatusCode::ACCEPTED);
    Ok(done.map(|_| reply))
}

fn version(call: &Call<'_>) -> Result<u32, Error> {
    let digits = call.parameter::<String>("version")?;
    digits.parse().map_err(|error| Error::invalid("version", format!("it is a whole number: {error}")))
}
