//! Where the project lies, and how its child processes are started.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use crate::child::{self, NotPassed};

pub(crate) struct Workshop {
    pub(crate) root: PathBuf,
    target: PathBuf,
}

impl Workshop {
    pub(crate) fn find() -> Result<Self, String> {
        // Asked at run time: with a target folder shared by two clones, a compiled-in path could be the other's.
        let manifest = env::var_os("CARGO_MANIFEST_DIR").ok_or("start me with `cargo xtask`")?;
        let root = Path::new(&manifest).parent().ok_or("the xtask crate lies outside the workspace")?;
        let program = env::current_exe().map_err(|e| format!("cannot find myself: {e}"))?;
        let target = program.parent().and_then(Path::parent).ok_or("not started from a target folder")?;
        Ok(Self { root: root.to_owned(), target: target.to_owned() })
    }

    /// Tools the suites installed. Nothing outside this folder is touched, apart from Debian's packages.
    pub(crate) fn tools(&self) -> PathBuf {
        self.target.join("tools")
    }

    /// What is built with coverage, and what fuzzing found.
    pub(crate) fn fuzzing(&self) -> PathBuf {
        self.target.join("fuzz")
    }

    /// The debug build of the real binary, up to date.
    pub(crate) fn aegis(&self) -> Result<PathBuf, NotPassed> {
        self.aegis_with(&[])
    }

    /// The same with more said to cargo. What is built last lies there.
    pub(crate) fn aegis_with(&self, more: &[&str]) -> Result<PathBuf, NotPassed> {
        // `--test` makes cargo choose features as for the tests; without, shared dependencies may be built twice.
        child::run(self.cargo().args(["build", "--bin", "aegis", "--test", "*"]).args(more))?;
        Ok(self.target.join("debug").join("aegis"))
    }

    /// What a build left in the target folder, by its name there.
    pub(crate) fn built(&self, name: &str) -> PathBuf {
        self.target.join(name)
    }

    /// A release build's program.
    pub(crate) fn released(&self, name: &str) -> PathBuf {
        self.target.join("release").join(name)
    }

    pub(crate) fn cargo(&self) -> Command {
        self.command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
    }

    /// In the project's root, without standard input.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command.current_dir(&self.root).stdin(Stdio::null());
        // What cargo says of xtask's own package would reach build scripts and have them run again.
        for (name, _) in env::vars_os() {
            if name.to_str().is_some_and(|n| n.starts_with("CARGO_PKG_") || n.starts_with("CARGO_MANIFEST_")) {
                command.env_remove(name);
            }
        }
        command
    }

    /// Runs silently.
    pub(crate) fn succeeds(&self, command: &mut Command) -> bool {
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        status.is_ok_and(|status| status.success())
    }
}
