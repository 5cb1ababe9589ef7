//! [`ExceptionInfo`]: an exception as Celery's backends write it for every serializer but pickle.

use crate::{
    protocol::ProtocolError,
    serialization::{Map, Value},
};

/// `{"exc_type", "exc_message", "exc_module"}` with the traceback beside it (`celery/backends/base.py:prepare_exception`).
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ExceptionInfo {
    /// Qualified class name.
    pub exc_type: String,
    /// The exception's `args`.
    pub exc_message: Vec<Value>,
    /// Module of the class, `builtins` for Python's own.
    pub exc_module: String,
    /// The text of the traceback; none where nothing was raised (revoked, lost).
    pub traceback: Option<String>,
}

impl ExceptionInfo {
    /// An exception with one message.
    pub fn new(module: &str, exc_type: &str, message: impl Into<String>) -> Self {
        Self {
            exc_type: exc_type.to_owned(),
            exc_message: vec![Value::Str(message.into())],
            exc_module: module.to_owned(),
            traceback: None,
        }
    }

    /// The dict in a result's `result`; the traceback is a field of the result itself.
    pub fn to_value(&self) -> Value {
        let mut map = Map::with_capacity(3);
        map.insert("exc_type".to_owned(), Value::Str(self.exc_type.clone()));
        map.insert("exc_message".to_owned(), Value::List(self.exc_message.clone()));
        map.insert("exc_module".to_owned(), Value::Str(self.exc_module.clone()));
        Value::Map(map)
    }

    /// Reads such a dict; a message that is no list counts as the only argument.
    ///
    /// # Errors
    /// `InvalidResult` when it is no dict or names no type.
    pub fn from_value(value: &Value) -> Result<Self, ProtocolError> {
        let map =
            value.as_map().ok_or_else(|| ProtocolError::InvalidResult("an exception is not a dict".to_owned()))?;
        let text = |key: &str| map.get(key).and_then(Value::as_str).map(str::to_owned);
        let exc_type = text("exc_type");
        let exc_message = match map.get("exc_message") {
            None | Some(Value::Null) => Vec::new(),
            Some(Value::List(args)) => args.clone(),
            Some(single) => vec![single.clone()],
        };
        Ok(Self {
            exc_type: exc_type
                .ok_or_else(|| ProtocolError::InvalidResult("an exception has no exc_type".to_owned()))?,
            exc_message,
            exc_module: text("exc_module").unwrap_or_else(|| "celery.backends.base".to_owned()),
            traceback: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    #[test]
    fn exceptions_come_back_unchanged() {
        let text = r#"{"exc_type": "KeyError", "exc_message": ["k", 1], "exc_module": "builtins"}"#;
        let info = ExceptionInfo::from_value(&json::parse_str(text).unwrap()).unwrap();
        assert_eq!(json::to_string(&info.to_value()).unwrap(), text);
        assert!(ExceptionInfo::from_value(&Value::Null).is_err());
        assert!(ExceptionInfo::from_value(&Value::Map(Map::new())).is_err());
    }
}
