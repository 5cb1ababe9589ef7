//! [`FromContext`]: parameters of a handler that do not come from the message's arguments.

use crate::task::{Context, State, States, TaskError};

/// A parameter made from the execution's [`Context`]. Handlers may have any number of them, in any order.
pub trait FromContext: Sized {
    /// Makes it.
    fn from_context(cx: &Context) -> Result<Self, TaskError>;

    /// The type of the app's state that this parameter needs and that `states` does not have.
    fn lacking(states: &States) -> Option<&'static str> {
        let _ = states;
        None
    }
}

impl FromContext for Context {
    fn from_context(cx: &Context) -> Result<Self, TaskError> {
        Ok(cx.clone())
    }
}

impl<T: Send + Sync + 'static> FromContext for State<T> {
    fn from_context(cx: &Context) -> Result<Self, TaskError> {
        let text = || format!("the app has no state of type {}", std::any::type_name::<T>());
        cx.states().find().ok_or_else(|| TaskError::new("RuntimeError", text()))
    }

    fn lacking(states: &States) -> Option<&'static str> {
        states.lacks::<T>()
    }
}
