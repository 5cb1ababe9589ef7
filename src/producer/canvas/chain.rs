//! Chains: one task after the other. What follows the first one travels in its message, the last task first.

use super::{
    Kind, Plan, ResultNode,
    chord::body_is_led_by_task,
    chord_of,
    freeze::{Freeze, is_empty},
    kind, link, members, merge, take_body, text,
};
use crate::{
    producer::ProducerError,
    protocol::Signature,
    serialization::{Map, Value},
};

/// What the ends of a chain get: arguments for the first task, place and chord for the last one, errbacks for all.
pub(super) struct Ends {
    pub args: Vec<Value>,
    pub errbacks: Vec<Value>,
    pub last: Freeze,
}

impl Plan<'_> {
    /// Sends the first task, the others with it.
    pub(super) fn apply_chain(
        &mut self,
        mut chain: Signature,
        args: Vec<Value>,
        call: Map,
    ) -> Result<ResultNode, ProducerError> {
        let mut options = chain.options.clone();
        options.extend(call);
        let mut take = |name: &str| options.shift_remove(name).filter(|value| !value.is_null());
        let last = Freeze {
            id: take("task_id").and_then(|id| id.as_str().map(str::to_owned)),
            group_id: take("group_id").and_then(|id| id.as_str().map(str::to_owned)),
            chord: take("chord"),
            root_id: take("root_id").and_then(|id| id.as_str().map(str::to_owned)),
            group_index: take("group_index").and_then(|index| index.as_i64()),
        };
        let callbacks = link::many(take("link").unwrap_or_default());
        let errbacks = link::many(take("link_error").unwrap_or_default());
        // The parent is whoever sends.
        take("parent_id");
        let ends = Ends { args: merge::args(&chain, &args), errbacks, last };
        let steps = members(&mut chain, "tasks")?;
        let Some((mut tasks, result)) = self.prepare_steps(steps, &ends, true)? else {
            return Err(ProducerError::Canvas("a chain has no tasks".to_owned()));
        };
        if let Some(last) = tasks.last_mut() {
            callbacks.iter().for_each(|callback| link::append(last, "link", callback));
        }
        let first = tasks.remove(0);
        let is_alone = tasks.is_empty();
        self.add_chain(&mut options, tasks);
        let sent = self.apply(first, Vec::new(), options)?;
        Ok(if is_alone { sent } else { result })
    }

    /// The option `chain` of the first task: the rest, reversed, before what the chain itself is followed by.
    fn add_chain(&self, options: &mut Map, rest: Vec<Signature>) {
        if self.use_link {
            options.shift_remove("chain");
            return;
        }
        let follows = link::many(options.shift_remove("chain").unwrap_or_default());
        let rest = rest.into_iter().rev().map(Signature::into_value);
        options.insert("chain".to_owned(), Value::List(follows.into_iter().chain(rest).collect()));
    }

    /// Unpacks what is nested, makes chords of groups that are followed by something, gives out ids. Answers with the
    /// steps in order and the result of the last one; none if there are none. `to_send` is false while only freezing.
    pub(super) fn prepare_steps(
        &self,
        steps: Vec<Signature>,
        ends: &Ends,
        to_send: bool,
    ) -> Result<Option<(Vec<Signature>, ResultNode)>, ProducerError> {
        let mut steps = unpacked(steps, to_send)?;
        if let Some(first) = steps.first_mut() {
            first.args = merge::args(first, &ends.args);
        }
        let (mut tasks, mut results): (Vec<Signature>, Vec<ResultNode>) = (Vec::new(), Vec::new());
        let count = steps.len();
        for (place, mut task) in steps.into_iter().enumerate().rev() {
            if kind(&task) == Kind::Group && !tasks.is_empty() {
                task = upgraded(task, tasks.pop(), results.pop())?;
            }
            let rest = Freeze { root_id: ends.last.root_id.clone(), ..Freeze::default() };
            let freeze = if place + 1 == count { ends.last.clone() } else { rest };
            results.push(self.freeze(&mut task, freeze)?);
            if self.use_link
                && let Some(next) = tasks.last()
            {
                link::link(&mut task, &next.to_value())?;
            }
            for errback in &ends.errbacks {
                link::link_error(&mut task, errback)?;
            }
            tasks.push(task);
        }
        tasks.reverse();
        if to_send {
            tasks.iter_mut().try_for_each(super::chord::strip_header_links)?;
        }
        let result = results.into_iter().rev().reduce(|above, mut below| {
            below.set_root(above);
            below
        });
        Ok(result.map(|result| (tasks, result)))
    }
}

