//! `celery-rs report`: what a bug report should say, first of this program, then, by Celery itself, of the app.

use std::{env, io::Write as _, path::Path};

use super::{args::GlobalOptions, exit::Exit, workdir};
use crate::app;

const FEATURES: [(&str, bool); 3] =
    [("python", cfg!(feature = "python")), ("redis", cfg!(feature = "redis")), ("amqp", cfg!(feature = "amqp"))];

/// Prints it. `words` is the command line without the program, which Celery reads.
pub(super) fn report(global: GlobalOptions, words: &[String], program: &str) -> Exit {
    let words = match workdir::enter(global.workdir.as_deref().map(Path::new), words) {
        Ok(words) => words,
        Err(error) => return error.exit(program),
    };
    let features: Vec<&str> = FEATURES.iter().filter(|(_, is_there)| *is_there).map(|(name, _)| *name).collect();
    let program = env::current_exe().map(|path| path.display().to_string()).unwrap_or_default();
    println!("\ncelery-rs -> {} [{}] {program}", env!("CARGO_PKG_VERSION"), features.join(" "));
    // Celery's half is written by another process.
    let _ = std::io::stdout().flush();
    if !cfg!(feature = "python") {
        return super::exit::OK;
    }
    let reported = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|error| (error.to_string(), 1))
        .and_then(|runtime| {
            runtime.block_on(app::report(&words)).map_err(|error| (error.to_string(), error.exit_code()))
        });
    let Err((message, code)) = reported else { return super::exit::OK };
    eprintln!("{message}");
    Exit(u8::try_from(code).unwrap_or(super::exit::FAILURE.0))
}
