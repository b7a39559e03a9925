//! Settings: one TOML file, the environment and flags, read once. Flags go before the environment, that before the file.

use super::Arguments;
use super::backend::Backend;
use super::certificate::TlsFiles;
use super::proxies::Proxies;
use crate::Failure;
use aegis_core::human::Role;
use aegis_core::login::RoleMap;
use aegis_core::name::BackendName;
use aegis_core::webhook::Reach;
use aegis_functions::oidc::Oidc;
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

/// Everything a server is told.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) data: PathBuf,
    pub(crate) listen: SocketAddr,
    pub(crate) passphrase_file: Option<PathBuf>,
    /// Where metrics are served; nowhere if absent.
    pub(crate) metrics_listen: Option<SocketAddr>,
    /// What tokens name as their issuer; derived from the deployment's id if absent.
    pub(crate) public_url: Option<String>,
    pub(crate) log: Log,
    /// Requests without a verified principal that one source may make in a minute.
    pub(crate) unverified_per_minute: u64,
    /// Requests that one human may make in a minute, or one agent with all below it.
    pub(crate) requests_per_minute: u64,
    pub(crate) roles: RoleMap,
    /// Where humans log in; absent with the local issuer.
    pub(crate) oidc: Option<Oidc>,
    /// Absent with plain HTTP.
    pub(crate) tls: Option<TlsFiles>,
    /// Whose `X-Forwarded-For` counts.
    pub(crate) proxies: Proxies,
    /// Where keys are that Aegis stands in front of.
    pub(crate) backends: BTreeMap<BackendName, Backend>,
    /// Whether webhooks may be sent to addresses of private networks.
    pub(crate) webhooks_to_private: bool,
    /// Who may vouch for the certificates of receivers, in PEM; the system's authorities if absent.
    pub(crate) webhooks_ca_file: Option<PathBuf>,
    /// Whether to print a code that enrols an admin, although there is one.
    pub(crate) enrol_admin: bool,
    /// Whether the humans may come from elsewhere than before.
    pub(crate) rebind_issuer: bool,
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Log {
    Json,
    #[default]
    Pretty,
}

/// The file. Every field is optional; one it does not know is refused.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    data: Option<PathBuf>,
    listen: Option<SocketAddr>,
    passphrase_file: Option<PathBuf>,
    metrics_listen: Option<SocketAddr>,
    public_url: Option<String>,
    log: Option<Log>,
    unverified_per_minute: Option<u64>,
    requests_per_minute: Option<u64>,
    roles: Option<HashMap<Role, BTreeSet<String>>>,
    oidc: Option<Oidc>,
    tls_cert: Option<PathBuf>,
    tls_key: Option<PathBuf>,
    trusted_proxies: Option<Proxies>,
    backends: Option<BTreeMap<BackendName, Backend>>,
    webhooks_to_private: Option<bool>,
    webhooks_ca_file: Option<PathBuf>,
}

/// 1,000 a second: above what one agent needs, below what would fill the journal unseen.
const REQUESTS_PER_MINUTE: u64 = 60_000;
/// Enough for people and retries, too little to search for anything.
const UNVERIFIED_PER_MINUTE: u64 = 300;

impl Settings {
    pub(crate) fn webhooks_reach(&self) -> Reach {
        Reach { private: self.webhooks_to_private, ..Reach::OWN_MACHINE }
    }

