//! YAML 1.1 timestamps: `2026-11-20`, or with a time and perhaps an offset.

use crate::serialization::{
    Value,
    iso::{self, Date, Time, micros, number},
};

/// Whether PyYAML's expression takes it for a time, existing or not.
pub(super) fn looks_like(text: &str) -> bool {
    split(text).is_some()
}

/// `datetime.date` or `datetime.datetime`; none for text that is no timestamp, and for days that do not exist.
pub(super) fn parse(text: &str) -> Option<Value> {
    let parts = split(text)?;
    let [year, month, day] = parts.date;
    let date = Date::new(year as i32, month, day)?;
    let Some(clock) = parts.clock else {
        return Some(Value::Date(date.to_string().into()));
    };
    let [hour, minute, second, micro] = clock;
    let mut time = Time::new(hour, minute, second, micro)?;
    time.offset = parts.offset;
    if time.offset.is_some_and(|offset| offset.abs() >= 86_400_000_000) {
        return None;
    }
    Some(Value::DateTime(iso::format_datetime(date, time).into()))
}

struct Parts {
    date: [u32; 3],
    clock: Option<[u32; 4]>,
    offset: Option<i64>,
}

fn split(text: &str) -> Option<Parts> {
    let (year, rest) = digits(text, 4, 4)?;
    let (month, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    let (day, rest) = digits(rest.strip_prefix('-')?, 1, 2)?;
    let date = [year, month, day];
    if rest.is_empty() {
        return (text.len() == 10).then_some(Parts { date, clock: None, offset: None });
    }
    let blank = rest.trim_start_matches([' ', '\t']);
    let rest = if blank.len() < rest.len() { blank } else { rest.strip_prefix(['T', 't'])? };
    let (hour, rest) = digits(rest, 1, 2)?;
    let (minute, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (second, rest) = digits(rest.strip_prefix(':')?, 2, 2)?;
    let (micro, rest) = fraction(rest)?;
    let offset = zone(rest)?;
    Some(Parts { date, clock: Some([hour, minute, second, micro]), offset })
}

fn fraction(text: &str) -> Option<(u32, &str)> {
    let Some(rest) = text.strip_prefix('.') else { return Some((0, text)) };
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    Some((if end == 0 { 0 } else { micros(&rest[..end])? }, &rest[end..]))
}

/// Nothing, `Z`, or a sign with hours and perhaps minutes; in microseconds.
fn zone(text: &str) -> Option<Option<i64>> {
    if text.is_empty() {
        return Some(None);
    }
    let text = text.trim_start_matches([' ', '\t']);
    if text == "Z" {
        return Some(Some(0));
    }
    let sign = if text.starts_with('-') { -1 } else { 1 };
    let (hours, rest) = digits(text.strip_prefix(['+', '-'])?, 1, 2)?;
    let minutes = match rest {
        "" => 0,
        rest => digits(rest.strip_prefix(':')?, 2, 2).filter(|(_, rest)| rest.is_empty())?.0,
    };
    Some(Some(sign * i64::from(hours * 60 + minutes) * 60_000_000))
}

/// As many digits as there are, within bounds, and the rest.
fn digits(text: &str, least: usize, most: usize) -> Option<(u32, &str)> {
    let length = text.bytes().take(most).take_while(u8::is_ascii_digit).count();
    if length < least {
        return None;
    }
    Some((number(&text[..length])?, &text[length..]))
}
