//! Giving out ids: `freeze()` of each kind of signature.

use super::{Kind, Plan, ResultNode, chain::Ends, group_of, kind, members, put_members, take_body, text};
use crate::{
    producer::{ProducerError, producer::new_id},
    protocol::Signature,
    serialization::Value,
};

/// What freezing writes into a signature that does not have it.
#[derive(Debug, Clone, Default)]
pub(super) struct Freeze {
    pub id: Option<String>,
    pub group_id: Option<String>,
    pub chord: Option<Value>,
    pub root_id: Option<String>,
    pub group_index: Option<i64>,
}

impl Plan<'_> {
    /// Gives ids to a signature and all in it; answers with the result that stands for it.
    pub(super) fn freeze(&self, signature: &mut Signature, freeze: Freeze) -> Result<ResultNode, ProducerError> {
        match kind(signature) {
            Kind::Task => Ok(ResultNode::task(self.freeze_options(signature, freeze))),
            Kind::Group => self.freeze_group(signature, freeze),
            Kind::Chain => self.freeze_chain(signature, freeze),
            Kind::Chord => self.freeze_chord(signature, freeze),
        }
    }

    fn freeze_options(&self, signature: &mut Signature, freeze: Freeze) -> String {
        let options = &mut signature.options;
        let id = text(options, "task_id").or(freeze.id).unwrap_or_else(new_id);
        options.insert("task_id".to_owned(), id.as_str().into());
        if let Some(root_id) = freeze.root_id {
            options.insert("root_id".to_owned(), root_id.into());
        }
        options.entry("reply_to".to_owned()).or_insert_with(|| self.oid.into());
        if let Some(group_id) = freeze.group_id {
            options.entry("group_id".to_owned()).or_insert_with(|| group_id.into());
        }
        if let Some(chord) = freeze.chord {
            options.insert("chord".to_owned(), chord);
        }
        if let Some(index) = freeze.group_index {
            options.insert("group_index".to_owned(), index.into());
        }
        id
    }

    /// Members of groups inside become members of this one.
    pub(super) fn freeze_group(&self, group: &mut Signature, freeze: Freeze) -> Result<ResultNode, ProducerError> {
        let options = &mut group.options;
        let id = text(options, "task_id").unwrap_or_else(new_id);
        options.insert("task_id".to_owned(), id.as_str().into());
        for (name, value) in [
            ("group_id", freeze.group_id.clone().map(Value::Str)),
            ("chord", freeze.chord.clone()),
            ("group_index", freeze.group_index.map(Value::Int)),
        ] {
            if let Some(value) = value {
                options.insert(name.to_owned(), value);
            }
        }
        options.entry("root_id".to_owned()).or_insert_with(|| freeze.root_id.clone().into());
        options.entry("parent_id".to_owned()).or_default();
        let mut tasks = flattened(members(group, "tasks")?)?;
        let mut results = Vec::with_capacity(tasks.len());
        for (index, task) in (0..).zip(&mut tasks) {
            results.push(self.freeze(task, Freeze { id: None, group_index: Some(index), ..freeze.clone() })?);
        }
        put_members(group, "tasks", tasks);
        Ok(ResultNode::group(id, results))
    }

    fn freeze_chain(&self, chain: &mut Signature, freeze: Freeze) -> Result<ResultNode, ProducerError> {
        let ends = Ends { args: chain.args.clone(), errbacks: Vec::new(), last: freeze };
        let steps = members(chain, "tasks")?;
        let prepared = self.prepare_steps(steps, &ends, false)?;
        let empty = || ProducerError::Canvas("a chain has no tasks".to_owned());
        let (tasks, result) = prepared.ok_or_else(empty)?;
        put_members(chain, "tasks", tasks);
        chain.options.insert("task_id".to_owned(), result.id().into());
        Ok(result)
    }

    /// The header's parts carry the body; the body stands for the chord.
    fn freeze_chord(&self, chord: &mut Signature, freeze: Freeze) -> Result<ResultNode, ProducerError> {
        let root_id = freeze.root_id.clone();
        let mut body = take_body(chord)?;
        let body_result = body.as_mut().map(|body| self.freeze(body, freeze)).transpose()?;
        let mut header = group_of(members(chord, "header")?);
        if let Some(id) = chord.options.get("task_id") {
            header.options.insert("task_id".to_owned(), id.clone());
        }
        let body = body.map(Signature::into_value);
        let parts = Freeze { chord: body.clone(), root_id, ..Freeze::default() };
        let header_result = self.freeze_group(&mut header, parts)?;
        chord.options.insert("task_id".to_owned(), header_result.id().into());
        chord.kwargs.insert("header".to_owned(), header.into_value());
        chord.kwargs.insert("body".to_owned(), body.unwrap_or_default());
        let Some(mut result) = body_result else { return Ok(header_result) };
        result.set_root(header_result);
        Ok(result)
    }
}

/// Groups give way to their members (the last one first, as Celery's deque has it); empty chains go.
fn flattened(tasks: Vec<Signature>) -> Result<Vec<Signature>, ProducerError> {
    let mut flat = Vec::with_capacity(tasks.len());
    let mut stack: Vec<Signature> = tasks.into_iter().rev().collect();
    while let Some(mut task) = stack.pop() {
        match kind(&task) {
            Kind::Group => stack.extend(members(&mut task, "tasks")?),
            Kind::Chain if is_empty(&task) => {}
            _ => flat.push(task),
        }
    }
    Ok(flat)
}

/// Whether a group or chain has no members.
pub(super) fn is_empty(signature: &Signature) -> bool {
    signature.kwargs.get("tasks").is_none_or(|tasks| !tasks.is_truthy())
}