    /// For a data folder, with everything else as it is by default.
    pub(crate) fn for_folder(data: PathBuf) -> Self {
        let role = |role: Role| (role, BTreeSet::from([format!("role:{}", role.as_str())]));
        Self {
            data,
            listen: SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8400),
            passphrase_file: None,
            metrics_listen: None,
            public_url: None,
            log: Log::default(),
            unverified_per_minute: UNVERIFIED_PER_MINUTE,
            requests_per_minute: REQUESTS_PER_MINUTE,
            roles: Role::ALL.into_iter().map(role).collect(),
            oidc: None,
            tls: None,
            proxies: Proxies::default(),
            backends: BTreeMap::new(),
            webhooks_to_private: false,
            webhooks_ca_file: None,
            enrol_admin: false,
            rebind_issuer: false,
        }
    }

    pub(super) fn read(arguments: &Arguments) -> Result<Self, Failure> {
        let file = arguments.config.as_deref().map_or(Ok(File::default()), File::read)?;
        let data = arguments.data.clone().or(file.data);
        let data = data.ok_or_else(|| {
            Failure::Usage("no data folder: give --data DIR, set AEGIS_DATA, or write `data` in the file".to_string())
        })?;
        if let Some(rule) = file.roles.iter().flatten().flat_map(|(_, rules)| rules).find(|rule| !is_rule(rule)) {
            return Err(Failure::Usage(format!("[roles]: {rule:?} does not read claim:value")));
        }
        // Which of a provider's claims can be trusted with a role, only its operator knows.
        if file.oidc.is_some() && file.roles.is_none() {
            return Err(Failure::Usage(
                "[oidc] needs [roles]: which claims of the provider make which role".to_string(),
            ));
        }
        if file.oidc.as_ref().is_some_and(|oidc| !oidc.asks_for_id_tokens()) {
            return Err(Failure::Usage("[oidc]: scopes are words, one of them \"openid\"".to_string()));
        }
        if file.oidc.is_some() && arguments.enrol_admin {
            return Err(Failure::Usage(
                "--enrol-admin is for the local issuer: with [oidc], give a human a claim that makes an admin"
                    .to_string(),
            ));
        }
        let tls = match (file.tls_cert, file.tls_key) {
            (Some(cert), Some(key)) => Some(TlsFiles { cert, key }),
            (None, None) => None,
            _ => return Err(Failure::Usage("tls_cert and tls_key go together".to_string())),
        };
        let base = Self::for_folder(data);
        let settings = Self {
            listen: arguments.listen.or(file.listen).unwrap_or(base.listen),
            passphrase_file: arguments.passphrase_file.clone().or(file.passphrase_file),
            metrics_listen: file.metrics_listen,
            public_url: file.public_url,
            log: file.log.unwrap_or_default(),
            unverified_per_minute: file.unverified_per_minute.unwrap_or(base.unverified_per_minute),
            requests_per_minute: file.requests_per_minute.unwrap_or(base.requests_per_minute),
            roles: file.roles.unwrap_or(base.roles),
            oidc: file.oidc,
            tls,
            proxies: file.trusted_proxies.unwrap_or_default(),
            backends: file.backends.unwrap_or_default(),
            webhooks_to_private: file.webhooks_to_private.unwrap_or_default(),
            webhooks_ca_file: file.webhooks_ca_file,
            enrol_admin: arguments.enrol_admin,
            rebind_issuer: arguments.rebind_issuer,
            data: base.data,
        };
        // The address that the provider leads a browser back to.
        let named = settings.public_url.is_some() || settings.listen.ip().is_loopback();
        if !named && settings.oidc.as_ref().is_some_and(|oidc| oidc.approval_page) {
            return Err(Failure::Usage("[oidc]: approval_page needs public_url".to_string()));
        }
        let fit_for_others = settings.tls.is_some() && settings.oidc.is_some();
        let private = [Some(settings.listen).filter(|_| !fit_for_others), settings.metrics_listen];
        match private.into_iter().flatten().find(|address| !address.ip().is_loopback()) {
            None => Ok(settings),
            Some(address) => Err(Failure::Usage(format!(
                "{address} is no loopback address: plain HTTP and the local issuer are for this machine alone; for \
                 `listen`, set tls_cert, tls_key and [oidc]"
            ))),
        }
    }
}

fn is_rule(text: &str) -> bool {
    text.split_once(':').is_some_and(|(claim, value)| !claim.is_empty() && !value.is_empty())
}

