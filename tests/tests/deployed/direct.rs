//! What speaks to the functions themselves: Python's, whose SDK calls them.

use aegis_tests::site::{EVERYTHING, site};
use std::process::Command;

#[test]
fn functions_called_without_the_gateway_release_nothing_that_no_authorizer_signed() {
    let site = site();
    let session = site.log_in("erin@org", &EVERYTHING);
    let mut command = Command::new(std::env::var("AEGIS_TEST_PYTHON").unwrap());
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/aws/suite");
    command.args(["-B", "-m", "unittest", "discover", "--verbose", "--start-directory", folder]);
    let output = command.env("AEGIS_TEST_SESSION", session).output().unwrap();
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && !said.contains("Ran 0 tests"), "{said}");
    println!("{said}");
}
