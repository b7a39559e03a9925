//! A deployment on the emulator, made and taken away by Terraform with the provider that AWS gets.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Instant;

use crate::aws::{self, Emulator};
use crate::child::{self, Counts, NotPassed};
use crate::workshop::Workshop;
use crate::{lambda, mcp, relay, scenarios, tools};

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let (program, artifacts, issuer) = needed(workshop)?;
    let mut counts = judged(workshop, &program, &artifacts)?;
    let (emulator, terraform) = deploy(workshop, &program, &artifacts, &issuer)?;
    let site = Site::new(workshop, &emulator, &terraform, &issuer)?;
    scenarios::keep(&site)?;
    add(&mut counts, &stories(workshop, &site)?);
    let unexplained = terraform.drift()?;
    unexplained.iter().for_each(|change| println!("a second plan would change: {change}"));
    count(&mut counts, unexplained.is_empty());
    // Last: nothing happens by itself in it any more.
    add(&mut counts, &scenarios::tell(&site, scenarios::CORE)?);
    terraform.run("destroy", &["-auto-approve"])?;
    let mut left = workshop.command(emulator.program("python"));
    count(&mut counts, child::run(emulator.known_to(left.arg("tests/aws/left.py"))).is_ok());
    Ok(counts)
}

/// Every scenario that can be told on a deployment, on one that is new.
pub(crate) fn run_scenarios(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let (program, artifacts, issuer) = needed(workshop)?;
    let (emulator, terraform) = deploy(workshop, &program, &artifacts, &issuer)?;
    let site = Site::new(workshop, &emulator, &terraform, &issuer)?;
    scenarios::keep(&site)?;
    scenarios::tell(&site, scenarios::ALL)
}

/// Terraform, the zips, and where the tests' identity provider will be.
fn needed(workshop: &Workshop) -> Result<(PathBuf, PathBuf, String), NotPassed> {
    let program = tools::on_path("terraform").ok_or("terraform is not installed");
    let program = program.map_err(|why| NotPassed::Skipped(why.to_owned()))?;
    let artifacts = match env::var_os(ARTIFACTS) {
        Some(folder) => PathBuf::from(folder),
        None => lambda::zips(workshop, "release")?,
    };
    let failed = |error: std::io::Error| NotPassed::Failed(error.to_string());
    Ok((program, artifacts, format!("http://127.0.0.1:{}", aws::free_port().map_err(failed)?)))
}

/// What the module makes, judged by its own tests without AWS (`infra/tests`), and whether the example fits it.
fn judged(workshop: &Workshop, program: &Path, artifacts: &Path) -> Result<Counts, NotPassed> {
    let mut counts = Counts::default();
    let variable = format!("-var=artifacts={}", artifacts.display());
    for (folder, arguments) in
        [("infra", ["test", variable.as_str()]), ("infra/examples/complete", ["validate", "-no-color"])]
    {
        let terraform = |arguments: &[&str]| {
            let mut command = workshop.command(program);
            command.arg(format!("-chdir={folder}")).args(arguments).env_remove("TF_CLI_CONFIG_FILE");
            let data = workshop.tools().join("terraform").join(folder.replace('/', "-"));
            command.env("CHECKPOINT_DISABLE", "1").env("TF_IN_AUTOMATION", "1").env("TF_DATA_DIR", data);
            command
        };
        init(terraform(&["init", "-backend=false"]))?;
        count(&mut counts, child::run(&mut terraform(&arguments)).is_ok());
    }
    Ok(counts)
}

/// With a provider that lies on this machine, if one does; else it is downloaded.
fn init(mut command: Command) -> Result<(), NotPassed> {
    let Some(mirror) = mirror() else {
        return child::run(&mut command)
            .map(|_| ())
            .map_err(|_| NotPassed::Skipped("Terraform's provider for AWS cannot be downloaded".to_owned()));
    };
    child::run(command.arg(format!("-plugin-dir={}", mirror.display()))).map(|_| ())
}

/// On an emulator that is begun anew where it lost a reply: then what was made is in the way of its own second making, which
/// says nothing of the module. An emulator that does so each time is one that cannot be had.
fn deploy<'a>(
    workshop: &'a Workshop,
    program: &Path,
    artifacts: &Path,
    issuer: &str,
) -> Result<(Emulator, Terraform<'a>), NotPassed> {
    for _ in 0..ATTEMPTS {
        let emulator = Emulator::start(workshop)?;
        let terraform = Terraform::new(workshop, program.to_owned(), &emulator, artifacts, issuer)?;
        init(terraform.command("init"))?;
        let began = Instant::now();
        match terraform.run("apply", &["-auto-approve"]) {
            Ok(_) => {
                println!("deployed in {} s", began.elapsed().as_secs());
                return Ok((emulator, terraform));
            }
            Err(_) if terraform.met_itself() => println!("the emulator lost a reply"),
            Err(error) => return Err(error),
        }
    }
    Err(NotPassed::Skipped(format!("the emulator lost a reply in each of {ATTEMPTS} deployments")))
}

