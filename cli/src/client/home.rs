//! What the client keeps between two commands: contexts, and sessions. A session's token is in the system's keychain where
//! there is one, else in the sessions' file, which only its owner can read.

use super::keychain::{self, Wanted};
use super::output;
use crate::Failure;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};

/// The client's folder: `$AEGIS_HOME`, else `$XDG_CONFIG_HOME/aegis`, else `~/.config/aegis`.
#[derive(Debug)]
pub(crate) struct Home {
    folder: PathBuf,
    wanted: Wanted,
}

/// Names for deployments.
#[derive(Debug, Default, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Contexts {
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) current: Option<String>,
    /// URLs, by name.
    #[serde(default)]
    pub(crate) contexts: BTreeMap<String, String>,
}

/// A login, whole.
#[derive(Clone)]
pub(crate) struct Session {
    pub(crate) human: String,
    pub(crate) credential: String,
    pub(crate) token: String,
}

/// A login as the file has it: what of it is no secret, and the token unless the keychain has that.
#[derive(Clone, Deserialize, Serialize)]
pub(crate) struct Kept {
    pub(crate) human: String,
    credential: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    token: Option<String>,
}

impl Kept {
    /// Where the token is.
    pub(crate) fn place(&self) -> &'static str {
        if self.token.is_some() { "file" } else { "keychain" }
    }
}

/// By URL, so that a token never goes to another deployment than the one that issued it.
type Sessions = BTreeMap<String, Kept>;

const CONTEXTS: &str = "contexts.toml";
const SESSIONS: &str = "sessions.toml";

impl Home {
    pub(crate) fn find() -> Result<Self, Failure> {
        let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
        let own = set("AEGIS_HOME");
        let configured = || set("XDG_CONFIG_HOME").map(|folder| folder.join("aegis"));
        let usual = || std::env::home_dir().map(|folder| folder.join(".config").join("aegis"));
        match own.or_else(configured).or_else(usual) {
            Some(folder) => Ok(Self { folder, wanted: Wanted::read()? }),
            None => Err(Failure::Usage("no folder for sessions: set AEGIS_HOME or HOME".to_string())),
        }
    }

    /// Where sessions are, and the tokens that the keychain does not have.
    pub(crate) fn sessions_file(&self) -> PathBuf {
        self.folder.join(SESSIONS)
    }

    pub(crate) fn contexts(&self) -> Result<Contexts, Failure> {
        self.read(CONTEXTS)
    }

    pub(crate) fn save_contexts(&self, contexts: &Contexts) -> Result<(), Failure> {
        self.write(CONTEXTS, contexts)
    }

    /// With its token, wherever that is.
    ///
    /// # Errors
    /// Also if the keychain has the token and does not answer.
    pub(crate) fn session(&self, url: &str) -> Result<Option<Session>, Failure> {
        let Some(Kept { human, credential, token }) = self.kept(url)? else { return Ok(None) };
        let token = match token {
            Some(token) => Some(token),
            None => keychain::read(url, &credential)?.map(|token| token.to_string()),
        };
        Ok(token.map(|token| Session { human, credential, token }))
    }

    /// What the file says of a login.
    pub(crate) fn kept(&self, url: &str) -> Result<Option<Kept>, Failure> {
        Ok(self.sessions()?.remove(url))
    }

    /// In place of the session there was.
    pub(crate) fn save_session(&self, url: &str, session: Session) -> Result<(), Failure> {
        let mut sessions = self.sessions()?;
        let Session { human, credential, token } = session;
        let in_keychain = match self.wanted {
            Wanted::File => false,
            Wanted::Keychain => keychain::write(url, &credential, &token).map(|()| true)?,
            Wanted::Any => keychain::write(url, &credential, &token).is_ok(),
        };
        let kept = Kept { human, credential, token: Some(token).filter(|_| !in_keychain) };
        let before = sessions.insert(url.to_string(), kept);
        self.write(SESSIONS, &sessions)?;
        self.remove_token(url, before);
        Ok(())
    }

