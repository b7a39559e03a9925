//! The page on which humans answer approvals, in Debian's Chromium; logins at the local issuer and at the provider that the
//! suite `oidc` has.

use crate::child::{self, Counts, NotPassed};
use crate::tools::{self, Venv};
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let chromium = tools::need(workshop, "chromium", "chromium").map_err(NotPassed::Skipped)?;
    let node = tools::on_path("node").ok_or_else(|| NotPassed::Skipped("node is not installed".to_owned()))?;
    let npm = tools::on_path("npm").ok_or_else(|| NotPassed::Skipped("npm is not installed".to_owned()))?;
    let folder = tools::npm_ci(workshop, npm, "tests/oidc", "oidc-provider").map_err(NotPassed::Skipped)?;
    let venv = Venv::open(workshop).map_err(NotPassed::Skipped)?;
    venv.install(workshop, "tests/page/requirements.txt").map_err(NotPassed::Skipped)?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(venv.program("python"));
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/page"]);
    command.env("AEGIS_BIN", aegis).env("AEGIS_CHROMIUM", chromium);
    child::run_unittest(command.env("AEGIS_NODE", node).env("AEGIS_NODE_FOLDER", folder))
}
