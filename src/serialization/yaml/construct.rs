//! Collections as PyYAML's `SafeConstructor` builds them: merge keys, hashable keys, tags.

use super::{compose::Tag, malformed};
use crate::serialization::{DecodeError, Value};

pub(super) enum Key {
    /// A plain `<<`.
    Merge,
    Plain(Value),
}

pub(super) fn sequence(items: Vec<Value>, tag: Tag) -> Result<Value, DecodeError> {
    match tag.as_deref() {
        None | Some("seq") => Ok(Value::List(items)),
        Some("omap" | "pairs") => items.into_iter().map(pair).collect::<Result<_, _>>().map(Value::List),
        Some(other) => Err(no_plain_data(other)),
    }
}

/// A mapping of one entry as a tuple.
fn pair(item: Value) -> Result<Value, DecodeError> {
    let mut entries = match item {
        Value::Map(map) => map.into_iter().map(|(key, value)| (Value::Str(key), value)).collect(),
        Value::Pairs(pairs) => pairs,
        _ => Vec::new(),
    };
    match (entries.pop(), entries.is_empty()) {
        (Some((key, value)), true) => Ok(Value::List(vec![key, value])),
        _ => Err(malformed("expected a mapping of length 1")),
    }
}

pub(super) fn mapping(entries: Vec<(Key, Value)>, tag: Tag) -> Result<Value, DecodeError> {
    if let Some(other) = tag.as_deref().filter(|tag| *tag != "map") {
        return Err(no_plain_data(other));
    }
    let (mut merged, mut own) = (Vec::new(), Vec::with_capacity(entries.len()));
    for (key, value) in entries {
        match key {
            Key::Merge => merge(&mut merged, value)?,
            Key::Plain(Value::List(_) | Value::Map(_) | Value::Pairs(_)) => {
                return Err(malformed("found unhashable key"));
            }
            Key::Plain(key) => own.push((key, value)),
        }
    }
    merged.append(&mut own);
    Ok(Value::from_pairs(merged))
}

/// The entries of one mapping, or of several of which the first wins.
fn merge(into: &mut Vec<(Value, Value)>, value: Value) -> Result<(), DecodeError> {
    match value {
        Value::Map(map) => into.extend(map.into_iter().map(|(key, value)| (Value::Str(key), value))),
        Value::Pairs(pairs) => into.extend(pairs),
        Value::List(items) => {
            for item in items.into_iter().rev() {
                match item {
                    Value::Map(_) | Value::Pairs(_) => merge(into, item)?,
                    _ => return Err(malformed("expected a mapping for merging")),
                }
            }
        }
        _ => return Err(malformed("expected a mapping or list of mappings for merging")),
    }
    Ok(())
}

/// `!!set` and everything of Python's own.
fn no_plain_data(tag: &str) -> DecodeError {
    malformed(format!("a collection tagged {tag:?} is no plain data"))
}
