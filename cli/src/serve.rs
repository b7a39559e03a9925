//! `aegis serve`: the embedded host. One process, one data folder, one port.

mod backend;
mod certificate;
pub(crate) mod config;
mod detection;
mod follow;
mod http;
mod listen;
mod local_issuer;
#[cfg(test)]
mod oidc;
mod proxies;
mod usage;
mod webhooks;

use crate::Failure;
use aegis_core::ambient::{Clock, Entropy, Timestamp};
use aegis_core::deployment::DigestKey;
use aegis_core::error::Chain;
use aegis_core::feed::Feed;
use aegis_core::keystore::KeyStores;
use aegis_core::login::{HumanClaim, Logins, Provider};
use aegis_core::maintenance;
use aegis_core::pipeline::{self, App, LiveCounters, PolicyCache, Recorded, RulesCache, Shares};
use aegis_core::rate::Rate;
use aegis_core::store::Store;
use aegis_core::token::TokenKeys;
use aegis_embedded::root::{KdfParams, Passphrase, Root};
use aegis_embedded::store::{OpenError, SqliteStore};
use aegis_functions::forward::Operations;
use aegis_functions::mcp::Mcp;
use aegis_functions::oidc::Oidc;
use aegis_functions::page::{self, AtProvider};
use aegis_functions::{Gate, Host, Metrics};
use aegis_keystores::software::{KeyEncryptionKey, SoftwareKeyStore};
use certificate::TlsFiles;
use config::Settings;
use http::LoginsAt;
use listen::Bounds;
use local_issuer::LocalIssuer;
use std::io::{IsTerminal, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tracing_subscriber::EnvFilter;
use zeroize::Zeroizing;

#[derive(Default, clap::Args)]
#[command(after_help = "\
Example:
  aegis serve --data ./aegis-data --passphrase-file ./passphrase

The first start makes the root key, sealed under the passphrase, and prints a one-time enrolment
code for the first human, who gets every role. With [oidc] in the settings humans log in at that
identity provider instead. Plain HTTP and the local issuer are for loopback addresses only: another
one needs tls_cert, tls_key and [oidc].")]
pub(crate) struct Arguments {
    /// The data folder; made if there is none
    #[arg(long, env = "AEGIS_DATA", value_name = "DIR")]
    data: Option<PathBuf>,
    /// The address to listen on; port 0 takes a free one [default: 127.0.0.1:8400]
    #[arg(long, env = "AEGIS_LISTEN", value_name = "ADDRESS")]
    listen: Option<SocketAddr>,
    /// The file that holds the passphrase of the root key [default: AEGIS_PASSPHRASE, else ask]
    #[arg(long, env = "AEGIS_PASSPHRASE_FILE", value_name = "FILE")]
    passphrase_file: Option<PathBuf>,
    /// A TOML file with the same settings and more; flags and environment go before it
    #[arg(long, env = "AEGIS_CONFIG", value_name = "FILE")]
    config: Option<PathBuf>,
    /// Read and check the settings, then stop
    #[arg(long)]
    check: bool,
    /// Print a code that makes one more admin of the local issuer, or lets one in who is revoked or has forgotten her
    /// passphrase; it works once, until the server stops
    #[arg(long)]
    enrol_admin: bool,
    /// Take the humans of another identity provider from now on: each name stands for who has it there
    #[arg(long)]
    rebind_issuer: bool,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let settings = Settings::read(arguments)?;
    if arguments.check {
        settings.tls.as_ref().map(TlsFiles::acceptor).transpose()?;
        settings.oidc.as_ref().map(Oidc::provider).transpose()?;
        anstream::println!("the settings are valid");
        return Ok(());
    }
    log_to_stderr(settings.log);
    let passphrase = passphrase(settings.passphrase_file.as_deref())?;
    let runtime = tokio::runtime::Runtime::new().map_err(|error| Failure::because("no runtime", &error))?;
    runtime.block_on(async {
        let server = Server::start(&settings, &passphrase, Clock::new(Timestamp::now)).await?;
        drop(passphrase);
        let stop = stop_signal()?;
        if let Some(code) = &server.enrolment_code {
            anstream::println!("enrolment code: {}", code.as_str());
        }
        if let Some(address) = server.metrics_address {
            anstream::println!("metrics on http://{address}/metrics");
        }
        anstream::println!("aegis listening on {}", server.url());
        // A line that waits in a buffer tells nobody the port.
        std::io::stdout().flush().map_err(|error| Failure::because("standard output", &error))?;
        stop.await;
        tracing::info!("stopping");
        server.stop().await;
        Ok(())
    })
}

/// A running server. The demo runs one, too.
pub(crate) struct Server {
    url: String,
    metrics_address: Option<SocketAddr>,
    /// Present while no human is enrolled with the local issuer.
    pub(crate) enrolment_code: Option<Zeroizing<String>>,
    host: Arc<Host>,
    store: Arc<SqliteStore>,
    stop: watch::Sender<bool>,
    serving: tokio::task::JoinHandle<()>,
    housekeeping: tokio::task::JoinHandle<()>,
    counting: tokio::task::JoinHandle<()>,
    detecting: tokio::task::JoinHandle<()>,
    responding: tokio::task::JoinHandle<()>,
    delivering: tokio::task::JoinHandle<()>,
}

impl Server {
    /// Opens the data folder, or makes it, and listens. Returns once requests are answered.
    pub(crate) async fn start(settings: &Settings, passphrase: &Passphrase, clock: Clock) -> Result<Self, Failure> {
        let (stop, stopped) = watch::channel(false);
        let tls = settings.tls.clone().map(|files| certificate::follow(files, stopped.clone())).transpose()?;
        let listener = TcpListener::bind(settings.listen).await;
        let listener =
            listener.map_err(|error| Failure::because(&format!("cannot listen on {}", settings.listen), &error))?;
        let address = listener.local_addr().map_err(|error| Failure::because("no local address", &error))?;
        let url = format!("{}://{address}", if settings.tls.is_some() { "https" } else { "http" });
        let metrics = match settings.metrics_listen {
            None => None,
            Some(address) => Some(
                TcpListener::bind(address)
                    .await
                    .map_err(|error| Failure::because(&format!("cannot listen on {address} for metrics"), &error))?,
            ),
        };
        let no_store = |error: OpenError| Failure::because("cannot open the store", &error);
        SqliteStore::refuse_unfinished(&settings.data).map_err(no_store)?;
        // The root first: a store without its root is left as it is.
        let root = Root::open_or_create(&settings.data, passphrase, KdfParams::default());
        let root = root.map_err(|error| Failure::because("cannot open the root key", &error))?;
        let store = SqliteStore::open(&settings.data).map_err(no_store)?;
        let store = Arc::new(store);
        let port: Arc<dyn Store> = store.clone();
        let entropy = Entropy::system();
        let failed = |error: aegis_core::error::Error| Failure::because("cannot start", &error);
        let epoch = u32::try_from(root.epoch()).map_err(|error| Failure::because("the root's epoch", &error))?;
        pipeline::initialize(store.as_ref(), root.deployment(), epoch, &entropy, clock.now()).await.map_err(failed)?;
        tie_humans(settings, store.as_ref()).await?;
        let issuer_url = settings.public_url.clone().unwrap_or_else(|| format!("urn:aegis:{}", root.deployment()));
        let (local, provider) = match &settings.oidc {
            Some(oidc) => (None, oidc.provider()?),
            None => {
                let (issuer, store) = (format!("{issuer_url}/local"), Arc::clone(&port));
                let local = LocalIssuer::new(
                    issuer,
                    root.expose_issuer_key(),
                    store,
                    clock.clone(),
                    entropy.clone(),
                    address.port(),
                );
                let local = local.map_err(failed)?;
                let provider = Provider {
                    issuer: local.issuer().to_string(),
                    humans_from: humans_from(settings),
                    client_id: AUDIENCE.to_string(),
                    human_claim: HumanClaim::Sub,
                    keys: Arc::new(local.jwks()),
                    device_scopes: None,
                };
                (Some(Arc::new(local)), provider)
            }
        };
        let enrolment_code = match &local {
            Some(local) => local.enrolment(settings.enrol_admin).await.map_err(failed)?,
            None => None,
        };
        let kek = KeyEncryptionKey::new(root.kek_id().to_string(), Zeroizing::new(*root.expose_kek()));
        let own_url = settings.public_url.as_deref().unwrap_or(&url);
        let bare_url = own_url.trim_end_matches('/');
        let (logins, approval_page) = match (local, settings.oidc.as_ref().filter(|oidc| oidc.approval_page)) {
            (Some(local), _) => (LoginsAt::LocalIssuer(local), Some(page::LOCAL)),
            (None, Some(oidc)) => {
                (LoginsAt::Provider(Some(Arc::new(AtProvider::new(oidc, bare_url)?))), Some(page::PATH))
            }
            (None, None) => (LoginsAt::Provider(None), None),
        };
        let app = App {
            store: port,
            keystores: KeyStores::new(
                Arc::new(SoftwareKeyStore::new(kek, entropy.clone())),
                backend::open(&settings.backends, &entropy).await?,
            ),
            tokens: TokenKeys::new(issuer_url, AUDIENCE.to_string(), root.expose_token_key()).map_err(failed)?,
            logins: Logins::new(provider, settings.roles.clone()),
            digest_key: DigestKey::new(*root.expose_digest_key()),
            clock,
            entropy,
            policies: PolicyCache::default(),
            rules: RulesCache::default(),
            rates: Rate::new(settings.requests_per_minute),
            live: LiveCounters::default(),
            reads: Recorded::default(),
            shares: Shares::default(),
            webhooks_reach: settings.webhooks_reach(),
            approval_page: approval_page.map(|path| format!("{bare_url}{path}")),
        };
        let host = Arc::new(Host {
            app: Arc::new(app),
            gate: Gate::new(settings.unverified_per_minute),
            metrics: Metrics::new(),
            mcp: Mcp::new(own_url),
            operations: Operations::Here,
        });
        let courier = webhooks::courier(&host, store.clone(), settings)?;
        let mut metrics_address = None;
        if let Some(listener) = metrics {
            metrics_address = listener.local_addr().ok();
            let router = http::metrics(Arc::clone(&host));
            tokio::spawn(listen::serve(listener, router, None, Bounds::FEW, stopped.clone()));
        }
        detection::catch_up(&host, &store).await;
        let router = http::router(Arc::clone(&host), logins, settings.proxies.clone());
        let serving = tokio::spawn(listen::serve(listener, router, tls, Bounds::of_this_process(), stopped.clone()));
        let counting = tokio::spawn(usage::count(Arc::clone(&host), Arc::clone(&store), stopped.clone()));
        let delivering = tokio::spawn(webhooks::deliver(Arc::clone(&host), courier, stopped.clone()));
        let detecting = tokio::spawn(detection::detect(Arc::clone(&host), Arc::clone(&store), stopped.clone()));
        let responding = tokio::spawn(detection::respond(Arc::clone(&host), stopped.clone()));
        let housekeeping = tokio::spawn(keep_house(Arc::clone(&host), Arc::clone(&store), stopped));
        Ok(Self {
            url,
            metrics_address,
            enrolment_code,
            host,
            store,
            stop,
            serving,
            housekeeping,
            counting,
            detecting,
            responding,
            delivering,
        })
    }

    pub(crate) fn url(&self) -> String {
        self.url.clone()
    }

    /// The deployment it serves.
    pub(crate) fn app(&self) -> &App {
        &self.host.app
    }

    /// Its records, in the order of their commits.
    pub(crate) fn feed(&self) -> &dyn Feed {
        self.store.as_ref()
    }

    /// Lets the requests under way finish, writes what is still to be written, and closes the store.
    pub(crate) async fn stop(self) {
        // All tasks hold a receiver until they end.
        let _ = self.stop.send(true);
        if tokio::time::timeout(LAST_REQUESTS, self.serving).await.is_err() {
            tracing::warn!("requests still under way were cut off");
        }
        // A post that is cut off is made again at the next start.
        if tokio::time::timeout(LAST_REQUESTS, self.delivering).await.is_err() {
            tracing::warn!("posts to webhooks still under way were cut off");
        }
        match tokio::time::timeout(LAST_REQUESTS, self.housekeeping).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::error!(error = %Chain(&error), "housekeeping failed"),
            // Whatever it was about, the next start goes on with it.
            Err(_) => tracing::warn!("housekeeping still under way was cut off"),
        }
        // It ends after the batch under way; the next start goes on from there.
        // The next start goes on with what they were about.
        for (task, what) in [(self.detecting, "detection"), (self.responding, "responses")] {
            match tokio::time::timeout(LAST_REQUESTS, task).await {
                Ok(Ok(())) => {}
                Ok(Err(error)) => tracing::error!(error = %Chain(&error), what, "a task failed"),
                Err(_) => tracing::warn!(what, "a task still under way was cut off"),
            }
        }
        if let Err(error) = self.counting.await {
            tracing::error!(error = %Chain(&error), "counting uses failed");
        }
        aegis_functions::write_summaries(&self.host, Timestamp::MAX).await;
    }
}

