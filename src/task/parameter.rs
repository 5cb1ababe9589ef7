//! [`Parameter`]: one parameter of a handler, from the message or from the context.

use serde::de::DeserializeOwned;

use crate::task::{
    Arguments, Context, FromContext, Function, States, TaskError,
    arguments::Absent,
    slots::{Slot, Slots},
};

/// A handler's parameter. There are two kinds, told apart by the marker `K`, which is always inferred: whatever
/// implements `serde::Deserialize` comes from the message's arguments, whatever implements [`FromContext`] from the
/// execution.
///
/// A single argument of the first kind stands for the whole call (see [`Arguments`]); several are positional.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be a parameter of a task",
    note = "a parameter implements `serde::Deserialize` (and is owned), or is `Context`, `State<T>` or another `FromContext`"
)]
pub trait Parameter<K>: Sized {
    /// How many arguments it takes from the message: none or one.
    const ARGUMENTS: usize;

    /// Takes it from the call.
    fn take(call: &mut Call<'_>) -> Result<Self, TaskError>;

    /// The type of the app's state that it needs and that `states` does not have.
    fn lacking(states: &States) -> Option<&'static str>;
}

/// Marker: from the message.
#[derive(Debug)]
pub enum Argument {}

/// Marker: from the context.
#[derive(Debug)]
pub enum Extracted {}

/// A call while its parameters are being taken from it.
#[derive(Debug)]
pub struct Call<'f> {
    cx: Context,
    function: &'f Function,
    arguments: Arguments,
    slots: Option<Slots>,
}

impl<'f> Call<'f> {
    /// A call of a handler with `count` parameters that come from the message.
    pub fn new(arguments: Arguments, cx: Context, function: &'f Function, count: usize) -> Result<Self, TaskError> {
        if count == 1 {
            return Ok(Self { cx, function, arguments, slots: None });
        }
        let slots = Slots::place(arguments, function, function.parameters(), count).map_err(wrong_call)?;
        Ok(Self { cx, function, arguments: Arguments::default(), slots: Some(slots) })
    }
}

impl<T: DeserializeOwned> Parameter<Argument> for T {
    const ARGUMENTS: usize = 1;

    fn take(call: &mut Call<'_>) -> Result<Self, TaskError> {
        let Some(slots) = &mut call.slots else {
            return std::mem::take(&mut call.arguments).bind(call.function).map_err(wrong_call);
        };
        let slot = slots.next_slot().unwrap_or_default();
        positional(slots, slot, call.function).map_err(wrong_call)
    }

    fn lacking(_: &States) -> Option<&'static str> {
        None
    }
}

impl<T: FromContext> Parameter<Extracted> for T {
    const ARGUMENTS: usize = 0;

    fn take(call: &mut Call<'_>) -> Result<Self, TaskError> {
        T::from_context(&call.cx)
    }

    fn lacking(states: &States) -> Option<&'static str> {
        T::lacking(states)
    }
}

fn positional<T: DeserializeOwned>(
    slots: &Slots,
    slot: Slot,
    function: &Function,
) -> Result<T, crate::task::CallError> {
    match slot.is_present() {
        true => slot.read(function, |value| T::deserialize(value)),
        false => T::deserialize(Absent).map_err(|_| slots.missing(function, &slot)),
    }
}

#[track_caller]
fn wrong_call(error: crate::task::CallError) -> TaskError {
    TaskError::new("TypeError", error.to_string())
}
