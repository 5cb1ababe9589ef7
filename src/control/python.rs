//! [`PythonCommands`]: remote control commands that an app has registered (`@control_command`, `@inspect_command`), among
//! them those that take the place of one of Celery's.
//!
//! They run in the steward, with Celery's `state` as their first argument.

use std::collections::HashSet;

use crate::{
    control::CommandError,
    ipc::Errand,
    pool::{Steward, StewardError},
    serialization::{Map, Value, json},
};

/// What the app has registered.
#[derive(Debug, Clone)]
pub struct PythonCommands {
    steward: Steward,
    names: HashSet<String>,
}

impl PythonCommands {
    /// Commands of these names.
    pub fn new(steward: Steward, names: impl Iterator<Item = String>) -> Self {
        Self { steward, names: names.collect() }
    }

    /// Whether this one is the app's.
    pub fn has(&self, method: &str) -> bool {
        self.names.contains(method)
    }

    /// Has it carried out.
    ///
    /// # Errors
    /// What the command raised, in Python's words; that there is nobody to ask any more.
    pub async fn call(&self, method: &str, arguments: Map) -> Result<Value, CommandError> {
        let arguments = Map::from_iter([
            ("method".to_owned(), Value::from(method)),
            ("arguments".to_owned(), Value::Map(arguments)),
        ]);
        let arguments =
            json::to_string(&Value::Map(arguments)).map_err(|error| CommandError::value(error.to_string()))?;
        let errand = Errand { name: "control".to_owned(), arguments: arguments.into(), job: None };
        let answer = self.steward.call(errand).await.map_err(|failure| match failure {
            StewardError::Raised(words) => CommandError::Raised(words),
            StewardError::Stopped => CommandError::ending(),
            other => CommandError::Raised(other.to_string()),
        })?;
        json::parse(&answer).map_err(|error| CommandError::value(error.to_string()))
    }
}
