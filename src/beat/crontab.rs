//! [`Crontab`]: minute, hour, day of the week, day of the month, month of the year (`celery/schedules.py:crontab`).

use chrono::{Datelike, NaiveDate};

use super::{
    field::{Field, Range},
    wall::{self, DAY, Wall},
};
use crate::{
    beat::ScheduleError,
    protocol::time::TimeZone,
    serialization::{Map, Value},
};

/// Months are rolled over so many times before the search is given up.
const ROLLS: usize = 2000;

/// A time that all five fields match, to the minute, in the app's time zone.
#[derive(Debug, Clone, PartialEq)]
pub struct Crontab {
    minute: Field,
    hour: Field,
    day_of_week: Field,
    day_of_month: Field,
    month_of_year: Field,
    /// Whether day of the month and month were both written as `*`: then days of the week are looked for directly.
    any_date: bool,
    /// As it was written, for the log.
    written: String,
}

impl Crontab {
    /// Reads the five fields from a dict, each a number, a text or a list of numbers; what is missing is `*`.
    ///
    /// # Errors
    /// Celery's own: what cannot be read, numbers out of range, a date that never occurs.
    pub fn from_map(map: &Map) -> Result<Self, ScheduleError> {
        let star = Value::from("*");
        let written = |name: &str| map.get(name).unwrap_or(&star);
        let field = |name: &str, min, max| Field::from_value(written(name), Range { min, max });
        let is_star = |name: &str| written(name).as_str() == Some("*");
        let names = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week"];
        let crontab = Self {
            hour: field("hour", 0, 23)?,
            minute: field("minute", 0, 59)?,
            day_of_week: field("day_of_week", 0, 6)?,
            day_of_month: field("day_of_month", 1, 31)?,
            month_of_year: field("month_of_year", 1, 12)?,
            any_date: is_star("day_of_month") && is_star("month_of_year"),
            written: names.map(|name| shown(written(name))).join(" "),
        };
        if crontab.occurs() { Ok(crontab) } else { Err(ScheduleError::Crontab(crontab.never())) }
    }

    /// The five fields as `m h dM MY d`, the way Celery's `from_string` takes them.
    ///
    /// # Errors
    /// As [`from_map`](Self::from_map); other than five fields.
    pub fn parse(text: &str) -> Result<Self, ScheduleError> {
        let names = ["minute", "hour", "day_of_month", "month_of_year", "day_of_week"];
        let fields: Vec<&str> = text.split(' ').collect();
        if fields.len() != names.len() {
            return Err(ScheduleError::Crontab(format!("expected five fields, got {}", fields.len())));
        }
        Self::from_map(&names.into_iter().zip(fields).map(|(name, field)| (name.to_owned(), field.into())).collect())
    }

    /// Minute, hour, day of the week, day of the month and month: the numbers that each matches.
    pub fn fields(&self) -> [Field; 5] {
        [self.minute, self.hour, self.day_of_week, self.day_of_month, self.month_of_year]
    }

    /// Microseconds from `now` to the first match after `last`, negative if that is over.
    pub(super) fn remaining(&self, last: i64, now: i64, zone: &TimeZone) -> Result<i64, ScheduleError> {
        let next = self.next(Wall::at(last, zone)?, zone)?;
        Ok(next.instant(zone) - now)
    }

    fn next(&self, last: Wall, zone: &TimeZone) -> Result<Wall, ScheduleError> {
        let at = last.fields();
        let (minute, hour, weekday) = wall::cron_fields(&at);
        let least = |field: Field| field.least().ok_or(ScheduleError::Empty);
        let today =
            self.month_of_year.has(at.month()) && self.day_of_month.has(at.day()) && self.day_of_week.has(weekday);
        let greatest_minute = self.minute.greatest().ok_or(ScheduleError::Empty)?;
        if today
            && self.hour.has(hour)
            && minute < greatest_minute
            && let Some(minute) = self.minute.after(minute)
        {
            return Wall::first(wall::clock(at.date(), hour, minute));
        }
        let minute = least(self.minute)?;
        if today && let Some(hour) = self.hour.after(hour) {
            return Wall::first(wall::clock(at.date(), hour, minute));
        }
        let hour = least(self.hour)?;
        if !self.any_date {
            return self.next_date(last, hour, minute, zone);
        }
        let next = self.day_of_week.after(weekday).or(self.day_of_week.least()).ok_or(ScheduleError::Empty)?;
        let days = match (next + 7 - weekday) % 7 {
            0 => 7,
            days => days,
        };
        let midnight = wall::clock(at.date(), hour, minute).and_then(|clock| clock.checked_add(i64::from(days) * DAY));
        Wall::first(midnight)
    }

