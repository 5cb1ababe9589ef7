//! Dates and times as Python's `fromisoformat` reads and `isoformat` writes them. No clock and no time zone names here.

use std::fmt;

/// A day of the proleptic Gregorian calendar, years 1 to 9999.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Date {
    pub year: i32,
    pub month: u32,
    pub day: u32,
}

/// A time of day, with the offset from UTC in microseconds when it is aware.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Time {
    pub hour: u32,
    pub minute: u32,
    pub second: u32,
    pub micro: u32,
    pub offset: Option<i64>,
}

/// Microseconds of one day.
const DAY: i64 = 86_400_000_000;

impl Date {
    /// A date that exists.
    pub(crate) fn new(year: i32, month: u32, day: u32) -> Option<Self> {
        let exists = (1..=9999).contains(&year) && chrono::NaiveDate::from_ymd_opt(year, month, day).is_some();
        exists.then_some(Self { year, month, day })
    }

    /// A day of an ISO week, Monday being 1.
    pub(crate) fn of_week(year: i32, week: u32, day: u32) -> Option<Self> {
        let weekday = chrono::Weekday::try_from(u8::try_from(day.checked_sub(1)?).ok()?).ok()?;
        Self::of(chrono::NaiveDate::from_isoywd_opt(year, week, weekday)?)
    }

    /// The same day in chrono's type.
    pub(crate) fn of(date: chrono::NaiveDate) -> Option<Self> {
        use chrono::Datelike;
        Self::new(date.year(), date.month(), date.day())
    }

    /// `YYYY-MM-DD`, `YYYYMMDD`, `YYYY-Www[-D]` and `YYYYWww[D]`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let year = number(text.get(..4)?)? as i32;
        let rest = &text[4..];
        let (dashed, rest) = match rest.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, rest),
        };
        if let Some(week) = rest.strip_prefix('W') {
            return Self::parse_week(year, week, dashed);
        }
        let day = if dashed { rest.get(2..)?.strip_prefix('-')? } else { rest.get(2..)? };
        if day.len() != 2 {
            return None;
        }
        Self::new(year, number(rest.get(..2)?)?, number(day)?)
    }

    fn parse_week(year: i32, text: &str, dashed: bool) -> Option<Self> {
        let week = number(text.get(..2)?)?;
        let day = match (&text[2..], dashed) {
            ("", _) => return Self::of_week(year, week, 1),
            (day, true) => day.strip_prefix('-')?,
            (day, false) => day,
        };
        if day.len() != 1 {
            return None;
        }
        Self::of_week(year, week, number(day)?)
    }
}

impl Time {
    /// A time that exists.
    pub(crate) fn new(hour: u32, minute: u32, second: u32, micro: u32) -> Option<Self> {
        let exists = hour < 24 && minute < 60 && second < 60 && micro < 1_000_000;
        exists.then_some(Self { hour, minute, second, micro, offset: None })
    }

    /// `[T]HH[:MM[:SS[.f]]]` or without colons, then nothing, `Z` or an offset.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let text = text.strip_prefix('T').unwrap_or(text);
        let (clock, zone) = match text.find(['+', '-', 'Z']) {
            Some(at) => text.split_at(at),
            None => (text, ""),
        };
        let [hour, minute, second, micro] = fields(clock)?;
        let mut time = Self::new(hour, minute, second, micro)?;
        time.offset = match zone {
            "" => None,
            zone => Some(offset(zone)?),
        };
        Some(time)
    }
}

/// `Z`, or a sign and the fields of a time; in microseconds.
pub(crate) fn offset(zone: &str) -> Option<i64> {
    if zone == "Z" {
        return Some(0);
    }
    let sign = match zone.as_bytes().first()? {
        b'+' => 1,
        b'-' => -1,
        _ => return None,
    };
    let [hours, minutes, seconds, micros] = fields(&zone[1..])?;
    if minutes > 59 || seconds > 59 {
        return None;
    }
    let total =
        ((i64::from(hours) * 60 + i64::from(minutes)) * 60 + i64::from(seconds)) * 1_000_000 + i64::from(micros);
    (total < DAY).then_some(sign * total)
}

/// Hours, minutes, seconds and microseconds, with colons between all of them or none.
fn fields(text: &str) -> Option<[u32; 4]> {
    let (clock, fraction) = match text.find(['.', ',']) {
        Some(at) => (&text[..at], Some(&text[at + 1..])),
        None => (text, None),
    };
    let mut parts = [0; 4];
    let step = if clock.as_bytes().get(2) == Some(&b':') { 3 } else { 2 };
    let count = (clock.len() + step - 2) / step;
    if !(1..=3).contains(&count) || clock.len() != count * step - (step - 2) {
        return None;
    }
    for (index, part) in parts.iter_mut().take(count).enumerate() {
        let at = index * step;
        if index > 0 && step == 3 && clock.as_bytes()[at - 1] != b':' {
            return None;
        }
        *part = number(clock.get(at..at + 2)?)?;
    }
    if let Some(fraction) = fraction {
        if count != 3 {
            return None;
        }
        parts[3] = micros(fraction)?;
    }
    Some(parts)
}

