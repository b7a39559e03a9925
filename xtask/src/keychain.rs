//! Sessions in a real keychain: gnome-keyring as the Secret Service, on a bus that nobody else is on.

use crate::child::{self, Counts, NotPassed};
use crate::tools;
use crate::workshop::Workshop;

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    if !cfg!(target_os = "linux") {
        return Err(NotPassed::Skipped("only on Linux is there a keychain that nobody else uses".to_owned()));
    }
    let need = |program, package| tools::need(workshop, program, package).map_err(NotPassed::Skipped);
    let python = need("python3", "python3")?;
    let session = need("dbus-run-session", "dbus-daemon")?;
    need("gdbus", "libglib2.0-bin")?;
    need("gnome-keyring-daemon", "gnome-keyring")?;
    let aegis = workshop.aegis()?;
    let mut command = workshop.command(session);
    command.arg("--").arg(python);
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", "tests/keychain"]);
    child::run_unittest(command.env("AEGIS_BIN", aegis))
}
