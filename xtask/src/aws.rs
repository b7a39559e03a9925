//! AWS as the suites have it: emulators from PyPI, each in a process of its own on a loopback port, without Docker.
//!
//! MiniStack checks signatures and the policies of roles. What it cannot show: indexes that lag, and transactions that meet.
//! Its KMS is none; LocalStack's refuses what KMS refuses.

use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{self, Counts, NotPassed};
use crate::relay;
use crate::tools::Venv;
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let emulator = Emulator::start(workshop)?;
    let mut command = workshop.cargo();
    command.args(["test", "--package", "aegis-aws", "--features", "emulator", "--no-fail-fast"]);
    child::run_cargo_tests(emulator.known_to(&mut command))
}

/// The key store by itself, and a server that stands in front of KMS with it.
pub(crate) fn run_kms(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let emulator = Emulator::start_kms(workshop)?;
    let cargo = |command: &str, targets: &[&str]| {
        let mut cargo = workshop.cargo();
        // The same packages and features each time, so that nothing is built twice.
        cargo
            .arg(command)
            .args(["aegis-cli", "aegis-keystores", "aegis-tests"].map(|name| format!("--package={name}")));
        cargo.arg("--features=aegis-cli/aws-kms,aegis-keystores/emulator,aegis-tests/kms").args(targets);
        cargo
    };
    child::run(&mut cargo("build", &["--bin=aegis", "--test=kms"]))?;
    let mut test = cargo("test", &["--no-fail-fast", "--lib", "--test=aws_kms", "--test=kms"]);
    let counts = child::run_cargo_tests(emulator.known_to(&mut test).env("AEGIS_BIN", workshop.built("debug/aegis")))?;
    let settings = child::run_cargo_tests(&mut cargo("test", &["--bin=aegis", "serve::backend"]))?;
    Ok(Counts {
        passed: counts.passed.saturating_add(settings.passed),
        failed: counts.failed.saturating_add(settings.failed),
        skipped: counts.skipped.saturating_add(settings.skipped),
    })
}

/// A running emulator, empty at first. Dropped, it is ended, and with it the functions it runs; it also ends where xtask
/// is killed.
pub(crate) struct Emulator {
    name: &'static str,
    process: Child,
    port: u16,
    relay: Option<SocketAddr>,
    venv: Venv,
    health: &'static str,
    /// Its home and its temporary files.
    scratch: PathBuf,
}

impl Emulator {
    /// MiniStack: installs it if need be, starts it and waits until it answers.
    pub(crate) fn start(workshop: &Workshop) -> Result<Self, NotPassed> {
        let venv = Venv::apart(workshop, "venv-aws").map_err(NotPassed::Skipped)?;
        venv.install(workshop, "tests/aws/requirements.txt").map_err(NotPassed::Skipped)?;
        Self::started(workshop, "ministack", venv, "/_ministack/health", |command, port, _| {
            command.arg("tests/aws/emulator.py").envs(SETTINGS.iter().copied());
            command.env("GATEWAY_PORT", port.to_string());
            // Its functions reach it by a relay that tests can have do harm.
            let relay = relay::start((Ipv4Addr::LOCALHOST, port).into())?;
            command.env("AWS_ENDPOINT_URL", format!("http://{relay}"));
            Ok(Some(relay))
        })
    }

    /// LocalStack, for its KMS alone.
    fn start_kms(workshop: &Workshop) -> Result<Self, NotPassed> {
        let venv = Venv::of_python(workshop, "venv-kms", "3.13").map_err(NotPassed::Skipped)?;
        venv.install(workshop, "tests/aws/requirements-kms.txt").map_err(NotPassed::Skipped)?;
        Self::started(workshop, "localstack", venv, "/_localstack/health", |command, port, scratch| {
            command.arg("tests/aws/kms.py").envs(KMS_SETTINGS.iter().copied());
            command.env("GATEWAY_LISTEN", format!("127.0.0.1:{port}")).env("CONFIG_DIR", scratch);
            command.env("AWS_ENDPOINT_URL", endpoint(port));
            Ok(None)
        })
    }

