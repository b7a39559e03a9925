//! Terraform, for a deployment of its own.

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::child::{self, Counts, NotPassed};
use crate::drift;
use crate::workshop::Workshop;

/// What the tests' identity provider says of a human's roles.
const ROLES: &str =
    r#"{"admin": ["role:admin"], "auditor": ["role:auditor"], "operator": ["role:operator"], "user": ["role:user"]}"#;

/// Terraform at `tests/aws/stack`.
pub(crate) struct Terraform<'a> {
    workshop: &'a Workshop,
    program: PathBuf,
    pub(crate) environment: Vec<(&'static str, OsString)>,
    /// Its state, and the provider.
    pub(crate) scratch: PathBuf,
}

impl<'a> Terraform<'a> {
    pub(crate) fn new(
        workshop: &'a Workshop,
        program: PathBuf,
        folder: &str,
        artifacts: &Path,
    ) -> Result<Self, NotPassed> {
        let scratch = workshop.tools().join(folder);
        let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", scratch.display()));
        fs::create_dir_all(&scratch).map_err(failed)?;
        let environment = vec![
            ("CHECKPOINT_DISABLE", "1".into()),
            ("TF_DATA_DIR", scratch.join("data").into()),
            ("TF_IN_AUTOMATION", "1".into()),
            ("TF_VAR_artifacts", artifacts.into()),
            ("TF_VAR_oidc_client_id", "aegis".into()),
            ("TF_VAR_roles", ROLES.into()),
            // Nobody reaches it by that name, and what is named after it is told apart.
            ("TF_VAR_public_url", "https://aegis.example.org".into()),
            ("TF_VAR_approval_page", "true".into()),
        ];
        Ok(Self { workshop, program, environment, scratch })
    }

    /// An emulator is empty: what an earlier run left in the state is gone.
    pub(crate) fn begin_anew(&self) {
        for old in ["state", "state.backup"] {
            let _ = fs::remove_file(self.scratch.join(old));
        }
    }

    pub(crate) fn run(&self, what: &str, more: &[&str]) -> Result<Counts, NotPassed> {
        let log = self.scratch.join(format!("{what}.log"));
        let ended = self.with_state(what, more).output();
        let ended = ended.map_err(|error| NotPassed::Failed(format!("terraform {what}: {error}")))?;
        let said = [ended.stdout, ended.stderr].concat();
        let _ = fs::write(&log, &said);
        match ended.status.success() {
            true => Ok(Counts { passed: 1, ..Counts::default() }),
            false => {
                let said = String::from_utf8_lossy(&said);
                said.lines().skip_while(|line| !line.starts_with("Error")).take(40).for_each(|line| println!("{line}"));
                Err(NotPassed::Failed(format!("terraform {what} failed; its log is {}", log.display())))
            }
        }
    }

    /// Whether the last apply failed because something that it makes is there already: on an emulator that was empty.
    pub(crate) fn met_itself(&self) -> bool {
        fs::read_to_string(self.scratch.join("apply.log")).is_ok_and(|said| met_itself(&said))
    }

    pub(crate) fn output(&self, what: &[&str]) -> Result<String, NotPassed> {
        let failed = |why: String| NotPassed::Failed(format!("terraform output: {why}"));
        let mut command = self.command("output");
        command.arg(self.state()).args(what);
        let ended = command.output().map_err(|error| failed(error.to_string()))?;
        match ended.status.success() {
            true => String::from_utf8(ended.stdout).map_err(|error| failed(error.to_string())),
            false => Err(failed(String::from_utf8_lossy(&ended.stderr).into_owned())),
        }
    }

    /// Whether a second plan would change nothing, beside what the emulator is known to tell wrongly.
    pub(crate) fn is_settled(&self) -> Result<bool, NotPassed> {
        let unexplained = self.drift()?;
        unexplained.iter().for_each(|change| println!("a second plan would change: {change}"));
        Ok(unexplained.is_empty())
    }

