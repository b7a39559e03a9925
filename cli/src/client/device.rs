//! A login at the deployment's identity provider, by the device flow (RFC 8628): the human opens a page wherever she has a
//! browser, and this program waits. What comes of it is an ID token, which is worth nothing until it is exchanged.

use super::connection::{Client, is_loopback};
use super::output;
use crate::Failure;
use crate::serve::stop_signal;
use aegis_core::error::Cause;
use aegis_functions::oidc::{Issuer, Source};
use indicatif::ProgressBar;
use serde::Deserialize;
use serde_json::{Value, json};
use std::io::IsTerminal;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::Instant;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// Where humans log in, as the deployment tells it in its protected-resource metadata (RFC 9728).
#[derive(Deserialize)]
pub(crate) struct Provider {
    pub(crate) issuer: Issuer,
    client_id: String,
    scopes: Vec<String>,
}

/// The provider of a deployment; `None` where humans log in at the deployment itself.
pub(crate) fn provider(client: &Client) -> Result<Option<Provider>, Failure> {
    let metadata = client.api.get("/.well-known/oauth-protected-resource")?.ok("ask how to log in")?;
    let Some(told) = metadata.get("aegis_device_login").filter(|told| !told.is_null()) else { return Ok(None) };
    let provider = Provider::deserialize(told);
    let provider =
        provider.map_err(|error| Failure::because("the deployment's identity provider is unusable", &error))?;
    match is_sent_back(&client.url, &provider.issuer) {
        true => Err(Failure::Failed(format!("{} sends logins to this machine, {}", client.url, provider.issuer))),
        false => Ok(Some(provider)),
    }
}

/// A deployment elsewhere must not make this program ask around on this machine.
fn is_sent_back(deployment: &str, issuer: &Issuer) -> bool {
    let elsewhere = deployment.parse().is_ok_and(|uri: http::Uri| !uri.host().is_some_and(is_loopback));
    elsewhere && issuer.is_this_machine()
}

/// Shows the human where to go, waits until she has been there, and returns the provider's ID token: of a login at most
/// `max_age` seconds old.
pub(crate) fn id_token(client: &Client, provider: &Provider, max_age: u32) -> Result<Zeroizing<String>, Failure> {
    let ca_file = std::env::var_os("AEGIS_CA_FILE").map(std::path::PathBuf::from);
    let source = Arc::new(Source::new(provider.issuer.clone(), ca_file.as_deref())?);
    let failed = |cause: Cause| {
        let what = format!("cannot log in at {}", provider.issuer);
        Failure::Unreachable(crate::failure::chain(&what, cause.as_ref()))
    };
    let endpoints: Endpoints = source.discover().map_err(failed)?;
    let Some(address) = endpoints.device_authorization_endpoint else {
        return Err(Failure::Failed(format!("{} offers no device flow, which this login needs", provider.issuer)));
    };
    let (scopes, age) = (provider.scopes.join(" "), max_age.to_string());
    let form = [("client_id", provider.client_id.as_str()), ("scope", scopes.as_str()), ("max_age", age.as_str())];
    let begun = Instant::now();
    let (status, body) = source.post_form(&address, &form).map_err(failed)?;
    if status != 200 {
        return Err(refused(&body));
    }
    let asked =
        Asked::deserialize(&body).map_err(|error| Failure::because("the identity provider's answer", &error))?;
    let until = begun.checked_add(Duration::from_secs(asked.expires_in.min(MOST_SECONDS))).unwrap_or(begun);
    let poll = Poll { source, address: endpoints.token_endpoint, client_id: provider.client_id.clone(), asked, until };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::because("no runtime", &error))?;
    let outcome = runtime.block_on(async {
        // Before anything is shown: whoever sees it may end it.
        let stop = stop_signal()?;
        poll.asked.show(client.json)?;
        let spinner = spinner();
        let ended = tokio::select! {
            token = poll.wait() => token,
            () = stop => Err(Failure::Failed("the login was cancelled; nothing was changed".to_string())),
        };
        spinner.finish_and_clear();
        ended
    });
    // A question that is still under way is not waited for.
    runtime.shutdown_background();
    outcome
}

