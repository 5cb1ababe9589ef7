//! Reading the options of `apply_async` out of a dict.

use crate::{
    producer::ProducerError,
    serialization::{Map, Value},
};

/// Options that are being used up; what is left at the end are message properties.
pub(super) struct Options<'t> {
    task: &'t str,
    map: Map,
}

impl<'t> Options<'t> {
    pub fn new(task: &'t str, map: Map) -> Self {
        Self { task, map }
    }

    /// Takes an option; null counts as absent.
    pub fn take(&mut self, name: &str) -> Option<Value> {
        self.map.shift_remove(name).filter(|value| !value.is_null())
    }

    /// Takes an option whose absence is written as null.
    pub fn take_or_null(&mut self, name: &str) -> Value {
        self.take(name).unwrap_or_default()
    }

    /// Takes an option that is text.
    pub fn take_text(&mut self, name: &'static str) -> Result<Option<String>, ProducerError> {
        match self.take(name) {
            None => Ok(None),
            Some(Value::Str(text)) => Ok(Some(text)),
            Some(_) => Err(self.wrong(name, "is not a string")),
        }
    }

    /// Takes an option that is a list, or a single value that stands for a list of one; null if absent or empty.
    pub fn take_list_or_null(&mut self, name: &str) -> Value {
        match self.take(name) {
            None => Value::Null,
            Some(Value::List(items)) => Value::List(items),
            Some(single) => Value::List(vec![single]),
        }
    }

    /// Sets an option that is not there.
    pub fn set_default(&mut self, name: &str, value: Option<impl Into<Value>>) {
        if let Some(value) = value
            && self.map.get(name).is_none_or(Value::is_null)
        {
            self.map.insert(name.to_owned(), value.into());
        }
    }

    /// Forgets options that have no meaning here.
    pub fn drop_all(&mut self, names: &[&str]) {
        names.iter().for_each(|name| {
            self.map.shift_remove(*name);
        });
    }

    pub fn wrong(&self, option: &'static str, reason: &str) -> ProducerError {
        ProducerError::Option { task: self.task.to_owned(), option, reason: reason.to_owned() }
    }

    /// What nobody has taken.
    pub fn rest(self) -> Map {
        self.map
    }
}
