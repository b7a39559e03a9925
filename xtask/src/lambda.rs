//! The functions of a deployment on AWS, each a zip with its `bootstrap`.

use std::fs;
use std::path::{Path, PathBuf};

use crate::child::{self, NotPassed};
use crate::tools;
use crate::workshop::Workshop;

/// Builds them, and zips them into a folder whose name `infra/` takes as `artifacts`: with the profile `lambda` small, with
/// `release` in less time where much of it is built already.
pub(crate) fn zips(workshop: &Workshop, profile: &str) -> Result<PathBuf, NotPassed> {
    let python = tools::need(workshop, "python3", "python3").map_err(NotPassed::Skipped)?;
    let mut build = workshop.cargo();
    build.args(["build", "--profile", profile, "--package", "aegis-functions", "--features", "lambda"]);
    child::run(build.args(PROGRAMS.iter().flat_map(|program| ["--bin", program])))?;
    let folder = workshop.built(profile).join("zips");
    let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    for program in PROGRAMS {
        let zip = folder.join(format!("{program}.zip"));
        let mut command = workshop.command(&python);
        command.arg("xtask/zip.py").arg(workshop.built(profile).join(program)).arg(&zip);
        child::run(&mut command)?;
        fits(program, &zip)?;
    }
    Ok(folder)
}

/// What is larger starts more slowly, and somebody should know why it is.
fn fits(program: &str, zip: &Path) -> Result<(), NotPassed> {
    let size = fs::metadata(zip).map_err(|error| NotPassed::Failed(format!("{}: {error}", zip.display())))?.len();
    println!("{program}.zip: {} KiB", size / 1024);
    match size <= LARGEST {
        true => Ok(()),
        false => Err(NotPassed::Failed(format!("{program}.zip has {size} bytes, and {LARGEST} at most"))),
    }
}

/// As `infra/functions.tf` names them.
const PROGRAMS: &[&str] =
    &["anomaly", "authorizer", "mcp", "operation", "publish", "respond", "scheduled", "setup", "webhooks"];

/// In bytes. The largest is `operation`, with every operation, the policy engine and three SDKs of AWS in it.
const LARGEST: u64 = 14 * 1024 * 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_program_is_deployed() {
        let deployed = include_str!("../../infra/functions.tf");
        for program in PROGRAMS {
            assert!(
                deployed.contains(&format!("bin = \"{program}\""))
                    || deployed.contains(&format!("bin         = \"{program}\"")),
                "{program}"
            );
        }
    }
}
