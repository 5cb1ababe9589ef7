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
        process_name: "MainProcess",
        level: LogLevel::Warning,
        target: "celery_rs::worker::strategy",
        file: Some("src/worker/strategy.rs"),
        line: Some(12),
        message: "hello %s",
        task_id: "",
        task_name: "",
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
fn fields_of_python_are_told_and_empty() {
    let format = Format::parse("<%(request_id)s %(funcName)s %(taskName)s>", None).unwrap();
    assert_eq!(format.unknown(), ["request_id"]);
    assert_eq!(written(&format), "< (unknown function) None>");
}

#[test]
fn formats_that_cannot_be_printed_are_refused() {
    for text in ["%s", "%(message)", "%(message"] {
        assert!(matches!(Format::parse(text, None), Err(FormatError::Malformed(_))), "{text}");
    }
    assert!(matches!(Format::parse("", Some("%Q!%")), Err(FormatError::Date(_))));
}

fn log_to_file(level: LogLevel, colour: bool, lines: impl FnOnce(&std::path::Path, &Sink)) -> Vec<String> {
    let format = Format::parse("%(levelname)s %(message)s", None).unwrap();
    log_laid_out(level, Layout::Lines(format), colour, lines)
}

fn log_laid_out(
    level: LogLevel,
    layout: Layout,
    colour: bool,
    lines: impl FnOnce(&std::path::Path, &Sink),
) -> Vec<String> {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("w.log");
    let sink = Sink::open(Some(path.clone())).unwrap();
    let layer = CeleryLayer::new(level, layout, colour, true, sink.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || lines(&path, &sink));
    sink.flush();
    fs::read_to_string(path).unwrap().lines().map(str::to_owned).collect()
}

#[test]
fn an_embedded_beat_has_its_process_name() {
    let format = Format::parse("%(processName)s %(name)s", None).unwrap();
    let lines = log_laid_out(LogLevel::Info, Layout::Lines(format), false, |_, _| {
        tracing::info!(target: "celery.beat", "a");
        tracing::info!(target: "celery_rs::beat::scheduler", "b");
        tracing::info!(target: "celery.worker.strategy", "c");
    });
    assert_eq!(lines, ["Beat celery.beat", "Beat celery.beat.scheduler", "MainProcess celery.worker.strategy"]);
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
        tracing::warn!(target: "aws_smithy_runtime::client", "not shown");
        tracing::info!(target: "proj::tasks", "f");
    });
    assert_eq!(lines, ["INFO a 1", "WARNING b", "ERROR c", "CRITICAL d", "INFO f"]);
}

#[test]
fn an_event_is_one_json_object() {
    let lines = log_laid_out(LogLevel::Info, Layout::Json, true, |_, _| {
        tracing::error!(target: "celery.worker.request", critical = true, "a \"quote\"\nand a line");
        tracing::info!(target: "celery.worker.strategy", task_id = "id", task_name = "proj.add", "received");
        tracing::info!(target: "celery.worker.strategy", "again");
    });
    let read: Vec<serde_json::Value> = lines.iter().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(read[0]["message"], "a \"quote\"\nand a line");
    assert_eq!((&read[0]["level"], &read[0]["logger"]), (&"CRITICAL".into(), &"celery.worker.request".into()));
    assert_eq!(read[0]["process"], "MainProcess");
    assert!(chrono::DateTime::parse_from_rfc3339(read[0]["time"].as_str().unwrap()).is_ok());
    assert_eq!((&read[1]["task_id"], &read[1]["task_name"]), (&"id".into(), &"proj.add".into()));
    assert_eq!(read[2].get("task_id"), None, "{}", lines[2]);
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
