//! Workflows worked out: which messages a signature means, and the result that stands for it (`celery/canvas.py`).
//!
//! Nothing is sent here. A [`Plan`] lists the steps; ids are given out on the way, as `freeze()` does.

mod chain;
mod chord;
mod freeze;
mod group;
mod link;
mod merge;
mod plan;
mod result;
#[cfg(test)]
mod tests;

pub(super) use plan::{Plan, Step, TaskCall};
pub(super) use result::ResultNode;

use crate::{
    producer::ProducerError,
    protocol::Signature,
    serialization::{Map, Value},
};

/// What kind of signature it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Task,
    Group,
    Chain,
    Chord,
}

fn kind(signature: &Signature) -> Kind {
    match signature.subtask_type.as_deref() {
        Some("group") => Kind::Group,
        Some("chain") => Kind::Chain,
        Some("chord") => Kind::Chord,
        _ => Kind::Task,
    }
}

/// The signatures under a keyword argument: a list of them, or a group or chain whose members are meant.
fn members(signature: &mut Signature, keyword: &str) -> Result<Vec<Signature>, ProducerError> {
    match signature.kwargs.get_mut(keyword).map(std::mem::take) {
        None | Some(Value::Null) => Ok(Vec::new()),
        Some(Value::List(items)) => Ok(items.into_iter().map(Signature::from_owned).collect::<Result<_, _>>()?),
        Some(single) => {
            let mut single = Signature::from_owned(single)?;
            match kind(&single) {
                Kind::Group | Kind::Chain => members(&mut single, "tasks"),
                _ => Ok(vec![single]),
            }
        }
    }
}

/// Puts signatures back under a keyword argument.
fn put_members(signature: &mut Signature, keyword: &str, members: Vec<Signature>) {
    let members = members.into_iter().map(Signature::into_value).collect();
    signature.kwargs.insert(keyword.to_owned(), Value::List(members));
}

/// A group of these.
pub(super) fn group_of(tasks: Vec<Signature>) -> Signature {
    let mut group =
        Signature { task: "celery.group".to_owned(), subtask_type: Some("group".to_owned()), ..Signature::default() };
    put_members(&mut group, "tasks", tasks);
    group
}

/// A chord of a header and a body.
fn chord_of(header: Vec<Signature>, body: Signature) -> Signature {
    let mut chord =
        Signature { task: "celery.chord".to_owned(), subtask_type: Some("chord".to_owned()), ..Signature::default() };
    chord.kwargs.insert("kwargs".to_owned(), Value::Map(Map::new()));
    put_members(&mut chord, "header", header);
    chord.kwargs.insert("body".to_owned(), body.into_value());
    chord
}

/// Takes the body out of a chord.
fn take_body(chord: &mut Signature) -> Result<Option<Signature>, ProducerError> {
    match chord.kwargs.get_mut("body").map(std::mem::take) {
        None | Some(Value::Null) => Ok(None),
        Some(body) => Ok(Some(Signature::from_owned(body)?)),
    }
}

/// Takes the header out of a chord, as the group that it is once it was frozen.
fn take_header(chord: &mut Signature) -> Result<Signature, ProducerError> {
    match chord.kwargs.get_mut("header").map(std::mem::take) {
        Some(Value::Map(header)) => {
            let header = Signature::from_owned(Value::Map(header))?;
            Ok(if kind(&header) == Kind::Group { header } else { group_of(vec![header]) })
        }
        Some(list) => {
            chord.kwargs.insert("header".to_owned(), list);
            Ok(group_of(members(chord, "header")?))
        }
        None => Ok(group_of(Vec::new())),
    }
}

/// A text option.
fn text(options: &Map, name: &str) -> Option<String> {
    options.get(name)?.as_str().map(str::to_owned)
}