/// The discovery document, as far as it is read (RFC 8628 §4).
#[derive(Deserialize)]
struct Endpoints {
    device_authorization_endpoint: Option<String>,
    token_endpoint: String,
}

/// RFC 8628 §3.2.
#[derive(Deserialize, Zeroize, ZeroizeOnDrop)]
struct Asked {
    device_code: String,
    user_code: String,
    verification_uri: String,
    verification_uri_complete: Option<String>,
    /// Seconds.
    expires_in: u64,
    /// Seconds.
    #[serde(default = "usual_interval")]
    interval: u64,
}

impl Asked {
    fn show(&self, json: bool) -> Result<(), Failure> {
        let address = self.verification_uri_complete.as_ref().unwrap_or(&self.verification_uri);
        let (address, code) = (printable(address), printable(&self.user_code));
        if json {
            return output::json(&json!({
                "verification_uri": printable(&self.verification_uri),
                "verification_uri_complete": self.verification_uri_complete.as_deref().map(printable),
                "user_code": code,
                "expires_in": self.expires_in,
            }));
        }
        output::note(&format!("to log in, open  {address}\nand compare      {code}"));
        Ok(())
    }
}

struct Poll {
    source: Arc<Source>,
    address: String,
    client_id: String,
    asked: Asked,
    until: Instant,
}

impl Poll {
    async fn wait(self) -> Result<Zeroizing<String>, Failure> {
        let until = self.until;
        let mut wait = Duration::from_secs(self.asked.interval.clamp(1, LONGEST_WAIT));
        let poll = Arc::new(self);
        loop {
            let next = Instant::now().checked_add(wait).filter(|next| *next < until);
            tokio::time::sleep_until(next.unwrap_or(until)).await;
            if next.is_none() {
                return Err(expired());
            }
            let poll = Arc::clone(&poll);
            let answer = tokio::task::spawn_blocking(move || poll.ask()).await;
            let answer = answer.map_err(|error| Failure::because("cannot ask the identity provider", &error))?;
            match judge(answer, wait)? {
                Polled::Again(later) => wait = later,
                Polled::Token(token) => return Ok(token),
            }
        }
    }

    fn ask(&self) -> Result<(u16, Value), Cause> {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:device_code"),
            ("device_code", self.asked.device_code.as_str()),
            ("client_id", self.client_id.as_str()),
        ];
        self.source.post_form(&self.address, &form)
    }
}

/// What to do after an answer.
#[derive(Debug)]
enum Polled {
    /// After this long.
    Again(Duration),
    Token(Zeroizing<String>),
}

/// RFC 8628 §3.5. Who does not answer is asked less and less often.
fn judge(answer: Result<(u16, Value), Cause>, wait: Duration) -> Result<Polled, Failure> {
    let at_most = |wait: Duration| Polled::Again(wait.min(Duration::from_secs(LONGEST_WAIT)));
    let (status, body) = match answer {
        Err(_) | Ok((500.., _)) => return Ok(at_most(wait.saturating_mul(2))),
        Ok(answer) => answer,
    };
    match (status, body.get("error").and_then(Value::as_str)) {
        (200, _) => match body.get("id_token").and_then(Value::as_str) {
            Some(token) => Ok(Polled::Token(Zeroizing::new(token.to_string()))),
            None => Err(Failure::Failed("the identity provider sent no ID token".to_string())),
        },
        (_, Some("authorization_pending")) => Ok(Polled::Again(wait)),
        (_, Some("slow_down")) => Ok(at_most(wait.saturating_add(SLOW_DOWN))),
        (_, Some("access_denied")) => Err(Failure::Failed("the login was denied at the identity provider".to_string())),
        (_, Some("expired_token")) => Err(expired()),
        _ => Err(refused(&body)),
    }
}

fn expired() -> Failure {
    Failure::Failed("the code expired before the login was finished; run it again: aegis login".to_string())
}

