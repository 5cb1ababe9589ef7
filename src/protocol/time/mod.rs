//! Times as messages and results carry them: ISO 8601 in, `isoformat()` out. No clock here; callers say when.

mod parse;
mod zone;

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::serialization::iso;

pub use parse::parse_iso;
pub use zone::TimeZone;

/// An instant, to the microsecond, with the offset it was written with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timestamp {
    micros: i64,
    offset: Option<i64>,
}

impl Timestamp {
    /// Microseconds since the epoch, negative before it.
    pub fn micros(&self) -> i64 {
        self.micros
    }

    /// Seconds since the epoch, as Python's `timestamp()`.
    pub fn seconds(&self) -> f64 {
        self.micros as f64 / 1e6
    }

    /// The offset from UTC it was written with, in seconds; none for a naive time, which counts as UTC.
    pub fn offset(&self) -> Option<i64> {
        self.offset.map(|micros| micros / 1_000_000)
    }

    /// `isoformat()` with the offset it was written with, `+00:00` for a naive one.
    pub fn isoformat(&self) -> String {
        show(self.micros, self.offset.unwrap_or_default())
    }
}

impl From<Timestamp> for SystemTime {
    fn from(timestamp: Timestamp) -> Self {
        let distance = Duration::from_micros(timestamp.micros.unsigned_abs());
        if timestamp.micros < 0 { UNIX_EPOCH - distance } else { UNIX_EPOCH + distance }
    }
}

impl From<SystemTime> for Timestamp {
    fn from(time: SystemTime) -> Self {
        Self { micros: micros_of(time), offset: Some(0) }
    }
}

/// `datetime.isoformat()` of an instant in a time zone: no fraction when there is none, else six digits.
///
/// Instants outside of the years 1 to 9999 are shown as the nearest one inside.
pub fn isoformat(time: SystemTime, zone: &TimeZone) -> String {
    let micros = micros_of(time);
    show(micros, zone.offset_at(micros) * 1_000_000)
}

/// Microseconds since the epoch.
pub(super) fn micros_of(time: SystemTime) -> i64 {
    match time.duration_since(UNIX_EPOCH) {
        Ok(after) => i64::try_from(after.as_micros()).unwrap_or(i64::MAX),
        Err(before) => i64::try_from(before.duration().as_micros()).map_or(i64::MIN, |micros| -micros),
    }
}

/// Midnights of 1 January 1 and of 31 December 9999, in microseconds since the epoch.
const FIRST: i64 = -62_135_596_800_000_000;
const LAST: i64 = 253_402_214_400_000_000;

fn show(micros: i64, offset: i64) -> String {
    let local = micros.saturating_add(offset).clamp(FIRST, LAST);
    let naive = chrono::DateTime::from_timestamp_micros(local).unwrap_or_default().naive_utc();
    let date = iso::Date::of(naive.date()).unwrap_or(iso::Date { year: 1, month: 1, day: 1 });
    use chrono::Timelike;
    let time = iso::Time {
        hour: naive.hour(),
        minute: naive.minute(),
        second: naive.second(),
        micro: naive.nanosecond() / 1000,
        offset: Some(offset),
    };
    iso::format_datetime(date, time)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_look_as_in_python() {
        let at = |micros: u64| UNIX_EPOCH + Duration::from_micros(micros);
        let utc = TimeZone::parse(None, true).unwrap();
        assert_eq!(isoformat(at(0), &utc), "1970-01-01T00:00:00+00:00");
        assert_eq!(isoformat(at(1_795_197_683_655_378), &utc), "2026-11-20T18:01:23.655378+00:00");
        assert_eq!(isoformat(at(1_795_197_683_000_005), &utc), "2026-11-20T18:01:23.000005+00:00");
        assert_eq!(isoformat(UNIX_EPOCH - Duration::from_millis(1), &utc), "1969-12-31T23:59:59.999000+00:00");
        let vienna = TimeZone::parse(Some("Europe/Vienna"), true).unwrap();
        assert_eq!(isoformat(at(1_795_197_683_000_000), &vienna), "2026-11-20T19:01:23+01:00");
        assert_eq!(isoformat(at(1_780_000_000_000_000), &vienna), "2026-05-28T22:26:40+02:00");
        let kolkata = TimeZone::parse(Some("Asia/Kolkata"), true).unwrap();
        assert_eq!(isoformat(at(0), &kolkata), "1970-01-01T05:30:00+05:30");
        assert!(TimeZone::parse(Some("Mars/Olympus"), true).is_err());
    }
}
