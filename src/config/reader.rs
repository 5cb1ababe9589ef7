//! [`Reader`]: takes typed values out of the layers, with Python's leniencies.

use std::time::Duration;

use crate::{
    config::{
        ConfigError, Layers,
        sources::{Layer, wrong_type},
    },
    serialization::{Map, Value},
};

/// Durations beyond this are nonsense, and would overflow clocks.
const FOREVER: f64 = 1e10;

/// Typed access to the layers. Names are those of the table of [`keys`](crate::config::keys).
pub(super) struct Reader<'a>(pub(super) &'a Layers);

impl Reader<'_> {
    /// Truth as Python sees it: a non-empty string is true, whatever it says.
    pub(super) fn truth(&self, name: &'static str) -> bool {
        self.0.value(name).0.is_truthy()
    }

    /// Truth, or none when it is unset.
    pub(super) fn maybe_truth(&self, name: &'static str) -> Option<bool> {
        let (value, _) = self.0.value(name);
        (!value.is_null()).then(|| value.is_truthy())
    }

    pub(super) fn maybe_text(&self, name: &'static str) -> Result<Option<String>, ConfigError> {
        match self.0.value(name) {
            (Value::Null, _) => Ok(None),
            (Value::Str(text), _) => Ok(Some(text)),
            (other, layer) => Err(wrong_type(name, layer, "a str", &other)),
        }
    }

    /// Text; unset counts as empty.
    pub(super) fn text(&self, name: &'static str) -> Result<String, ConfigError> {
        Ok(self.maybe_text(name)?.unwrap_or_default())
    }

    pub(super) fn maybe_number(&self, name: &'static str) -> Result<Option<f64>, ConfigError> {
        let (value, layer) = self.0.value(name);
        let number = match &value {
            Value::Null => return Ok(None),
            Value::Int(n) => Some(*n as f64),
            Value::Float(f) => Some(*f),
            Value::Bool(b) => Some(f64::from(u8::from(*b))),
            Value::Str(text) => text.trim().parse().ok(),
            Value::Decimal(text) => text.parse().ok(),
            _ => None,
        };
        number.filter(|n| !n.is_nan()).map(Some).ok_or_else(|| wrong_type(name, layer, "a number", &value))
    }

    /// A number; unset counts as zero.
    pub(super) fn number(&self, name: &'static str) -> Result<f64, ConfigError> {
        Ok(self.maybe_number(name)?.unwrap_or_default())
    }

    pub(super) fn maybe_integer(&self, name: &'static str) -> Result<Option<i64>, ConfigError> {
        let Some(number) = self.maybe_number(name)? else { return Ok(None) };
        Ok(Some(number as i64))
    }

    /// An integer of at least zero; none when it is unset.
    pub(super) fn maybe_count(&self, name: &'static str) -> Result<Option<u32>, ConfigError> {
        let Some(number) = self.maybe_integer(name)? else { return Ok(None) };
        u32::try_from(number).map(Some).map_err(|_| self.invalid(name, "must be between 0 and 4294967295"))
    }

    /// Seconds; unset and zero are none.
    pub(super) fn maybe_seconds(&self, name: &'static str) -> Result<Option<Duration>, ConfigError> {
        Ok(Some(self.seconds(name)?).filter(|duration| !duration.is_zero()))
    }

    /// Seconds; unset counts as zero.
    pub(super) fn seconds(&self, name: &'static str) -> Result<Duration, ConfigError> {
        self.duration(name, self.number(name)?)
    }

    /// Milliseconds; unset counts as zero.
    pub(super) fn milliseconds(&self, name: &'static str) -> Result<Duration, ConfigError> {
        self.duration(name, self.number(name)? / 1000.0)
    }

    /// A list of strings. One string is a list of one, as for `kombu.utils.functional.maybe_list`; unset is empty.
    pub(super) fn texts(&self, name: &'static str) -> Result<Vec<String>, ConfigError> {
        let (value, layer) = self.0.value(name);
        match value {
            Value::Null => Ok(Vec::new()),
            Value::Str(text) => Ok(vec![text]),
            Value::List(items) => items
                .into_iter()
                .map(|item| match item {
                    Value::Str(text) => Ok(text),
                    other => Err(wrong_type(name, layer, "a list of str", &other)),
                })
                .collect(),
            other => Err(wrong_type(name, layer, "a list of str", &other)),
        }
    }

    /// A dict; unset is empty.
    pub(super) fn map(&self, name: &'static str) -> Result<Map, ConfigError> {
        match self.0.value(name) {
            (Value::Null, _) => Ok(Map::new()),
            (Value::Map(map), _) => Ok(map),
            (other, layer) => Err(wrong_type(name, layer, "a dict", &other)),
        }
    }

    /// The value as it is.
    pub(super) fn value(&self, name: &'static str) -> Value {
        self.0.value(name).0
    }

    /// The error for a value that has the right type and still means nothing.
    pub(super) fn invalid(&self, setting: &'static str, reason: impl Into<String>) -> ConfigError {
        ConfigError::Invalid { setting, layer: self.layer(setting), reason: reason.into() }
    }

    fn layer(&self, name: &'static str) -> Layer {
        self.0.value(name).1
    }

    fn duration(&self, name: &'static str, seconds: f64) -> Result<Duration, ConfigError> {
        if !(0.0..FOREVER).contains(&seconds) {
            return Err(self.invalid(name, "must be a number of seconds that is not negative"));
        }
        Ok(Duration::from_secs_f64(seconds))
    }
}
