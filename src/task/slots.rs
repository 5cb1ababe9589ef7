//! [`Slots`]: a call's arguments laid out over a handler's parameters, checked as Python checks a call.

use std::fmt::Write;

use crate::{
    serialization::{Map, Value, ValueDeserializer, ValueError},
    task::{Arguments, CallError, Function},
};

/// One parameter, with or without its argument.
#[derive(Debug, Default)]
pub(super) struct Slot {
    index: usize,
    name: Option<&'static str>,
    value: Option<Value>,
}

impl Slot {
    pub fn is_present(&self) -> bool {
        self.value.is_some()
    }

    /// The parameter's name; empty where the registration names none.
    pub fn name(&self) -> &'static str {
        self.name.unwrap_or_default()
    }

    /// Reads the argument; what is wrong with it is told with the parameter's name or place.
    pub fn read<T>(
        self,
        function: &Function,
        read: impl FnOnce(ValueDeserializer) -> Result<T, ValueError>,
    ) -> Result<T, CallError> {
        let label = label(self.name, self.index);
        read(ValueDeserializer(self.value.unwrap_or_default()))
            .map_err(|error| CallError::text(format!("{}() argument {label}: {error}", function.short_name())))
    }
}

/// The parameters of a call, in order.
#[derive(Debug)]
pub(super) struct Slots {
    args: std::vec::IntoIter<Value>,
    kwargs: Map,
    names: Option<&'static [&'static str]>,
    count: usize,
    next: usize,
}

impl Slots {
    /// Lays out a call over `count` parameters. Fails as Python does, and in its order: an unknown keyword, a parameter
    /// given twice, too many positional arguments. What is missing is known only when it is asked for.
    pub fn place(
        arguments: Arguments,
        function: &Function,
        names: Option<&'static [&'static str]>,
        count: usize,
    ) -> Result<Self, CallError> {
        let Arguments { args, kwargs } = arguments;
        let name = function.short_name();
        for keyword in kwargs.keys() {
            match names.unwrap_or_default().iter().position(|name| name == keyword) {
                None => {
                    return Err(CallError::text(format!("{name}() got an unexpected keyword argument '{keyword}'")));
                }
                Some(place) if place < args.len() => {
                    return Err(CallError::text(format!("{name}() got multiple values for argument '{keyword}'")));
                }
                Some(_) => {}
            }
        }
        if args.len() > count {
            return Err(too_many(name, count, args.len()));
        }
        Ok(Self { args: args.into_iter(), kwargs, names, count, next: 0 })
    }

    /// The next parameter.
    pub fn next_slot(&mut self) -> Option<Slot> {
        let index = self.next;
        if index >= self.count {
            return None;
        }
        self.next += 1;
        let name = self.names.and_then(|names| names.get(index).copied());
        let value = self.args.next().or_else(|| self.kwargs.swap_remove(name?));
        Some(Slot { index, name, value })
    }

    /// The next parameter that has an argument.
    pub fn next_present(&mut self) -> Option<Slot> {
        std::iter::from_fn(|| self.next_slot()).find(Slot::is_present)
    }

    /// The error for a parameter without an argument, and all after it that have none either.
    pub fn missing(&self, function: &Function, first: &Slot) -> CallError {
        let after = (first.index + 1..self.count).map(|index| (self.name_of(index), index));
        let absent = after.filter(|(name, _)| name.is_none_or(|name| !self.kwargs.contains_key(name)));
        let given = self.args.len();
        let mut names = vec![label(first.name, first.index)];
        names.extend(absent.skip(given).map(|(name, index)| label(name, index)));
        missing(function.short_name(), &names)
    }

    fn name_of(&self, index: usize) -> Option<&'static str> {
        self.names.and_then(|names| names.get(index).copied())
    }
}

/// `'name'`, or the place of a parameter that the registration does not name.
fn label(name: Option<&str>, index: usize) -> String {
    name.map_or_else(|| format!("'{index}'"), |name| format!("'{name}'"))
}

/// Python's text for parameters without arguments.
pub(super) fn missing(function: &str, labels: &[String]) -> CallError {
    let plural = if labels.len() == 1 { "" } else { "s" };
    let mut text = format!("{function}() missing {} required positional argument{plural}: ", labels.len());
    let _ = match labels {
        [first, second] => write!(text, "{first} and {second}"),
        [rest @ .., last] if !rest.is_empty() => write!(text, "{}, and {last}", rest.join(", ")),
        _ => write!(text, "{}", labels.join(", ")),
    };
    CallError::text(text)
}

fn too_many(function: &str, count: usize, given: usize) -> CallError {
    let plural = if count == 1 { "" } else { "s" };
    let were = if given == 1 { "was" } else { "were" };
    CallError::text(format!("{function}() takes {count} positional argument{plural} but {given} {were} given"))
}
