//! [`Apply`]: what a call adds to a signature.

use crate::serialization::{Map, Value};

/// What a call adds to a signature: arguments in front of its own, options over its own, and the task that makes it.
#[derive(Debug, Clone, Default)]
pub struct Apply {
    pub(super) args: Vec<Value>,
    pub(super) options: Map,
    pub(super) parent: Option<Parent>,
}

/// The task that sends.
#[derive(Debug, Clone)]
pub(super) struct Parent {
    pub id: String,
    pub root_id: String,
    pub priority: Option<i64>,
}

impl Apply {
    /// Arguments that go before those of the signature, unless it is immutable.
    pub fn with_args(mut self, args: Vec<Value>) -> Self {
        self.args = args;
        self
    }

    /// An option of `apply_async`; null is the same as leaving it out.
    pub fn with_option(mut self, name: &str, value: impl Into<Value>) -> Self {
        let value = value.into();
        if !value.is_null() {
            self.options.insert(name.to_owned(), value);
        }
        self
    }

    /// The task in which this happens: parent and root of what has none of its own.
    pub fn with_parent(mut self, id: &str, root_id: &str) -> Self {
        self.parent = Some(Parent { id: id.to_owned(), root_id: root_id.to_owned(), priority: None });
        self
    }

    /// The priority of that task's message, for `task_inherit_parent_priority`.
    pub fn with_parent_priority(mut self, priority: Option<i64>) -> Self {
        if let Some(parent) = &mut self.parent {
            parent.priority = priority;
        }
        self
    }
}