/// How long requests under way may take once the server is told to stop.
const LAST_REQUESTS: Duration = Duration::from_secs(10);
/// How often the server looks for what is due.
const HOUSEKEEPING: Duration = Duration::from_secs(5);
/// Who tokens are for.
const AUDIENCE: &str = "aegis";

/// A name that two providers know is two humans: only the operator can say that it is one.
async fn tie_humans(settings: &Settings, store: &SqliteStore) -> Result<(), Failure> {
    let source = humans_from(settings);
    let tied = pipeline::tie_humans(store, &source, settings.rebind_issuer).await;
    match tied.map_err(|error| Failure::because("cannot start", &error))? {
        None => Ok(()),
        Some(former) => Err(Failure::Usage(format!(
            "the humans of this data folder come from {former}, and the settings take them from {source}, where a name \
             may be somebody else's: if it is not, start once with --rebind-issuer"
        ))),
    }
}

/// The local issuer's own name changes with `public_url`; its humans stay.
fn humans_from(settings: &Settings) -> String {
    settings.oidc.as_ref().map_or_else(|| "the local issuer".to_string(), Oidc::humans_from)
}

async fn keep_house(host: Arc<Host>, store: Arc<SqliteStore>, mut stopped: watch::Receiver<bool>) {
    let mut tick = tokio::time::interval(HOUSEKEEPING);
    loop {
        tokio::select! {
            _ = tick.tick() => {}
            _ = stopped.changed() => return,
        }
        let now = host.app.clock.now();
        aegis_functions::write_summaries(&host, now).await;
        if let Err(error) = maintenance::run_due(&host.app).await {
            tracing::error!(error = %Chain(&error), "scheduled work failed");
        }
        if let Err(error) = store.sweep_expired(now).await {
            tracing::error!(error = %Chain(&error), "expired items not removed");
        }
    }
}

