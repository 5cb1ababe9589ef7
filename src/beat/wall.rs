//! Local time as Python's `datetime` reckons with it: a wall clock reading, and which one of two where the clock goes back.
//!
//! Celery adds to wall clocks and compares wall clocks in most places, and that is where daylight saving shows. Instants
//! are microseconds since the epoch, wall clocks microseconds since a midnight of 1 January 1970 on the same wall.

use chrono::{
    DateTime, Datelike, MappedLocalTime, NaiveDate, NaiveDateTime, NaiveTime, Offset, TimeZone as _, Timelike,
};

use crate::{beat::ScheduleError, protocol::time::TimeZone};

/// Microseconds of one second.
pub(super) const SECOND: i64 = 1_000_000;
/// Microseconds of one day.
pub(super) const DAY: i64 = 86_400 * SECOND;

/// Midnights of 1 January 1 and of 1 January 10000: where Python's years begin and end.
const FIRST: i64 = -62_135_596_800 * SECOND;
const END: i64 = 253_402_300_800 * SECOND;

/// A wall clock reading in the zone of whoever asks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Wall {
    /// What the clock on the wall shows.
    pub clock: i64,
    /// Python's `fold`: the second time that the clock shows this.
    pub fold: bool,
}

impl Wall {
    /// What the clock shows at an instant (`astimezone`).
    ///
    /// # Errors
    /// Outside of the years that Python has.
    pub fn at(instant: i64, zone: &TimeZone) -> Result<Self, ScheduleError> {
        let clock = checked(instant.checked_add(zone.offset_at(instant) * SECOND))?;
        Ok(Self { clock, fold: clock - offsets(clock, zone).0 != instant })
    }

    /// A reading that nobody has said is the second one: what Python's sums come to.
    ///
    /// # Errors
    /// Outside of the years that Python has.
    pub fn first(clock: Option<i64>) -> Result<Self, ScheduleError> {
        checked(clock).map(|clock| Self { clock, fold: false })
    }

    /// When that is. A reading that the clock skips counts with the offset from before it was put forward, and with the
    /// one from after it if it is said to be the second.
    pub fn instant(self, zone: &TimeZone) -> i64 {
        let (first, second) = offsets(self.clock, zone);
        self.clock - if self.fold { second } else { first }
    }

    /// Whether the clock skips this reading (dateutil's `datetime_exists`).
    pub fn is_skipped(self, zone: &TimeZone) -> bool {
        let instant = self.instant(zone);
        instant + zone.offset_at(instant) * SECOND != self.clock
    }

    /// A skipped reading as far behind the gap as it is into it (dateutil's `resolve_imaginary`).
    pub fn resolved(self, zone: &TimeZone) -> Self {
        let (before, after) = (offsets(self.clock - DAY, zone).0, offsets(self.clock + DAY, zone).0);
        Self { clock: self.clock + after - before, fold: false }
    }

    /// Date and time of the reading.
    pub fn fields(self) -> NaiveDateTime {
        DateTime::from_timestamp_micros(self.clock).unwrap_or_default().naive_utc()
    }
}

/// The reading on a day, to the minute.
pub(super) fn clock(date: NaiveDate, hour: u32, minute: u32) -> Option<i64> {
    let time = NaiveTime::from_hms_opt(hour, minute, 0)?;
    Some(date.and_time(time).and_utc().timestamp_micros()).filter(|_| date.year() <= 9999)
}

/// A reading rounded down to what an interval is made of: days, hours, minutes, or whole seconds (`delta_resolution`).
pub(super) fn rounded(clock: i64, interval: i64) -> i64 {
    let unit = match interval {
        DAY.. => DAY,
        interval if interval >= 3600 * SECOND => 3600 * SECOND,
        interval if interval >= 60 * SECOND => 60 * SECOND,
        _ => SECOND,
    };
    clock.div_euclid(unit) * unit
}

/// Minute of the hour, hour of the day, day of the week from Sunday.
pub(super) fn cron_fields(at: &NaiveDateTime) -> (u32, u32, u32) {
    (at.minute(), at.hour(), at.weekday().num_days_from_sunday())
}

/// Offsets from UTC, in microseconds, of a reading that is the first or the second of two; the same where there is but one.
fn offsets(clock: i64, zone: &TimeZone) -> (i64, i64) {
    let Some(at) = DateTime::from_timestamp_micros(clock) else { return (0, 0) };
    let micros = |seconds: i32| i64::from(seconds) * SECOND;
    let at = at.naive_utc();
    let found = match zone {
        TimeZone::Utc => return (0, 0),
        TimeZone::Named(zone) => zone.offset_from_local_datetime(&at).map(|offset| offset.fix()),
        TimeZone::Local => chrono::Local.offset_from_local_datetime(&at),
    };
    match found {
        MappedLocalTime::Single(offset) => (micros(offset.local_minus_utc()), micros(offset.local_minus_utc())),
        MappedLocalTime::Ambiguous(a, b) => {
            let (a, b) = (micros(a.local_minus_utc()), micros(b.local_minus_utc()));
            // The greater offset is in force first: the clock is put back by the difference.
            (a.max(b), a.min(b))
        }
        MappedLocalTime::None => {
            let around = [clock - DAY, clock + DAY].map(|instant| zone.offset_at(instant) * SECOND);
            (around[0].min(around[1]), around[0].max(around[1]))
        }
    }
}

fn checked(clock: Option<i64>) -> Result<i64, ScheduleError> {
    clock.filter(|clock| (FIRST..END).contains(clock)).ok_or(ScheduleError::OutOfRange)
}
