//! Aegis on AWS: what the Lambda functions do. Each program in `src/bin` is one of these and nothing else.

pub mod anomaly;
pub mod authorizer;
mod emf;
mod events;
mod hosts;
pub mod mcp;
pub mod operation;
pub mod publish;
pub mod respond;
pub mod scheduled;
mod settings;
pub mod setup;
pub mod webhooks;

pub use settings::Settings;

use aegis_core::error::{Cause, Chain};
use lambda_runtime::{LambdaEvent, service_fn};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::process::ExitCode;
use std::sync::Arc;
use tracing_subscriber::EnvFilter;

/// Runs a function until the host ends it: one event at a time, on one thread.
pub fn main<E, A, R>(answer: impl Fn(Arc<Function>, E) -> R) -> ExitCode
where
    E: DeserializeOwned,
    A: Serialize,
    R: Future<Output = Result<A, Cause>>,
{
    let filter = EnvFilter::try_from_env("AEGIS_LOG").unwrap_or_else(|_| EnvFilter::new("info"));
    // Only fails where a subscriber is set already, which then goes on.
    let _ = tracing_subscriber::fmt().json().with_env_filter(filter).with_ansi(false).without_time().try_init();
    let done =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(Cause::from).and_then(|runtime| {
            runtime.block_on(async {
                let function = Arc::new(Function::new().await?);
                // On the heap: within the runtime's own futures the compiler would lose count of how deep they lie.
                let answer = |event: LambdaEvent<E>| Box::pin(answer(Arc::clone(&function), event.payload));
                lambda_runtime::run(service_fn(answer)).await
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            tracing::error!(error = %Chain(error.as_ref()), "the function cannot start");
            ExitCode::FAILURE
        }
    }
}

/// What a function is told by its environment, and what it makes of it when it is first needed.
pub struct Function {
    settings: Settings,
    aws: aegis_aws::config::SdkConfig,
    edge: tokio::sync::OnceCell<hosts::AtEdge>,
    messages: tokio::sync::OnceCell<Arc<crate::Host>>,
    whole: tokio::sync::OnceCell<hosts::Whole>,
    inner: tokio::sync::OnceCell<Arc<aegis_core::pipeline::App>>,
    page: std::sync::OnceLock<Option<crate::page::AtProvider>>,
}

impl Function {
    async fn new() -> Result<Self, Cause> {
        let settings = Settings::read(|name| std::env::var(name).ok().filter(|value| !value.is_empty()))?;
        let aws = aegis_aws::config::from_environment().await;
        Ok(Self {
            settings,
            aws,
            edge: tokio::sync::OnceCell::new(),
            messages: tokio::sync::OnceCell::new(),
            whole: tokio::sync::OnceCell::new(),
            inner: tokio::sync::OnceCell::new(),
            page: std::sync::OnceLock::new(),
        })
    }
}

/// What was counted in the minutes before is put on record; what an instance counted last goes with it.
async fn summarize(host: &crate::Host) {
    crate::write_summaries(host, host.app.clock.now()).await;
}
