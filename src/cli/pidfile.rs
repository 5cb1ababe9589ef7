//! [`Pidfile`]: says which process is the worker, and that there is only one (`celery/platforms.py`).

use std::{
    fs::{self, OpenOptions},
    io::{self, ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::{Path, PathBuf},
    process,
};

use nix::{errno::Errno, sys::signal, unistd::Pid};

/// A pidfile of this process; removed when dropped.
#[derive(Debug)]
pub(super) struct Pidfile {
    path: PathBuf,
}

/// Why there can be no pidfile.
#[derive(Debug, thiserror::Error)]
pub(super) enum PidfileError {
    #[error("ERROR: Pidfile ({}) already exists.\nSeems we're already running? (pid: {pid})", path.display())]
    Held { path: PathBuf, pid: i32 },
    #[error("pidfile {} cannot be written: {source}", path.display())]
    Io { path: PathBuf, source: io::Error },
}

/// What an existing pidfile says.
enum Found {
    Nothing,
    Broken,
    Pid(i32),
}

impl Pidfile {
    /// Writes the file, after removing one that nobody alive holds.
    pub(super) fn create(path: &Path) -> Result<Self, PidfileError> {
        let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
        let failed = |source| PidfileError::Io { path: path.clone(), source };
        if let Some(pid) = remove_stale(&path).map_err(failed)? {
            return Err(PidfileError::Held { path, pid });
        }
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o644).open(&path).map_err(failed)?;
        writeln!(file, "{}", process::id()).and_then(|()| file.sync_all()).map_err(failed)?;
        drop(file);
        Ok(Self { path })
    }
}

impl Drop for Pidfile {
    /// Unless someone else has taken it over meanwhile.
    fn drop(&mut self) {
        if matches!(read(&self.path), Ok(Found::Pid(pid)) if pid == own_pid()) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// The process that holds the file; none when there is no file (any more).
fn remove_stale(path: &Path) -> io::Result<Option<i32>> {
    match read(path)? {
        Found::Nothing => return Ok(None),
        Found::Broken => eprintln!("Broken pidfile found - Removing it."),
        Found::Pid(pid) if pid == own_pid() => {}
        Found::Pid(pid) if is_alive(pid) => return Ok(Some(pid)),
        Found::Pid(_) => eprintln!("Stale pidfile exists - Removing it."),
    }
    fs::remove_file(path).or_else(|error| if error.kind() == ErrorKind::NotFound { Ok(()) } else { Err(error) })?;
    Ok(None)
}

fn read(path: &Path) -> io::Result<Found> {
    let text = match fs::read(path) {
        Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(error),
    };
    let pid = text.strip_suffix('\n').and_then(|line| line.trim().parse().ok()).filter(|pid| *pid > 0);
    Ok(pid.map_or(Found::Broken, Found::Pid))
}

/// Celery counts a process that it may not signal as gone, too.
fn is_alive(pid: i32) -> bool {
    !matches!(signal::kill(Pid::from_raw(pid), None), Err(Errno::ESRCH | Errno::EPERM))
}

fn own_pid() -> i32 {
    Pid::this().as_raw()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_there_while_we_are() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.pid");
        let pidfile = Pidfile::create(&path).unwrap();
        assert_eq!(fs::read_to_string(&path).unwrap(), format!("{}\n", process::id()));
        drop(pidfile);
        assert!(!path.exists());
    }

    #[test]
    fn replaces_stale_broken_and_own_files() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.pid");
        for text in ["4194304999\n", "2147483647\n", "12", "what\n", "", &format!("{}\n", process::id())] {
            fs::write(&path, text).unwrap();
            assert!(Pidfile::create(&path).is_ok(), "{text:?}");
        }
    }

    #[test]
    fn respects_a_live_process() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("w.pid");
        let parent = nix::unistd::getppid();
        if is_alive(parent.as_raw()) {
            fs::write(&path, format!("{parent}\n")).unwrap();
            assert!(matches!(Pidfile::create(&path), Err(PidfileError::Held { pid, .. }) if pid == parent.as_raw()));
            assert!(path.exists());
        }
    }
}
