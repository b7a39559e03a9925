//! Where a passphrase comes from: a file, the environment, or a person at the terminal. Never a flag.

use super::connection::set;
use crate::Failure;
use std::io::IsTerminal;
use std::path::Path;
use zeroize::Zeroizing;

/// A passphrase's sources, in the order in which they are tried.
pub(crate) struct Sources<'a> {
    pub(crate) file: Option<&'a Path>,
    pub(crate) variable: &'a str,
    /// What a person is asked.
    pub(crate) prompt: &'a str,
    /// Whether a person types it twice.
    pub(crate) twice: bool,
}

impl Sources<'_> {
    pub(crate) fn read(&self) -> Result<Zeroizing<String>, Failure> {
        if let Some(path) = self.file {
            return first_line(path);
        }
        if let Some(text) = set(self.variable) {
            return Ok(Zeroizing::new(text));
        }
        if !std::io::stdin().is_terminal() {
            let variable = self.variable;
            return Err(Failure::Usage(format!(
                "no passphrase: give --passphrase-file FILE, set {variable}, or run it on a terminal"
            )));
        }
        let typed = ask(self.prompt)?;
        match !self.twice || *ask("Once more: ")? == *typed {
            true => Ok(typed),
            false => Err(Failure::Usage("the two passphrases differ".to_string())),
        }
    }
}

pub(crate) fn first_line(path: &Path) -> Result<Zeroizing<String>, Failure> {
    let text = std::fs::read_to_string(path).map(Zeroizing::new);
    let what = format!("cannot read the passphrase from {}", path.display());
    let text = text.map_err(|error| Failure::because(&what, &error))?;
    Ok(Zeroizing::new(text.lines().next().unwrap_or_default().to_string()))
}

fn ask(prompt: &str) -> Result<Zeroizing<String>, Failure> {
    let typed = rpassword::prompt_password(prompt).map(Zeroizing::new);
    typed.map_err(|error| Failure::because("cannot read the passphrase", &error))
}
