//! Groups: all of their members at once.

use super::{
    Kind, Plan, ResultNode, Step,
    chord::count,
    freeze::{Freeze, is_empty},
    kind, members, merge, text,
};
use crate::{
    producer::{ProducerError, producer::new_id},
    protocol::Signature,
    serialization::{Map, Value},
};

impl Plan<'_> {
    /// Sends every member. A chord's size is told before the last one.
    pub(super) fn apply_group(
        &mut self,
        mut group: Signature,
        args: &[Value],
        call: Map,
    ) -> Result<ResultNode, ProducerError> {
        if call.contains_key("link") || call.contains_key("link_error") {
            return Err(ProducerError::Canvas("Cannot add link to group: use a chord".to_owned()));
        }
        let mut options = merge::options(&group.options, call);
        let id = options.shift_remove("task_id").and_then(|id| id.as_str().map(str::to_owned)).unwrap_or_else(new_id);
        options.insert("group_id".to_owned(), id.as_str().into());
        options.shift_remove("group_index");
        let chord = options.shift_remove("chord").filter(|chord| !chord.is_null());
        let root_id = text(&options, "root_id");
        let (tasks, results) = self.prepared(members(&mut group, "tasks")?, &id, root_id.as_deref())?;
        self.apply_members(tasks, &id, chord, args, &options)?;
        Ok(single_group(ResultNode::group(id, results)))
    }

    fn apply_members(
        &mut self,
        tasks: Vec<Signature>,
        group_id: &str,
        chord: Option<Value>,
        args: &[Value],
        options: &Map,
    ) -> Result<(), ProducerError> {
        let last = tasks.len().saturating_sub(1);
        let mut size = 0;
        for (place, task) in tasks.into_iter().enumerate() {
            let chord = chord.clone().or_else(|| task.options.get("chord").cloned()).filter(|chord| !chord.is_null());
            size += count(&task)?;
            if chord.is_some() && place == last {
                self.steps.push(Step::ChordSize { group_id: group_id.to_owned(), size });
            }
            let mut options = options.clone();
            options.insert("chord".to_owned(), chord.unwrap_or_default());
            self.apply(task, args.to_vec(), options)?;
        }
        Ok(())
    }

    /// The members with their ids; those of groups inside count as this one's, with places of their own.
    fn prepared(
        &self,
        tasks: Vec<Signature>,
        group_id: &str,
        root_id: Option<&str>,
    ) -> Result<(Vec<Signature>, Vec<ResultNode>), ProducerError> {
        let (mut ready, mut results) = (Vec::with_capacity(tasks.len()), Vec::with_capacity(tasks.len()));
        for (index, mut task) in (0..).zip(tasks) {
            match kind(&task) {
                Kind::Group => {
                    let (inner, inner_results) = self.prepared(members(&mut task, "tasks")?, group_id, root_id)?;
                    ready.extend(inner);
                    results.extend(inner_results);
                }
                Kind::Chain if is_empty(&task) => {}
                _ => {
                    results.push(self.freeze(
                        &mut task,
                        Freeze {
                            group_id: Some(group_id.to_owned()),
                            root_id: root_id.map(str::to_owned),
                            group_index: Some(index),
                            ..Freeze::default()
                        },
                    )?);
                    ready.push(task);
                }
            }
        }
        Ok((ready, results))
    }
}

/// A group whose only member's result is a group is that one.
fn single_group(mut result: ResultNode) -> ResultNode {
    match result.children.as_deref_mut() {
        Some([only]) if only.is_group() => only.clone(),
        _ => result,
    }
}
