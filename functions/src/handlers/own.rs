//! What agents ask about themselves.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::access::check_access as check;
use aegis_core::operations::activity::own_activity;
use aegis_core::operations::effective::effective_scope;
use aegis_core::pipeline::{Permit, Sight};

pub(crate) async fn scope(call: &Call<'_>, permit: &Permit) -> Answered {
    json(effective_scope(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn activity(call: &Call<'_>, permit: &Permit) -> Answered {
    json(own_activity(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn check_access(call: &Call<'_>, permit: &Permit) -> Answered {
    let sight = Sight { operation: permit.operation(), source: call.source, user_agent: call.user_agent };
    json(check(call.app, permit, &call.json()?, &sight).await?)
}
