//! A deployment on the emulator, made and taken away by Terraform with the provider that AWS gets.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use crate::aws::{self, Emulator};
use crate::child::{self, Counts, NotPassed};
use crate::terraform::{Terraform, init};
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

/// Names zips that are there, instead of building them.
const ARTIFACTS: &str = "AEGIS_ARTIFACTS";
