//! Aegis with an OpenID provider of somebody else's making: the `oidc-provider` of npm.

use std::fs;
use std::path::PathBuf;

use crate::child::{self, Counts, NotPassed};
use crate::tools;
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let python = tools::need(workshop, "python3", "python3").map_err(NotPassed::Skipped)?;
    let missing = |program: &str| NotPassed::Skipped(format!("{program} is not installed"));
    let node = tools::on_path("node").ok_or_else(|| missing("node"))?;
    let npm = tools::on_path("npm").ok_or_else(|| missing("npm"))?;
    let folder = install(workshop, npm).map_err(NotPassed::Skipped)?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(python);
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/oidc"]);
    child::run_unittest(command.env("AEGIS_BIN", aegis).env("AEGIS_NODE", node).env("AEGIS_NODE_FOLDER", folder))
}

/// Installs what the lock file pins, once: the same file a second time asks no registry. No package's script is run.
fn install(workshop: &Workshop, npm: PathBuf) -> Result<PathBuf, String> {
    let source = workshop.root.join("tests/oidc");
    let folder = workshop.tools().join("oidc-provider");
    let stamp = folder.join("installed");
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let wanted = fs::read_to_string(source.join(LOCK)).map_err(|error| failed(LOCK, error))?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).map_err(|error| failed("the tools folder", error))?;
    for name in ["package.json", LOCK] {
        fs::copy(source.join(name), folder.join(name)).map_err(|error| failed(name, error))?;
    }
    println!("installing oidc-provider from npm");
    let mut command = workshop.command(npm);
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&folder);
    match command.status().is_ok_and(|status| status.success()) {
        true => fs::write(&stamp, wanted).map(|()| folder).map_err(|error| failed("the tools folder", error)),
        false => Err("npm could not install oidc-provider".to_owned()),
    }
}

const LOCK: &str = "package-lock.json";
