//! The audit trail.

use super::{Answered, json};
use crate::call::Call;
use aegis_core::operations::audit::{get_record, query_audit};
use aegis_core::operations::audit_tally::{redrive_audit, verify_audit};
use aegis_core::pipeline::Permit;

pub(crate) async fn query(call: &Call<'_>, permit: &Permit) -> Answered {
    json(query_audit(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn show(call: &Call<'_>, permit: &Permit) -> Answered {
    json(get_record(call.app, permit, &call.parameter("record")?).await?)
}

pub(crate) async fn verify(call: &Call<'_>, permit: &Permit) -> Answered {
    json(verify_audit(call.app, permit, &call.query()?).await?)
}

pub(crate) async fn redrive(call: &Call<'_>, permit: &Permit) -> Answered {
    json(redrive_audit(call.app, permit, &call.json()?).await?)
}
