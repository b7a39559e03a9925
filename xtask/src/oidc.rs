//! Aegis with an OpenID provider of somebody else's making: the `oidc-provider` of npm.

use crate::child::{self, Counts, NotPassed};
use crate::tools;
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let python = tools::need(workshop, "python3", "python3").map_err(NotPassed::Skipped)?;
    let missing = |program: &str| NotPassed::Skipped(format!("{program} is not installed"));
    let node = tools::on_path("node").ok_or_else(|| missing("node"))?;
    let npm = tools::on_path("npm").ok_or_else(|| missing("npm"))?;
    let folder = tools::npm_ci(workshop, npm, "tests/oidc", "oidc-provider").map_err(NotPassed::Skipped)?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(python);
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/oidc"]);
    child::run_unittest(command.env("AEGIS_BIN", aegis).env("AEGIS_NODE", node).env("AEGIS_NODE_FOLDER", folder))
}
