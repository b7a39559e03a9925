//! The real binary, as a child that ends with its handle.

use crate::{Answer, text};
use serde_json::{Value, json};
use std::ffi::OsStr;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};

pub const PASSPHRASE: &str = "correct horse battery staple";

/// `aegis`: where the test command says, or beside the test's own binary.
pub fn aegis() -> PathBuf {
    if let Some(path) = std::env::var_os("AEGIS_BIN") {
        return PathBuf::from(path);
    }
    let own = std::env::current_exe().unwrap();
    let path = own.parent().and_then(Path::parent).unwrap().join("aegis");
    assert!(path.exists(), "no {}: build it with `cargo build --bin aegis`, or set AEGIS_BIN", path.display());
    path
}

/// A running server.
pub struct Process {
    child: Child,
    pub url: String,
    /// Present until a human has enrolled.
    pub code: Option<String>,
    /// Where its metrics are, if it serves any.
    pub metrics: Option<String>,
}

impl Process {
    pub fn start(data: &Path) -> Self {
        Self::try_start(data, PASSPHRASE).unwrap_or_else(|output| panic!("{output:?}"))
    }

    /// With a settings file.
    pub fn start_with(data: &Path, config: &Path) -> Self {
        Self::try_start_with(data, &["--config", config.to_str().unwrap()])
            .unwrap_or_else(|output| panic!("{output:?}"))
    }

    /// With further arguments. What the server said, if it did not start.
    pub fn try_start_with(data: &Path, arguments: &[&str]) -> Result<Self, Output> {
        let mut command = Self::command(data, PASSPHRASE);
        command.args(arguments);
        Self::spawn(command)
    }

    /// Everything it has to say goes to a file.
    pub fn start_telling(data: &Path, log: std::fs::File) -> Self {
        let mut command = Self::command(data, PASSPHRASE);
        command.env("AEGIS_LOG", "trace").stderr(log);
        Self::spawn(command).unwrap_or_else(|output| panic!("{output:?}"))
    }

    /// With more in its environment.
    pub fn start_among(data: &Path, environment: &[(&str, &OsStr)]) -> Self {
        let mut command = Self::command(data, PASSPHRASE);
        command.envs(environment.iter().copied());
        Self::spawn(command).unwrap_or_else(|output| panic!("{output:?}"))
    }

    /// From a shell that lets it dump core, as far as the machine lets the shell.
    pub fn start_dumpable(data: &Path) -> Self {
        let mut command = Command::new("sh");
        command.args(["-c", "ulimit -c \"$(ulimit -H -c)\"; exec \"$@\"", "sh"]).arg(aegis());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).env("AEGIS_PASSPHRASE", PASSPHRASE);
        command.stderr(Stdio::piped()).current_dir(data);
        Self::spawn(command).unwrap_or_else(|output| panic!("{output:?}"))
    }

    /// What the server said, if it did not start.
    pub fn try_start(data: &Path, passphrase: &str) -> Result<Self, Output> {
        Self::spawn(Self::command(data, passphrase))
    }

    fn command(data: &Path, passphrase: &str) -> Command {
        let mut command = Command::new(aegis());
        command.args(["serve", "--listen", "127.0.0.1:0", "--data"]).arg(data).env("AEGIS_PASSPHRASE", passphrase);
        command.stderr(Stdio::piped());
        command
    }

    fn spawn(mut command: Command) -> Result<Self, Output> {
        let mut child = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
        let (mut code, mut metrics) = (None, None);
        // The address comes last.
        let url = lines.find_map(|line| {
            code = line.strip_prefix("enrolment code: ").map(str::to_string).or(code.take());
            metrics = line.strip_prefix("metrics on ").map(str::to_string).or(metrics.take());
            line.strip_prefix("aegis listening on ").map(str::to_string)
        });
        let Some(url) = url else {
            return Err(child.wait_with_output().unwrap());
        };
        Ok(Self { child, url, code, metrics })
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Stops it at once, as a power cut would.
    pub fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Sends it a signal, by its name.
    pub fn signal(&self, name: &str) {
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args([&format!("-{name}"), &id]).status().unwrap().success());
    }

    /// Has the kernel end it as a crash would. How it ended.
    pub fn abort(mut self) -> std::process::ExitStatus {
        self.signal("ABRT");
        self.child.wait().unwrap()
    }

    /// Reads what it logs until a line has this in it.
    pub fn wait_for_log(&mut self, words: &str) {
        let mut said = BufReader::new(self.child.stderr.as_mut().unwrap());
        let mut line = String::new();
        while !line.contains(words) {
            line.clear();
            assert!(said.read_line(&mut line).unwrap() > 0, "it ended without saying {words:?}");
        }
    }

    /// Asks it to stop, and waits. True if it said that all went well.
    pub fn terminate(mut self) -> bool {
        self.signal("TERM");
        self.child.wait().unwrap().success()
    }

    /// Enrols alice, with every role.
    pub fn enrol(&self) {
        let body = json!({ "code": self.code.as_ref().unwrap(), "human": "alice@org", "passphrase": PASSPHRASE });
        self.post("", "/local/enroll", body).ok();
    }

    /// A fresh session of alice's.
    pub fn log_in(&self) -> String {
        self.exchange(&self.post("", "/local/token", json!({ "human": "alice@org", "passphrase": PASSPHRASE })).ok())
    }

    /// The session that a login at the local issuer is good for.
    pub fn exchange(&self, login: &Value) -> String {
        let form = [
            ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"),
            ("subject_token", &text(login, "id_token")),
            ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token"),
        ];
        let sent = plain().post(format!("{}/v1/oauth/token", self.url)).send_form(form);
        text(&read(sent).unwrap().ok(), "access_token")
    }

    pub fn get(&self, token: &str, path: &str) -> Answer {
        self.try_get(token, path).unwrap()
    }

    pub fn post(&self, token: &str, path: &str, body: Value) -> Answer {
        post(&plain(), &self.url, token, path, &body).unwrap()
    }

    pub fn try_get(&self, token: &str, path: &str) -> Option<Answer> {
        read(plain().get(format!("{}{path}", self.url)).header("authorization", format!("Bearer {token}")).call())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; then there is nothing to end.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A client without connections yet.
pub fn plain() -> ureq::Agent {
    ureq::Agent::config_builder().http_status_as_error(false).proxy(None).build().into()
}

/// `None` if no answer came: the server is gone.
pub fn post(client: &ureq::Agent, url: &str, token: &str, path: &str, body: &Value) -> Option<Answer> {
    let mut request = client.post(format!("{url}{path}"));
    if !token.is_empty() {
        request = request.header("authorization", format!("Bearer {token}"));
    }
    read(request.send_json(body))
}

fn read(sent: Result<http::Response<ureq::Body>, ureq::Error>) -> Option<Answer> {
    let mut response = sent.ok()?;
    let (status, headers) = (response.status().as_u16(), response.headers().clone());
    let text = response.body_mut().read_to_string().ok()?;
    Some(Answer { status, body: serde_json::from_str(&text).unwrap_or(Value::Null), headers })
}