/// A group that is followed by a task is the header of a chord whose body is that task.
fn upgraded(
    mut group: Signature,
    body: Option<Signature>,
    body_result: Option<ResultNode>,
) -> Result<Signature, ProducerError> {
    let Some(body) = body else { return Ok(group) };
    let mut chord = chord_of(members(&mut group, "tasks")?, body);
    let id = text(&group.options, "task_id");
    let body_id = body_result.filter(|result| !result.is_group()).map(|result| result.id().to_owned());
    if let Some(id) = id.or(body_id) {
        chord.options.insert("task_id".to_owned(), id.into());
    }
    Ok(chord)
}

/// The steps without chains among them, groups of one opened, empty ones gone unless there is nothing else.
fn unpacked(steps: Vec<Signature>, to_send: bool) -> Result<Vec<Signature>, ProducerError> {
    let mut flat = Vec::with_capacity(steps.len());
    let mut stack: Vec<Signature> = steps.into_iter().rev().collect();
    let mut empty_group = None;
    while let Some(step) = stack.pop() {
        let mut step = opened(step)?;
        match kind(&step) {
            Kind::Chain => stack.extend(members(&mut step, "tasks")?.into_iter().rev()),
            Kind::Group if is_empty(&step) => empty_group = Some(step),
            Kind::Chord if to_send && body_is_led_by_task(&step) => {
                let (chord, rest) = unrolled(step)?;
                stack.extend(rest.into_iter().rev());
                flat.push(chord);
            }
            _ => flat.push(step),
        }
    }
    if flat.is_empty() {
        flat.extend(empty_group);
    }
    Ok(flat)
}

/// A group of one is that one.
fn opened(step: Signature) -> Result<Signature, ProducerError> {
    let is_single = step.kwargs.get("tasks").and_then(Value::as_list).is_some_and(|tasks| tasks.len() == 1);
    if kind(&step) != Kind::Group || !is_single {
        return Ok(step);
    }
    let mut group = step;
    Ok(members(&mut group, "tasks")?.pop().unwrap_or(group))
}

/// `chord(header, chain(a, b, c))` as `chord(header, a), b, c`: every part of a header carries a copy of the body.
fn unrolled(mut chord: Signature) -> Result<(Signature, Vec<Signature>), ProducerError> {
    let Some(mut body) = take_body(&mut chord)? else { return Ok((chord, Vec::new())) };
    let mut tasks = members(&mut body, "tasks")?;
    let (callbacks, errbacks) = (body.options.shift_remove("link"), body.options.shift_remove("link_error"));
    if let Some(last) = tasks.last_mut() {
        link::many(callbacks.unwrap_or_default()).iter().try_for_each(|callback| link::link(last, callback))?;
    }
    for errback in link::many(errbacks.unwrap_or_default()) {
        tasks.iter_mut().try_for_each(|task| link::link_error(task, &errback))?;
    }
    let mut first = tasks.remove(0);
    // A chain keeps these for its own ends; the others go to its first task.
    for own in ["chord", "group_id", "group_index", "parent_id", "root_id", "task_id"] {
        body.options.shift_remove(own);
    }
    first.options = merge::options(&first.options, body.options);
    chord.kwargs.insert("body".to_owned(), first.into_value());
    Ok((chord, tasks))
}
