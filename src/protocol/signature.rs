//! [`Signature`]: a task to be called, as a value.

use crate::{
    protocol::ProtocolError,
    serialization::{Map, Value},
};

/// A signature dict as canvas writes it (`celery/canvas.py`).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Signature {
    /// The task's name; for a group or chain, the name of Celery's built-in.
    pub task: String,
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments; groups, chains and chords keep their members here.
    pub kwargs: Map,
    /// Execution options: `task_id`, `queue`, `countdown`, `link`, `chord`, ...
    pub options: Map,
    /// `chain`, `group`, `chord`, `xmap`, `xstarmap`, `chunks`, or none for a plain task.
    pub subtask_type: Option<String>,
    /// Whether the parent's result is kept out of the arguments.
    pub immutable: bool,
    /// Keys nobody here has heard of (`chord_size`, ...), written back as they came.
    pub other: Map,
}

impl Signature {
    /// Reads a signature dict; what may be missing or null is taken for empty.
    ///
    /// # Errors
    /// `InvalidTask` when it is no dict, has no `task`, or has a field of a wrong type.
    pub fn from_value(value: &Value) -> Result<Self, ProtocolError> {
        Self::from_owned(value.clone())
    }

    /// As [`from_value`](Self::from_value), without a copy.
    ///
    /// # Errors
    /// As there.
    pub fn from_owned(value: Value) -> Result<Self, ProtocolError> {
        let Value::Map(map) = value else {
            return Err(invalid("is not a dict"));
        };
        let mut signature = Self::default();
        let mut named = false;
        for (key, value) in map {
            named |= key == "task";
            signature.read(key, value)?;
        }
        if named { Ok(signature) } else { Err(invalid("has no task")) }
    }

    fn read(&mut self, key: String, value: Value) -> Result<(), ProtocolError> {
        match (key.as_str(), value) {
            ("task", Value::Str(name)) => self.task = name,
            ("args", Value::List(args)) => self.args = args,
            ("kwargs", Value::Map(kwargs)) => self.kwargs = kwargs,
            ("options", Value::Map(options)) => self.options = options,
            ("subtask_type", Value::Str(name)) => self.subtask_type = Some(name),
            ("immutable", value) => self.immutable = value.is_truthy(),
            ("args" | "kwargs" | "options" | "subtask_type", Value::Null) => {}
            ("task" | "args" | "kwargs" | "options" | "subtask_type", _) => {
                return Err(invalid(&format!("has {key} of a wrong type")));
            }
            (_, value) => {
                self.other.insert(key, value);
            }
        }
        Ok(())
    }

    /// The signature dict, in canvas's order.
    pub fn to_value(&self) -> Value {
        self.clone().into_value()
    }

    /// As [`to_value`](Self::to_value), without a copy.
    pub fn into_value(self) -> Value {
        let mut map = Map::with_capacity(6 + self.other.len());
        map.insert("task".to_owned(), Value::Str(self.task));
        map.insert("args".to_owned(), Value::List(self.args));
        map.insert("kwargs".to_owned(), Value::Map(self.kwargs));
        map.insert("options".to_owned(), Value::Map(self.options));
        map.insert("subtask_type".to_owned(), self.subtask_type.into());
        map.insert("immutable".to_owned(), Value::Bool(self.immutable));
        map.extend(self.other);
        Value::Map(map)
    }
}

fn invalid(what: &str) -> ProtocolError {
    ProtocolError::InvalidTask(format!("a signature {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    #[test]
    fn canvas_dicts_come_back_unchanged() {
        let texts = [
            r#"{"task": "t", "args": [1], "kwargs": {"a": 2}, "options": {"queue": "q"}, "subtask_type": null, "immutable": true}"#,
            r#"{"task": "celery.group", "args": [], "kwargs": {"tasks": []}, "options": {}, "subtask_type": "group", "immutable": false, "chord_size": 2}"#,
        ];
        for text in texts {
            let signature = Signature::from_value(&json::parse_str(text).unwrap()).unwrap();
            assert_eq!(json::to_string(&signature.to_value()).unwrap(), text);
        }
    }

    #[test]
    fn only_the_name_is_required() {
        let read = |text: &str| Signature::from_owned(json::parse_str(text).unwrap());
        assert_eq!(
            read(r#"{"task": "t", "args": null}"#).unwrap(),
            Signature { task: "t".into(), ..Default::default() }
        );
        for text in ["[]", "{}", r#"{"task": null}"#, r#"{"task": "t", "args": {}}"#, r#"{"task": "t", "options": 1}"#]
        {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