/// How often a deployment is begun.
const ATTEMPTS: u32 = 2;

fn count(counts: &mut Counts, passed: bool) {
    let which = if passed { &mut counts.passed } else { &mut counts.failed };
    *which = which.saturating_add(1);
}

fn add(counts: &mut Counts, more: &Counts) {
    counts.passed = counts.passed.saturating_add(more.passed);
    counts.failed = counts.failed.saturating_add(more.failed);
    counts.skipped = counts.skipped.saturating_add(more.skipped);
}

/// A deployment, wherever it is, as tests and scripts are told of it.
pub(crate) struct Site<'a> {
    workshop: &'a Workshop,
    emulator: &'a Emulator,
    url: String,
    /// What Terraform put out of it.
    pub(crate) outputs: PathBuf,
    aegis: PathBuf,
    issuer: &'a str,
}

impl<'a> Site<'a> {
    fn new(
        workshop: &'a Workshop,
        emulator: &'a Emulator,
        terraform: &Terraform<'_>,
        issuer: &'a str,
    ) -> Result<Self, NotPassed> {
        let outputs = terraform.scratch.join("outputs.json");
        let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", outputs.display()));
        fs::write(&outputs, terraform.output(&["-json"])?).map_err(failed)?;
        let url = emulator.endpoint() + &terraform.output(&["-raw", "api_path"])?;
        Ok(Self { workshop, emulator, url, outputs, aegis: workshop.aegis()?, issuer })
    }

    pub(crate) fn tests(&self, target: &str, which: &[&str]) -> Command {
        let mut command = self.workshop.cargo();
        command.args([
            "test",
            "--package=aegis-tests",
            "--features=deployed",
            "--test",
            target,
            "--no-fail-fast",
            "--",
        ]);
        self.known_to(command.args(which));
        command
    }

    pub(crate) fn script(&self, path: &str, does: &str) -> Command {
        let mut command = self.workshop.command(self.emulator.program("python"));
        self.known_to(command.args(["-B", path, does]));
        command
    }

    fn known_to(&self, command: &mut Command) {
        command.env("AEGIS_BIN", &self.aegis).env("AEGIS_URL", &self.url).env("AEGIS_DEPLOYMENT", &self.outputs);
        // The tests are the deployment's identity provider.
        command.env("AEGIS_TEST_ISSUER", self.issuer).env("AEGIS_TEST_PYTHON", self.emulator.program("python"));
        self.emulator.known_to(command);
    }
}

/// The tests that speak to a deployment, wherever it is.
fn stories(workshop: &Workshop, site: &Site<'_>) -> Result<Counts, NotPassed> {
    let tests = |which: &[&str]| site.tests("deployed", which);
    let mut counts = child::run_cargo_tests(&mut tests(&["--skip", MCP, "--skip", OUTAGE]))?;
    add(&mut counts, &child::run_cargo_tests(&mut tests(&[OUTAGE]))?);
    match mcp::clients(workshop) {
        Ok(mcp::Clients { python, node, folder }) => {
            let mut command = tests(&[MCP]);
            command.env("AEGIS_MCP_PYTHON", python).env("AEGIS_NODE", node).env("AEGIS_NODE_FOLDER", folder);
            add(&mut counts, &child::run_cargo_tests(&mut command)?);
        }
        Err(why) => {
            println!("skipped: MCP's clients on the deployment: {why}");
            counts.skipped = counts.skipped.saturating_add(1);
        }
    }
    Ok(counts)
}

/// By itself, after the others: it looks for the newest record of a kind.
const MCP: &str = "mcp::";

/// By itself, too: what it takes from the bus, others would miss.
const OUTAGE: &str = "outage::";

/// What the tests' identity provider says of a human's roles.
const ROLES: &str =
    r#"{"admin": ["role:admin"], "auditor": ["role:auditor"], "operator": ["role:operator"], "user": ["role:user"]}"#;

struct Terraform<'a> {
    workshop: &'a Workshop,
    program: PathBuf,
    environment: Vec<(&'static str, OsString)>,
    /// Its state, and the provider.
    scratch: PathBuf,
}

