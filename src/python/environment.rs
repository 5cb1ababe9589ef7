//! Which Python environment is the active one, found out before there is an interpreter.
//!
//! Looks at the file system and environment variables only; who becomes or starts an interpreter acts on the answer.

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::python::PythonError;

const ASK: &str = "import sys; print('%d.%d' % sys.version_info[:2]); print(sys.executable)";

/// A Python executable and the version it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Environment {
    /// The executable: becomes `sys.executable`, and its directory's `pyvenv.cfg` decides `sys.prefix`.
    pub python: PathBuf,
    /// `major.minor`.
    pub version: String,
}

/// The environment to run in: of `CELERY_RS_PYTHON`, else the virtualenv this program is installed in, else (for the wheel's
/// program) the Python beside it, else `VIRTUAL_ENV`, else the first `python3` or `python` on the `PATH`. None leaves it to the
/// linked library.
pub(super) fn active() -> Result<Option<Environment>, PythonError> {
    if let Some(python) = env::var_os("CELERY_RS_PYTHON").map(PathBuf::from) {
        return Ok(of_executable(&python));
    }
    if let Some(root) = own_root() {
        return Ok(virtualenv(&root));
    }
    if let Some(python) =
        own_directory().filter(|_| !cfg!(feature = "embed")).and_then(|directory| in_directory(&directory))
    {
        return Ok(of_executable(&python));
    }
    if let Some(root) = env::var_os("VIRTUAL_ENV").filter(|root| !root.is_empty()).map(PathBuf::from) {
        return virtualenv(&root).map(Some).ok_or(PythonError::NoEnvironment(root));
    }
    Ok(on_path().and_then(|python| of_executable(&python)))
}

/// Refuses an environment that the linked library cannot serve.
#[cfg(feature = "embed")]
pub(super) fn check(environment: &Environment, ours: &str) -> Result<(), PythonError> {
    if environment.version == ours {
        return Ok(());
    }
    Err(PythonError::Version {
        ours: ours.to_owned(),
        theirs: environment.version.clone(),
        path: environment.python.display().to_string(),
    })
}

fn own_directory() -> Option<PathBuf> {
    Some(env::current_exe().ok()?.parent()?.to_owned())
}

fn in_directory(directory: &Path) -> Option<PathBuf> {
    ["python3", "python"].map(|name| directory.join(name)).into_iter().find(|path| path.is_file())
}

fn own_root() -> Option<PathBuf> {
    let root = own_directory()?.parent()?.to_owned();
    root.join("pyvenv.cfg").is_file().then_some(root)
}

fn of_executable(python: &Path) -> Option<Environment> {
    let root = python.parent().and_then(Path::parent);
    root.and_then(|root| version_of(&root.join("pyvenv.cfg")))
        .map(|version| Environment { python: python.to_owned(), version })
        .or_else(|| ask(python))
}

fn virtualenv(root: &Path) -> Option<Environment> {
    let version = version_of(&root.join("pyvenv.cfg"))?;
    Some(Environment { python: in_directory(&root.join("bin"))?, version })
}

fn version_of(configuration: &Path) -> Option<String> {
    let text = fs::read_to_string(configuration).ok()?;
    version_in(&text)
}

fn version_in(text: &str) -> Option<String> {
    let pairs = text.lines().filter_map(|line| line.split_once('='));
    let (_, version) = pairs.into_iter().find(|(key, _)| matches!(key.trim(), "version" | "version_info"))?;
    let mut parts = version.trim().split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

fn on_path() -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).find_map(|directory| in_directory(&directory))
}

/// A Python that is no virtualenv, or a shim of some version manager, says best itself what it is.
fn ask(python: &Path) -> Option<Environment> {
    let output = Command::new(python).args(["-I", "-c", ASK]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    let mut lines = text.lines();
    let version = lines.next()?.to_owned();
    Some(Environment { python: PathBuf::from(lines.next()?), version })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_of_both_makers_of_virtualenvs() {
        assert_eq!(version_in("home = /usr/bin\nversion = 3.11.7\n").as_deref(), Some("3.11"));
        assert_eq!(version_in("version_info = 3.12.1.final.0\n").as_deref(), Some("3.12"));
        assert_eq!(version_in("home = /usr/bin\n"), None);
    }

    #[cfg(feature = "embed")]
    #[test]
    fn another_minor_version_is_refused_in_one_line() {
        let environment = Environment { python: "/srv/venv/bin/python".into(), version: "3.12".into() };
        assert!(check(&environment, "3.12").is_ok());
        let message = check(&environment, "3.11").unwrap_err().to_string();
        assert!(message.contains("/srv/venv/bin/python is Python 3.12"), "{message}");
        assert_eq!(message.lines().count(), 1);
    }
}
