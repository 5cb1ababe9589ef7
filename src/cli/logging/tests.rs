use std::fs;

use chrono::{Local, TimeZone};
use tracing_subscriber::layer::SubscriberExt;

use super::{format::Record, *};
use crate::config::keys::{self, Fallback};

fn default_format() -> Format {
    let Fallback::Str(text) = keys::find("worker_log_format").unwrap().default else { panic!("a str expected") };
    Format::parse(text, None).unwrap()
}

fn written(format: &Format) -> String {
    let mut out = String::new();
    let record = Record {
        at: Local.timestamp_opt(1_700_000_000, 7_000_000).unwrap(),
        level: LogLevel::Warning,
        target: "celery_rs::worker::strategy",
        file: Some("src/worker/strategy.rs"),
        line: Some(12),
        message: "hello %s",
    };
    format.write(&mut out, &record);
    out
}

#[test]
fn default_line_is_celerys() {
    let at = Local.timestamp_opt(1_700_000_000, 0).unwrap().format("%Y-%m-%d %H:%M:%S");
    assert_eq!(written(&default_format()), format!("[{at},007: WARNING/MainProcess] hello %s"));
}

#[test]
fn fields_are_padded_and_named_as_in_python() {
    let shown = |text: &str| written(&Format::parse(text, Some("%d/%m")).unwrap());
    assert_eq!(shown("%(levelname)-8s|%(levelname)8s|%(levelno)d"), "WARNING | WARNING|30");
    assert_eq!(shown("100%% %(name)s:%(lineno)d %(module)s"), "100% celery.worker.strategy:12 strategy");
    assert_eq!(shown("%(asctime)s").len(), 5);
}

#[test]
fn formats_that_cannot_be_printed_are_refused() {
    assert_eq!(Format::parse("%(funcName)s", None), Err(FormatError::UnknownField("funcName".to_owned())));
    for text in ["%s", "%(message)", "%(message"] {
        assert!(matches!(Format::parse(text, None), Err(FormatError::Malformed(_))), "{text}");
    }
    assert!(matches!(Format::parse("", Some("%Q!%")), Err(FormatError::Date(_))));
}

fn log_to_file(level: LogLevel, colour: bool, lines: impl FnOnce(&std::path::Path, &Sink)) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.log");
    let sink = Sink::open(Some(path.clone())).unwrap();
    let format = Format::parse("%(levelname)s %(message)s", None).unwrap();
    let layer = CeleryLayer::new(level, format, colour, sink.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || lines(&path, &sink));
    sink.flush();
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn levels_are_pythons() {
    let lines = log_to_file(LogLevel::Info, false, |_, _| {
        tracing::debug!("not shown");
        tracing::info!(task = "ignored", "a {}", 1);
        tracing::warn!("b");
        tracing::error!("c");
        tracing::error!(critical = true, "d");
        tracing::info!(target: "lapin::channel", "not shown");
        tracing::warn!(target: "lapin::channel", "not shown");
        tracing::info!(target: "proj::tasks", "f");
    });
    assert_eq!(lines, ["INFO a 1", "WARNING b", "ERROR c", "CRITICAL d", "INFO f"]);
}

#[test]
fn critical_stands_above_error() {
    let lines = log_to_file(LogLevel::Critical, true, |_, _| {
        tracing::error!("not shown");
        tracing::error!(critical = true, "d");
    });
    assert_eq!(lines, ["\x1b[1;35mCRITICAL d\x1b[0m"]);
}

#[test]
fn follows_its_file_when_it_is_rotated() {
    let mut old = String::new();
    let lines = log_to_file(LogLevel::Info, false, |path, sink| {
        tracing::info!("one");
        sink.flush();
        let moved = path.with_extension("1");
        fs::rename(path, &moved).unwrap();
        tracing::info!("two");
        sink.flush();
        old = fs::read_to_string(moved).unwrap();
    });
    assert_eq!((old.as_str(), lines), ("INFO one\n", vec!["INFO two".to_owned()]));
}

#[test]
fn no_line_is_lost_or_torn_between_threads() {
    let lines = log_to_file(LogLevel::Info, false, |_, _| {
        let dispatch = tracing::dispatcher::get_default(Clone::clone);
        std::thread::scope(|scope| {
            for thread in 0..4 {
                let dispatch = dispatch.clone();
                scope.spawn(move || {
                    tracing::dispatcher::with_default(&dispatch, || {
                        for line in 0..5000 {
                            tracing::info!("{thread}:{line}:{}", "x".repeat(50));
                        }
                    });
                });
            }
        });
    });
    assert_eq!(lines.len(), 20_000);
    assert!(lines.iter().all(|line| line.starts_with("INFO ") && line.ends_with(&"x".repeat(50))));
}
