//! A deployment on the emulator, made and taken away by Terraform with the provider that AWS gets.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::aws::{self, Emulator};
use crate::child::{self, Counts, NotPassed};
use crate::workshop::Workshop;
use crate::{lambda, mcp, scenarios, tools};

pub(crate) fn run(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let (program, artifacts) = needed(workshop, "release")?;
    let mut counts = judged(workshop, &program, &artifacts)?;
    add(
        &mut counts,
        &on_emulator(workshop, program, &artifacts, |deployed, terraform| {
            scenarios::keep(deployed)?;
            deployed.report_first_responses(&artifacts);
            let mut counts = deployed.stories()?;
            count(&mut counts, terraform.is_settled()?);
            // Last: nothing happens by itself in it any more.
            add(&mut counts, &scenarios::tell(deployed, scenarios::CORE)?);
            Ok(counts)
        })?,
    );
    Ok(counts)
}

/// What takes minutes because it waits for what happens after minutes, and what changes a deployment as a whole.
pub(crate) fn run_long(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let (program, artifacts) = needed(workshop, "release")?;
    on_emulator(workshop, program, &artifacts, |deployed, terraform| {
        let mut counts = Counts::default();
        for group in LONG {
            add(&mut counts, &deployed.tests(group)?);
        }
        add(&mut counts, &deployed.upgrade(terraform, &artifacts)?);
        add(&mut counts, &deployed.tests(&["restore::first"])?);
        terraform.take_over_restored()?;
        add(&mut counts, &deployed.tests(&["restore::then"])?);
        count(&mut counts, terraform.is_settled()?);
        Ok(counts)
    })
}

/// Every scenario that can be told on a deployment.
pub(crate) fn run_scenarios(workshop: &Workshop) -> Result<Counts, NotPassed> {
    let (program, artifacts) = needed(workshop, "release")?;
    on_emulator(workshop, program, &artifacts, |deployed, _| {
        scenarios::keep(deployed)?;
        scenarios::tell(deployed, scenarios::ALL)
    })
}

/// Terraform, and the functions.
fn needed(workshop: &Workshop, profile: &str) -> Result<(PathBuf, PathBuf), NotPassed> {
    let program = tools::on_path("terraform").ok_or("terraform is not installed");
    let program = program.map_err(|why| NotPassed::Skipped(why.to_owned()))?;
    match env::var_os(ARTIFACTS) {
        Some(folder) => Ok((program, PathBuf::from(folder))),
        None => Ok((program, lambda::zips(workshop, profile)?)),
    }
}

/// The same deployment on an account of AWS, where somebody wants that: what only AWS can show.
pub(crate) fn run_on_account(workshop: &Workshop) -> Result<Counts, NotPassed> {
    if env::var(WANTED).is_ok_and(|value| value == "1") {
        let (program, artifacts) = needed(workshop, "lambda")?;
        return on_account(workshop, program, &artifacts);
    }
    Err(NotPassed::Skipped(format!(
        "{WANTED} is not 1: it deploys to the account that the environment names, and costs"
    )))
}

fn on_account(workshop: &Workshop, program: PathBuf, artifacts: &Path) -> Result<Counts, NotPassed> {
    let place = Place::account(workshop)?;
    let mut terraform = Terraform::new(workshop, program, "terraform-account", artifacts)?;
    let mut keys = workshop.command(place.python());
    keys.arg("tests/aws/provider.py").arg(terraform.scratch.join("issuer-key"));
    let keys = keys.output().map_err(|error| NotPassed::Failed(format!("tests/aws/provider.py: {error}")))?;
    if !keys.status.success() {
        return Err(NotPassed::Failed(String::from_utf8_lossy(&keys.stderr).into_owned()));
    }
    terraform.environment.push(("TF_VAR_provider_keys", String::from_utf8_lossy(&keys.stdout).trim().into()));
    init(terraform.command("init"))?;
    // What is there is taken away whatever comes of it; where this is killed, the next run goes on with its state.
    let counts = terraform.run("apply", &["-auto-approve"]).and_then(|_| {
        let issuer = terraform.output(&["-raw", "provider_url"])?;
        let url = terraform.output(&["-raw", "api_url"])?;
        Deployed::new(workshop, &place, &terraform, url, &issuer)?.tests(ON_ACCOUNT)
    });
    terraform.run("destroy", &["-auto-approve"])?;
    counts
}

