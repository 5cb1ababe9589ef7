//! Chords: a group whose results go to a body when all of them are there.

use super::{
    Kind, Plan, ResultNode, Step,
    freeze::{Freeze, is_empty},
    group_of, kind, link, members, merge, put_members, take_body, take_header, text,
};
use crate::{
    producer::{ProducerError, producer::new_id},
    protocol::Signature,
    serialization::{Map, Value},
};

/// Options that delay the header, not the body.
const DELAYS: [&str; 2] = ["countdown", "eta"];

impl Plan<'_> {
    /// Sends the header, each part with a copy of the body; an empty header sends the body.
    pub(super) fn apply_chord(
        &mut self,
        mut chord: Signature,
        args: Vec<Value>,
        call: Map,
    ) -> Result<ResultNode, ProducerError> {
        let args = merge::args(&chord, &args);
        let mut body = self.body_of(&mut chord, &call)?;
        let mut options = chord.options.clone();
        options.extend(call);
        let delays: Map =
            DELAYS.iter().filter_map(|name| Some(((*name).to_owned(), options.shift_remove(*name)?))).collect();
        let id = options.shift_remove("task_id").and_then(|id| id.as_str().map(str::to_owned));
        add_callbacks(&mut body, &mut options)?;
        body.options.extend(without_parent(&options));

        let header_id = text(&chord.options, "task_id").unwrap_or_else(new_id);
        let root_id = text(&body.options, "root_id");
        let place = Freeze {
            id: Some(id.unwrap_or_else(new_id)),
            group_id: Some(header_id.clone()),
            root_id: root_id.clone(),
            ..Freeze::default()
        };
        let mut result = self.freeze(&mut body, place)?;
        strip_header_links(&mut body)?;
        let header = self.apply_header(&mut chord, body, &header_id, root_id, args, options, delays)?;
        result.set_parent(header);
        Ok(result)
    }

    #[allow(clippy::too_many_arguments, reason = "the parts of one chord")]
    fn apply_header(
        &mut self,
        chord: &mut Signature,
        body: Signature,
        id: &str,
        root_id: Option<String>,
        args: Vec<Value>,
        mut options: Map,
        delays: Map,
    ) -> Result<ResultNode, ProducerError> {
        let mut header = group_of(members(chord, "header")?);
        header.options.insert("task_id".to_owned(), id.into());
        let parts =
            Freeze { group_id: Some(id.to_owned()), chord: Some(body.to_value()), root_id, ..Freeze::default() };
        let result = self.freeze_group(&mut header, parts)?;
        if is_empty(&header) {
            self.apply(body, vec![Value::List(Vec::new())], Map::new())?;
            return Ok(result);
        }
        if result.children.iter().flatten().any(ResultNode::is_group) {
            self.steps.push(Step::SaveHeader { group_id: id.to_owned(), result: result.clone().into_tuple() });
        }
        let parts_of_header = result.children.iter().flatten().map(|part| part.clone().into_tuple()).collect();
        self.steps.push(Step::Unlock { group_id: id.to_owned(), body: Box::new(body), result: parts_of_header });
        for own in ["chain", "chord"] {
            options.shift_remove(own);
        }
        options.extend(delays);
        options.insert("task_id".to_owned(), id.into());
        self.apply(header, args, options)?;
        Ok(result)
    }

    /// The body under the call's options.
    fn body_of(&self, chord: &mut Signature, call: &Map) -> Result<Signature, ProducerError> {
        let none = || ProducerError::Canvas("a chord has no body".to_owned());
        let mut body = take_body(chord)?.ok_or_else(none)?;
        let mut call = without_parent(call);
        for name in DELAYS.iter().chain(&["link", "link_error", "task_id"]) {
            call.shift_remove(*name);
        }
        body.options = merge::options(&body.options, call);
        Ok(body)
    }
}

