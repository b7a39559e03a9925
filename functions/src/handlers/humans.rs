//! Humans.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::humans;
use aegis_core::operations::reports::human_report;
use aegis_core::pipeline::Permit;

pub(crate) async fn whoami(_: &Call<'_>, permit: &Permit) -> Answered {
    json(humans::whoami(permit).await?)
}

pub(crate) async fn report(call: &Call<'_>, permit: &Permit) -> Answered {
    json(human_report(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn revoke(call: &Call<'_>) -> Answered {
    json(humans::revoke_human(call.app, &call.parameter("human")?).await?)
}

pub(crate) async fn reinstate(call: &Call<'_>) -> Answered {
    json(humans::reinstate_human(call.app, &call.parameter("human")?).await?)
}
