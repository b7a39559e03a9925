//! What the functions run on: the same pipeline as every host, on the ports of AWS. A function gets no secret that its
//! work does not need.

use super::Function;
use crate::edge::Edge;
use crate::forward::{Answered, Forward, Forwarded, Operations};
use crate::mcp::Mcp;
use crate::page::{self, AtProvider};
use crate::{Gate, Host, Metrics, deployed};
use aegis_aws::functions::Functions;
use aegis_aws::live::LiveTable;
use aegis_aws::permits::PermitKeyTable;
use aegis_aws::root::{Root, SealedRoot};
use aegis_aws::store::{DynamoStore, Tables};
use aegis_aws::token::KmsTokenSigner;
use aegis_aws::{dynamodb, kms};
use aegis_core::ambient::{Clock, Entropy, Timestamp};
use aegis_core::deployment::DigestKey;
use aegis_core::error::Error;
use aegis_core::keystore::{KeyStore, KeyStores};
use aegis_core::login::{HumanClaim, Logins, Provider};
use aegis_core::name::BackendName;
use aegis_core::operation::Operation;
use aegis_core::pipeline::{App, LiveCounters, PermitReader, PolicyCache, Recorded, RulesCache, Shares, Throttle};
use aegis_core::token::{TokenKeys, TokenSigner};
use aegis_keystores::aws_kms::AwsKmsKeyStore;
use aegis_keystores::software::{KeyEncryptionKey, SoftwareKeyStore};
use async_trait::async_trait;
use jsonwebtoken::jwk::JwkSet;
use std::collections::BTreeMap;
use std::sync::Arc;
use zeroize::Zeroizing;

/// What decides without the body.
pub(super) struct AtEdge {
    pub(super) host: Arc<Host>,
    pub(super) edge: Edge,
}

/// What acts.
pub(super) struct Whole {
    pub(super) host: Arc<Host>,
    pub(super) reader: PermitReader,
}

/// What only those have that act: the deployment's secrets, and what KMS does for it. Functions that never ask for it do not
/// even contain KMS's SDK.
struct Trusted {
    root: Root,
    signer: Arc<dyn TokenSigner>,
    provider: Provider,
    backends: BTreeMap<BackendName, Arc<dyn KeyStore>>,
}

/// Who tokens are for.
const AUDIENCE: &str = "aegis";
/// What the one back end is called; what `aegis key register --aws-kms-key` registers at.
const KMS: &str = "kms";
/// Requests of one human, or of one agent with all below it, that one instance takes in a minute; of one source without a
/// principal. The gateway's own throttling counts over all instances, by method.
const REQUESTS_PER_MINUTE: u64 = 6_000;
const UNVERIFIED_PER_MINUTE: u64 = 600;

impl Function {
    pub(super) fn store(&self) -> DynamoStore {
        let tables = Tables { state: self.settings.state_table.clone(), journal: self.settings.journal_table.clone() };
        DynamoStore::new(dynamodb(&self.aws), tables)
    }

    fn permit_keys(&self) -> Arc<PermitKeyTable> {
        Arc::new(PermitKeyTable::new(dynamodb(&self.aws), self.settings.permit_keys_table.clone()))
    }

    async fn sealed_root(&self) -> Result<SealedRoot, Error> {
        let found = SealedRoot::read(&self.store()).await?;
        found.ok_or_else(|| Error::Unavailable {
            dependency: "the store",
            source: "the deployment is not set up: the function `setup` has not run".into(),
        })
    }

    /// The edge: reads and decides, and holds no secret of the deployment.
    pub(super) async fn edge(&self) -> Result<&AtEdge, Error> {
        self.edge
            .get_or_try_init(|| async {
                let sealed = self.sealed_root().await?;
                let host = self.host(self.app(&sealed, None)?, None, Operations::Here);
                Ok(AtEdge { host, edge: Edge::new(self.permit_keys()) })
            })
            .await
    }

