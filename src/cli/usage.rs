//! Usage errors, told as click tells them: a usage line, a hint, the error; exit code 2.

use clap::error::{ContextKind, ContextValue, ErrorKind};

use super::exit::{Exit, USAGE};

/// A mistake on the command line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct UsageError {
    /// Whether it belongs to `worker` rather than to the whole command.
    in_worker: bool,
    /// Printed before the usage line.
    preface: Option<String>,
    message: String,
}

impl UsageError {
    /// A mistake among the options of `worker`.
    pub(super) fn worker(message: impl Into<String>) -> Self {
        Self { in_worker: true, preface: None, message: message.into() }
    }

    /// A mistake before the sub-command, such as an app that cannot be loaded.
    pub(super) fn global(message: impl Into<String>) -> Self {
        Self { in_worker: false, preface: None, message: message.into() }
    }

    /// A value that an option cannot take: `option` as click shows it, `'-c' / '--concurrency'`.
    pub(super) fn value(option: &str, reason: &str) -> Self {
        Self::worker(format!("Invalid value for {option}: {reason}"))
    }

    /// What clap found.
    pub(super) fn from_clap(error: &clap::Error, in_worker: bool) -> Self {
        let argument = context(error, ContextKind::InvalidArg).unwrap_or_default();
        let option = argument.split([' ', '=']).next().unwrap_or_default().to_owned();
        match error.kind() {
            ErrorKind::UnknownArgument => no_such_option(error, &option, in_worker),
            ErrorKind::InvalidSubcommand => Self::no_such_command(error),
            ErrorKind::InvalidValue if context(error, ContextKind::InvalidValue).is_none_or(|v| v.is_empty()) => {
                Self { in_worker, preface: None, message: format!("Option '{option}' requires an argument.") }
            }
            _ => Self { in_worker, preface: None, message: plain(error) },
        }
    }

    fn no_such_command(error: &clap::Error) -> Self {
        let name = context(error, ContextKind::InvalidSubcommand).unwrap_or_default();
        Self::global(match name.as_str() {
            "inspect" | "control" | "status" | "events" | "purge" | "call" | "result" | "list" | "migrate"
            | "graph" | "upgrade" | "logtool" | "amqp" | "shell" | "multi" => {
                format!("celery-rs is a worker; for '{name}' use Celery's own: celery {name}")
            }
            _ => format!("No such command '{name}'."),
        })
    }

    /// Prints it to stderr.
    pub(super) fn exit(&self, program: &str) -> Exit {
        if let Some(preface) = &self.preface {
            eprintln!("{}", preface.replace("celery ", &format!("{program} ")));
        }
        if self.in_worker {
            eprintln!("Usage: {program} worker [OPTIONS]\nTry '{program} worker --help' for help.");
        } else {
            eprintln!("Usage: {program} [OPTIONS] [COMMAND] [ARGS]...\nTry '{program} --help' for help.");
        }
        eprintln!("\nError: {}", self.message);
        USAGE
    }
}

fn no_such_option(error: &clap::Error, option: &str, in_worker: bool) -> UsageError {
    let suggestion = context(error, ContextKind::SuggestedArg);
    let hint = suggestion.map(|name| format!(" Did you mean '{name}'?")).unwrap_or_default();
    let misplaced_app = in_worker && matches!(option, "-A" | "--app");
    UsageError {
        in_worker,
        preface: misplaced_app.then(|| misplaced(option)),
        message: if misplaced_app {
            format!("No such option '{option}'.")
        } else {
            format!("No such option '{option}'.{hint}")
        },
    }
}

fn misplaced(option: &str) -> String {
    format!(
        "You are using `{option}` as an option of the worker sub-command:\ncelery worker {option} celeryapp <...>\n\n\
         Since Celery 5.0 this is a global option. Instead use:\ncelery {option} celeryapp worker <...>"
    )
}

fn context(error: &clap::Error, kind: ContextKind) -> Option<String> {
    match error.get(kind)? {
        ContextValue::String(text) => Some(text.clone()),
        ContextValue::Strings(texts) => texts.first().cloned(),
        _ => None,
    }
}

/// Clap's own message, without its `error:` and its usage.
fn plain(error: &clap::Error) -> String {
    let text = error.to_string();
    let first = text.split("\n\n").next().unwrap_or(&text);
    first.trim_start_matches("error: ").trim().to_owned()
}
