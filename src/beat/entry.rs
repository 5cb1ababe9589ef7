//! [`Entry`]: a task, when it is to be sent, and with what.

use super::schedule::Schedule;
use crate::{
    beat::{BeatError, ScheduleError},
    protocol::Signature,
    serialization::{Map, Value},
};

/// An entry of `beat_schedule` (`celery/beat.py:ScheduleEntry`).
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// Its key in `beat_schedule`.
    pub name: String,
    /// The task that is sent.
    pub task: String,
    /// When.
    pub schedule: Schedule,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map,
    /// Everything that the message says beside, the task's own options included.
    pub options: Map,
    /// When it was last sent, or when beat first saw it; microseconds since the epoch.
    pub last_run_at: i64,
    /// How often it was sent.
    pub total_run_count: u64,
    /// Whether what was kept of it is taken up again at the next start. Celery forgets its own `celery.backend_cleanup`.
    pub kept: bool,
}

impl Entry {
    /// Reads what `python/celery_rs/beat.py` writes. It counts as last sent at `now`.
    ///
    /// # Errors
    /// A field that is missing or of a wrong type; a schedule that cannot be read.
    pub fn from_value(value: &Value, now: i64) -> Result<Self, BeatError> {
        let field = |name: &str| value.as_map().and_then(|map| map.get(name)).cloned().unwrap_or_default();
        let name = field("name").as_str().unwrap_or_default().to_owned();
        let wrong = |what: &str| BeatError::Entry {
            name: name.clone(),
            source: ScheduleError::Unknown(format!("its {what} cannot be read")),
        };
        let Value::List(args) = field("args") else { return Err(wrong("args")) };
        let Value::Map(kwargs) = field("kwargs") else { return Err(wrong("kwargs")) };
        let Value::Map(options) = field("options") else { return Err(wrong("options")) };
        let Value::Str(task) = field("task") else { return Err(wrong("task")) };
        let schedule = Schedule::from_value(&field("schedule"));
        let schedule = schedule.map_err(|source| BeatError::Entry { name: name.clone(), source })?;
        let kept = field("kept").is_truthy();
        Ok(Self { name, task, schedule, args, kwargs, options, last_run_at: now, total_run_count: 0, kept })
    }

    /// What is sent.
    pub(super) fn signature(&self) -> Signature {
        Signature {
            task: self.task.clone(),
            args: self.args.clone(),
            kwargs: self.kwargs.clone(),
            options: self.options.clone(),
            ..Signature::default()
        }
    }
}
