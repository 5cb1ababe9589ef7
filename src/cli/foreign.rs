//! Options that an app adds to `worker`, and so to `doctor` (`app.user_options['worker']` and `['preload']`): only Celery's
//! own command line, which reads all of them in the process that loads the app, knows what they are, and whether they are any.

use std::{env, ffi::OsString};

use clap::{
    Parser,
    error::{ContextKind, ContextValue, ErrorKind},
};

use super::args::{Arguments, Command};

/// More of them than any app has.
const MOST: usize = 64;

/// The arguments without the options of `worker` that are nobody's here. Settings among them are left to Celery as well:
/// what stands behind such an option may be its value. None where that does not help, or no app is there to know them.
pub(super) fn without(words: &[OsString], error: &clap::Error) -> Option<Arguments> {
    let mut words = words.to_vec();
    let mut unknown = of(error)?;
    for _ in 0..MOST {
        let from = words.iter().position(takes_workers_options)?;
        let is_it = |word: &OsString| is_option(&word.to_string_lossy(), &unknown);
        let at = from + words[from..].iter().position(is_it)?;
        words.remove(at);
        match Arguments::try_parse_from(&words) {
            Ok(arguments) => return of_an_app(arguments),
            Err(error) => unknown = of(&error)?,
        }
    }
    None
}

/// The option that clap does not know.
fn of(error: &clap::Error) -> Option<String> {
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    (error.kind() == ErrorKind::UnknownArgument).then(|| option.split(['=', ' ']).next().unwrap_or_default().to_owned())
}

fn is_option(word: &str, option: &str) -> bool {
    let rest = word.strip_prefix(option);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('=') || !option.starts_with("--"))
}

/// Whether it is a sub-command with the options of `worker`.
pub(super) fn takes_workers_options(word: &OsString) -> bool {
    word == "worker" || word == "doctor"
}

fn of_an_app(mut arguments: Arguments) -> Option<Arguments> {
    let named = |name: &str| env::var_os(name).is_some_and(|app| !app.is_empty());
    if arguments.global.app.is_none() && !named("APP") && !named("CELERY_APP") {
        return None;
    }
    match &mut arguments.command {
        Some(Command::Worker(options)) => options.overrides.clear(),
        Some(Command::Doctor(options)) => options.worker.overrides.clear(),
        _ => {}
    }
    Some(arguments)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn left(line: &str) -> Option<Arguments> {
        let words: Vec<OsString> = line.split(' ').map(OsString::from).collect();
        without(&words, &Arguments::try_parse_from(&words).err()?)
    }

    #[test]
    fn what_only_the_app_knows_is_left_to_it() {
        let line = "celery-rs -A proj worker --shelf 5 -c 2 -Zhome --zone=away --dry .key=1 -Z -l INFO";
        let Some(Command::Worker(options)) = left(line).and_then(|arguments| arguments.command) else {
            panic!("it was not understood");
        };
        assert_eq!((options.concurrency.as_deref(), &*options.loglevel), (Some("2"), "INFO"));
        assert!(options.overrides.is_empty());
        assert!(left("celery-rs --shelf 5 -A proj worker").is_none(), "the app adds nothing to `celery` itself");
        assert!(left("celery-rs -A proj worker --shelf 5 -l").is_none(), "another mistake stays one");
    }
}