impl<'a> Terraform<'a> {
    fn new(
        workshop: &'a Workshop,
        program: PathBuf,
        emulator: &Emulator,
        artifacts: &Path,
        issuer: &str,
    ) -> Result<Self, NotPassed> {
        let scratch = workshop.tools().join("terraform");
        let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", scratch.display()));
        fs::create_dir_all(&scratch).map_err(failed)?;
        // The emulator is empty: what an earlier run left in its state is gone.
        for old in ["state", "state.backup"] {
            let _ = fs::remove_file(scratch.join(old));
        }
        let relay = relay::start(emulator.address()).map_err(failed)?;
        let environment = vec![
            ("CHECKPOINT_DISABLE", "1".into()),
            ("TF_DATA_DIR", scratch.join("data").into()),
            ("TF_IN_AUTOMATION", "1".into()),
            ("TF_VAR_artifacts", artifacts.into()),
            ("TF_VAR_endpoint", format!("http://{relay}").into()),
            ("TF_VAR_oidc_issuer", issuer.into()),
            ("TF_VAR_oidc_client_id", "aegis".into()),
            ("TF_VAR_roles", ROLES.into()),
            // Nobody reaches the emulator by it, and what is named after it is told apart.
            ("TF_VAR_public_url", "https://aegis.example.org".into()),
            ("TF_VAR_approval_page", "true".into()),
        ];
        Ok(Self { workshop, program, environment, scratch })
    }

    fn run(&self, what: &str, more: &[&str]) -> Result<Counts, NotPassed> {
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
    fn met_itself(&self) -> bool {
        fs::read_to_string(self.scratch.join("apply.log")).is_ok_and(|said| met_itself(&said))
    }

    fn output(&self, what: &[&str]) -> Result<String, NotPassed> {
        let failed = |why: String| NotPassed::Failed(format!("terraform output: {why}"));
        let mut command = self.command("output");
        command.arg(self.state()).args(what);
        let ended = command.output().map_err(|error| failed(error.to_string()))?;
        match ended.status.success() {
            true => String::from_utf8(ended.stdout).map_err(|error| failed(error.to_string())),
            false => Err(failed(String::from_utf8_lossy(&ended.stderr).into_owned())),
        }
    }

    /// What a second plan would change, beside what the emulator is known to tell wrongly.
    fn drift(&self) -> Result<Vec<String>, NotPassed> {
        let planned = self.with_state("plan", &[]).output();
        let planned = planned.map_err(|error| NotPassed::Failed(format!("terraform plan: {error}")))?;
        let text = String::from_utf8_lossy(&planned.stdout).into_owned();
        match planned.status.success() {
            true => Ok(unexplained(&text)),
            false => Err(NotPassed::Failed(String::from_utf8_lossy(&planned.stderr).into_owned())),
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

    fn command(&self, what: &str) -> Command {
        let mut command = self.workshop.command(&self.program);
        command.args(["-chdir=tests/aws/stack", what]).envs(self.environment.iter().cloned());
        // One that is named and not there makes it complain each time.
        command.env_remove("TF_CLI_CONFIG_FILE");
        command
    }
}

/// The lines of a plan that say what would change, without those that are the emulator's doing.
fn unexplained(plan: &str) -> Vec<String> {
    let changes = plan.lines().filter_map(|line| line.strip_prefix("  # "));
    let changes = changes.filter(|line| [" will be ", " must be "].iter().any(|words| line.contains(words)));
    let known = |line: &str| KNOWN.iter().any(|(what, _)| line.starts_with(what) && line.ends_with("updated in-place"));
    changes.filter(|line| !known(line)).map(str::to_owned).collect()
}

/// Where others keep providers for machines without a network. Terraform asks its own places by itself.
fn mirror() -> Option<PathBuf> {
    let roots = ["/opt", "/usr/local/lib", "/usr/lib", "/var/lib"];
    let folders = roots.iter().filter_map(|root| fs::read_dir(root).ok()).flatten().flatten();
    let mut mirrors = folders.map(|folder| folder.path());
    mirrors.find(|folder| folder.join("registry.terraform.io/hashicorp/aws").is_dir())
}

/// Names zips that are there, instead of building them.
const ARTIFACTS: &str = "AEGIS_ARTIFACTS";

/// What MiniStack 1.5.33 tells wrongly, and how.
const KNOWN: &[(&str, &str)] = &[
    ("module.aegis.aws_api_gateway_stage.this ", "GetStage has an empty accessLogSettings where there are none"),
    ("module.aegis.aws_cloudwatch_metric_alarm.this[", "DescribeAlarms leaves half of an alarm out of its XML"),
];

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

    #[test]
    fn what_the_emulator_tells_wrongly_is_no_drift() {
        let plan = "\
  # module.aegis.aws_api_gateway_stage.this will be updated in-place
  ~ resource \"aws_api_gateway_stage\" \"this\" {
        # (15 unchanged attributes hidden)
  # module.aegis.aws_cloudwatch_metric_alarm.this[\"api-5xx\"] will be updated in-place
  # module.aegis.aws_cloudwatch_metric_alarm.this[\"stream-age\"] must be replaced
  # module.aegis.aws_kms_key.root will be updated in-place
Plan: 0 to add, 4 to change, 0 to destroy.
";
        assert_eq!(
            unexplained(plan),
            [
                "module.aegis.aws_cloudwatch_metric_alarm.this[\"stream-age\"] must be replaced",
                "module.aegis.aws_kms_key.root will be updated in-place",
            ]
        );
    }
}
