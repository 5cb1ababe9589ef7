//! [`ResultNode`]: an `AsyncResult` or `GroupResult` as plain data.

use crate::serialization::Value;

/// The result that stands for a signature, with what it follows and what it is made of.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::producer) struct ResultNode {
    id: String,
    parent: Option<Box<ResultNode>>,
    /// Members of a group; none for a task.
    pub(super) children: Option<Vec<ResultNode>>,
}

impl ResultNode {
    pub fn task(id: String) -> Self {
        Self { id, parent: None, children: None }
    }

    pub fn group(id: String, children: Vec<ResultNode>) -> Self {
        Self { id, parent: None, children: Some(children) }
    }

    pub fn id(&self) -> &str {
        &self.id
    }

    pub fn is_group(&self) -> bool {
        self.children.is_some()
    }

    /// Hangs `parent` above the topmost result of this one.
    pub fn set_root(&mut self, parent: ResultNode) {
        match &mut self.parent {
            Some(above) => above.set_root(parent),
            none => *none = Some(Box::new(parent)),
        }
    }

    /// Follows `parent`, whatever it followed before.
    pub fn set_parent(&mut self, parent: ResultNode) {
        self.parent = Some(Box::new(parent));
    }

    /// The tuple of `as_tuple()`: `[[id, parent], children]`.
    pub fn into_tuple(self) -> Value {
        let parent = self.parent.map_or(Value::Null, |parent| parent.into_tuple());
        let children = match self.children {
            Some(children) => Value::List(children.into_iter().map(ResultNode::into_tuple).collect()),
            None => Value::Null,
        };
        Value::List(vec![Value::List(vec![Value::Str(self.id), parent]), children])
    }
}
