//! `countdown`, `eta` and `expires`: from options to what the message says.

use std::time::{Duration, SystemTime};

use crate::{
    producer::{ProducerError, options::Options},
    protocol::time::{TimeZone, isoformat, parse_iso},
    serialization::Value,
};

/// Celery refuses what is further back than a C int of seconds.
const EARLIEST: f64 = i32::MIN as f64;

/// And what is so far ahead (some 3000 years) no date can say.
const LATEST: f64 = 1e11;

/// When a message is due and when it has expired, as the headers and properties say it.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// ISO 8601 or null.
    pub eta: Value,
    /// ISO 8601 or null.
    pub expires: Value,
    /// Milliseconds, as text.
    pub expiration: Option<String>,
    /// Seconds from now until `eta`, for delay exchanges.
    pub delay: Option<f64>,
}

impl Times {
    pub fn take(options: &mut Options<'_>, now: SystemTime, timezone: &TimeZone) -> Result<Self, ProducerError> {
        let mut times = Self { eta: options.take_or_null("eta"), ..Self::default() };
        if let Some(countdown) = options.take("countdown").filter(Value::is_truthy) {
            let seconds = seconds(options, "countdown", &countdown)?;
            times.delay = Some(seconds);
            times.eta = Value::Str(isoformat(shifted(now, seconds), timezone));
        } else if times.eta.is_truthy() {
            let (eta, moment) = moment(options, "eta", &times.eta)?;
            times.eta = Value::Str(eta);
            times.delay = Some(distance(now, moment));
        } else {
            times.eta = Value::Null;
        }
        times.take_expires(options, now, timezone)?;
        Ok(times)
    }

    fn take_expires(
        &mut self,
        options: &mut Options<'_>,
        now: SystemTime,
        timezone: &TimeZone,
    ) -> Result<(), ProducerError> {
        let Some(expires) = options.take("expires") else { return Ok(()) };
        let left = match expires.as_f64() {
            Some(_) => {
                let seconds = seconds(options, "expires", &expires)?;
                self.expires = Value::Str(isoformat(shifted(now, seconds), timezone));
                seconds
            }
            None => {
                let (text, moment) = moment(options, "expires", &expires)?;
                self.expires = Value::Str(text);
                distance(now, moment)
            }
        };
        if left < 0.0 {
            tracing::warn!("a task has an expiration date in the past ({}s ago); its message expires at once", -left);
        }
        self.expiration = Some(((left.max(0.0) * 1000.0) as u64).to_string());
        Ok(())
    }
}

fn seconds(options: &Options<'_>, name: &'static str, value: &Value) -> Result<f64, ProducerError> {
    let seconds = value.as_f64().ok_or_else(|| options.wrong(name, "is not a number of seconds"))?;
    if !(EARLIEST..=LATEST).contains(&seconds) {
        return Err(options.wrong(name, &format!("is out of range: {seconds}")));
    }
    Ok(seconds)
}

/// A point in time given as text or as a date: its text, and when it is.
fn moment(options: &Options<'_>, name: &'static str, value: &Value) -> Result<(String, SystemTime), ProducerError> {
    let text = match value {
        Value::Str(text) => text.as_str(),
        Value::DateTime(text) => text,
        _ => return Err(options.wrong(name, "is neither a date nor ISO 8601")),
    };
    let parsed = parse_iso(text).map_err(|error| options.wrong(name, &error.to_string()))?;
    Ok((text.to_owned(), parsed.into()))
}

fn shifted(now: SystemTime, seconds: f64) -> SystemTime {
    let distance = Duration::try_from_secs_f64(seconds.abs()).unwrap_or_default();
    let shifted = if seconds < 0.0 { now.checked_sub(distance) } else { now.checked_add(distance) };
    shifted.unwrap_or(now)
}

fn distance(now: SystemTime, then: SystemTime) -> f64 {
    match then.duration_since(now) {
        Ok(ahead) => ahead.as_secs_f64(),
        Err(behind) => -behind.duration().as_secs_f64(),
    }
}