/// `link` and `link_error` of a chord are its body's; neither may reach the header.
fn add_callbacks(body: &mut Signature, options: &mut Map) -> Result<(), ProducerError> {
    for callback in link::many(options.shift_remove("link").unwrap_or_default()) {
        link::link(body, &callback)?;
    }
    for errback in link::many(options.shift_remove("link_error").unwrap_or_default()) {
        link::link_error_to_body(body, &errback)?;
    }
    Ok(())
}

/// The body's parent is the part that fires it.
fn without_parent(options: &Map) -> Map {
    let mut options = options.clone();
    options.shift_remove("parent_id");
    options
}

/// How many parts a signature counts for in a chord's header (`_chord._descend`).
pub(super) fn count(signature: &Signature) -> Result<u64, ProducerError> {
    let mut signature = signature.clone();
    match kind(&signature) {
        Kind::Task => Ok(1),
        Kind::Group => members(&mut signature, "tasks")?.iter().map(count).sum(),
        Kind::Chain => members(&mut signature, "tasks")?.last().map_or(Ok(0), count),
        Kind::Chord => take_body(&mut signature)?.map_or(Ok(0), |body| count(&body)),
    }
}

/// Whether a chord's body is a chain that does not begin with a group.
pub(super) fn body_is_led_by_task(chord: &Signature) -> bool {
    let body = chord.kwargs.get("body").and_then(Value::as_map);
    let kind_of = |signature: &Value| signature.as_map()?.get("subtask_type")?.as_str().map(str::to_owned);
    let Some(body) = body.filter(|body| body.get("subtask_type").and_then(Value::as_str) == Some("chain")) else {
        return false;
    };
    let tasks = body.get("kwargs").and_then(Value::as_map).and_then(|kwargs| kwargs.get("tasks"));
    let first = tasks.and_then(Value::as_list).and_then(<[Value]>::first);
    first.is_some_and(|first| kind_of(first).as_deref() != Some("group"))
}

/// Takes the body off the parts of a chord that is not being sent yet: it is in the chord itself, and every copy in
/// the parts would multiply with each nesting.
pub(super) fn strip_header_links(signature: &mut Signature) -> Result<(), ProducerError> {
    match kind(signature) {
        Kind::Task => Ok(()),
        Kind::Group | Kind::Chain => each(signature, "tasks", strip_header_links),
        Kind::Chord => {
            let mut header = take_header(signature)?;
            clear_chord(&mut header)?;
            strip_header_links(&mut header)?;
            signature.kwargs.insert("header".to_owned(), header.into_value());
            on_body(signature, strip_header_links)
        }
    }
}

/// Removes the option `chord` from the tasks with which a signature ends.
fn clear_chord(signature: &mut Signature) -> Result<(), ProducerError> {
    signature.options.shift_remove("chord");
    match kind(signature) {
        Kind::Task => Ok(()),
        Kind::Group => each(signature, "tasks", clear_chord),
        Kind::Chain => {
            let mut tasks = members(signature, "tasks")?;
            if let Some(last) = tasks.last_mut() {
                clear_chord(last)?;
            }
            put_members(signature, "tasks", tasks);
            Ok(())
        }
        Kind::Chord => on_body(signature, clear_chord),
    }
}

fn each(
    signature: &mut Signature,
    keyword: &str,
    change: impl FnMut(&mut Signature) -> Result<(), ProducerError>,
) -> Result<(), ProducerError> {
    let mut tasks = members(signature, keyword)?;
    tasks.iter_mut().try_for_each(change)?;
    put_members(signature, keyword, tasks);
    Ok(())
}

fn on_body(
    chord: &mut Signature,
    change: impl FnOnce(&mut Signature) -> Result<(), ProducerError>,
) -> Result<(), ProducerError> {
    if let Some(mut body) = take_body(chord)? {
        change(&mut body)?;
        chord.kwargs.insert("body".to_owned(), body.into_value());
    }
    Ok(())
}
