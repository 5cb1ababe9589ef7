//! `worker --detach`: starts the daemon, a process of this program with the remaining arguments, and leaves
//! (`celery/bin/worker.py:detach`, `celery/platforms.py:detached`).
//!
//! What keeps the daemon from starting is told here, where somebody reads it: an app that cannot be loaded, a log file that
//! cannot be written, a pidfile that is held, a user that there is not.

use std::{
    env,
    ffi::OsString,
    fs::OpenOptions,
    io,
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use nix::{libc, sys::stat, unistd};

use super::{
    exit::{self, Exit},
    pidfile::{Pidfile, PidfileError},
    privileges,
};
use crate::{app::DaemonOptions, config::nodename};

/// Options that would make the daemon start a daemon.
const VARIABLES: [&str; 3] = ["CELERY_WORKER_DETACH", "CELERY_WORKER_UID", "CELERY_WORKER_GID"];

/// Starts it in `directory`, where this process was started. `words` is the command line without the program.
///
/// # Errors
/// What to tell the user, and the exit code.
pub(super) fn start(options: &DaemonOptions, words: &[String], directory: &Path) -> Result<Exit, (String, Exit)> {
    let failed = |message: String| (message, exit::FAILURE);
    privileges::drop_to(options.uid.as_deref(), options.gid.as_deref()).map_err(failed)?;
    if let Some(mask) = &options.umask {
        let mask = umask(mask).ok_or_else(|| failed(format!("'{mask}' is no umask")))?;
        stat::umask(stat::Mode::from_bits_truncate(mask));
    }
    let expanded = |path: &String| PathBuf::from(nodename::node_format(path, &options.hostname, 0));
    if let Some(path) = options.logfile.as_ref().map(expanded) {
        let opened = OpenOptions::new().append(true).create(true).open(&path);
        opened.map_err(|error| failed(format!("the log file {} cannot be opened: {error}", path.display())))?;
    }
    if let Some(path) = options.pidfile.as_ref().map(expanded) {
        Pidfile::create(&path).map(drop).map_err(|error| {
            let exit = if matches!(error, PidfileError::Held { .. }) { exit::CANNOT_CREATE } else { exit::FAILURE };
            (error.to_string(), exit)
        })?;
    }
    let mut command = daemon(options.executable.as_deref(), words, directory).map_err(|e| failed(e.to_string()))?;
    // Celery's own switch for looking at the daemon without its going away.
    let started = if env::var_os("C_FAKEFORK").is_some() { Err(command.exec()) } else { spawn(command) };
    started.map_err(|error| failed(format!("the daemon cannot be started: {error}")))?;
    Ok(exit::OK)
}

fn daemon(executable: Option<&str>, words: &[String], directory: &Path) -> io::Result<Command> {
    let (program, interpreter) = programs(executable)?;
    let mut command = Command::new(program);
    command.args(remaining(words)).current_dir(directory);
    if let Some(interpreter) = interpreter {
        command.env("CELERY_RS_PYTHON", interpreter);
    }
    for name in VARIABLES {
        command.env_remove(name);
    }
    Ok(command)
}

/// In a session of its own, with nothing open. Its parent is about to end, so that it becomes init's.
fn spawn(mut command: Command) -> io::Result<()> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let alone = || {
        unistd::setsid()?;
        // Closed by the exec that follows, so that what `Command` still has to tell its caller can be told.
        // SAFETY: a system call that changes flags of descriptors and touches no memory.
        unsafe { libc::close_range(3, libc::c_uint::MAX, libc::CLOSE_RANGE_CLOEXEC as libc::c_int) };
        Ok(())
    };
    // SAFETY: two system calls, both allowed between fork and exec; nothing is allocated.
    unsafe { command.pre_exec(alone) };
    command.spawn().map(drop)
}

/// The program, and the interpreter to run the app with. What Celery's `--executable` names is a Python, whose environment
/// is meant; `celery multi` may be told to start this program by it.
fn programs(executable: Option<&str>) -> io::Result<(PathBuf, Option<PathBuf>)> {
    let own = env::current_exe()?;
    let Some(named) = executable.map(|name| found(name).unwrap_or_else(|| name.into())) else { return Ok((own, None)) };
    let is_own = |path: &Path| path.canonicalize().is_ok_and(|path| own.canonicalize().is_ok_and(|own| own == path));
    Ok(if is_own(&named) { (named, None) } else { (own, Some(named)) })
}

/// A name without a slash, on the `PATH`.
fn found(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(name.into());
    }
    env::split_paths(&env::var_os("PATH")?).map(|directory| directory.join(name)).find(|path| path.is_file())
}

/// Without what has been done already: `-D`, also among other flags, and the options of the user.
pub(super) fn remaining(words: &[String]) -> Vec<OsString> {
    let mut remaining = Vec::new();
    let mut words = words.iter();
    while let Some(word) = words.next() {
        match word.as_str() {
            "--detach" => {}
            "--uid" | "--gid" => drop(words.next()),
            word if word.starts_with("--uid=") || word.starts_with("--gid=") => {}
            word => remaining.extend(without_detach(word).map(OsString::from)),
        }
    }
    remaining
}

/// A word without the `D` of `-D`, `-ED` or `-Dl`; none if nothing is left of it.
fn without_detach(word: &str) -> Option<String> {
    let short = word.strip_prefix('-').filter(|short| !short.starts_with('-'));
    let Some(short) = short else { return Some(word.to_owned()) };
    let flags = short.find(|letter| !"BDE".contains(letter)).unwrap_or(short.len());
    let (flags, rest) = short.split_at(flags);
    let left = format!("{}{rest}", flags.replace('D', ""));
    (!left.is_empty() || short.is_empty()).then(|| format!("-{left}"))
}

/// Octal if it begins with a zero, else decimal.
fn umask(text: &str) -> Option<u32> {
    let radix = if text.starts_with('0') { 8 } else { 10 };
    u32::from_str_radix(text.strip_prefix("0o").unwrap_or(text), radix).ok().filter(|mask| *mask <= 0o777)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_done_is_not_done_again() {
        for (given, left) in [
            ("-A proj worker --detach -l INFO", "-A proj worker -l INFO"),
            ("-A proj worker -D --uid nobody --gid=nogroup -c 2", "-A proj worker -c 2"),
            ("worker -ED -DEl INFO -Dc2 -Q D --hostname D", "worker -E -El INFO -c2 -Q D --hostname D"),
            ("worker --uid=7 .key=-D -", "worker .key=-D -"),
        ] {
            let words: Vec<String> = given.split(' ').map(str::to_owned).collect();
            assert_eq!(remaining(&words).join(" ".as_ref()).to_str().unwrap(), left);
        }
    }

    #[test]
    fn masks_are_octal_with_a_zero_in_front() {
        assert_eq!(umask("022"), Some(0o22));
        assert_eq!(umask("0o22"), Some(0o22));
        assert_eq!(umask("22"), Some(22));
        assert_eq!((umask("0"), umask("9999"), umask("09"), umask("x")), (Some(0), None, None, None));
    }

    #[test]
    fn an_executable_is_this_program_or_an_interpreter() {
        let own = env::current_exe().unwrap();
        assert_eq!(programs(None).unwrap(), (own.clone(), None));
        assert_eq!(programs(own.to_str()).unwrap(), (own.clone(), None));
        assert_eq!(programs(Some("/opt/venv/bin/python")).unwrap(), (own, Some("/opt/venv/bin/python".into())));
    }
}
