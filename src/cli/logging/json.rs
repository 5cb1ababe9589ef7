//! [`Layout`]: a line in Celery's format, or a JSON object (`--log-format json`).
//!
//! The children write the same objects: `python/celery_rs/json_log.py`.

use chrono::SecondsFormat;
use serde::Serialize;

use super::{
    Format,
    format::{Record, logger_name},
};

/// What lines look like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::cli) enum Layout {
    /// As `worker_log_format` says.
    Lines(Format),
    /// One object in a line.
    Json,
}

#[derive(Serialize)]
struct Object<'a> {
    time: String,
    level: &'static str,
    logger: &'a str,
    process: &'static str,
    message: &'a str,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_id: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    task_name: Option<&'a str>,
}

impl Layout {
    /// Appends the line, without a newline.
    pub(super) fn write(&self, out: &mut String, record: &Record) {
        match self {
            Self::Lines(format) => format.write(out, record),
            Self::Json => out.push_str(&object(record)),
        }
    }

    /// Whether it shows which task a line is about.
    pub(super) fn shows_tasks(&self) -> bool {
        *self == Self::Json
    }
}

fn object(record: &Record) -> String {
    let object = Object {
        time: record.at.to_rfc3339_opts(SecondsFormat::Micros, false),
        level: record.level.name(),
        logger: &logger_name(record.target),
        process: record.process_name,
        message: record.message,
        task_id: Some(record.task_id).filter(|id| !id.is_empty()),
        task_name: Some(record.task_name).filter(|name| !name.is_empty()),
    };
    // Texts only: there is nothing that could not be written.
    serde_json::to_string(&object).unwrap_or_default()
}
