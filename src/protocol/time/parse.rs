//! [`parse_iso`]: the ISO 8601 spellings that dateutil's `isoparse` takes, and no others.

use super::Timestamp;
use crate::{
    protocol::ProtocolError,
    serialization::iso::{Date, micros, number},
};

/// Microseconds of one day.
const DAY: i64 = 86_400_000_000;

/// Reads `eta`, `expires` and their like. A time without an offset is UTC.
///
/// Dates are complete, year and month, year alone, by week or by day of the year; times have hours at least; a comma may
/// stand for the point, any one character for the `T`, and `24:00` for the next midnight.
///
/// # Errors
/// `InvalidTask`, naming the text.
pub fn parse_iso(text: &str) -> Result<Timestamp, ProtocolError> {
    read(text).ok_or_else(|| ProtocolError::InvalidTask(format!("invalid ISO 8601 time: {text:?}")))
}

fn read(text: &str) -> Option<Timestamp> {
    if !text.is_ascii() {
        return None;
    }
    let (date, rest) = common_date(text).or_else(|| uncommon_date(text))?;
    let clock = match rest.get(1..) {
        Some(clock) => Clock::read(clock)?,
        None => Clock::default(),
    };
    let days = chrono::NaiveDate::from_ymd_opt(date.year, date.month, date.day)?;
    let days = days.signed_duration_since(chrono::NaiveDate::default()).num_days();
    let local = days * DAY + clock.micros()?;
    Some(Timestamp { micros: local - clock.offset.unwrap_or_default(), offset: clock.offset })
        .filter(|_| (date.year, date.month, date.day) != (9999, 12, 31) || clock.parts[0] != 24)
}

/// `YYYY`, `YYYY-MM`, `YYYY-MM-DD`, `YYYYMMDD`; with what is left of the text.
fn common_date(text: &str) -> Option<(Date, &str)> {
    let (year, rest) = digits(text, 4)?;
    if rest.is_empty() {
        return Some((Date::new(year as i32, 1, 1)?, rest));
    }
    let dashed = rest.strip_prefix('-');
    let (month, rest) = digits(dashed.unwrap_or(rest), 2)?;
    let rest = match (dashed, rest) {
        (Some(_), "") => return Some((Date::new(year as i32, month, 1)?, rest)),
        (Some(_), rest) => rest.strip_prefix('-')?,
        (None, rest) => rest,
    };
    let (day, rest) = digits(rest, 2)?;
    Some((Date::new(year as i32, month, day)?, rest))
}

/// `YYYY[-]Www[[-]D]` and `YYYY[-]DDD`; with what is left of the text.
fn uncommon_date(text: &str) -> Option<(Date, &str)> {
    let (year, rest) = digits(text, 4)?;
    let dashed = rest.strip_prefix('-');
    let rest = dashed.unwrap_or(rest);
    let Some(week) = rest.strip_prefix('W') else {
        let (day, rest) = digits(rest, 3)?;
        return Some((Date::of(chrono::NaiveDate::from_yo_opt(year as i32, day)?)?, rest));
    };
    let (week, rest) = digits(week, 2)?;
    if rest.is_empty() {
        return Some((Date::of_week(year as i32, week, 1)?, rest));
    }
    let rest = if dashed.is_some() { rest.strip_prefix('-')? } else { rest };
    let (day, rest) = digits(rest, 1)?;
    Some((Date::of_week(year as i32, week, day)?, rest))
}

/// Hours, minutes, seconds and microseconds, and the offset in microseconds.
#[derive(Default)]
struct Clock {
    parts: [u32; 4],
    offset: Option<i64>,
}

impl Clock {
    fn read(text: &str) -> Option<Self> {
        if text.len() < 2 {
            return None;
        }
        let mut clock = Self::default();
        let mut rest = text;
        let mut colons = false;
        for place in 0.. {
            if rest.is_empty() || rest.starts_with(['+', '-', 'Z', 'z']) {
                break;
            }
            match place {
                1 => (colons, rest) = rest.strip_prefix(':').map_or((false, rest), |rest| (true, rest)),
                2 if colons => rest = rest.strip_prefix(':')?,
                _ => {}
            }
            let part = clock.parts.get_mut(place)?;
            (*part, rest) = if place < 3 { digits(rest, rest.len().min(2))? } else { fraction(rest)? };
        }
        clock.offset = if rest.is_empty() { None } else { Some(offset(rest)?) };
        Some(clock)
    }