    /// The next day that day of the month, month and day of the week match (`_delta_to_next`).
    fn next_date(&self, last: Wall, hour: u32, minute: u32, zone: &TimeZone) -> Result<Wall, ScheduleError> {
        if self.day_of_week.least().is_none() {
            return Err(ScheduleError::Never);
        }
        let mut search = Search::new(self, last, hour, minute, zone)?;
        let mut date = search.roll_over()?;
        while !self.day_of_week.has(date.weekday().num_days_from_sunday()) {
            search.day += 1;
            date = search.roll_over()?;
        }
        Wall::first(wall::clock(date, hour, minute))
    }

    fn occurs(&self) -> bool {
        let days = |month| match month {
            2 => 29,
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        };
        let first = self.day_of_month.least();
        first.is_some_and(|day| self.month_of_year.numbers().into_iter().any(|month| day <= days(month)))
    }

    fn never(&self) -> String {
        let fields: Vec<&str> = self.written.split(' ').collect();
        let quoted = |at: usize| fields.get(at).copied().unwrap_or_default().to_owned();
        format!("Invalid crontab: day_of_month '{}' never occurs in month_of_year '{}'.", quoted(2), quoted(3))
    }
}

impl std::fmt::Display for Crontab {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "<crontab: {} (m/h/dM/MY/d)>", self.written)
    }
}

/// A field as Python shows it.
fn shown(value: &Value) -> String {
    match value {
        Value::Str(text) => text.clone(),
        Value::List(items) => format!("[{}]", items.iter().map(shown).collect::<Vec<_>>().join(", ")),
        value => value.as_i64().map(|number| number.to_string()).unwrap_or_default(),
    }
}

/// Where the search for a date is.
struct Search<'c> {
    days: Vec<u32>,
    months: Vec<u32>,
    year: i32,
    /// Place in `months`.
    month: usize,
    /// Place in `days`; behind the last of them at the end of a month.
    day: usize,
    last: Wall,
    time: (u32, u32),
    zone: &'c TimeZone,
}

impl<'c> Search<'c> {
    fn new(crontab: &Crontab, last: Wall, hour: u32, minute: u32, zone: &'c TimeZone) -> Result<Self, ScheduleError> {
        let at = last.fields();
        let (days, months) = (crontab.day_of_month.numbers(), crontab.month_of_year.numbers());
        if days.is_empty() || months.is_empty() {
            return Err(ScheduleError::Empty);
        }
        let (day, month) = if crontab.month_of_year.has(at.month()) {
            (days.partition_point(|day| *day <= at.day()), months.partition_point(|month| *month < at.month()))
        } else {
            (0, months.partition_point(|month| *month <= at.month()) % months.len())
        };
        Ok(Self { days, months, year: at.year(), month, day, last, time: (hour, minute), zone })
    }

    /// Goes on to the first of the next month's days for as long as there is no such date, or it is over.
    fn roll_over(&mut self) -> Result<NaiveDate, ScheduleError> {
        for _ in 0..ROLLS {
            if let Some(date) = self.date().filter(|date| !self.is_over(*date)) {
                return Ok(date);
            }
            self.day = 0;
            self.month += 1;
            if self.month == self.months.len() {
                self.month = 0;
                self.year += 1;
            }
        }
        Err(ScheduleError::Never)
    }

    fn date(&self) -> Option<NaiveDate> {
        let day = *self.days.get(self.day)?;
        NaiveDate::from_ymd_opt(self.year, self.months[self.month], day).filter(|date| date.year() <= 9999)
    }

    fn is_over(&self, date: NaiveDate) -> bool {
        let Ok(wall) = Wall::first(wall::clock(date, self.time.0, self.time.1)) else { return true };
        let wall = if wall.is_skipped(self.zone) { wall.resolved(self.zone) } else { wall };
        wall.clock < self.last.clock
    }
}
