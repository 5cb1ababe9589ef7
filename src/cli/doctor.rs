//! `celery-rs doctor`: what a worker of this app would do in Rust, what through Python and what not at all, before one is
//! deployed.
//!
//! It takes the options of `worker`. Exit code 0 where a worker would start, 1 where it would refuse to, 2 where the command
//! line or the app cannot be used.

use std::{
    ffi::OsString,
    io::{self, Write},
};

use serde_json::{Value, json};

use super::{
    args::{DoctorOptions, GlobalOptions, WorkerOptions},
    convert, detach,
    environment::ProcessEnvironment,
    exit::{self, Exit},
    logging::Format,
    privileges, refused,
    usage::UsageError,
    workdir,
};
use crate::{
    app::{App, AppError, Diagnosis, Fact},
    config::{Refusal, Strings, WorkerArgs},
};

/// Tells it. `words` is the command line without the program.
pub(super) fn run(app: App, global: GlobalOptions, options: &DoctorOptions, words: &[String], program: &str) -> Exit {
    let examined = convert::worker_args(global, &options.worker).and_then(|args| {
        let words = workdir::enter(args.workdir.as_deref(), &of_the_worker(words))?;
        Ok((args, words))
    });
    let (args, words) = match examined {
        Ok(examined) => examined,
        Err(error) => return error.exit(program),
    };
    if options.worker.beat && args.app.is_none() && app.tasks().next().is_some() {
        return UsageError::worker(refused::BEAT_NEEDS_PYTHON).exit(program);
    }
    let name = args.app.clone().unwrap_or_else(|| program.to_owned());
    let diagnosis = match examine(app, args, &options.worker, &words) {
        Ok(diagnosis) => diagnosis,
        Err(message) => {
            refused::refusals(&options.worker).for_each(|refusal| eprintln!("{refusal}"));
            eprintln!("{message}");
            return exit::USAGE;
        }
    };
    let text = if options.json { format!("{:#}\n", as_json(&name, &diagnosis)) } else { as_text(&name, &diagnosis) };
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
    if diagnosis.refused.is_empty() { exit::OK } else { exit::FAILURE }
}

fn examine(app: App, args: WorkerArgs, options: &WorkerOptions, words: &[String]) -> Result<Diagnosis, String> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("the runtime cannot be started: {error}"))?;
    let diagnosis = runtime.block_on(app.examine(args, words, &ProcessEnvironment));
    runtime.shutdown_background();
    let mut diagnosis = diagnosis.map_err(|error: AppError| error.to_string())?;
    diagnosis.refused.splice(0..0, refused::refusals(options));
    consider_log(&mut diagnosis);
    consider_privileges(&mut diagnosis);
    Ok(diagnosis)
}

fn consider_log(diagnosis: &mut Diagnosis) {
    let Some(worker) = diagnosis.settings.as_ref().map(|settings| &settings.worker) else { return };
    match Format::parse(&worker.log_format, worker.log_datefmt.as_deref()) {
        Ok(format) => diagnosis.not_honoured.extend(refused::unknown_fields(&format)),
        Err(error) => diagnosis.refused.push(Refusal::new(error.to_string(), "put worker_log_format right")),
    }
}

/// With a Python app, Celery itself has checked in the process that loads it.
fn consider_privileges(diagnosis: &mut Diagnosis) {
    let (None, Some(settings)) = (&diagnosis.versions, &diagnosis.settings) else { return };
    let forced = ProcessEnvironment.string("C_FORCE_ROOT").is_some();
    if let privileges::Verdict::Refuse(message) = privileges::check(&settings.accept_content, forced) {
        diagnosis.refused.push(Refusal::new(message, "run it as another user"));
    }
}

/// The command line of the worker that is meant, which starts no daemon and becomes no other user.
fn of_the_worker(words: &[String]) -> Vec<String> {
    let words = detach::remaining(words);
    let at = command(&words);
    let meant = words.into_iter().enumerate().filter_map(|(place, word)| match at {
        Some(at) if place == at => Some("worker".into()),
        Some(at) if place > at && word == "--json" => None,
        _ => Some(word.to_string_lossy().into_owned()),
    });
    meant.collect()
}