impl File {
    fn read(path: &Path) -> Result<Self, Failure> {
        let usage = |what: String| Failure::Usage(format!("{}: {what}", path.display()));
        let text = std::fs::read_to_string(path).map_err(|error| usage(error.to_string()))?;
        toml::from_str(&text).map_err(|error| usage(error.to_string()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_refuses_what_it_does_not_know() {
        let good = "listen = '127.0.0.1:9000'\n[roles]\nadmin = ['group:security']\n\
                    [backends.stick]\nkind = 'folder'\npath = '/mnt/stick'\n";
        assert!(toml::from_str::<File>(good).is_ok());
        for bad in [
            "lisen = '127.0.0.1:9000'",
            "listen = 'here'",
            "[roles]\nking = ['x']",
            "log = 'loud'",
            "[backends.Stick]\nkind = 'folder'\npath = '/mnt/stick'",
            "[backends.stick]\nkind = 'folder'",
            "[backends.stick]\nkind = 'folders'\npath = '/mnt/stick'",
            "[backends.stick]\nkind = 'folder'\npath = '/mnt/stick'\npaths = 'x'",
        ] {
            assert!(toml::from_str::<File>(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn flags_go_before_the_file_and_only_loopback_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aegis.toml");
        let arguments = |listen: Option<&str>| Arguments {
            listen: listen.map(|listen| listen.parse().unwrap()),
            config: Some(path.clone()),
            ..Arguments::default()
        };
        std::fs::write(&path, "data = 'here'\nlisten = '127.0.0.1:9000'\n").unwrap();
        assert_eq!(Settings::read(&arguments(None)).unwrap().listen.port(), 9000);
        assert_eq!(Settings::read(&arguments(Some("[::1]:1"))).unwrap().listen.port(), 1);
        assert!(matches!(Settings::read(&arguments(Some("0.0.0.0:1"))), Err(Failure::Usage(_))));
        std::fs::write(&path, "listen = '127.0.0.1:9000'\n").unwrap();
        assert!(matches!(Settings::read(&arguments(None)), Err(Failure::Usage(_))));
    }

    #[test]
    fn other_machines_are_served_with_tls_and_a_provider_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aegis.toml");
        let read_for = |listen: &str, text: &str| {
            std::fs::write(&path, format!("data = 'here'\nlisten = '{listen}'\n{text}")).unwrap();
            Settings::read(&Arguments { config: Some(path.clone()), ..Arguments::default() })
        };
        let read = |text: &str| read_for("0.0.0.0:8400", text);
        let tls = "tls_cert = 'cert.pem'\ntls_key = 'key.pem'\n";
        let oidc = "[oidc]\nissuer = 'https://login.example'\nclient_id = 'aegis'\n[roles]\n";
        assert!(read(&format!("{tls}{oidc}")).is_ok());
        for bad in ["", tls, oidc, "tls_cert = 'cert.pem'\n", "tls_key = 'key.pem'\n"] {
            assert!(matches!(read(bad), Err(Failure::Usage(_))), "{bad}");
        }
        assert!(read_for("127.0.0.1:8400", tls).is_ok());
        // A browser must know where to.
        let page = oidc.replace("[roles]", "approval_page = true\n[roles]");
        assert!(matches!(read(&format!("{tls}{page}")), Err(Failure::Usage(_))));
        assert!(read(&format!("public_url = 'https://aegis.example'\n{tls}{page}")).is_ok());
        assert!(read_for("127.0.0.1:8400", &page).is_ok());
        assert!(matches!(read_for("127.0.0.1:8400", "tls_cert = 'cert.pem'\n"), Err(Failure::Usage(_))));
    }

    #[test]
    fn a_provider_needs_roles_that_read_claim_and_value() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("aegis.toml");
        let read = |text: &str| {
            let oidc = "[oidc]\nissuer = 'https://login.example'\nclient_id = 'aegis'\n";
            std::fs::write(&path, format!("data = 'here'\n{oidc}{text}")).unwrap();
            Settings::read(&Arguments { config: Some(path.clone()), ..Arguments::default() })
        };
        assert!(read("[roles]\nadmin = ['group:security']\n").unwrap().oidc.is_some());
        assert!(read("human_claim = 'email'\nca_file = 'ca.pem'\n[roles]\n").is_ok());
        for bad in ["", "[roles]\nadmin = ['security']\n", "[roles]\nadmin = ['group:']\n"] {
            assert!(matches!(read(bad), Err(Failure::Usage(_))), "{bad}");
        }
        for bad in
            ["human_claim = 'name'\n[roles]\n", "client_secret = 'x'\n[roles]\n", "scopes = ['groups']\n[roles]\n"]
        {
            assert!(matches!(read(bad), Err(Failure::Usage(_))), "{bad}");
        }
    }
}
