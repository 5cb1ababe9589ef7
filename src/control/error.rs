//! [`CommandError`]: why a command was not done, as the Python exception whose `repr` goes into the reply.

use crate::{
    protocol::repr::repr,
    serialization::{Map, Value},
};

/// An error reply: `{"error": "ValueError('...')"}`.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommandError {
    /// Found out here.
    #[error("{exception}({})", repr(&Value::from(.message.as_str())))]
    Ours {
        /// Name of Python's exception.
        exception: &'static str,
        /// Its only argument.
        message: String,
    },
    /// Raised by a command in Python: its `repr`.
    #[error("{0}")]
    Raised(String),
}

impl CommandError {
    /// No such command.
    pub fn key(name: &str) -> Self {
        Self::Ours { exception: "KeyError", message: name.to_owned() }
    }

    /// Arguments that the command does not take.
    pub fn arguments(message: impl Into<String>) -> Self {
        Self::Ours { exception: "TypeError", message: message.into() }
    }

    /// Arguments that mean nothing, or a time at which it cannot be done.
    pub fn value(message: impl Into<String>) -> Self {
        Self::Ours { exception: "ValueError", message: message.into() }
    }

    /// What this worker does not do.
    pub fn unsupported(message: impl Into<String>) -> Self {
        Self::Ours { exception: "NotImplementedError", message: message.into() }
    }

    /// The worker is ending, and nobody is left to ask.
    pub fn ending() -> Self {
        Self::Ours { exception: "RuntimeError", message: "the worker is shutting down".to_owned() }
    }
}

/// `{"ok": ...}`.
pub(super) fn ok(text: impl Into<Value>) -> Value {
    Value::Map(Map::from_iter([("ok".to_owned(), text.into())]))
}

/// `{"error": ...}`.
pub(super) fn nok(text: impl Into<Value>) -> Value {
    Value::Map(Map::from_iter([("error".to_owned(), text.into())]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_look_like_pythons() {
        assert_eq!(CommandError::key("nope").to_string(), "KeyError('nope')");
        assert_eq!(CommandError::value("Can't").to_string(), "ValueError(\"Can't\")");
    }
}
