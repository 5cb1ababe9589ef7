//! A part of a chord's header has ended; the last one publishes the body, or fails it (B50–B63).

use std::sync::Arc;

use futures::{FutureExt, future::BoxFuture};

use crate::{
    backend::{ChordPart, ChordProgress, ResultBackend},
    producer::{Apply, ChordHeaders},
    protocol::{ExceptionInfo, Signature, TaskState, repr::repr},
    serialization::{Map, Value},
    worker::completion::{
        Completion, RequestInfo, chain,
        errback::Failed,
        exception::{celery, raised},
        subject::Subject,
    },
};

/// Joins the chords that only Python can: their headers hold saved groups or pickles of Python's classes. Whoever can
/// reach a Python process implements this by calling the Python backend's `on_chord_part_return`.
pub trait PythonJoin: Send + Sync {
    /// Returns the part once more, there. The error is why it could not be.
    fn join(&self, part: ChordPart) -> BoxFuture<'_, Result<(), String>>;
}

/// The sizes of chords that are sent from here, kept in the result backend.
pub struct BackendChords(pub Arc<dyn ResultBackend>);

impl ChordHeaders for BackendChords {
    fn set_size<'a>(&'a self, group_id: &'a str, size: u64) -> BoxFuture<'a, Result<(), String>> {
        async move { self.0.set_chord_size(group_id, size).await.map_err(|error| error.to_string()) }.boxed()
    }

    fn are_unlocked(&self) -> bool {
        self.0.is_unlocked()
    }

    fn save_header<'a>(&'a self, group_id: &'a str, result: &'a Value) -> BoxFuture<'a, Result<(), String>> {
        async move { self.0.save_group(group_id, result).await.map_err(|error| error.to_string()) }.boxed()
    }
}

/// A part that has ended.
#[derive(Debug)]
pub(super) struct Part {
    id: String,
    group_id: Option<String>,
    group_index: Option<i64>,
    root_id: Option<String>,
    priority: Option<i64>,
    body: Signature,
}

impl Part {
    pub fn of_request(info: &RequestInfo<'_>, body: Signature) -> Self {
        let headers = info.headers;
        Self {
            id: headers.id.to_string(),
            group_id: headers.group.clone(),
            group_index: headers.group_index,
            root_id: headers.root_id.clone(),
            priority: info.message.properties.priority,
            body,
        }
    }

    /// A part that was never sent.
    pub fn of_signature(signature: &Signature, body: Signature) -> Option<Self> {
        let subject = Subject::of_signature(signature)?;
        Some(Self {
            id: subject.id.to_owned(),
            group_id: subject.group.map(str::to_owned),
            group_index: subject.group_index,
            root_id: subject.root_id.map(str::to_owned),
            priority: None,
            body,
        })
    }
}

impl Completion {
    /// Returns a part. Errors are logged: the task itself has ended.
    pub(super) async fn part_returned(&self, part: Part, state: TaskState, result: Value) {
        let Some(group_id) = part.group_id.clone() else { return };
        let counted = ChordPart {
            group_id: group_id.clone(),
            task_id: part.id.clone(),
            group_index: part.group_index,
            state,
            result,
            body: part.body.clone(),
        };
        match self.inner.backend.chord_part(counted.clone()).await {
            Ok(ChordProgress::Waiting) => {}
            Ok(ChordProgress::Ready { results, claim }) => self.fire(&group_id, part, results, &claim).await,
            Ok(ChordProgress::Failed { reason }) => {
                self.chord_failed(&group_id, part.body, &reason, &counted).await;
            }
            Ok(ChordProgress::NeedsPython) => self.join_in_python(&group_id, part.body, counted).await,
            Err(error) => {
                tracing::error!(target: "celery.backends.base", "Chord {} raised: {error}", quoted(&group_id))
            }
        }
    }

    /// Publishes the body with the header's results.
    async fn fire(&self, group_id: &str, part: Part, results: Vec<Value>, claim: &str) {
        match self.inner.backend.extend_claim(group_id, claim, &part.body).await {
            Ok(true) => {}
            // Someone else has it by now; the backend has logged that.
            Ok(false) => return,
            Err(error) => {
                tracing::error!(target: "celery.backends.redis", "Chord {} raised: {error}", quoted(group_id));
                return;
            }
        }
        let root_id = part.root_id.as_deref().unwrap_or(&part.id);
        let apply = Apply::default()
            .with_args(vec![Value::List(results)])
            .with_parent(&part.id, root_id)
            .with_parent_priority(part.priority);
        if let Err(error) = self.inner.producer.send(part.body.clone(), apply).await {
            tracing::error!(target: "celery.backends.redis", "Chord callback for {group_id:?} raised: {error}");
            let exception = raised(celery("ChordError", format!("Callback error: {error}")));
            self.chord_error(part.body, exception.clone(), exception).await;
        }
        if let Err(error) = self.inner.backend.chord_done(group_id, claim).await {
            tracing::warn!(target: "celery.backends.redis", "Chord {} could not be cleared: {error}", quoted(group_id));
        }
    }

