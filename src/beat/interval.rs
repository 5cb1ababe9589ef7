//! [`Interval`]: every so often (`celery/schedules.py:schedule`, `celery/utils/time.py:remaining`).

use super::wall::{DAY, SECOND, Wall, rounded};
use crate::{beat::ScheduleError, protocol::time::TimeZone};

/// Every so often, from the last time on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Interval {
    /// Microseconds; what is not positive is always due.
    pub every: i64,
    /// Whether the time is rounded down to whole days, hours or minutes of the wall clock, whichever the interval has.
    pub relative: bool,
}

impl Interval {
    /// Microseconds from `now` to when it is due after `last`, negative if that is over.
    pub(super) fn remaining(&self, last: i64, now: i64, zone: &TimeZone) -> Result<i64, ScheduleError> {
        let end = match self.relative {
            false => in_range(last, self.every)?,
            true if self.every >= DAY => self.next_day(last, zone)?,
            true => self.next_boundary(last, zone)?,
        };
        Ok(end - now)
    }

    /// Seconds until the next time when it is due now.
    pub(super) fn next(&self, now: i64, zone: &TimeZone) -> Result<f64, ScheduleError> {
        let seconds = self.seconds();
        if !self.relative {
            return Ok(seconds);
        }
        let boundary = self.remaining(now, now, zone)?;
        Ok(if boundary > 0 { boundary as f64 / 1e6 } else { seconds })
    }

    /// At least zero.
    pub fn seconds(&self) -> f64 {
        self.every.max(0) as f64 / 1e6
    }

    /// The midnight that calendar days lead to; the first one after `last` where there are two.
    fn next_day(&self, last: i64, zone: &TimeZone) -> Result<i64, ScheduleError> {
        let end = Wall::first(Wall::at(last, zone)?.clock.checked_add(self.every))?;
        let midnights = self.occurrences(end.clock, zone)?;
        let ahead = midnights.into_iter().filter(|midnight| *midnight > last).min();
        Ok(ahead.unwrap_or_else(|| end.instant(zone)))
    }

    /// The last boundary at or before `last` and the interval in real time, if that is after `last`.
    fn next_boundary(&self, last: i64, zone: &TimeZone) -> Result<i64, ScheduleError> {
        let end = in_range(last, self.every)?;
        let wall = Wall::at(end, zone)?;
        let mut found = self.occurrences(wall.clock, zone)?.to_vec();
        let latest = |found: &[i64]| found.iter().copied().filter(|at| *at <= end).max();
        let boundary = latest(&found).or_else(|| found.iter().copied().min()).unwrap_or(end);
        if self.every < 60 * SECOND || boundary > last {
            return Ok(boundary);
        }
        // The clock was put back in between: the next boundary on the wall, and the one by calendar.
        let unit = if self.every >= 3600 * SECOND { 3600 * SECOND } else { 60 * SECOND };
        found.extend(self.occurrences(wall.clock + unit, zone)?);
        found.extend(self.occurrences(Wall::at(last, zone)?.clock + self.every, zone)?);
        found.retain(|at| *at > last);
        Ok(latest(&found).or_else(|| found.iter().copied().min()).unwrap_or(end))
    }

    /// The two instants at which the clock shows a rounded reading; mostly they are one.
    fn occurrences(&self, clock: i64, zone: &TimeZone) -> Result<[i64; 2], ScheduleError> {
        let clock = Wall::first(Some(rounded(clock, self.every)))?.clock;
        Ok([false, true].map(|fold| {
            let wall = Wall { clock, fold };
            let resolved = if wall.is_skipped(zone) { wall.resolved(zone) } else { wall };
            let wall = if resolved.clock > wall.clock { resolved } else { wall };
            wall.instant(zone)
        }))
    }
}

fn in_range(instant: i64, distance: i64) -> Result<i64, ScheduleError> {
    Wall::first(instant.checked_add(distance)).map(|wall| wall.clock)
}
