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
    child::run(build.args(PROGRAMS.iter().flat_map(|(program, _)| ["--bin", program])))?;
    let folder = workshop.built(profile).join("zips");
    let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", folder.display()));
    fs::create_dir_all(&folder).map_err(failed)?;
    for (program, most) in PROGRAMS {
        let zip = folder.join(format!("{program}.zip"));
        let mut command = workshop.command(&python);
        command.arg("xtask/zip.py").arg(workshop.built(profile).join(program)).arg(&zip);
        child::run(&mut command)?;
        fits(program, &zip, *most)?;
    }
    Ok(folder)
}

/// What is larger starts more slowly, and somebody should know why it is.
fn fits(program: &str, zip: &Path, most: u64) -> Result<(), NotPassed> {
    let size =
        fs::metadata(zip).map_err(|error| NotPassed::Failed(format!("{}: {error}", zip.display())))?.len() / 1024;
    println!("{program}.zip: {size} KiB");
    match size <= most {
        true => Ok(()),
        false => Err(NotPassed::Failed(format!("{program}.zip has {size} KiB, and {most} at most"))),
    }
}

/// As `infra/functions.tf` names them, and how many KiB of zip each may have: of the profile `release`, with some five in a
/// hundred to spare. `operation` has every operation in it, `mcp` and `authorizer` the policy engine; the others one SDK or two.
const PROGRAMS: &[(&str, u64)] = &[
    ("anomaly", 7_800),
    ("authorizer", 11_550),
    ("mcp", 13_100),
    ("operation", 14_336),
    ("publish", 7_300),
    ("respond", 8_900),
    ("scheduled", 9_250),
    ("setup", 7_350),
    ("webhooks", 8_900),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_grew_is_no_artifact() {
        let zip = std::env::temp_dir().join(format!("grown-{}.zip", std::process::id()));
        fs::write(&zip, vec![0; 3 * 1024]).unwrap();
        let judged = [3, 2].map(|most| fits("grown", &zip, most).is_ok());
        fs::remove_file(&zip).unwrap();
        assert_eq!(judged, [true, false]);
    }

    #[test]
    fn each_program_is_deployed() {
        let deployed = include_str!("../../infra/functions.tf");
        for (program, _) in PROGRAMS {
            assert!(
                deployed.contains(&format!("bin = \"{program}\""))
                    || deployed.contains(&format!("bin         = \"{program}\"")),
                "{program}"
            );
        }
    }
}