/// Deploys to an emulator, has `tests` say what they find, and takes all of it away.
fn on_emulator(
    workshop: &Workshop,
    program: PathBuf,
    artifacts: &Path,
    tests: impl FnOnce(&Deployed<'_>, &mut Terraform<'_>) -> Result<Counts, NotPassed>,
) -> Result<Counts, NotPassed> {
    let failed = |error: std::io::Error| NotPassed::Failed(error.to_string());
    let issuer = format!("http://127.0.0.1:{}", aws::lasting_port().map_err(failed)?);
    let (emulator, mut terraform) = deploy(workshop, &program, artifacts, &issuer)?;
    let url = emulator.endpoint() + &terraform.output(&["-raw", "api_path"])?;
    let place = Place::Emulator(emulator);
    let deployed = Deployed::new(workshop, &place, &terraform, url, &issuer)?;
    let mut counts = tests(&deployed, &mut terraform)?;
    terraform.run("destroy", &["-auto-approve"])?;
    let mut left = workshop.command(place.python());
    count(&mut counts, child::run(place.known_to(left.arg("tests/aws/left.py"))).is_ok());
    Ok(counts)
}

/// Where a deployment is.
enum Place {
    Emulator(Emulator),
    Account(tools::Venv),
}

impl Place {
    fn account(workshop: &Workshop) -> Result<Self, NotPassed> {
        let venv = tools::Venv::apart(workshop, "venv-aws").map_err(NotPassed::Skipped)?;
        venv.install(workshop, "tests/aws/requirements.txt").map_err(NotPassed::Skipped)?;
        Ok(Self::Account(venv))
    }

    /// With boto3.
    fn python(&self) -> PathBuf {
        match self {
            Self::Emulator(emulator) => emulator.program("python"),
            Self::Account(venv) => venv.program("python"),
        }
    }

    /// Tells a program where it is; of an account the environment does.
    fn known_to<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        match self {
            Self::Emulator(emulator) => emulator.known_to(command).env("AEGIS_TEST_FAULTS", emulator.relayed()),
            Self::Account(_) => command,
        }
    }
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
        let mut terraform = Terraform::new(workshop, program.to_owned(), "terraform", artifacts)?;
        terraform.begin_anew();
        terraform.environment.push(("TF_VAR_endpoint", emulator.relayed().into()));
        terraform.environment.push(("TF_VAR_oidc_issuer", issuer.into()));
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

pub(crate) fn add(counts: &mut Counts, more: &Counts) {
    counts.passed = counts.passed.saturating_add(more.passed);
    counts.failed = counts.failed.saturating_add(more.failed);
    counts.skipped = counts.skipped.saturating_add(more.skipped);
}

/// A deployment, for tests and scripts that speak to one.
pub(crate) struct Deployed<'a> {
    workshop: &'a Workshop,
    place: &'a Place,
    aegis: PathBuf,
    url: String,
    /// What Terraform put out of it.
    pub(crate) outputs: PathBuf,
    issuer: &'a str,
}

impl<'a> Deployed<'a> {
    fn new(
        workshop: &'a Workshop,
        place: &'a Place,
        terraform: &Terraform<'_>,
        url: String,
        issuer: &'a str,
    ) -> Result<Self, NotPassed> {
        let outputs = terraform.scratch.join("outputs.json");
        let failed = |error: std::io::Error| NotPassed::Failed(format!("{}: {error}", outputs.display()));
        fs::write(&outputs, terraform.output(&["-json"])?).map_err(failed)?;
        Ok(Self { workshop, place, aegis: workshop.aegis()?, url, outputs, issuer })
    }

    /// What is said here decides nothing.
    fn report_first_responses(&self, artifacts: &Path) {
        if child::run(self.script("tests/aws/first_response.py").arg(artifacts)).is_err() {
            println!("how long functions take to their first response is not known");
        }
    }