    pub(crate) fn forget_session(&self, url: &str) -> Result<(), Failure> {
        let mut sessions = self.sessions()?;
        let Some(before) = sessions.remove(url) else { return Ok(()) };
        self.write(SESSIONS, &sessions)?;
        self.remove_token(url, Some(before));
        Ok(())
    }

    /// What cannot be removed there is not found any more, and ends by itself.
    fn remove_token(&self, url: &str, kept: Option<Kept>) {
        if let Some(Kept { credential, token: None, .. }) = kept
            && let Err(failure) = keychain::remove(url, &credential)
        {
            output::note(&format!("note: the old token stays in the keychain: {failure}"));
        }
    }

    fn sessions(&self) -> Result<Sessions, Failure> {
        refuse_shared(&self.sessions_file())?;
        self.read(SESSIONS)
    }

    fn read<T: DeserializeOwned + Default>(&self, name: &str) -> Result<T, Failure> {
        let path = self.folder.join(name);
        match std::fs::read_to_string(&path) {
            Ok(text) => toml::from_str(&text).map_err(|error| {
                // Without the line it stands on: that may hold a token.
                Failure::Usage(format!("{}: {}", path.display(), error.message()))
            }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(T::default()),
            Err(error) => Err(Failure::because(&format!("cannot read {}", path.display()), &error)),
        }
    }

    /// Replaces the file as a whole: a reader sees the old one or the new one. Only its owner can read it.
    fn write<T: Serialize>(&self, name: &str, value: &T) -> Result<(), Failure> {
        let path = self.folder.join(name);
        let what = format!("cannot write {}", path.display());
        let text = toml::to_string(value).map_err(|error| Failure::because(&what, &error))?;
        let written = make_private(&self.folder).and_then(|()| {
            let mut file = tempfile::NamedTempFile::new_in(&self.folder)?;
            file.write_all(text.as_bytes())?;
            file.persist(&path).map_err(|error| error.error)?;
            Ok(())
        });
        written.map_err(|error| Failure::because(&what, &error))
    }
}

fn make_private(folder: &Path) -> std::io::Result<()> {
    let mut builder = std::fs::DirBuilder::new();
    builder.recursive(true);
    #[cfg(unix)]
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder.create(folder)
}

/// Refuses to use tokens that others on this machine could have read.
fn refuse_shared(path: &Path) -> Result<(), Failure> {
    #[cfg(unix)]
    if let Ok(metadata) = std::fs::metadata(path)
        && std::os::unix::fs::PermissionsExt::mode(&metadata.permissions()) & 0o077 != 0
    {
        return Err(Failure::Usage(format!("others can read {0}; run: chmod 600 {0}", path.display())));
    }
    let _ = path;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn session(token: &str) -> Session {
        Session { human: "alice@org".into(), credential: "crd_1".into(), token: token.into() }
    }

    #[test]
    fn a_session_is_found_for_its_own_url_only_until_it_is_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let home = Home { folder: folder.path().join("aegis"), wanted: Wanted::File };
        home.save_session("http://127.0.0.1:1", session("one")).unwrap();
        home.save_session("http://127.0.0.1:2", session("two")).unwrap();
        let token = |url: &str| home.session(url).unwrap().map(|session| session.token);
        assert_eq!(token("http://127.0.0.1:1").as_deref(), Some("one"));
        assert_eq!(token("http://127.0.0.1:3"), None);
        home.forget_session("http://127.0.0.1:1").unwrap();
        assert_eq!(token("http://127.0.0.1:1"), None);
        assert_eq!(token("http://127.0.0.1:2").as_deref(), Some("two"));
    }

    #[cfg(unix)]
    #[test]
    fn sessions_are_readable_to_their_owner_alone_and_refused_otherwise() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let home = Home { folder: folder.path().join("aegis"), wanted: Wanted::File };
        home.save_session("http://127.0.0.1:1", session("one")).unwrap();
        let path = home.folder.join(SESSIONS);
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(std::fs::metadata(&home.folder).unwrap().permissions().mode() & 0o777, 0o700);
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(home.session("http://127.0.0.1:1"), Err(Failure::Usage(_))));
    }
}
