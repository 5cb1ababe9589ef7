//! [`Format`]: a `%`-style format of Python's `logging`, parsed once.

use std::{cell::RefCell, fmt::Write, sync::LazyLock};

use chrono::{DateTime, Local, format::StrftimeItems};

use crate::config::LogLevel;

/// When the first format was parsed: about when the log began.
static STARTED: LazyLock<DateTime<Local>> = LazyLock::new(Local::now);

/// A format that this worker cannot print.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FormatError {
    /// Not `%(name)s`.
    #[error("log format: {0:?} is not a %-style format")]
    Malformed(String),
    /// `worker_log_datefmt` that cannot be printed.
    #[error("log date format {0:?} is not one of strftime")]
    Date(String),
}

/// One line's data.
pub(super) struct Record<'a> {
    pub(super) at: DateTime<Local>,
    /// As Python's `multiprocessing` names the one that Celery would log this in.
    pub(super) process_name: &'static str,
    pub(super) level: LogLevel,
    pub(super) target: &'a str,
    pub(super) file: Option<&'a str>,
    pub(super) line: Option<u32>,
    pub(super) message: &'a str,
    /// The task that it is about; empty for none.
    pub(super) task_id: &'a str,
    pub(super) task_name: &'a str,
}

/// A parsed format.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Format {
    pieces: Vec<Piece>,
    date: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Piece {
    Text(String),
    Field { field: Field, left: bool, width: usize },
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Field {
    Asctime,
    Created,
    Levelname,
    Levelno,
    Lineno,
    Filename,
    Message,
    Module,
    Msecs,
    Name,
    Pathname,
    Process,
    ProcessName,
    Thread,
    ThreadName,
    FuncName,
    RelativeCreated,
    TaskName,
    /// One that only Python knows: empty here.
    Unknown(String),
}

impl Format {
    /// Parses `worker_log_format` and `worker_log_datefmt` (none is Python's own date, with milliseconds).
    ///
    /// # Errors
    /// When it is not a format at all. Fields that only Python knows are [told](Self::unknown) and stay empty.
    pub fn parse(text: &str, date: Option<&str>) -> Result<Self, FormatError> {
        LazyLock::force(&STARTED);
        let malformed = || FormatError::Malformed(text.to_owned());
        let mut pieces = Vec::new();
        let mut rest = text;
        while let Some(at) = rest.find('%') {
            push_text(&mut pieces, &rest[..at]);
            rest = &rest[at + 1..];
            if let Some(after) = rest.strip_prefix('%') {
                push_text(&mut pieces, "%");
                rest = after;
                continue;
            }
            let (name, after) = rest.strip_prefix('(').and_then(|r| r.split_once(')')).ok_or_else(malformed)?;
            let end = after.find(['s', 'd', 'f']).ok_or_else(malformed)?;
            pieces.push(field(name, &after[..end]).ok_or_else(malformed)?);
            rest = &after[end + 1..];
        }
        push_text(&mut pieces, rest);
        Ok(Self { pieces, date: date.map(checked_date).transpose()? })
    }

    /// Its fields that only Python knows: those of a log record factory or of a filter.
    pub fn unknown(&self) -> Vec<&str> {
        let fields = self.pieces.iter().filter_map(|piece| match piece {
            Piece::Field { field: Field::Unknown(name), .. } => Some(name.as_str()),
            _ => None,
        });
        fields.collect()
    }

    /// Appends the line, without a newline.
    pub(super) fn write(&self, out: &mut String, record: &Record) {
        for piece in &self.pieces {
            match piece {
                Piece::Text(text) => out.push_str(text),
                Piece::Field { field, left, width } => {
                    let start = out.len();
                    self.write_field(out, field, record);
                    pad(out, start, *left, *width);
                }
            }
        }
    }

    fn write_field(&self, out: &mut String, field: &Field, record: &Record) {
        let path = record.file.unwrap_or("(unknown file)");
        let milliseconds = record.at.timestamp_subsec_millis();
        let _ = match field {
            Field::Asctime => self.write_time(out, record),
            Field::Created => write!(out, "{}.{:06}", record.at.timestamp(), record.at.timestamp_subsec_micros()),
            Field::Levelname => out.write_str(record.level.name()),
            Field::Levelno => write!(out, "{}", record.level.number()),
            Field::Lineno => write!(out, "{}", record.line.unwrap_or_default()),
            Field::Filename => out.write_str(file_name(path)),
            Field::Message => out.write_str(record.message),
            Field::Module => out.write_str(file_name(path).trim_end_matches(".rs")),
            Field::Msecs => write!(out, "{milliseconds}"),
            Field::Name => out.write_str(&logger_name(record.target)),
            Field::Pathname => out.write_str(path),
            Field::Process => write!(out, "{}", std::process::id()),
            Field::ProcessName => out.write_str(record.process_name),
            Field::Thread => write!(out, "{}", thread_number()),
            Field::ThreadName => out.write_str(std::thread::current().name().unwrap_or("Thread")),
            // What Python has where nobody knows better.
            Field::FuncName => out.write_str("(unknown function)"),
            Field::TaskName => out.write_str("None"),
            Field::RelativeCreated => write!(out, "{}", (record.at - *STARTED).num_milliseconds()),
            Field::Unknown(_) => Ok(()),
        };
    }

    fn write_time(&self, out: &mut String, record: &Record) -> std::fmt::Result {
        if let Some(date) = &self.date {
            return write!(out, "{}", record.at.format(date));
        }
        SECOND.with_borrow_mut(|(second, text)| {
            if *second != record.at.timestamp() {
                *second = record.at.timestamp();
                text.clear();
                write!(text, "{}", record.at.format("%Y-%m-%d %H:%M:%S"))?;
            }
            write!(out, "{text},{:03}", record.at.timestamp_subsec_millis())
        })
    }
}

thread_local! {
    /// The last second that this thread has formatted: thousands of lines share it.
    static SECOND: RefCell<(i64, String)> = const { RefCell::new((i64::MIN, String::new())) };
}

fn push_text(pieces: &mut Vec<Piece>, text: &str) {
    match pieces.last_mut() {
        _ if text.is_empty() => {}
        Some(Piece::Text(before)) => before.push_str(text),
        _ => pieces.push(Piece::Text(text.to_owned())),
    }
}

fn field(name: &str, flags: &str) -> Option<Piece> {
    let field = match name {
        "asctime" => Field::Asctime,
        "created" => Field::Created,
        "levelname" => Field::Levelname,
        "levelno" => Field::Levelno,
        "lineno" => Field::Lineno,
        "filename" => Field::Filename,
        "message" => Field::Message,
        "module" => Field::Module,
        "msecs" => Field::Msecs,
        "name" => Field::Name,
        "pathname" => Field::Pathname,
        "process" => Field::Process,
        "processName" => Field::ProcessName,
        "thread" => Field::Thread,
        "threadName" => Field::ThreadName,
        "funcName" => Field::FuncName,
        "relativeCreated" => Field::RelativeCreated,
        "taskName" => Field::TaskName,
        _ => Field::Unknown(name.to_owned()),
    };
    let left = flags.starts_with('-');
    let width = flags.trim_start_matches(['-', '0', '+', ' ']).split('.').next()?;
    let width: usize = if width.is_empty() { 0 } else { width.parse().ok()? };
    Some(Piece::Field { field, left, width: width.min(256) })
}

fn checked_date(date: &str) -> Result<String, FormatError> {
    let bad = StrftimeItems::new(date).any(|item| matches!(item, chrono::format::Item::Error));
    if bad { Err(FormatError::Date(date.to_owned())) } else { Ok(date.to_owned()) }
}

fn pad(out: &mut String, start: usize, left: bool, width: usize) {
    let missing = width.saturating_sub(out[start..].chars().count());
    if missing == 0 {
        return;
    }
    let spaces = " ".repeat(missing);
    out.insert_str(if left { out.len() } else { start }, &spaces);
}

fn file_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(super) fn logger_name(target: &str) -> String {
    let own = target.strip_prefix("celery_rs").map(|rest| format!("celery{rest}"));
    own.unwrap_or_else(|| target.to_owned()).replace("::", ".")
}

/// A number for this thread: the digits that the standard library shows.
fn thread_number() -> u64 {
    let shown = format!("{:?}", std::thread::current().id());
    shown.chars().filter(char::is_ascii_digit).collect::<String>().parse().unwrap_or_default()
}
