//! Other people's programs against Aegis: the openssl command and Python's `cryptography`.

use crate::child::{self, Counts, NotPassed};
use crate::tools::{self, Venv};
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    tools::need(workshop, "openssl", "openssl").map_err(NotPassed::Skipped)?;
    let venv = Venv::open(workshop).map_err(NotPassed::Skipped)?;
    venv.install(workshop, "tests/interop/requirements.txt").map_err(NotPassed::Skipped)?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(venv.program("python"));
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/interop"]);
    child::run_unittest(command.env("AEGIS_BIN", aegis))
}
