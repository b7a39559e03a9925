//! Setting a deployment up: its root, its first policy, its ties. Terraform runs it at each deployment; what is there
//! already stays.

use super::Function;
use aegis_aws::kms;
use aegis_aws::root::SealedRoot;
use aegis_aws::token::KmsTokenSigner;
use aegis_core::ambient::{Entropy, Timestamp};
use aegis_core::error::Cause;
use aegis_core::pipeline;
use serde::Deserialize;
use serde_json::{Value, json};
use std::sync::Arc;

/// What Terraform asks for, beside what the environment says.
#[derive(Debug, Deserialize)]
pub struct Called {
    /// Whether the humans may come from elsewhere than before.
    #[serde(default)]
    rebind_issuer: bool,
}

/// # Errors
/// Why the deployment cannot serve as it is configured.
pub async fn answer(function: Arc<Function>, called: Called) -> Result<Value, Cause> {
    let (settings, store, entropy) = (&function.settings, function.store(), Entropy::system());
    let kms = kms(&function.aws);
    let token_key = KmsTokenSigner::new(kms.clone(), settings.token_key.clone()).public_key().await?;
    let token = (settings.token_key.as_str(), &token_key);
    let root = SealedRoot::read_or_make(&store, &kms, &settings.root_key, token, &entropy).await?;
    pipeline::initialize(&store, &root.deployment, settings.epoch, &entropy, Timestamp::now()).await?;
    let oidc = settings.oidc.as_ref().ok_or("AEGIS_OIDC_ISSUER is not set: nobody could log in")?;
    let source = oidc.humans_from();
    match pipeline::tie_humans(&store, &source, called.rebind_issuer).await? {
        None => Ok(json!({ "deployment": root.deployment, "epoch": settings.epoch })),
        Some(former) => Err(format!(
            "the humans of this deployment come from {former}, and the settings take them from {source}, where a name \
             may be somebody else's: if it is not, apply once with rebind_issuer = true"
        )
        .into()),
    }
}
