//! [`Field`]: one field of a crontab, and the grammar in which it is written (`celery/schedules.py:crontab_parser`).

use crate::{beat::ScheduleError, serialization::Value};

/// Abbreviations that stand for numbers, whatever the field: months from 1, days of the week from 0.
const MONTHS: [&str; 12] = ["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"];
const DAYS: [&str; 7] = ["sun", "mon", "tue", "wed", "thu", "fri", "sat"];

/// The numbers that a field matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Field {
    /// Bit n is number n.
    numbers: u64,
}

/// What numbers a field may have.
#[derive(Debug, Clone, Copy)]
pub(super) struct Range {
    pub min: u32,
    pub max: u32,
}

impl Field {
    /// As an app writes it: a number, a text in the grammar, or a list of numbers.
    ///
    /// # Errors
    /// What cannot be read, in a sentence; numbers outside of the range.
    pub(super) fn from_value(value: &Value, range: Range) -> Result<Self, ScheduleError> {
        match value {
            Value::Str(text) => range.parse(text),
            Value::List(items) => range.field(items.iter().map(|item| number(item, range))),
            single => range.field([number(single, range)]),
        }
    }

    /// Whether the field matches a number.
    pub fn has(self, number: u32) -> bool {
        number < u64::BITS && self.numbers >> number & 1 == 1
    }

    /// The least number.
    pub fn least(self) -> Option<u32> {
        (self.numbers != 0).then(|| self.numbers.trailing_zeros())
    }

    /// The greatest number.
    pub fn greatest(self) -> Option<u32> {
        self.numbers.checked_ilog2()
    }

    /// The least number beyond one.
    pub fn after(self, number: u32) -> Option<u32> {
        let beyond = u64::MAX.checked_shl(number + 1).unwrap_or(0);
        Self { numbers: self.numbers & beyond }.least()
    }

    /// All numbers, from the least.
    pub fn numbers(self) -> Vec<u32> {
        (0..u64::BITS).filter(|number| self.has(*number)).collect()
    }
}

impl Range {
    /// `*`, `5`, `mon`, `1-5`, `22-2` (around the end), `*/15`, `8-17/2`, and several of them with commas between.
    fn parse(self, text: &str) -> Result<Field, ScheduleError> {
        let mut numbers = 0;
        for part in text.split(',') {
            if part.is_empty() {
                return Err(ScheduleError::Crontab("empty part".to_owned()));
            }
            for number in self.part(part)? {
                numbers |= 1 << number;
            }
        }
        Ok(Field { numbers })
    }

    fn part(self, part: &str) -> Result<Vec<u32>, ScheduleError> {
        if let Some(steps) = part.strip_prefix("*/") {
            return every(self.all(), steps);
        }
        if part == "*" || part == "*\n" {
            return Ok(self.all());
        }
        let Some((from, rest)) = words(part) else { return Ok(vec![self.number(part)?]) };
        // Whatever follows a word is not looked at, as long as it does not begin with the stroke of a step.
        let (to, rest) = rest.split_at(word(rest).len());
        let numbers = self.between(from, to)?;
        match rest.strip_prefix('/') {
            Some(steps) => every(numbers, steps),
            None => Ok(numbers),
        }
    }

    fn between(self, from: &str, to: &str) -> Result<Vec<u32>, ScheduleError> {
        let (from, to) = (self.number(from)?, self.number(to)?);
        if to < from {
            return Ok((from..=self.max).chain(self.min..=to).collect());
        }
        Ok((from..=to).collect())
    }

    fn all(self) -> Vec<u32> {
        (self.min..=self.max).collect()
    }

    /// A number or a name, in the range.
    fn number(self, text: &str) -> Result<u32, ScheduleError> {
        if text.starts_with('-') {
            return Err(ScheduleError::Crontab("negative numbers not supported".to_owned()));
        }
        let number = integer(text).or_else(|| named(text));
        let number = number.ok_or_else(|| ScheduleError::Crontab(format!("Invalid weekday literal '{text}'.")))?;
        if number > i64::from(self.max) {
            return Err(ScheduleError::Crontab(format!("Invalid end range: {number} > {}.", self.max)));
        }
        let fits = u32::try_from(number).ok().filter(|number| *number >= self.min);
        fits.ok_or_else(|| ScheduleError::Crontab(format!("Invalid beginning range: {number} < {}.", self.min)))
    }

    fn field(self, items: impl IntoIterator<Item = Result<u32, ScheduleError>>) -> Result<Field, ScheduleError> {
        let mut numbers = 0;
        for item in items {
            numbers |= 1 << item?;
        }
        Ok(Field { numbers })
    }
}

/// A number as data.
fn number(value: &Value, range: Range) -> Result<u32, ScheduleError> {
    let number = match value {
        Value::Bool(truth) => Some(i64::from(*truth)),
        value => value.as_i64(),
    };
    let fits = number.and_then(|number| u32::try_from(number).ok());
    fits.filter(|number| (range.min..=range.max).contains(number)).ok_or_else(|| {
        let found = number.map_or_else(|| format!("{value:?}"), |number| number.to_string());
        let (min, max) = (range.min, range.max);
        ScheduleError::Crontab(format!("Invalid crontab pattern.  Valid range is {min}-{max}. '{found}' was found."))
    })
}

/// Each n-th; `steps` is what follows the stroke.
fn every(numbers: Vec<u32>, steps: &str) -> Result<Vec<u32>, ScheduleError> {
    let steps = word(steps);
    if steps.is_empty() {
        return Err(ScheduleError::Crontab("empty filter".to_owned()));
    }
    let step = integer(steps).and_then(|step| usize::try_from(step).ok()).filter(|step| *step > 0);
    let step = step.ok_or_else(|| ScheduleError::Crontab(format!("invalid step '{steps}'")))?;
    Ok(numbers.into_iter().step_by(step).collect())
}

/// A word and what follows its dash, if both are words.
fn words(part: &str) -> Option<(&str, &str)> {
    let from = word(part);
    let rest = part[from.len()..].strip_prefix('-')?;
    (!from.is_empty() && !word(rest).is_empty()).then_some((from, rest))
}

/// The letters, digits and underscores that a text begins with.
fn word(text: &str) -> &str {
    let end = text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len());
    &text[..end]
}

/// What Python's `int()` takes, of ASCII: blanks around it, a sign, underscores between digits.
fn integer(text: &str) -> Option<i64> {
    let text = text.trim();
    let digits = text.strip_prefix('+').unwrap_or(text);
    let inner = digits.strip_prefix('-').unwrap_or(digits);
    let tidy = !inner.starts_with('_') && !inner.ends_with('_') && !inner.contains("__");
    let plain: String = digits.chars().filter(|c| *c != '_').collect();
    (tidy && inner.starts_with(|c: char| c.is_ascii_digit())).then(|| plain.parse().ok())?
}

/// By its first three letters, of which more may follow.
fn named(text: &str) -> Option<i64> {
    let start: String = text.chars().take(3).flat_map(char::to_lowercase).collect();
    let month = MONTHS.iter().position(|name| *name == start).map(|at| at + 1);
    month.or_else(|| DAYS.iter().position(|name| *name == start)).and_then(|at| i64::try_from(at).ok())
}
