//! [`CeleryLayer`]: from a tracing event to a line.

use std::{
    cell::RefCell,
    fmt::{Debug, Write},
};

use chrono::Local;
use tracing::{
    Event, Level, Metadata, Subscriber,
    field::{Field, Visit},
    level_filters::LevelFilter,
};
use tracing_subscriber::{Layer, layer::Context};

use super::{Layout, Sink, colour, format::Record};
use crate::config::LogLevel;

/// Libraries under us: what they report, our rooms report in Celery's words. Their warnings are shown at DEBUG only.
const LIBRARIES: &[&str] = &[
    "lapin",
    "fred",
    "amq_protocol",
    "async_rs",
    "tcp_stream",
    "executor_trait",
    "reactor_trait",
    "rustls",
    "tokio",
    "mio",
    "hyper",
    "hyper_rustls",
    "hyper_util",
    "tower",
    "sqlx",
    "tokio_postgres",
    "h2",
    "polling",
    "want",
];

/// A tracing layer that writes Celery's lines.
pub(in crate::cli) struct CeleryLayer {
    level: LogLevel,
    layout: Layout,
    colour: bool,
    has_beat: bool,
    sink: Sink,
}

impl CeleryLayer {
    /// `has_beat`: this is a worker with `-B`, whose beat is a process of its own in Celery.
    pub(in crate::cli) fn new(level: LogLevel, layout: Layout, colour: bool, has_beat: bool, sink: Sink) -> Self {
        let colour = colour && layout != Layout::Json;
        Self { level, layout, colour, has_beat, sink }
    }

    fn process_name(&self, target: &str) -> &'static str {
        let is_beats = || target.starts_with("celery.beat") || target.starts_with("celery_rs::beat");
        if self.has_beat && is_beats() { "Beat" } else { "MainProcess" }
    }

    fn shows(&self, metadata: &Metadata<'_>) -> bool {
        let level = loudest(*metadata.level());
        let of = metadata.target().split("::").next().unwrap_or_default();
        // Amazon's client is made of many.
        let library = LIBRARIES.contains(&of) || of.starts_with("aws_");
        level >= self.level && (!library || (self.level == LogLevel::Debug && level >= LogLevel::Warning))
    }

    fn write(&self, out: &mut String, level: LogLevel, record: &Record) {
        let colour = colour::of(level).filter(|_| self.colour);
        out.push_str(colour.unwrap_or_default());
        self.layout.write(out, record);
        if colour.is_some() {
            out.push_str(colour::RESET);
        }
        out.push('\n');
    }
}

impl<S: Subscriber> Layer<S> for CeleryLayer {
    fn enabled(&self, metadata: &Metadata<'_>, _: Context<'_, S>) -> bool {
        metadata.is_span() || self.shows(metadata)
    }

    fn max_level_hint(&self) -> Option<LevelFilter> {
        Some(match self.level {
            LogLevel::Debug => LevelFilter::DEBUG,
            LogLevel::Info => LevelFilter::INFO,
            LogLevel::Warning => LevelFilter::WARN,
            LogLevel::Error | LogLevel::Critical => LevelFilter::ERROR,
        })
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let metadata = event.metadata();
        BUFFERS.with_borrow_mut(|Buffers { message, line, task_id, task_name }| {
            for text in [&mut *message, &mut *line, &mut *task_id, &mut *task_name] {
                text.clear();
            }
            let task = self.layout.shows_tasks().then_some((&mut *task_id, &mut *task_name));
            let mut visitor = Message { text: message, critical: false, task };
            event.record(&mut visitor);
            let level = if visitor.critical { LogLevel::Critical } else { usual(*metadata.level()) };
            if level < self.level {
                return;
            }
            let record = Record {
                at: Local::now(),
                process_name: self.process_name(metadata.target()),
                level,
                target: metadata.target(),
                file: metadata.file(),
                line: metadata.line(),
                message,
                task_id,
                task_name,
            };
            self.write(line, level, &record);
            self.sink.write(line);
        });
    }
}

/// Texts of the event being written.
#[derive(Default)]
struct Buffers {
    message: String,
    line: String,
    task_id: String,
    task_name: String,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::default();
}

/// Takes the message, the `critical` mark and, where they are shown, the task's id and name out of an event.
struct Message<'a> {
    text: &'a mut String,
    critical: bool,
    task: Option<(&'a mut String, &'a mut String)>,
}

impl Visit for Message<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        if field.name() == "message" {
            let _ = write!(self.text, "{value:?}");
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        match (field.name(), &mut self.task) {
            ("message", _) => self.text.push_str(value),
            ("task_id", Some((id, _))) => id.push_str(value),
            ("task_name", Some((_, name))) => name.push_str(value),
            _ => {}
        }
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.critical |= value && field.name() == "critical";
    }
}

/// The level of an event that is not marked.
fn usual(level: Level) -> LogLevel {
    match level {
        Level::ERROR => LogLevel::Error,
        Level::WARN => LogLevel::Warning,
        Level::INFO => LogLevel::Info,
        Level::DEBUG | Level::TRACE => LogLevel::Debug,
    }
}

/// The highest level that an event may turn out to have.
fn loudest(level: Level) -> LogLevel {
    if level == Level::ERROR { LogLevel::Critical } else { usual(level) }
}