    async fn chord_failed(&self, group_id: &str, body: Signature, reason: &str, last: &ChordPart) {
        tracing::error!(target: "celery.backends.redis", "Chord {} raised: ChordError({})", quoted(group_id), quoted(reason));
        let mut exception = raised(celery("ChordError", reason));
        let original = self.original(reason, last).await;
        if let (Some(original), Some(traceback)) = (&original, &exception.traceback) {
            exception.traceback = Some(because_of(original, traceback));
        }
        let original = original.unwrap_or_else(|| exception.clone());
        self.chord_error(body, exception, original).await;
        if let Err(error) = self.inner.backend.chord_failed(group_id).await {
            tracing::warn!(target: "celery.backends.redis", "Chord {} could not be cleared: {error}", quoted(group_id));
        }
    }

    /// The exception of the part that the reason names.
    async fn original(&self, reason: &str, last: &ChordPart) -> Option<ExceptionInfo> {
        let id = reason.strip_prefix("Dependency ")?.split(' ').next()?;
        if id == last.task_id {
            return ExceptionInfo::from_value(&last.result).ok();
        }
        let document = self.inner.backend.fetch(id).await.ok()??;
        let meta = self.inner.backend.format().decode(&document).ok()?;
        ExceptionInfo::from_value(&meta.result).ok()
    }

    async fn join_in_python(&self, group_id: &str, body: Signature, part: ChordPart) {
        let joined = match &self.inner.joins {
            Some(joins) => joins.join(part.clone()).await,
            None => Err("its header holds groups or objects that only Celery's own join can read".to_owned()),
        };
        if let Err(reason) = joined {
            self.chord_failed(group_id, body, &format!("Join error: {reason}"), &part).await;
        }
    }

    /// Fails a body that will never run, and what comes after it (`Backend.chord_error_from_stack`).
    fn chord_error(&self, mut body: Signature, exception: ExceptionInfo, original: ExceptionInfo) -> BoxFuture<'_, ()> {
        async move {
            let rest = chain::links(&body.options);
            if body.subtask_type.as_deref() == Some("group") {
                self.fail_group(&body, &original).await;
            } else {
                let id = body.options.entry("task_id".to_owned()).or_insert_with(new_id);
                let id = id.as_str().unwrap_or_default().to_owned();
                self.fail_unsent(&id, &body, errbacks_of(&body), &exception).await;
            }
            self.fail_chain(rest, &exception, true).await;
        }
        .boxed()
    }

    /// Each member of a group that is a chord's body fails with what failed the header.
    async fn fail_group(&self, group: &Signature, original: &ExceptionInfo) {
        let of_group = errbacks_of(group);
        let members = group.kwargs.get("tasks").and_then(Value::as_list).unwrap_or_default();
        for member in members.iter().filter_map(|member| Signature::from_value(member).ok()) {
            let (id, mut errbacks) = result_errbacks(&member);
            let Some(id) = id else { continue };
            for errback in &of_group {
                if !errbacks.contains(errback) {
                    errbacks.push(errback.clone());
                }
            }
            self.fail_unsent(&id, &member, errbacks, original).await;
        }
        if let Some(id) = group.options.get("task_id").and_then(Value::as_str) {
            self.store_failure(id, original).await;
        }
    }

    /// Fails a task that was never sent.
    async fn fail_unsent(&self, id: &str, task: &Signature, errbacks: Vec<Signature>, exception: &ExceptionInfo) {
        let headers =
            Map::from_iter([("id".to_owned(), Value::from(id)), ("task".to_owned(), Value::from(task.task.as_str()))]);
        let failed = Failed { task_id: id.to_owned(), root_id: None, headers, exception: exception.clone() };
        self.call_errbacks(failed, errbacks).await;
        self.store_failure(id, exception).await;
    }

    async fn store_failure(&self, id: &str, exception: &ExceptionInfo) {
        let (result, traceback) = (exception.to_value(), exception.traceback.clone());
        if let Err(error) = self.store(Subject::of_id(id), TaskState::Failure, result, traceback).await {
            tracing::error!(target: "celery.backends.base", "failure of task {id} could not be stored: {error}");
        }
    }
}

/// The id of the result that stands for a signature, and the errbacks linked to it (`_result_errbacks`).
fn result_errbacks(signature: &Signature) -> (Option<String>, Vec<Signature>) {
    let mut errbacks = errbacks_of(signature);
    let body = signature.kwargs.get("body").and_then(|body| Signature::from_value(body).ok());
    match (signature.subtask_type.as_deref(), body) {
        (Some("chord"), Some(body)) => {
            let (id, of_body) = result_errbacks(&body);
            errbacks.extend(of_body);
            (id, errbacks)
        }
        _ => (signature.options.get("task_id").and_then(Value::as_str).map(str::to_owned), errbacks),
    }
}

fn errbacks_of(signature: &Signature) -> Vec<Signature> {
    match signature.options.get("link_error") {
        Some(Value::List(errbacks)) => {
            errbacks.iter().filter_map(|errback| Signature::from_value(errback).ok()).collect()
        }
        Some(single) => Signature::from_value(single).into_iter().collect(),
        None => Vec::new(),
    }
}

fn new_id() -> Value {
    Value::Str(uuid::Uuid::new_v4().to_string())
}

/// A traceback with its cause, of which only the exception is known.
fn because_of(cause: &ExceptionInfo, traceback: &str) -> String {
    let shown = raised(cause.clone()).traceback.unwrap_or_default();
    let last = shown.split_once('\n').map_or(&*shown, |(_, last)| last);
    format!("{last}\nThe above exception was the direct cause of the following exception:\n\n{traceback}")
}

/// As Python shows a text.
fn quoted(text: &str) -> String {
    repr(&Value::from(text))
}
