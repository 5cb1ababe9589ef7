//! Hanging callbacks and errbacks on signatures: `link()` and `link_error()`.

use super::{Kind, kind, members, put_members, take_body, take_header};
use crate::{producer::ProducerError, protocol::Signature, serialization::Value};

/// `link()`: a chord's callback is its body's, a group's is its first member's.
pub(super) fn link(signature: &mut Signature, callback: &Value) -> Result<(), ProducerError> {
    match kind(signature) {
        Kind::Chord => on_body(signature, |body| link(body, callback)),
        Kind::Group => {
            let mut tasks = members(signature, "tasks")?;
            match tasks.first_mut() {
                Some(first) => link(first, &immutable(callback))?,
                None => append(signature, "link", callback),
            }
            put_members(signature, "tasks", tasks);
            Ok(())
        }
        Kind::Task | Kind::Chain => {
            append(signature, "link", callback);
            Ok(())
        }
    }
}

/// `link_error()`: any member of a group may fail; a chord's errback is its body's, and that of chords in its header.
pub(super) fn link_error(signature: &mut Signature, errback: &Value) -> Result<(), ProducerError> {
    match kind(signature) {
        Kind::Chord => {
            let mut header = take_header(signature)?;
            let mut parts = members(&mut header, "tasks")?;
            for part in parts.iter_mut().filter(|part| kind(part) == Kind::Chord) {
                link_error(part, errback)?;
            }
            put_members(&mut header, "tasks", parts);
            signature.kwargs.insert("header".to_owned(), header.into_value());
            on_body(signature, |body| link_error(body, errback))
        }
        Kind::Group => {
            let mut tasks = members(signature, "tasks")?;
            for task in &mut tasks {
                link_error(task, errback)?;
            }
            put_members(signature, "tasks", tasks);
            Ok(())
        }
        Kind::Task | Kind::Chain => {
            append(signature, "link_error", errback);
            Ok(())
        }
    }
}

/// Links an errback to each task of a chord's group body, unless the group has its own: those replace the tasks' when
/// it runs. Anything else takes it itself.
pub(super) fn link_error_to_body(body: &mut Signature, errback: &Value) -> Result<(), ProducerError> {
    match kind(body) {
        Kind::Group if body.options.get("link_error").is_none_or(Value::is_null) => {
            let mut tasks = members(body, "tasks")?;
            tasks.iter_mut().try_for_each(|task| link_error_to_body(task, errback))?;
            put_members(body, "tasks", tasks);
            Ok(())
        }
        _ => {
            append(body, "link_error", errback);
            Ok(())
        }
    }
}

fn on_body(
    chord: &mut Signature,
    change: impl FnOnce(&mut Signature) -> Result<(), ProducerError>,
) -> Result<(), ProducerError> {
    let mut body = take_body(chord)?;
    if let Some(body) = &mut body {
        change(body)?;
    }
    chord.kwargs.insert("body".to_owned(), body.map_or(Value::Null, Signature::into_value));
    Ok(())
}

/// Adds to an option that is a list (or was a single value), once.
pub(super) fn append(signature: &mut Signature, option: &str, value: &Value) {
    let items = signature.options.entry(option.to_owned()).or_default();
    let mut list = many(std::mem::take(items));
    if !list.contains(value) {
        list.push(value.clone());
    }
    *items = Value::List(list);
}

/// Celery's `maybe_list`.
pub(super) fn many(value: Value) -> Vec<Value> {
    match value {
        Value::Null => Vec::new(),
        Value::List(items) => items,
        single => vec![single],
    }
}

fn immutable(signature: &Value) -> Value {
    let mut copy = signature.clone();
    if let Value::Map(fields) = &mut copy {
        fields.insert("immutable".to_owned(), Value::Bool(true));
    }
    copy
}
