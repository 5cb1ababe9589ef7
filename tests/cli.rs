//! The command line, by the built program: mistakes, refusals and exit codes, compared with Celery's own where it has them.

use std::{
    fs,
    process::{Command, Output, Stdio},
};

/// Mistakes that both make of it the same: arguments of `celery`.
const MISTAKES: &[&[&str]] = &[
    &["worker", "--concurrency", "x"],
    &["worker", "--concurrency=-1"],
    &["worker", "-l", "loud"],
    &["worker", "-P", "fork"],
    &["worker", "-O", "fast"],
    &["worker", "--time-limit", "soon"],
    &["worker", "--max-tasks-per-child", "1.5"],
    &["worker", "--autoscale", "1,2,3"],
    &["worker", "zz"],
    &["worker", ".prefetch_multiplier=x"],
    &["worker", "-A", "proj"],
    &["worker", "--app", "proj"],
    &["nosuchcommand"],
];

fn ours(arguments: &[&str]) -> Command {
    let mut command = clean(Command::new(env!("CARGO_BIN_EXE_celery-rs")), arguments);
    command.env("CELERY_RS_PYTHON", interpreter());
    command
}

fn interpreter() -> String {
    std::env::var("CELERY_RS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

fn celerys(arguments: &[&str]) -> Command {
    let mut command = Command::new(interpreter());
    command.args(["-m", "celery"]);
    clean(command, arguments)
}

/// Without the variables that either would read.
fn clean(mut command: Command, arguments: &[&str]) -> Command {
    for (name, _) in std::env::vars().filter(|(name, _)| is_read(name)) {
        command.env_remove(name);
    }
    command.args(arguments).stdin(Stdio::null());
    command
}

fn is_read(name: &str) -> bool {
    let globals = ["APP", "BROKER_URL", "RESULT_BACKEND", "LOADER", "CONFIG_MODULE", "NO_COLOR", "SKIP_CHECKS"];
    (name.starts_with("CELERY_") && !name.starts_with("CELERY_RS_")) || globals.contains(&name)
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// The line that tells the mistake, and what follows it.
fn error_of(output: &Output) -> String {
    let text = stderr(output);
    let at = text.find("Error: ").unwrap_or_else(|| panic!("no error is told: {text}"));
    text[at..].trim().to_owned()
}

#[test]
fn mistakes_are_told_in_celerys_words() {
    for arguments in MISTAKES {
        let theirs = celerys(arguments).output().expect("Celery can be started");
        let ours = ours(arguments).output().unwrap();
        assert_eq!(error_of(&ours), error_of(&theirs), "{arguments:?}");
        assert_eq!((ours.status.code(), theirs.status.code()), (Some(2), Some(2)), "{arguments:?}");
        assert!(ours.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn app_after_worker_gets_the_hint() {
    let output = ours(&["worker", "-A", "proj"]).output().unwrap();
    let text = stderr(&output);
    assert!(text.contains("You are using `-A` as an option of the worker sub-command"), "{text}");
    assert!(text.contains("celery-rs -A celeryapp worker <...>"), "{text}");
}

#[test]
fn what_is_not_supported_is_refused_by_name() {
    for (arguments, name) in
        [(&["-P", "custom"][..], "custom"), (&["--pool-start-method", "spawn"], "--pool-start-method")]
    {
        let output = ours(&[&["worker"], arguments].concat()).output().unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert!(error_of(&output).contains(name), "{arguments:?}: {}", stderr(&output));
        assert_eq!(error_of(&output).lines().count(), 1, "{arguments:?}");
    }
}

#[test]
fn options_can_come_from_the_environment() {
    let output = ours(&["worker"]).env("CELERY_WORKER_CONCURRENCY", "many").output().unwrap();
    assert_eq!(
        error_of(&output),
        "Error: Invalid value for '-c' / '--concurrency': must be a non-negative integer or 'auto', got 'many'"
    );
}

#[test]
fn version_and_help_are_no_mistakes() {
    for arguments in [
        &["--version"][..],
        &["--help"],
        &["help"],
        &["help", "worker"],
        &["worker", "--help"],
        &["-m", "celery", "--version"],
        &[],
        &["completions", "bash"],
        &["completions", "zsh"],
        &["completions", "fish"],
    ] {
        let output = ours(arguments).output().unwrap();
        assert_eq!(output.status.code(), Some(0), "{arguments:?}");
        assert!(String::from_utf8_lossy(&output.stdout).contains("celery-rs"), "{arguments:?}");
    }
}

#[test]
fn a_report_is_ours_and_celerys() {
    let theirs = celerys(&["report"]).output().expect("Celery can be started");
    let ours = ours(&["report"]).output().unwrap();
    assert_eq!(ours.status.code(), Some(0), "{}", stderr(&ours));
    let text = String::from_utf8_lossy(&ours.stdout).into_owned();
    let (own, celerys) = text.split_at(text.find("software ->").expect("Celery's part"));
    assert!(own.contains(concat!("celery-rs -> ", env!("CARGO_PKG_VERSION"))), "{own}");
    assert!(String::from_utf8_lossy(&theirs.stdout).contains(celerys.trim()), "{celerys}");
}

#[test]
fn held_pidfile_ends_the_start_with_73() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w1.pid");
    fs::write(&path, format!("{}\n", std::process::id())).unwrap();
    let pidfile = directory.path().join("%n.pid").display().to_string();
    let output = ours(&["-q", "worker", "-n", "w1@box", "--pidfile", &pidfile]).output().unwrap();
    assert_eq!(output.status.code(), Some(73), "{}", stderr(&output));
    let expected = format!(
        "ERROR: Pidfile ({}) already exists.\nSeems we're already running? (pid: {})",
        path.display(),
        std::process::id()
    );
    assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    assert!(path.exists());
}