fn refused(body: &Value) -> Failure {
    let text = |field: &str| body.get(field).and_then(Value::as_str).map(printable);
    let error = text("error").unwrap_or_else(|| "no reason given".to_string());
    let described = text("error_description").map(|described| format!(" ({described})")).unwrap_or_default();
    Failure::Failed(format!("the identity provider refused the login: {error}{described}"))
}

/// A stranger's text, fit for a terminal.
fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(LONGEST_TEXT).collect()
}

/// On a terminal, something that moves.
fn spinner() -> ProgressBar {
    if !std::io::stderr().is_terminal() {
        return ProgressBar::hidden();
    }
    let spinner = ProgressBar::new_spinner().with_message("waiting for you to log in there; Ctrl-C ends it");
    spinner.enable_steady_tick(Duration::from_millis(120));
    spinner
}

/// RFC 8628 §3.2.
fn usual_interval() -> u64 {
    5
}

/// RFC 8628 §3.5.
const SLOW_DOWN: Duration = Duration::from_secs(5);
/// In seconds.
const LONGEST_WAIT: u64 = 60;
/// A code that is said to live longer is waited for no longer, in seconds.
const MOST_SECONDS: u64 = 3_600;
/// In characters: longer than addresses of providers are.
const LONGEST_TEXT: usize = 2_000;
/// How old a login at the provider may be, in seconds, so that its session is a fresh one here (OpenID Connect Core
/// §3.1.2.1). Providers that do not know the parameter ignore it.
pub(crate) const FRESH: u32 = 300;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_to_a_poll_mean_what_the_standard_says() {
        let error = |error: &str| Ok((400, json!({ "error": error })));
        let table = [
            (error("authorization_pending"), Ok(5)),
            (error("slow_down"), Ok(10)),
            (Err("no route".into()), Ok(10)),
            (Ok((503, Value::Null)), Ok(10)),
            (error("access_denied"), Err("denied")),
            (error("expired_token"), Err("expired")),
            (error("invalid_grant"), Err("invalid_grant")),
            (Ok((400, Value::Null)), Err("no reason given")),
            (Ok((200, json!({ "access_token": "x" }))), Err("no ID token")),
        ];
        for (answer, want) in table {
            let shown = format!("{answer:?}");
            match (judge(answer, Duration::from_secs(5)), want) {
                (Ok(Polled::Again(wait)), Ok(seconds)) => assert_eq!(wait.as_secs(), seconds, "{shown}"),
                (Err(failure), Err(word)) => assert!(failure.to_string().contains(word), "{shown}: {failure}"),
                (other, _) => panic!("{shown}: {other:?}"),
            }
        }
        let token = judge(Ok((200, json!({ "id_token": "x.y.z" }))), Duration::from_secs(5));
        assert!(matches!(token, Ok(Polled::Token(token)) if *token == "x.y.z"));
        let longest = judge(error("slow_down"), Duration::from_secs(LONGEST_WAIT));
        assert!(matches!(longest, Ok(Polled::Again(wait)) if wait.as_secs() == LONGEST_WAIT));
    }

    #[test]
    fn only_a_deployment_of_this_machine_has_its_provider_here() {
        let table = [
            ("https://aegis.example.org", "https://127.0.0.1:3000", true),
            ("https://aegis.example.org", "http://localhost:3000", true),
            ("https://aegis.example.org", "https://login.example.org", false),
            ("http://127.0.0.1:8400", "http://localhost:3000", false),
            ("http://[::1]:8400", "https://login.example.org", false),
        ];
        for (deployment, issuer, want) in table {
            let issuer = Issuer::try_from(issuer.to_string()).unwrap();
            assert_eq!(is_sent_back(deployment, &issuer), want, "{deployment} {issuer}");
        }
    }

    #[test]
    fn what_a_provider_writes_moves_no_cursor() {
        let body = json!({ "error": "x\u{1b}[2J", "error_description": "line\nline" });
        assert_eq!(refused(&body).to_string(), "the identity provider refused the login: x[2J (lineline)");
    }
}
