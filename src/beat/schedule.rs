//! [`Schedule`]: when an entry is due. Pure: the caller says what time it is.

use super::{crontab::Crontab, humanize::humanize, interval::Interval};
use crate::{
    beat::ScheduleError,
    protocol::time::TimeZone,
    serialization::{Map, Value},
};

/// When an entry is due.
#[derive(Debug, Clone, PartialEq)]
pub enum Schedule {
    /// Every so often.
    Interval(Interval),
    /// At certain times.
    Crontab(Crontab),
}

/// What the schedules of an app have in common.
#[derive(Debug, Clone, Copy, Default)]
pub struct Reckoning {
    /// `timezone`, of whose wall clock crontabs speak.
    pub zone: TimeZone,
    /// `beat_cron_starting_deadline`, in microseconds: a crontab entry that was missed for longer is not made up for.
    pub deadline: Option<i64>,
}

/// Whether an entry is due (Celery's `schedstate`).
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Due {
    /// Whether it is to be sent now.
    pub is_due: bool,
    /// In how many seconds to look again.
    pub next: f64,
}

impl Schedule {
    /// Reads what `python/celery_rs/beat.py` writes: `{"every": microseconds, "relative": bool}` or the fields of a crontab.
    ///
    /// # Errors
    /// A crontab that cannot be read; neither of the two.
    pub fn from_value(value: &Value) -> Result<Self, ScheduleError> {
        let unknown = || ScheduleError::Unknown("it is neither an interval nor a crontab".to_owned());
        let map: &Map = value.as_map().ok_or_else(unknown)?;
        if map.contains_key("minute") {
            return Crontab::from_map(map).map(Self::Crontab);
        }
        let every = map.get("every").and_then(Value::as_i64).ok_or_else(unknown)?;
        let relative = map.get("relative").is_some_and(Value::is_truthy);
        Ok(Self::Interval(Interval { every, relative }))
    }

    /// Whether it is due at `now` when it was last at `last`; both in microseconds since the epoch.
    ///
    /// # Errors
    /// When there is no next time.
    pub fn is_due(&self, last: i64, now: i64, reckoning: &Reckoning) -> Result<Due, ScheduleError> {
        let zone = &reckoning.zone;
        match self {
            Self::Interval(interval) => match interval.remaining(last, now, zone)? {
                left @ 1.. => Ok(Due { is_due: false, next: left as f64 / 1e6 }),
                _ => Ok(Due { is_due: true, next: interval.next(now, zone)? }),
            },
            Self::Crontab(crontab) => {
                let left = crontab.remaining(last, now, zone)?;
                if left > 0 {
                    return Ok(Due { is_due: false, next: left as f64 / 1e6 });
                }
                let stale = left < 0 && is_stale(crontab, now, reckoning)?;
                let next = crontab.remaining(now, now, zone)?.max(0) as f64 / 1e6;
                Ok(Due { is_due: !stale, next })
            }
        }
    }
}

/// Whether no match lies within the deadline.
fn is_stale(crontab: &Crontab, now: i64, reckoning: &Reckoning) -> Result<bool, ScheduleError> {
    let Some(deadline) = reckoning.deadline else { return Ok(false) };
    // A match at the very deadline counts.
    let since = now.checked_sub(deadline).and_then(|since| since.checked_sub(1)).ok_or(ScheduleError::OutOfRange)?;
    Ok(crontab.remaining(since, now, &reckoning.zone)? > 0)
}

impl std::fmt::Display for Schedule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Interval(interval) => write!(f, "<freq: {}>", humanize(interval.seconds(), "")),
            Self::Crontab(crontab) => crontab.fmt(f),
        }
    }
}