/// A fraction of a second, cut after six digits.
pub(crate) fn micros(fraction: &str) -> Option<u32> {
    if fraction.is_empty() || !fraction.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let kept = &fraction[..fraction.len().min(6)];
    Some(number(kept)? * 10u32.pow(6 - kept.len() as u32))
}

/// Nothing but ASCII digits, at most nine.
pub(crate) fn number(digits: &str) -> Option<u32> {
    let plain = !digits.is_empty() && digits.len() <= 9 && digits.bytes().all(|b| b.is_ascii_digit());
    plain.then(|| digits.bytes().fold(0, |sum, digit| sum * 10 + u32::from(digit - b'0')))
}

/// `datetime.fromisoformat`: a date alone, or a date, any one character, and a time.
pub(crate) fn parse_datetime(text: &str) -> Option<(Date, Time)> {
    let at = separator(text.as_bytes())?;
    let (date, rest) = (text.get(..at)?, text.get(at..)?);
    let date = Date::parse(date)?;
    let mut rest = rest.chars();
    if rest.next().is_none() {
        return Some((date, Time::default()));
    }
    Some((date, Time::parse(rest.as_str()).filter(|_| !rest.as_str().starts_with('T'))?))
}

/// Where the date ends (`_find_isoformat_datetime_separator` tells week dates from times by their digits).
fn separator(text: &[u8]) -> Option<usize> {
    let digit = |at: usize| text.get(at).is_some_and(u8::is_ascii_digit);
    let end = match (text.get(4)?, text.get(5)?) {
        (b'-', b'W') if text.get(8) == Some(&b'-') => {
            if digit(10) {
                8
            } else {
                10
            }
        }
        (b'-', b'W') => 8,
        (b'-', _) => 10,
        (b'W', _) => {
            let end = (7..text.len()).find(|&at| !digit(at)).unwrap_or(text.len());
            match end {
                ..9 => end,
                _ if end % 2 == 0 => 7,
                _ => 8,
            }
        }
        _ => 8,
    };
    (end <= text.len()).then_some(end)
}

/// `datetime.isoformat()`.
pub(crate) fn format_datetime(date: Date, time: Time) -> String {
    format!("{date}T{time}")
}

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:04}-{:02}-{:02}", self.year, self.month, self.day)
    }
}

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:02}:{:02}:{:02}", self.hour, self.minute, self.second)?;
        if self.micro != 0 {
            write!(f, ".{:06}", self.micro)?;
        }
        self.offset.map_or(Ok(()), |offset| write_offset(f, offset))
    }
}

fn write_offset(f: &mut fmt::Formatter<'_>, offset: i64) -> fmt::Result {
    let sign = if offset < 0 { '-' } else { '+' };
    let (seconds, micros) = (offset.abs() / 1_000_000, offset.abs() % 1_000_000);
    write!(f, "{sign}{:02}:{:02}", seconds / 3600, seconds / 60 % 60)?;
    if seconds % 60 != 0 || micros != 0 {
        write!(f, ":{:02}", seconds % 60)?;
    }
    if micros != 0 {
        write!(f, ".{micros:06}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn datetimes_read_and_write_as_in_python() {
        let table: &[(&str, Option<&str>)] = &[
            ("2026-11-20T17:41:23.655378+00:00", Some("2026-11-20T17:41:23.655378+00:00")),
            ("2026-11-20T17:41:23", Some("2026-11-20T17:41:23")),
            ("2026-11-20", Some("2026-11-20T00:00:00")),
            ("20261120T174123Z", Some("2026-11-20T17:41:23+00:00")),
            ("2026-11-20 17:41", Some("2026-11-20T17:41:00")),
            ("2026-11-20T17", Some("2026-11-20T17:00:00")),
            ("2026-W47-5T10:00", Some("2026-11-20T10:00:00")),
            ("2026-W47", Some("2026-11-16T00:00:00")),
            ("2026W475T10", Some("2026-11-20T10:00:00")),
            ("2026-11-20T17:41:23,5", Some("2026-11-20T17:41:23.500000")),
            ("2026-11-20T17:41:23.1234567", Some("2026-11-20T17:41:23.123456")),
            ("2026-11-20T17:41:23-05:30", Some("2026-11-20T17:41:23-05:30")),
            ("2026-11-20T17:41:23+01:02:03", Some("2026-11-20T17:41:23+01:02:03")),
            ("2026-13-20", None),
            ("2026-02-30", None),
            ("2026-11-20T24:00", None),
            ("2026-11-20T17:4", None),
            ("2026-11-20T", None),
            ("2026-11-20TT10", None),
            ("2026-11-20T17:41:23+24:00", None),
            ("0000-01-01", None),
            ("", None),
            ("2026-11-2\u{e9}T10", None),
        ];
        for (text, expected) in table {
            let shown = parse_datetime(text).map(|(date, time)| format_datetime(date, time));
            assert_eq!(shown.as_deref(), *expected, "{text}");
        }
    }
}
