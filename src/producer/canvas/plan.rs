//! [`Plan`]: the steps that sending a signature means.

use super::{Kind, ResultNode, kind, merge, text};
use crate::{
    producer::{ProducerError, producer::new_id},
    protocol::Signature,
    serialization::{Map, Value},
};

/// One task to be sent.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::producer) struct TaskCall {
    pub task: String,
    pub args: Vec<Value>,
    pub kwargs: Map,
    pub options: Map,
}

/// Something to be done, in order.
#[derive(Debug, Clone, PartialEq)]
pub(in crate::producer) enum Step {
    /// Send this task.
    Send(Box<TaskCall>),
    /// Tell the backend how many parts a chord has.
    ChordSize { group_id: String, size: u64 },
    /// Let the backend keep the result of a header that has groups in it.
    SaveHeader { group_id: String, result: Value },
    /// Send who looks whether the header's tasks have ended, for a backend that does not count them.
    Unlock { group_id: String, body: Box<Signature>, result: Vec<Value> },
}

/// The steps so far.
pub(in crate::producer) struct Plan<'s> {
    /// `reply_to` of what is frozen here.
    pub(super) oid: &'s str,
    /// Whether chains are linked by callbacks, as protocol 1 needs it.
    pub(super) use_link: bool,
    pub(super) steps: Vec<Step>,
}

impl<'s> Plan<'s> {
    pub fn new(oid: &'s str, use_link: bool) -> Self {
        Self { oid, use_link, steps: Vec::new() }
    }

    pub fn into_steps(self) -> Vec<Step> {
        self.steps
    }

    /// `apply_async` of any signature.
    pub fn apply(
        &mut self,
        signature: Signature,
        args: Vec<Value>,
        mut options: Map,
    ) -> Result<ResultNode, ProducerError> {
        options.retain(|_, value| !value.is_null());
        match kind(&signature) {
            Kind::Task => Ok(self.apply_task(&signature, &args, options)),
            Kind::Chain => self.apply_chain(signature, args, options),
            Kind::Group => self.apply_group(signature, &args, options),
            Kind::Chord => self.apply_chord(signature, args, options),
        }
    }

    fn apply_task(&mut self, signature: &Signature, args: &[Value], options: Map) -> ResultNode {
        let mut options = merge::options(&signature.options, options);
        let id = text(&options, "task_id").unwrap_or_else(new_id);
        options.insert("task_id".to_owned(), id.as_str().into());
        self.steps.push(Step::Send(Box::new(TaskCall {
            task: signature.task.clone(),
            args: merge::args(signature, args),
            kwargs: signature.kwargs.clone(),
            options,
        })));
        ResultNode::task(id)
    }
}