    fn stories(&self) -> Result<Counts, NotPassed> {
        let apart = APART.iter().chain(LONG).copied().flatten().chain([&MCP, &UPGRADE, &RESTORE]);
        let apart = apart.flat_map(|tests| ["--skip", *tests]);
        let mut counts = self.tests(&apart.collect::<Vec<_>>())?;
        for group in APART {
            add(&mut counts, &self.tests(group)?);
        }
        match mcp::clients(self.workshop) {
            Ok(mcp::Clients { python, node, folder }) => {
                let mut command = self.command("deployed", &[MCP]);
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

    /// Replaces the functions while a test uses them.
    fn upgrade(&self, terraform: &mut Terraform<'_>, artifacts: &Path) -> Result<Counts, NotPassed> {
        let [next, there, done] = ["next-version", "upgrading", "upgraded"].map(|name| terraform.scratch.join(name));
        for old in [&there, &done] {
            let _ = fs::remove_file(old);
        }
        let mut command = self.workshop.command(self.place.python());
        child::run(command.arg("tests/aws/next_version.py").arg(artifacts).arg(&next))?;
        terraform.environment.retain(|(name, _)| *name != "TF_VAR_artifacts");
        terraform.environment.push(("TF_VAR_artifacts", next.into()));
        thread::scope(|scope| {
            let tests = scope.spawn(|| self.tests(&[UPGRADE]));
            while !there.exists() && !tests.is_finished() {
                thread::sleep(Duration::from_millis(100));
            }
            let applied = terraform.run("apply", &["-auto-approve"]);
            let said = fs::write(&done, "").map_err(|error| NotPassed::Failed(format!("{}: {error}", done.display())));
            let counts = tests.join().map_err(|_| NotPassed::Failed("the tests of the upgrade panicked".to_owned()))?;
            applied.and(said.map(|()| Counts::default()))?;
            counts
        })
    }

    fn tests(&self, which: &[&str]) -> Result<Counts, NotPassed> {
        child::run_cargo_tests(&mut self.command("deployed", which))
    }

    /// Of a program of tests, those.
    pub(crate) fn command(&self, program: &str, which: &[&str]) -> Command {
        let mut command = self.workshop.cargo();
        command.args(["test", "--package=aegis-tests", "--features=deployed", "--test", program]);
        command.args(["--no-fail-fast", "--"]).args(which);
        self.known_to(&mut command);
        command
    }

    pub(crate) fn script(&self, path: &str) -> Command {
        let mut command = self.workshop.command(self.place.python());
        self.known_to(command.args(["-B", path]));
        command
    }

    fn known_to(&self, command: &mut Command) {
        command.env("AEGIS_BIN", &self.aegis).env("AEGIS_URL", &self.url).env("AEGIS_DEPLOYMENT", &self.outputs);
        // The tests are the deployment's identity provider.
        command.env("AEGIS_TEST_ISSUER", self.issuer).env("AEGIS_TEST_PYTHON", self.place.python());
        self.place.known_to(command);
    }
}

/// Tests that go by themselves, in this order, after the others. What `outage` takes from the bus others would miss. While
/// detection lies behind, everybody is asked. What `edge` and `grants` take from roles others would need.
const APART: &[&[&str]] = &[&["outage::"], &["lag::"], &["edge::"], &["grants::"]];
/// The same, where its clients can be had: it looks for the newest record of a kind.
const MCP: &str = "mcp::";
/// Tests of the long run, group by group: `order` and `consumers` have queues to themselves. `upgrade` goes on during a change of
/// the deployment, `restore` lies around one.
const LONG: &[&[&str]] = &[&["kills::", "twice::"], &["order::"], &["consumers::"]];
const UPGRADE: &str = "upgrade::";
const RESTORE: &str = "restore::";
/// What needs nothing of the emulator's, nor that AWS reaches this machine.
const ON_ACCOUNT: &[&str] = &["approvals::", "cli::", "flagship::", "gateway::", "kms::", "races::"];
/// Says that the suite for an account may run.
const WANTED: &str = "AEGIS_AWS_E2E";

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
    fn new(workshop: &'a Workshop, program: PathBuf, folder: &str, artifacts: &Path) -> Result<Self, NotPassed> {
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
    fn begin_anew(&self) {
        for old in ["state", "state.backup"] {
            let _ = fs::remove_file(self.scratch.join(old));
        }
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

    /// Whether a second plan would change nothing.
    fn is_settled(&self) -> Result<bool, NotPassed> {
        let unexplained = self.drift()?;
        unexplained.iter().for_each(|change| println!("a second plan would change: {change}"));
        Ok(unexplained.is_empty())
    }

    /// As `infra/README.md` says, where the table of state was restored under another name.
    fn take_over_restored(&mut self) -> Result<(), NotPassed> {
        let table = self.output(&["-raw", "state_table"])?;
        let restored = format!("{table}-2");
        let known = "module.aegis.aws_dynamodb_table.state";
        self.environment.push(("TF_VAR_deployment_epoch", "2".into()));
        self.environment.push(("TF_VAR_state_table", restored.as_str().into()));
        child::run(self.command("state").args(["rm", self.state().as_str(), known]))?;
        self.run("import", &[known, &restored])?;
        self.run("apply", &["-auto-approve"]).map(|_| ())
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
