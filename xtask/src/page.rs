//! The page on which humans answer approvals, in Debian's Chromium.

use crate::child::{self, Counts, NotPassed};
use crate::tools::{self, Venv};
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let chromium = tools::need(workshop, "chromium", "chromium").map_err(NotPassed::Skipped)?;
    let venv = Venv::open(workshop).map_err(NotPassed::Skipped)?;
    venv.install(workshop, "tests/page/requirements.txt").map_err(NotPassed::Skipped)?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(venv.program("python"));
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/page"]);
    child::run_unittest(command.env("AEGIS_BIN", aegis).env("AEGIS_CHROMIUM", chromium))
}
