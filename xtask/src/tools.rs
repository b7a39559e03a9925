//! Tools that are not Rust: found, or installed where that is possible without asking.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use crate::workshop::Workshop;

pub(crate) fn on_path(program: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|folder| folder.join(program)).find(|file| file.is_file())
}

/// Makes `program` available, from Debian's `package` if need be. An error says why it cannot be had.
pub(crate) fn need(workshop: &Workshop, program: &str, package: &str) -> Result<PathBuf, String> {
    let missing = || format!("{program} is not installed");
    if let Some(found) = on_path(program) {
        return Ok(found);
    }
    apt_install(workshop, package).map_err(|why| format!("{} and {why}", missing()))?;
    on_path(program).ok_or_else(missing)
}

/// Installs what the lock file in `source` pins, once: the same file a second time asks no registry. No package's script is
/// run.
pub(crate) fn npm_ci(workshop: &Workshop, npm: PathBuf, source: &str, what: &str) -> Result<PathBuf, String> {
    const LOCK: &str = "package-lock.json";
    let source = workshop.root.join(source);
    let folder = workshop.tools().join(what);
    let stamp = folder.join("installed");
    let failed = |what: &str, error: std::io::Error| format!("{what}: {error}");
    let wanted = fs::read_to_string(source.join(LOCK)).map_err(|error| failed(LOCK, error))?;
    if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
        return Ok(folder);
    }
    fs::create_dir_all(&folder).map_err(|error| failed("the tools folder", error))?;
    for name in ["package.json", LOCK] {
        fs::copy(source.join(name), folder.join(name)).map_err(|error| failed(name, error))?;
    }
    println!("installing {what} from npm");
    let mut command = workshop.command(npm);
    command.args(["ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel", "error"]).current_dir(&folder);
    match command.status().is_ok_and(|status| status.success()) {
        true => fs::write(&stamp, wanted).map(|()| folder).map_err(|error| failed("the tools folder", error)),
        false => Err(format!("npm could not install {what}")),
    }
}

/// A Python environment of the project's own, in the target folder.
pub(crate) struct Venv {
    folder: PathBuf,
}

impl Venv {
    /// The existing one, unless its Python is gone or it was made elsewhere.
    pub(crate) fn open(workshop: &Workshop) -> Result<Self, String> {
        Self::made_with(workshop, "venv", &need(workshop, "python3", "python3")?)
    }

    /// One apart from the others, for what pins other versions than they do; with Python 3.11 or newer.
    pub(crate) fn apart(workshop: &Workshop, name: &str) -> Result<Self, String> {
        need(workshop, "python3", "python3")?;
        let modern = |python: &PathBuf| workshop.succeeds(workshop.command(python).args(["-c", NEWER_THAN_3_10]));
        let python = PYTHONS.iter().filter_map(|name| on_path(name)).find(modern);
        Self::made_with(workshop, name, &python.ok_or("python3 is older than 3.11")?)
    }

    /// One apart from the others, with this Python and no other: what some programs are made for.
    pub(crate) fn of_python(workshop: &Workshop, name: &str, version: &str) -> Result<Self, String> {
        let program = format!("python{version}");
        let is_that = |python: &PathBuf| {
            let check = format!("import sys; sys.exit('%d.%d' % sys.version_info[:2] != '{version}')");
            workshop.succeeds(workshop.command(python).args(["-c", &check]))
        };
        let python = on_path(&program).filter(is_that).or_else(|| of_pyenv(version).into_iter().find(is_that));
        Self::made_with(workshop, name, &python.ok_or_else(|| format!("there is no {program}"))?)
    }

    fn made_with(workshop: &Workshop, name: &str, python: &Path) -> Result<Self, String> {
        let venv = Self { folder: workshop.tools().join(name) };
        // Its programs name the folder that it was made in: asked like this, one that was moved or copied fails.
        if workshop.succeeds(workshop.command(venv.program("pip")).arg("--version")) {
            return Ok(venv);
        }
        println!("making a Python venv in {}", venv.folder.display());
        let make = || workshop.succeeds(workshop.command(python).args(["-m", "venv", "--clear"]).arg(&venv.folder));
        if make() {
            return Ok(venv);
        }
        apt_install(workshop, "python3-venv").map_err(|why| format!("python3 has no venv module and {why}"))?;
        make().then_some(venv).ok_or_else(|| "python3 cannot make a venv".to_owned())
    }

    /// Installs what `requirements` pins, once: the same file a second time asks no registry. The hashes in it are
    /// checked, and nothing is built from source.
    pub(crate) fn install(&self, workshop: &Workshop, requirements: &str) -> Result<(), String> {
        let file = workshop.root.join(requirements);
        let wanted = fs::read_to_string(&file).map_err(|e| format!("{requirements} cannot be read: {e}"))?;
        let stamp = self.folder.join(format!("installed-{}", requirements.replace('/', "-")));
        if fs::read_to_string(&stamp).is_ok_and(|installed| installed == wanted) {
            return Ok(());
        }
        println!("installing {requirements} from PyPI");
        let mut pip = workshop.command(self.program("python"));
        pip.args(["-m", "pip", "install", "--quiet", "--no-input", "--disable-pip-version-check"]);
        pip.args(["--require-hashes", "--only-binary", ":all:", "--requirement"]).arg(&file);
        match pip.status().is_ok_and(|status| status.success()) {
            true => fs::write(&stamp, wanted).map_err(|e| format!("{} cannot be written: {e}", stamp.display())),
            false => Err(format!("pip could not install {requirements}")),
        }
    }

    pub(crate) fn program(&self, name: &str) -> PathBuf {
        self.folder.join("bin").join(name)
    }
}

/// Installs from Debian's packages where that needs no password.
fn apt_install(workshop: &Workshop, package: &str) -> Result<(), String> {
    if on_path("apt-get").is_none() || !Path::new("/etc/debian_version").exists() {
        return Err("this is not a Debian machine".to_owned());
    }
    let id = workshop.command("id").arg("-u").stderr(Stdio::null()).output();
    if !id.is_ok_and(|output| output.stdout.trim_ascii() == b"0") {
        return Err(format!("only root can `apt-get install {package}`"));
    }
    println!("installing {package} from Debian's packages");
    let apt = |words: &[&str]| {
        workshop.succeeds(workshop.command("apt-get").args(words).env("DEBIAN_FRONTEND", "noninteractive"))
    };
    // A stale package list may still do, so only the second answer counts.
    apt(&["update", "-qq"]);
    match apt(&["install", "-y", "-qq", "--no-install-recommends", package]) {
        true => Ok(()),
        false => Err(format!("`apt-get install {package}` failed")),
    }
}

/// The Pythons of this version that pyenv has, whichever of them is its present one.
fn of_pyenv(version: &str) -> Vec<PathBuf> {
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let folders = root.and_then(|root| fs::read_dir(root.join("versions")).ok()).into_iter().flatten().flatten();
    let of_it = folders.filter(|folder| folder.file_name().to_string_lossy().starts_with(&format!("{version}.")));
    of_it.map(|folder| folder.path().join("bin").join("python3")).collect()
}

/// Some distributions call a newer one by its number alone.
const PYTHONS: &[&str] = &["python3", "python3.14", "python3.13", "python3.12", "python3.11"];
const NEWER_THAN_3_10: &str = "import sys; sys.exit(sys.version_info < (3, 11))";
