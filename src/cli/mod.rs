//! The command line: options, log, banner, signals, exit codes.
//!
//! What the worker does is not decided here: the roof turns what was typed into [`WorkerArgs`](crate::config::WorkerArgs),
//! has [`app`](crate::app) load the app, and prints. Only this room writes to stdout and ends the process.

mod args;
mod banner;
mod beat;
mod convert;
mod detach;
mod doctor;
mod environment;
mod exit;
mod foreign;
mod listener;
pub mod logging;
mod notify;
mod pidfile;
mod privileges;
mod refused;
mod report;
mod signals;
mod stacks;
#[cfg(test)]
mod tests;
mod usage;
mod workdir;
mod worker;

use std::{env, ffi::OsString, io, path::Path, process::ExitCode};

use clap::{CommandFactory, Parser, error::ErrorKind};

use crate::app::App;
use args::{Arguments, Command};
use exit::Exit;
use usage::UsageError;

pub use banner::{Banner, QueueLine};
pub use environment::ProcessEnvironment;

/// The whole command, for this process's arguments, without native tasks.
pub fn main() -> ExitCode {
    main_with(App::new())
}

/// The whole command with native tasks: what a program that has some calls from its own `main`.
pub fn main_with(app: App) -> ExitCode {
    run(app, env::args_os().collect()).into()
}

fn run(app: App, mut words: Vec<OsString>) -> Exit {
    let program = program(&words);
    // As which `celery multi` and Celery's own daemons are started, where `--executable` names this program.
    if words.get(1).is_some_and(|word| word == "-m") && words.get(2).is_some_and(|word| word == "celery") {
        words.drain(1..3);
    }
    let parsed = Arguments::try_parse_from(&words).or_else(|error| foreign::without(&words, &error).ok_or(error));
    let arguments = match parsed {
        Ok(arguments) => arguments,
        Err(error) => return refuse(&error, &words, &program),
    };
    if arguments.global.version {
        println!("celery-rs {}", env!("CARGO_PKG_VERSION"));
        return exit::OK;
    }
    match arguments.command {
        None => help(&program),
        Some(Command::Doctor(options)) => doctor::run(app, arguments.global, &options, &texts(&words), &program),
        Some(Command::Report) => report::report(arguments.global, &texts(&words), &program),
        Some(Command::Completions { shell }) => {
            clap_complete::generate(shell, &mut Arguments::command(), program, &mut io::stdout());
            exit::OK
        }
        Some(Command::Worker(options)) => worker::run(app, arguments.global, &options, &texts(&words), &program),
        Some(Command::Beat(options)) => beat::run(&app, &arguments.global, &options, &texts(&words)),
        #[cfg(feature = "python")]
        Some(Command::Zygote { options }) => zygote(&options),
    }
}

/// The words after the program, for Celery to read.
fn texts(words: &[OsString]) -> Vec<String> {
    words.iter().skip(1).map(|word| word.to_string_lossy().into_owned()).collect()
}

#[cfg(feature = "python")]
fn zygote(options: &str) -> Exit {
    let code = crate::python::zygote_main(options);
    Exit(u8::try_from(code).unwrap_or(exit::FAILURE.0))
}

fn help(program: &str) -> Exit {
    let shown = Arguments::command().bin_name(program).print_help();
    if shown.is_ok() { exit::OK } else { exit::FAILURE }
}

/// Help is printed as clap prints it, mistakes as click does.
fn refuse(error: &clap::Error, words: &[OsString], program: &str) -> Exit {
    if matches!(error.kind(), ErrorKind::DisplayHelp | ErrorKind::DisplayVersion) {
        return if error.print().is_ok() { exit::OK } else { exit::FAILURE };
    }
    let in_worker =
        words.iter().skip(1).any(foreign::takes_workers_options) && error.kind() != ErrorKind::InvalidSubcommand;
    UsageError::from_clap(error, in_worker).exit(program)
}

/// What the user called us by.
fn program(words: &[OsString]) -> String {
    let name = words.first().and_then(|word| Path::new(word).file_name());
    name.map_or("celery-rs".into(), |name| name.to_string_lossy().into_owned())
}