    /// As `infra/README.md` says, where the table of state was restored under another name.
    pub(crate) fn take_over_restored(&mut self) -> Result<(), NotPassed> {
        let table = self.output(&["-raw", "state_table"])?;
        let restored = format!("{table}-2");
        let known = "module.aegis.aws_dynamodb_table.state";
        self.environment.push(("TF_VAR_deployment_epoch", "2".into()));
        self.environment.push(("TF_VAR_state_table", restored.as_str().into()));
        child::run(self.command("state").args(["rm", self.state().as_str(), known]))?;
        self.run("import", &[known, &restored])?;
        self.run("apply", &["-auto-approve"]).map(|_| ())
    }

    fn drift(&self) -> Result<Vec<String>, NotPassed> {
        let plan = self.scratch.join("plan");
        self.run("plan", &[&format!("-out={}", plan.display())])?;
        let mut show = self.command("show");
        let shown = show.arg("-json").arg(&plan).output();
        let shown = shown.map_err(|error| NotPassed::Failed(format!("terraform show: {error}")))?;
        let text = if shown.status.success() { &shown.stdout } else { &shown.stderr };
        let failed = |why: String| NotPassed::Failed(format!("terraform show: {why}"));
        match serde_json::from_slice(text) {
            Ok(plan) => Ok(drift::unexplained(&plan)),
            Err(error) => Err(failed(format!("{error}: {}", String::from_utf8_lossy(text)))),
        }
    }

    fn with_state(&self, what: &str, more: &[&str]) -> Command {
        let mut command = self.command(what);
        // Most of it is waiting.
        command.args(["-no-color", "-input=false", "-parallelism=10"]).arg(self.state()).args(more);
        command
    }

    fn state(&self) -> String {
        format!("-state={}", self.scratch.join("state").display())
    }

    pub(crate) fn command(&self, what: &str) -> Command {
        let mut command = self.workshop.command(&self.program);
        command.args(["-chdir=tests/aws/stack", what]).envs(self.environment.iter().cloned());
        // One that is named and not there makes it complain each time.
        command.env_remove("TF_CLI_CONFIG_FILE");
        command
    }
}

/// With a provider that lies on this machine, if one does; else it is downloaded.
pub(crate) fn init(mut command: Command) -> Result<(), NotPassed> {
    let Some(mirror) = mirror() else {
        return child::run(&mut command)
            .map(|_| ())
            .map_err(|_| NotPassed::Skipped("Terraform's provider for AWS cannot be downloaded".to_owned()));
    };
    child::run(command.arg(format!("-plugin-dir={}", mirror.display()))).map(|_| ())
}

/// Where others keep providers for machines without a network. Terraform asks its own places by itself.
fn mirror() -> Option<PathBuf> {
    let roots = ["/opt", "/usr/local/lib", "/usr/lib", "/var/lib"];
    let folders = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
    let mut mirrors = folders.map(|folder| folder.path());
    mirrors.find(|folder| folder.join("registry.terraform.io/hashicorp/aws").is_dir())
}

fn met_itself(said: &str) -> bool {
    let errors: Vec<&str> = said.lines().filter(|line| line.starts_with("Error: ")).collect();
    let is_conflict = |line: &&str| line.contains("StatusCode: 409") || line.contains("lready exists");
    !errors.is_empty() && errors.iter().all(is_conflict)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_in_its_own_way_is_tried_anew() {
        let conflict =
            "Error: creating IAM Role (x): operation error IAM: CreateRole, https response error StatusCode: 409";
        let there = "Error: creating Log Group (x): StatusCode: 400, The specified log group already exists: x";
        let other = "Error: creating Lambda Function (x): StatusCode: 403, AccessDenied";
        let table = [
            (vec![], false),
            (vec!["a resource: Creating..."], false),
            (vec![conflict], true),
            (vec!["a resource: Creating...", there, "  with module.x,", conflict], true),
            (vec![conflict, other], false),
        ];
        for (lines, want) in table {
            assert_eq!(met_itself(&lines.join("\n")), want, "{lines:?}");
        }
    }
}
