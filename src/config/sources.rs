//! The layers of a configuration: defaults < app < environment < command line.

use std::{collections::HashMap, fmt};

use crate::{
    config::{ConfigError, PYTHONS, Refusal, keys},
    serialization::{Map, Value},
};

/// Where strings come from by name: the process environment, or a table in a test.
pub trait Strings {
    /// The string of that name, if there is one that is not empty.
    fn string(&self, name: &str) -> Option<String>;
}

impl Strings for HashMap<String, String> {
    fn string(&self, name: &str) -> Option<String> {
        self.get(name).filter(|text| !text.is_empty()).cloned()
    }
}

/// No strings at all.
impl Strings for () {
    fn string(&self, _: &str) -> Option<String> {
        None
    }
}

/// Who said it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Layer {
    /// Nobody: Celery's default.
    Default,
    /// The app.
    App,
    /// An environment variable.
    Environment,
    /// An option or argument.
    CommandLine,
}

impl fmt::Display for Layer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Layer::Default => "default",
            Layer::App => "set by the app",
            Layer::Environment => "set by the environment",
            Layer::CommandLine => "set on the command line",
        })
    }
}

/// All that was said about the settings, by name; later layers have won.
#[derive(Clone, Default)]
pub struct Layers {
    values: HashMap<String, (Value, Layer)>,
}

/// Names only: values may be passwords.
impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.values.iter().map(|(name, (_, layer))| (name, layer))).finish()
    }
}

impl Layers {
    /// What the app says (`Manifest.settings`, or nothing without an app), what the environment says over it, and what
    /// the command line says over both.
    pub fn new(app: Map, environment: &dyn Strings, command_line: Vec<(String, Value)>) -> Self {
        let mut layers = Self::default();
        layers.put_all(app, Layer::App);
        let variables = keys::rows().filter_map(|key| {
            let value = environment.string(key.environment?)?;
            Some((key.name.to_owned(), Value::from(value)))
        });
        layers.put_all(variables, Layer::Environment);
        layers.put_all(command_line, Layer::CommandLine);
        layers
    }

    /// Checks the value of every setting that the worker knows, and shows them all as Celery's `app.conf` does.
    pub fn to_map(&self) -> Map {
        keys::rows()
            .filter(|key| !key.undeclared || self.values.contains_key(key.name))
            .map(|key| (key.name.to_owned(), self.value(key.name).0))
            .collect()
    }

    /// The value of a setting and who set it. A setting that is not in the table and was not set is `None`.
    pub fn value(&self, name: &str) -> (Value, Layer) {
        if let Some((value, layer)) = self.values.get(name) {
            return (value.clone(), *layer);
        }
        let default = keys::find(name).map_or(Value::Null, |key| key.default.to_value());
        (default, Layer::Default)
    }

    /// Whether somebody has set it to something else than Celery's default.
    pub fn is_changed(&self, name: &str) -> bool {
        let default = || keys::find(name).map_or(Value::Null, |key| key.default.to_value());
        self.values.get(name).is_some_and(|(value, _)| *value != default())
    }

    /// Each setting that differs from its default and that nobody here acts on.
    pub fn refusals(&self) -> Vec<Refusal> {
        keys::rows().filter_map(|key| self.refusal(key)).collect()
    }

    fn refusal(&self, key: &keys::Key) -> Option<Refusal> {
        let keys::Reader::Nobody(why) = key.reader else { return None };
        let (value, layer) = self.values.get(key.name)?;
        if *value == key.default.to_value() {
            return None;
        }
        let line = format!("setting {} ({layer}) is not honoured: {why}", key.name);
        Some(Refusal::new(line, format!("leave it out, or {PYTHONS}")))
    }

    fn put_all(&mut self, settings: impl IntoIterator<Item = (String, Value)>, layer: Layer) {
        self.values.extend(settings.into_iter().map(|(name, value)| (name, (value, layer))));
    }
}

/// The error for a value of the wrong type.
pub(super) fn wrong_type(setting: &'static str, layer: Layer, expected: &'static str, found: &Value) -> ConfigError {
    ConfigError::WrongType { setting, layer, expected, found: type_name(found) }
}

/// Python's name of a value's type.
fn type_name(value: &Value) -> &'static str {
    match value {
        Value::Null => "None",
        Value::Bool(_) => "a bool",
        Value::Int(_) | Value::BigInt(_) => "an int",
        Value::Float(_) => "a float",
        Value::Str(_) | Value::WideStr(_) => "a str",
        Value::Bytes(_) => "bytes",
        Value::List(_) => "a list",
        Value::Map(_) | Value::Pairs(_) => "a dict",
        _ => "an object",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn app(settings: &[(&str, Value)]) -> Map {
        settings.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect()
    }

    #[test]
    fn later_layers_win() {
        let environment = HashMap::from([("CELERY_BROKER_URL".to_owned(), "redis://env".to_owned())]);
        let settings = app(&[("broker_url", "redis://app".into()), ("worker_concurrency", 3i64.into())]);
        let layers = Layers::new(settings, &environment, vec![("worker_concurrency".to_owned(), 5i64.into())]);
        assert_eq!(layers.value("broker_url"), ("redis://env".into(), Layer::Environment));
        assert_eq!(layers.value("worker_concurrency"), (5i64.into(), Layer::CommandLine));
        assert_eq!(layers.value("worker_prefetch_multiplier"), (4i64.into(), Layer::Default));
    }

    #[test]
    fn says_what_it_does_not_honour() {
        let set = Layers::new(app(&[("worker_consumer", "proj:Consumer".into())]), &(), Vec::new());
        let [Refusal { line, .. }] = &set.refusals()[..] else { panic!("one refusal expected: {:?}", set.refusals()) };
        assert!(line.contains("worker_consumer") && line.contains("set by the app"), "{line}");
        let default = app(&[("worker_consumer", "celery.worker.consumer:Consumer".into())]);
        assert!(Layers::new(default, &(), Vec::new()).refusals().is_empty());
    }
}