    pub(super) async fn whole(&self) -> Result<&Whole, Error> {
        self.whole
            .get_or_try_init(|| async {
                let sealed = self.sealed_root().await?;
                let trusted = Box::pin(self.trusted(&sealed)).await?;
                let host = self.host(self.app(&sealed, Some(trusted))?, None, Operations::Here);
                Ok(Whole { host, reader: PermitReader::new(self.permit_keys()) })
            })
            .await
    }

    /// Where humans answer approvals in a browser: below the name that browsers reach the deployment by, if it has one.
    fn approval_page(&self) -> Option<String> {
        self.settings.oidc.as_ref().filter(|oidc| oidc.approval_page)?;
        Some(format!("{}{}", self.settings.public_url.as_deref()?.trim_end_matches('/'), page::PATH))
    }

    /// What serves that page.
    pub(super) fn page(&self) -> Option<&AtProvider> {
        let page = self.page.get_or_init(|| {
            let (url, oidc) = (self.settings.public_url.as_deref()?, self.settings.oidc.as_ref()?);
            let page = AtProvider::new(oidc, url.trim_end_matches('/'));
            let page = page.inspect_err(|error| tracing::error!(error = %error, "the page cannot be served"));
            page.ok().filter(|_| oidc.approval_page)
        });
        page.as_ref()
    }

    /// What detects: it reads records and stops agents, and opens no key.
    pub(super) async fn inner(&self) -> Result<&Arc<App>, Error> {
        self.inner.get_or_try_init(|| async { Ok(Arc::new(self.app(&self.sealed_root().await?, None)?)) }).await
    }

    /// What reads messages: it knows whose tokens are valid, and hands on what they ask for.
    pub(super) async fn messages(&self, gateway: Option<String>) -> Result<&Arc<Host>, Error> {
        self.messages
            .get_or_try_init(|| async {
                let unset = "AEGIS_FUNCTION_PREFIX is not set";
                let prefix = self.settings.function_prefix.clone();
                let prefix = prefix.ok_or(Error::Damaged { what: "settings", source: unset.into() })?;
                let functions = OperationFunctions(Functions::new(aegis_aws::lambda(&self.aws), prefix));
                let app = self.app(&self.sealed_root().await?, None)?;
                Ok(self.host(app, gateway, Operations::Elsewhere(Arc::new(functions))))
            })
            .await
    }

    /// Without a public URL, the gateway's own counts.
    fn host(&self, app: App, gateway: Option<String>, operations: Operations) -> Arc<Host> {
        let url = self.settings.public_url.clone().or(gateway);
        let url = url.as_deref().unwrap_or("https://aegis.invalid");
        Arc::new(Host {
            app: Arc::new(app),
            gate: Gate::new(UNVERIFIED_PER_MINUTE),
            metrics: Metrics::new(),
            mcp: Mcp::new(url),
            operations,
        })
    }

    /// KMS, in the deployment's own region. Which of its keys may be used is the affair of `managed_key_arns` of Terraform, whether
    /// some are made there that of `makes_kms_keys`.
    fn backends(&self, entropy: &Entropy) -> Result<BTreeMap<BackendName, Arc<dyn KeyStore>>, Error> {
        let meant = self.settings.kms_principals.clone();
        let name = KMS.parse().map_err(|error| Error::Damaged { what: "settings", source: Box::new(error) })?;
        let keystore = AwsKmsKeyStore::new(&kms(&self.aws), entropy.clone()).with_principals(meant);
        let keystore: Arc<dyn KeyStore> = match self.settings.kms_made_by.clone() {
            Some(deployment) => Arc::new(keystore.that_marks(deployment)),
            None => Arc::new(keystore.that_makes_none()),
        };
        Ok([(name, keystore)].into())
    }