/// Listens for those who want the process to end. From its return on, none of them is missed; the future ends with the
/// first.
pub(crate) fn stop_signal() -> Result<impl Future<Output = ()>, Failure> {
    #[cfg(unix)]
    {
        use tokio::signal::unix::{SignalKind, signal};
        let listen = |kind| signal(kind).map_err(|error| Failure::because("signals", &error));
        let (mut interrupt, mut terminate) = (listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?);
        Ok(async move {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        })
    }
    #[cfg(not(unix))]
    {
        let listen = tokio::signal::windows::ctrl_c();
        let mut pressed = listen.map_err(|error| Failure::because("signals", &error))?;
        Ok(async move {
            pressed.recv().await;
        })
    }
}

/// Of the root key: from the file, else the environment, else whoever is at the terminal.
pub(crate) fn passphrase(file: Option<&Path>) -> Result<Passphrase, Failure> {
    if let Some(path) = file {
        let what = format!("cannot read the passphrase from {}", path.display());
        let text = std::fs::read_to_string(path).map(Zeroizing::new);
        let text = text.map_err(|error| Failure::because(&what, &error))?;
        return Ok(Passphrase::new(text.trim_end_matches(['\r', '\n']).to_string()));
    }
    if let Ok(text) = std::env::var("AEGIS_PASSPHRASE") {
        return Ok(Passphrase::new(text));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::Usage(
            "no passphrase: give --passphrase-file FILE, set AEGIS_PASSPHRASE, or start on a terminal".to_string(),
        ));
    }
    let typed = rpassword::prompt_password("Passphrase of the root key: ");
    typed.map(Passphrase::new).map_err(|error| Failure::because("cannot read the passphrase", &error))
}

/// What the transport of MCP warns of is what strangers send: refused, and on record.
const LOGGED: &str = "warn,rmcp=error";

fn log_to_stderr(format: config::Log) {
    let filter = EnvFilter::try_from_env("AEGIS_LOG").unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let builder = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Only fails where a subscriber is set already, which then goes on.
    let _ = match format {
        config::Log::Json => builder.json().try_init(),
        config::Log::Pretty => builder.with_ansi(std::io::stderr().is_terminal()).try_init(),
    };
}
