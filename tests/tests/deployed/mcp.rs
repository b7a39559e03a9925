//! MCP and Agent-AI as others speak them, put to the deployed function that reads messages: the suites of `tests/mcp`, as they
//! are.

use aegis_tests::site::{EVERYTHING, site};
use std::process::Command;

/// Run by xtask after the others: they look for the newest record of a kind.
#[test]
fn the_suites_of_mcp_pass_on_it() {
    let session = site().log_in("frank@org", &EVERYTHING);
    site().log_in("grace@org", &EVERYTHING);
    let mut command = Command::new(std::env::var("AEGIS_MCP_PYTHON").unwrap());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/mcp");
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", folder]);
    let output = command.env("AEGIS_TEST_SESSION", session).env("AEGIS_TEST_OTHER", "grace@org").output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    let printed = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success() && !said.contains("Ran 0 tests"), "{said}\n{printed}");
    println!("{said}\n{printed}");
}
