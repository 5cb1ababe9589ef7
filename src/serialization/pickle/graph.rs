//! What a pickle builds before it is a value: nodes that may be shared, and filled after they were shared.

use bytes::Bytes;

use super::{MAX_DEPTH, malformed};
use crate::serialization::{DecodeError, Value};

/// Place of a node in the graph.
pub(super) type Id = usize;

#[derive(Debug, Clone)]
pub(super) enum Node {
    /// Holds no other nodes.
    Plain(Value),
    /// A list or tuple.
    List(Vec<Id>),
    /// A dict, in the order in which its entries were set.
    Dict(Vec<(Id, Id)>),
    /// `module.name`, not looked up.
    Global(String, String),
    /// `datetime.timedelta`, in microseconds.
    Delta(i64),
    /// `datetime.timezone`, its offset in microseconds.
    Zone(i64),
    /// A `uuid.UUID` that waits for its state.
    EmptyUuid,
}

#[derive(Default)]
pub(super) struct Graph {
    nodes: Vec<Node>,
}

impl Graph {
    pub(super) fn add(&mut self, node: Node) -> Id {
        self.nodes.push(node);
        self.nodes.len() - 1
    }

    pub(super) fn node(&self, id: Id) -> &Node {
        &self.nodes[id]
    }

    pub(super) fn node_mut(&mut self, id: Id) -> &mut Node {
        &mut self.nodes[id]
    }

    pub(super) fn text(&self, id: Id) -> Option<&str> {
        match self.node(id) {
            Node::Plain(value) => value.as_str(),
            _ => None,
        }
    }

    pub(super) fn int(&self, id: Id) -> Option<i64> {
        match self.node(id) {
            Node::Plain(value) => value.as_i64(),
            _ => None,
        }
    }

    pub(super) fn bytes(&self, id: Id) -> Option<Bytes> {
        match self.node(id) {
            Node::Plain(Value::Bytes(bytes)) => Some(bytes.clone()),
            _ => None,
        }
    }

    pub(super) fn items(&self, id: Id) -> Option<&[Id]> {
        match self.node(id) {
            Node::List(items) => Some(items),
            _ => None,
        }
    }

    /// The value of a node and of everything below it, in at most `limit` bytes.
    pub(super) fn value(&self, id: Id, limit: usize) -> Result<Value, DecodeError> {
        let mut left = limit;
        let too_large = DecodeError::TooLarge { what: "value of a pickle", limit };
        self.weighed(id, 0, &mut left).and_then(|value| value.ok_or(too_large))
    }

    /// None when no bytes are left.
    fn weighed(&self, id: Id, depth: usize, left: &mut usize) -> Result<Option<Value>, DecodeError> {
        if depth > MAX_DEPTH {
            return Err(DecodeError::TooLarge { what: "pickle nesting", limit: MAX_DEPTH });
        }
        let Some(less) = left.checked_sub(size_of::<Value>() + self.weight(id)) else { return Ok(None) };
        *left = less;
        match self.node(id) {
            Node::Plain(value) => Ok(Some(value.clone())),
            Node::List(items) => {
                let items = items.iter().map(|&item| self.weighed(item, depth + 1, left).transpose());
                collect(items).map(|items| items.map(Value::List))
            }
            Node::Dict(entries) => {
                let entries = entries.iter().map(|&(key, value)| {
                    let key = self.weighed(key, depth + 1, left).transpose()?;
                    let value = self.weighed(value, depth + 1, left).transpose()?;
                    Some(key.and_then(|key| Ok((key, value?))))
                });
                collect(entries).map(|entries| entries.map(Value::from_pairs))
            }
            Node::Global(module, name) => Err(malformed(format!("{module}.{name} is no plain data"))),
            Node::Delta(_) | Node::Zone(_) => Err(malformed("a timedelta or timezone has no place in a message")),
            Node::EmptyUuid => Err(malformed("a UUID without its state")),
        }
    }

    fn weight(&self, id: Id) -> usize {
        match self.node(id) {
            Node::Plain(Value::Str(text)) => text.len(),
            Node::Plain(Value::BigInt(text)) => text.len(),
            Node::Plain(Value::WideStr(units)) => units.len() * 2,
            _ => 0,
        }
    }
}

/// All of them; none if one of them is missing.
fn collect<T>(items: impl Iterator<Item = Option<Result<T, DecodeError>>>) -> Result<Option<Vec<T>>, DecodeError> {
    let items: Option<Result<Vec<T>, DecodeError>> = items.collect();
    items.transpose()
}
