//! The packed forms in which `datetime` pickles itself.

use crate::serialization::iso::{Date, Time};

/// Ten bytes: year, month, day, hour, minute, second and microsecond. The month's high bit is `fold`.
pub(super) fn datetime(bytes: &[u8]) -> Option<(Date, Time)> {
    let (day, clock) = bytes.split_at_checked(4)?;
    let [high, low, month, day] = day.try_into().ok()?;
    let date = Date::new(i32::from(u16::from_be_bytes([high, low])), u32::from(month & 0x7f), day.into())?;
    Some((date, time(clock)?))
}

/// Four bytes.
pub(super) fn date(bytes: &[u8]) -> Option<Date> {
    let [high, low, month, day] = bytes.try_into().ok()?;
    Date::new(i32::from(u16::from_be_bytes([high, low])), month.into(), day.into())
}

/// Six bytes. The hour's high bit is `fold`.
pub(super) fn time(bytes: &[u8]) -> Option<Time> {
    let [hour, minute, second, high, middle, low] = bytes.try_into().ok()?;
    Time::new(u32::from(hour & 0x7f), minute.into(), second.into(), u32::from_be_bytes([0, high, middle, low]))
}

pub(super) fn pack_date(date: Date) -> Vec<u8> {
    let [high, low] = (date.year as u16).to_be_bytes();
    vec![high, low, date.month as u8, date.day as u8]
}

pub(super) fn pack_time(time: Time) -> Vec<u8> {
    let [_, high, middle, low] = time.micro.to_be_bytes();
    vec![time.hour as u8, time.minute as u8, time.second as u8, high, middle, low]
}