/// Where the sub-command stands: an app may have its name.
fn command(words: &[OsString]) -> Option<usize> {
    let takes_value = |word: &OsString| WITH_VALUES.iter().any(|option| word == option);
    let named = |(at, word): (usize, &OsString)| word == "doctor" && (at == 0 || !takes_value(&words[at - 1]));
    words.iter().enumerate().position(named)
}

/// What stands before the sub-command with a value behind it.
const WITH_VALUES: [&str; 8] =
    ["-A", "--app", "-b", "--broker", "--result-backend", "--loader", "--config", "--workdir"];

fn as_json(name: &str, diagnosis: &Diagnosis) -> Value {
    let facts = |facts: &[Fact]| -> Value {
        facts.iter().map(|fact| json!({"subject": fact.subject, "text": fact.text})).collect()
    };
    let refusals = |refusals: &[Refusal]| -> Value {
        refusals.iter().map(|refusal| json!({"line": refusal.line, "way_out": refusal.way_out})).collect()
    };
    let (celery, python) = diagnosis.versions.clone().unzip();
    json!({
        "app": name,
        "celery": celery,
        "python": python,
        "starts": diagnosis.refused.is_empty(),
        "in_rust": facts(&diagnosis.native),
        "through_python": facts(&diagnosis.python),
        "not_honoured": refusals(&diagnosis.not_honoured),
        "refused": refusals(&diagnosis.refused),
    })
}

fn as_text(name: &str, diagnosis: &Diagnosis) -> String {
    let mut text = match &diagnosis.versions {
        Some((celery, python)) => format!("{name}, Celery {celery}, Python {python}\n"),
        None => format!("{name}, without Python\n"),
    };
    for (title, facts) in [("In Rust", &diagnosis.native), ("Through Python", &diagnosis.python)] {
        let lines = facts.iter().map(|fact| format!("  {:<12}{}\n", fact.subject, fact.text));
        text += &chapter(title, lines);
    }
    for (title, refusals) in [("Not honoured", &diagnosis.not_honoured), ("Refused", &diagnosis.refused)] {
        let lines = refusals.iter().map(|refusal| format!("  {}\n    -> {}\n", refusal.line, refusal.way_out));
        text += &chapter(title, lines);
    }
    text + if diagnosis.refused.is_empty() { "\nA worker would start.\n" } else { "\nA worker would not start.\n" }
}

/// Nothing where there are no lines.
fn chapter(title: &str, lines: impl Iterator<Item = String>) -> String {
    let lines: String = lines.collect();
    if lines.is_empty() { lines } else { format!("\n{title}\n{lines}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_is_meant_that_stays_where_it_is() {
        for (given, meant) in [
            ("-A proj doctor -P solo --json -Q doctor", "-A proj worker -P solo -Q doctor"),
            ("-A doctor doctor -D --uid=nobody", "-A doctor worker"),
            ("--app=proj doctor", "--app=proj worker"),
        ] {
            let words: Vec<String> = given.split(' ').map(str::to_owned).collect();
            assert_eq!(of_the_worker(&words).join(" "), meant);
        }
    }

    #[test]
    fn it_is_told_to_people_and_to_programs() {
        let mut diagnosis = Diagnosis::default();
        diagnosis.native.push(Fact { subject: "broker", text: "redis://h".into() });
        assert_eq!(
            as_text("a", &diagnosis),
            "a, without Python\n\nIn Rust\n  broker      redis://h\n\nA worker would start.\n"
        );
        diagnosis.refused.push(Refusal::new("no pool", "use prefork"));
        let text = as_text("a", &diagnosis);
        assert!(text.ends_with("Refused\n  no pool\n    -> use prefork\n\nA worker would not start.\n"), "{text}");
        let told = as_json("a", &diagnosis);
        assert_eq!(told["refused"], json!([{"line": "no pool", "way_out": "use prefork"}]));
        assert_eq!((&told["starts"], &told["celery"]), (&json!(false), &Value::Null));
    }
}
