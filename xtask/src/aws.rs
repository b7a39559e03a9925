//! AWS as the suites have it: MiniStack from PyPI, in a process of its own on a loopback port, without Docker.
//!
//! It checks signatures and the policies of roles. What it cannot show: indexes that lag, and transactions that meet.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::child::{self, Counts, NotPassed};
use crate::tools::Venv;
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let emulator = Emulator::start(workshop)?;
    let mut command = workshop.cargo();
    command.args(["test", "--package", "aegis-aws", "--features", "emulator", "--no-fail-fast"]);
    child::run_cargo_tests(emulator.known_to(&mut command))
}

/// A running MiniStack, empty at first. Dropped, it is ended, and with it the functions it runs; it also ends where xtask
/// is killed.
pub(crate) struct Emulator {
    process: Child,
    port: u16,
    venv: Venv,
    /// Its home and its temporary files.
    scratch: PathBuf,
}

impl Emulator {
    /// Installs it if need be, starts it and waits until it answers.
    pub(crate) fn start(workshop: &Workshop) -> Result<Self, NotPassed> {
        let venv = Venv::apart(workshop, "venv-aws").map_err(NotPassed::Skipped)?;
        venv.install(workshop, "tests/aws/requirements.txt").map_err(NotPassed::Skipped)?;
        let failed = |error: std::io::Error| NotPassed::Failed(format!("MiniStack cannot be started: {error}"));
        let scratch = workshop.tools().join(format!("ministack-{}", std::process::id()));
        fs::create_dir_all(&scratch).map_err(failed)?;
        let log = workshop.tools().join("ministack.log");
        let output = File::create(&log).map_err(failed)?;
        let port = free_port().map_err(failed)?;
        let mut command = workshop.command(venv.program("python"));
        command.env_clear().envs(std::env::vars_os().filter(|(name, _)| name == "PATH"));
        command.args(["-B", "tests/aws/emulator.py"]).env("HOME", &scratch).env("TMPDIR", &scratch);
        command.envs(SETTINGS.iter().copied()).env("GATEWAY_PORT", port.to_string());
        command.envs(credentials()).env("AWS_ENDPOINT_URL", endpoint(port));
        command.stdin(Stdio::piped()).stdout(output.try_clone().map_err(failed)?).stderr(output);
        let process = command.spawn().map_err(failed)?;
        let mut emulator = Self { process, port, venv, scratch };
        match emulator.answers_in_time() {
            Ok(()) => Ok(emulator),
            Err(why) => Err(NotPassed::Failed(format!("MiniStack {why}; its log is {}", log.display()))),
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.port).into()
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
        let request = "GET /_ministack/health HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n";
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
pub(crate) fn free_port() -> std::io::Result<u16> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port())
}

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

/// It takes about a second on a quiet machine.
const START: Duration = Duration::from_secs(60);
const ONE_ANSWER: Duration = Duration::from_secs(5);
const END: Duration = Duration::from_secs(5);
