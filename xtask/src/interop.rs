//! Other people's programs against Aegis: the openssl command, Python's `cryptography`, and Schemathesis.

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

/// Requests made of the OpenAPI document, each reply compared with it. Some 90 seconds.
pub(crate) fn schemathesis(workshop: &Workshop) -> Result<Counts, NotPassed> {
    schemathesis_with(workshop, "20")
}

pub(crate) fn schemathesis_long(workshop: &Workshop) -> Result<Counts, NotPassed> {
    schemathesis_with(workshop, "400")
}

/// `examples` for each operation, beside those that Schemathesis derives from the schemas.
fn schemathesis_with(workshop: &Workshop, examples: &str) -> Result<Counts, NotPassed> {
    let venv = Venv::open(workshop).map_err(NotPassed::Skipped)?;
    for requirements in ["tests/interop/requirements.txt", "tests/openapi/requirements.txt"] {
        venv.install(workshop, requirements).map_err(NotPassed::Skipped)?;
    }
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(venv.program("python"));
    command.args(["-B", "tests/openapi/run.py", examples]);
    // It counts operations in the words of libtest.
    child::run_cargo_tests(command.env("AEGIS_BIN", aegis))
}