    async fn trusted(&self, sealed: &SealedRoot) -> Result<Trusted, Error> {
        let root = sealed.open(&kms(&self.aws), &self.settings.root_key).await?;
        let provider = self.settings.oidc.as_ref().map(|oidc| oidc.provider()).transpose();
        let provider = provider.map_err(|error| Error::Damaged { what: "settings", source: error.into() })?;
        Ok(Trusted {
            root,
            signer: Arc::new(KmsTokenSigner::new(kms(&self.aws), sealed.token_key_id.clone())),
            provider: provider.unwrap_or_else(nobody),
            backends: self.backends(&Entropy::system())?,
        })
    }

    /// Without secrets nothing can be made, opened, digested or signed.
    fn app(&self, sealed: &SealedRoot, trusted: Option<Trusted>) -> Result<App, Error> {
        let entropy = Entropy::system();
        let settings = &self.settings;
        let issuer = settings.public_url.clone().unwrap_or_else(|| format!("urn:aegis:{}", sealed.deployment));
        let trusted = trusted.unwrap_or_else(|| Trusted {
            root: throwaway(&entropy),
            signer: Arc::new(NoSigner),
            provider: nobody(),
            backends: BTreeMap::new(),
        });
        let Trusted { root, signer, provider, backends } = trusted;
        let kek = KeyEncryptionKey::new(root.kek_id, root.kek);
        Ok(App {
            store: Arc::new(self.store()),
            keystores: KeyStores::new(Arc::new(SoftwareKeyStore::new(kek, entropy.clone())), backends),
            tokens: TokenKeys::with_signer(issuer, AUDIENCE.to_string(), signer, sealed.token_key.clone())?,
            logins: Logins::new(provider, settings.roles.clone()),
            digest_key: DigestKey::new(*root.digest_key),
            clock: Clock::new(Timestamp::now),
            entropy,
            policies: PolicyCache::default(),
            rules: RulesCache::default(),
            throttle: Throttle::new(REQUESTS_PER_MINUTE),
            live: LiveCounters::Shared(Arc::new(LiveTable::new(dynamodb(&self.aws), settings.state_table.clone()))),
            reads: Recorded::default(),
            shares: Shares::default(),
            webhooks_reach: settings.webhooks_reach(),
            approval_page: self.approval_page(),
        })
    }
}

/// The functions that serve operations, by their names.
struct OperationFunctions(Functions);

#[async_trait]
impl Forward for OperationFunctions {
    async fn forward(&self, operation: Operation, asked: &Forwarded) -> Result<Answered, Error> {
        let damaged = |error: serde_json::Error| Error::Damaged { what: "call of a function", source: error.into() };
        let payload = serde_json::to_vec(&BTreeMap::from([("forwarded", asked)])).map_err(damaged)?;
        let answer = self.0.call(&deployed::function_of(operation), payload).await?;
        serde_json::from_slice(&answer).map_err(damaged)
    }
}

/// A root of no deployment, for what never opens or digests anything: material that is not its own is refused, and what it
/// would make nobody could open.
fn throwaway(entropy: &Entropy) -> Root {
    let (mut kek, mut digest_key) = (Zeroizing::new([0; 32]), Zeroizing::new([0; 32]));
    entropy.fill(kek.as_mut());
    entropy.fill(digest_key.as_mut());
    Root { kek_id: "kek_none".to_string(), kek, digest_key }
}

/// A provider that vouches for nobody.
fn nobody() -> Provider {
    Provider {
        issuer: String::new(),
        humans_from: String::new(),
        client_id: AUDIENCE.to_string(),
        human_claim: HumanClaim::Sub,
        keys: Arc::new(JwkSet { keys: Vec::new() }),
        device_scopes: None,
    }
}

struct NoSigner;

#[async_trait]
impl TokenSigner for NoSigner {
    async fn sign(&self, _: &[u8]) -> Result<Vec<u8>, Error> {
        Err(Error::Damaged { what: "token-signing key", source: "this function signs no tokens".into() })
    }
}
