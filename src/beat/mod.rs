//! Beat: sends the tasks of `beat_schedule` when they are due (`celery/beat.py`, `celery/schedules.py`, as of 5.7).
//!
//! [`Scheduler`] decides, over [`Entry`]s and their [`Schedule`]s, without a clock of its own; [`Store`] remembers over
//! restarts; [`Beat`] is the loop that has both and a producer. How the entries are read out of an app is not told here
//! but in `python/celery_rs/beat.py`: what only Python can schedule or send stays with Celery's own beat.

mod crontab;
mod entry;
mod error;
mod field;
mod humanize;
mod interval;
mod publisher;
mod schedule;
mod scheduler;
mod service;
mod store;
#[cfg(test)]
mod tests;
mod wall;

pub use crontab::Crontab;
pub use entry::Entry;
pub use error::{BeatError, ScheduleError};
pub use field::Field;
pub use interval::Interval;
pub use publisher::BeatPublisher;
pub use schedule::{Due, Reckoning, Schedule};
pub use scheduler::{Occurrence, Scheduler, Tick};
pub use service::{Beat, now};
pub use store::{Kept, Run, Store};

/// The name of Celery's logger.
const LOGGER: &str = "celery.beat";