    fn started(
        workshop: &Workshop,
        name: &'static str,
        venv: Venv,
        health: &'static str,
        set: impl FnOnce(&mut Command, u16, &Path) -> io::Result<Option<SocketAddr>>,
    ) -> Result<Self, NotPassed> {
        let failed = |error: io::Error| NotPassed::Failed(format!("{name} cannot be started: {error}"));
        let scratch = workshop.tools().join(format!("{name}-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(failed)?;
        let log = workshop.tools().join(format!("{name}.log"));
        let output = File::create(&log).map_err(failed)?;
        let port = free_port().map_err(failed)?;
        let mut command = workshop.command(venv.program("python"));
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.arg("-B").env("HOME", &scratch).env("TMPDIR", &scratch);
        let relay = set(&mut command, port, &scratch).map_err(failed)?;
        command.envs(credentials());
        command.stdin(Stdio::piped()).stdout(output.try_clone().map_err(failed)?).stderr(output);
        let process = command.spawn().map_err(failed)?;
        let mut emulator = Self { name, process, port, relay, venv, health, scratch };
        match emulator.answers_in_time() {
            Ok(()) => Ok(emulator),
            Err(why) => Err(NotPassed::Failed(format!("{} {why}; its log is {}", emulator.name, log.display()))),
        }
    }

    /// Where it is reached by a relay: by its functions, and by who keeps connections (see there).
    pub(crate) fn relayed(&self) -> String {
        self.relay.map_or_else(|| self.endpoint(), |relay| format!("http://{relay}"))
    }

    pub(crate) fn endpoint(&self) -> String {
        endpoint(self.port)
    }

    /// A program of its environment: `python` has boto3.
    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.venv.program(name)
    }

    /// Tells a program where it is, in the words of the SDKs and of the project's own tests.
    pub(crate) fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command.envs(credentials()).env("AWS_ENDPOINT_URL", self.endpoint()).env(ENDPOINT, self.endpoint())
    }

    fn answers_in_time(&mut self) -> Result<(), String> {
        let started = Instant::now();
        while started.elapsed() < START {
            // Another program could have taken the port in between, and would answer in its place.
            if let Ok(Some(status)) = self.process.try_wait() {
                return Err(format!("ended with {status}"));
            }
            if self.answers() {
                return Ok(());
            }
            thread::sleep(Duration::from_millis(50));
        }
        Err(format!("did not answer within {} s", START.as_secs()))
    }

    fn answers(&self) -> bool {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, self.port));
        let Ok(mut stream) = TcpStream::connect_timeout(&address, ONE_ANSWER) else { return false };
        let request = format!("GET {} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n", self.health);
        let mut status = [0; 12];
        stream.set_read_timeout(Some(ONE_ANSWER)).is_ok()
            && stream.write_all(request.as_bytes()).is_ok()
            && stream.read_exact(&mut status).is_ok()
            && status == *b"HTTP/1.1 200"
    }
}

impl Drop for Emulator {
    fn drop(&mut self) {
        // Asked first, so that it ends the functions it started, too.
        drop(self.process.stdin.take());
        let asked = Instant::now();
        while asked.elapsed() < END && matches!(self.process.try_wait(), Ok(None)) {
            thread::sleep(Duration::from_millis(20));
        }
        let _ = self.process.kill();
        let _ = self.process.wait();
        let _ = fs::remove_dir_all(&self.scratch);
    }
}

fn endpoint(port: u16) -> String {
    format!("http://127.0.0.1:{port}")
}

/// Free a moment ago. Nothing reserves it.
fn free_port() -> io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

/// Free, and none that the system gives to who asks for any: for what listens later, and again.
pub(crate) fn lasting_port() -> io::Result<u16> {
    let own = u16::try_from(std::process::id() % u32::from(PORTS)).unwrap_or_default();
    let mut ports = (0..PORTS).map(|next| FIRST_PORT.saturating_add(own.saturating_add(next) % PORTS));
    let free = ports.find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok());
    free.ok_or_else(|| io::Error::from(io::ErrorKind::AddrInUse))
}

/// Below those of Linux (from 32768 on), of macOS and of Windows (from 49152 on).
const FIRST_PORT: u16 = 20_000;
const PORTS: u16 = 10_000;

/// The account's own, which may do everything.
fn credentials() -> [(&'static str, &'static str); 4] {
    [
        ("AWS_ACCESS_KEY_ID", "test"),
        ("AWS_SECRET_ACCESS_KEY", "test"),
        ("AWS_REGION", "us-east-1"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
    ]
}

/// Where the project's own tests look for it.
const ENDPOINT: &str = "AEGIS_TEST_AWS_ENDPOINT";

/// On loopback, with signatures and policies checked, functions as its own child processes, and no more servers than that.
const SETTINGS: &[(&str, &str)] = &[
    ("BIND_HOST", "127.0.0.1"),
    ("MINISTACK_HOST", "127.0.0.1"),
    ("AUTH", "true"),
    ("LAMBDA_EXECUTOR", "local"),
    ("SFTP_ENABLED", "0"),
    ("IOT_MTLS_ENABLED", "0"),
];

/// Of LocalStack nothing but KMS, on nothing but loopback, with nothing in the system's folders and nothing from elsewhere.
const KMS_SETTINGS: &[(&str, &str)] = &[
    ("DISABLE_EVENTS", "1"),
    ("DNS_ADDRESS", "0"),
    ("OVERRIDE_IN_DOCKER", "0"),
    ("SERVICES", "kms"),
    ("SKIP_SSL_CERT_DOWNLOAD", "1"),
    ("STRICT_SERVICE_LOADING", "1"),
];

/// MiniStack takes about a second on a quiet machine, LocalStack four.
const START: Duration = Duration::from_secs(60);
const ONE_ANSWER: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(5);
