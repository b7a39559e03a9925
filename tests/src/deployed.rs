//! A deployment that is there already, as a scenario finds it: empty, and its own for as long as it lasts.
//!
//! Between scenarios `tests/aws/empty.py` brings its tables back to what they held when it was new. It is one, so scenarios
//! are told on it one after the other.

use crate::Answer;
use crate::site::{beside_outputs, site};
use aegis_core::agent::Hold;
use bytes::Bytes;
use http::Request;
use http::header::HOST;
use std::fs::OpenOptions;
use std::io::Write;
use std::process::Command;
use std::sync::{Arc, LazyLock};
use tokio::sync::{Mutex, OwnedMutexGuard};

/// Whether scenarios are told on a deployment that is there already.
pub(crate) fn is_meant() -> bool {
    std::env::var_os("AEGIS_DEPLOYMENT").is_some()
}

/// The scenarios that need nothing but an API: those that are told here, and, with the reason, those that are not.
pub fn listed() -> impl Iterator<Item = (&'static str, Option<&'static str>)> {
    const LIST: &str = include_str!("../tests/scenarios/listed.txt");
    let lines = LIST.lines().filter(|line| !line.is_empty() && !line.starts_with('#'));
    lines.map(|line| match line.strip_prefix("- ") {
        Some(line) => line.split_once(": ").map_or((line, Some("")), |(name, reason)| (name, Some(reason))),
        None => (line, None),
    })
}

/// Fails a scenario that is not.
pub(crate) fn must_be_listed() {
    let thread = std::thread::current();
    let name = thread.name().unwrap_or_default();
    if !std::thread::panicking() && listed().all(|(listed, _)| listed != name) {
        panic!("{name} could be told on any deployment: put it into tests/tests/scenarios/listed.txt");
    }
}

pub(crate) struct Deployed {
    _alone: OwnedMutexGuard<()>,
    client: ureq::Agent,
}

impl Deployed {
    /// Empty from now on. The scenario is put on the list of those that were told on it, beside what Terraform put out.
    pub(crate) fn emptied() -> Self {
        static ALONE: LazyLock<Arc<Mutex<()>>> = LazyLock::new(Arc::default);
        let Ok(alone) = Arc::clone(&ALONE).try_lock_owned() else {
            panic!("there is one deployment, and it is in use: --test-threads=1, and one at a time in a scenario")
        };
        script(&["empty.py", "empty"]);
        let mut told = OpenOptions::new().append(true).create(true).open(beside_outputs("told")).unwrap();
        writeln!(told, "{}", std::thread::current().name().unwrap()).unwrap();
        let client = ureq::Agent::config_builder().http_status_as_error(false).proxy(None).max_redirects(0);
        let client = client.allow_non_standard_methods(true).build().into();
        Self { _alone: alone, client }
    }

    /// Written into the table, as a response would.
    pub(crate) fn hold(&self, agent: &str, hold: &Hold) {
        script(&["hold.py", agent, &serde_json::to_string(hold).unwrap()]);
    }

    pub(crate) async fn send(&self, request: Request<Bytes>) -> Answer {
        let (mut head, body) = request.into_parts();
        head.uri = format!("{}{}", site().url, head.uri).parse().unwrap();
        // A gateway has a name of its own.
        head.headers.remove(HOST);
        let client = self.client.clone();
        let sent = move || match body.is_empty() {
            true => client.run(Request::from_parts(head, ())),
            false => client.run(Request::from_parts(head, body.to_vec())),
        };
        let mut response = tokio::task::spawn_blocking(sent).await.unwrap().unwrap();
        let body = Bytes::from(response.body_mut().read_to_vec().unwrap());
        Answer::of(&response.map(|_| body))
    }
}

/// Runs a script of `tests/aws`.
fn script(arguments: &[&str]) {
    let mut command = Command::new(std::env::var_os("AEGIS_TEST_PYTHON").unwrap());
    command.current_dir(concat!(env!("CARGO_MANIFEST_DIR"), "/aws")).arg("-B");
    let output = command.args(arguments).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