    fn micros(&self) -> Option<i64> {
        let [hour, minute, second, micro] = self.parts;
        let midnight = hour == 24 && minute == 0 && second == 0 && micro == 0;
        if (hour > 23 && !midnight) || minute > 59 || second > 59 {
            return None;
        }
        Some((i64::from(hour * 60 + minute) * 60 + i64::from(second)) * 1_000_000 + i64::from(micro))
    }
}

/// A point or comma and digits, of which six count.
fn fraction(text: &str) -> Option<(u32, &str)> {
    let rest = text.strip_prefix(['.', ','])?;
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((micros(&rest[..end])?, &rest[end..]))
}

/// `Z`, `±HH`, `±HHMM` or `±HH:MM`; in microseconds.
fn offset(text: &str) -> Option<i64> {
    if text.eq_ignore_ascii_case("z") {
        return Some(0);
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = digits(text.strip_prefix(['+', '-'])?, 2)?;
    let minutes = match rest.len() {
        0 => 0,
        2 | 3 => number(rest.strip_prefix(':').unwrap_or(rest))?,
        _ => return None,
    };
    (hours < 24 && minutes < 60).then_some(sign * i64::from(hours * 60 + minutes) * 60_000_000)
}

/// So many digits, and the rest.
fn digits(text: &str, count: usize) -> Option<(u32, &str)> {
    Some((number(text.get(..count)?)?, &text[count..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spellings_of_isoparse() {
        let table: &[(&str, Option<&str>)] = &[
            ("2026-11-20T17:41:23.655378+00:00", Some("2026-11-20T17:41:23.655378+00:00")),
            ("2026-11-20T17:41:23", Some("2026-11-20T17:41:23+00:00")),
            ("2026-11-20T17:41:23Z", Some("2026-11-20T17:41:23+00:00")),
            ("2026-11-20T17:41:23z", Some("2026-11-20T17:41:23+00:00")),
            ("2026-11-20 17:41:23,5", Some("2026-11-20T17:41:23.500000+00:00")),
            ("20261120T174123+0530", Some("2026-11-20T17:41:23+05:30")),
            ("2026-11-20T17-08", Some("2026-11-20T17:00:00-08:00")),
            ("2026-11-20T174123.1234567", Some("2026-11-20T17:41:23.123456+00:00")),
            ("2026", Some("2026-01-01T00:00:00+00:00")),
            ("2026-11", Some("2026-11-01T00:00:00+00:00")),
            ("2026-11-20", Some("2026-11-20T00:00:00+00:00")),
            ("2026-W47-5", Some("2026-11-20T00:00:00+00:00")),
            ("2026W47", Some("2026-11-16T00:00:00+00:00")),
            ("2026W475T10", Some("2026-11-20T10:00:00+00:00")),
            ("2026-324", Some("2026-11-20T00:00:00+00:00")),
            ("2026324T1200", Some("2026-11-20T12:00:00+00:00")),
            ("2026-12-31T24:00", Some("2027-01-01T00:00:00+00:00")),
            ("2026-12-31T24:00:01", None),
            ("9999-12-31T24:00", None),
            ("202611", None),
            ("2026-11-20T", None),
            ("2026-11-20T1:2", None),
            ("2026-11-20T17:4123", None),
            ("2026-11-20T17:41:23.", None),
            ("2026-11-20T17:41:23+00:00:00", None),
            ("2026-11-20T17:41:23+24", None),
            ("2026-02-30", None),
            ("2026-W54", None),
            ("2026-366", None),
            ("0000-01-01", None),
            ("tomorrow", None),
            ("", None),
            ("\u{662}026-11-20", None),
        ];
        for (text, expected) in table {
            assert_eq!(read(text).map(|at| at.isoformat()).as_deref(), *expected, "{text}");
        }
    }

    #[test]
    fn offsets_change_the_instant_and_are_remembered() {
        let at = parse_iso("1970-01-01T01:00:00+01:00").unwrap();
        assert_eq!((at.micros(), at.offset()), (0, Some(3600)));
        assert_eq!(parse_iso("1970-01-01").unwrap().offset(), None);
        assert_eq!(std::time::SystemTime::from(at), std::time::UNIX_EPOCH);
    }
}
