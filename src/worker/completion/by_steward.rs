//! [`BySteward`]: what of an end only the app's own Python can do, done in the steward.
//!
//! Its result backend, where the parent does not speak it; chords whose header only Celery's own join can read; errbacks of
//! the new style. The other half is `python/celery_rs/endings.py`.

use std::{collections::HashSet, sync::Arc};

use bytes::Bytes;
use futures::{FutureExt, future::BoxFuture};

use crate::{
    backend::{BackendError, ChordPart, ChordProgress, Format, ResultBackend, StoreRequest},
    ipc::Errand,
    pool::{Steward, StewardError},
    protocol::Signature,
    serialization::{Map, Value, json},
    worker::completion::{Errbacks, Failed, PythonJoin},
};

/// The app's result backend, errbacks and joins, in its own Python.
pub struct BySteward {
    steward: Steward,
    /// How documents are worded for the steward, which writes them in the app's own way.
    format: Format,
    /// Class path of the backend, for people.
    backend: String,
    new_style: HashSet<String>,
}

impl BySteward {
    /// For an app with this backend, whose tasks of these names take `(request, exc, traceback)` as errbacks.
    pub fn new(steward: Steward, backend: &str, new_style: impl IntoIterator<Item = String>) -> Self {
        let (backend, new_style) = (backend.to_owned(), new_style.into_iter().collect());
        Self { steward, format: Format::default(), backend, new_style }
    }

    async fn call<const COUNT: usize>(&self, name: &str, fields: [(&str, Value); COUNT]) -> Result<Bytes, String> {
        let arguments = Value::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect());
        let arguments = json::to_string(&arguments).map_err(|error| error.to_string())?;
        let errand = Errand { name: name.to_owned(), arguments: arguments.into(), job: None };
        self.steward.call(errand).await.map_err(|error: StewardError| error.to_string())
    }

    async fn return_part(&self, part: ChordPart) -> Result<(), String> {
        let fields = [
            ("group_id", part.group_id.into()),
            ("task_id", part.task_id.into()),
            ("group_index", part.group_index.into()),
            ("state", part.state.as_str().into()),
            ("result", part.result),
            ("body", part.body.to_value()),
        ];
        self.call("chord_part", fields).await.map(drop)
    }
}

impl ResultBackend for BySteward {
    fn store(&self, request: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        async move {
            let document = String::from_utf8(request.document.to_vec());
            let document = document.map_err(|error| BackendError::Refused(error.to_string()))?;
            let fields = [
                ("document", document.into()),
                ("reply_to", request.reply_to.into()),
                ("correlation_id", request.correlation_id.into()),
            ];
            self.call("store_result", fields).await.map(drop).map_err(BackendError::Refused)
        }
        .boxed()
    }

    fn fetch<'a>(&'a self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BackendError>> {
        async move {
            let meta = self.call("task_meta", [("task_id", task_id.into())]).await;
            let meta = meta.map_err(BackendError::Unreachable)?;
            Ok(Some(meta).filter(|meta| &meta[..] != b"null"))
        }
        .boxed()
    }

    fn chord_part(&self, part: ChordPart) -> BoxFuture<'_, Result<ChordProgress, BackendError>> {
        // Celery's own join does all that follows.
        self.return_part(part).map(|done| done.map(|()| ChordProgress::Waiting).map_err(BackendError::Refused)).boxed()
    }

    fn format(&self) -> &Format {
        &self.format
    }

    fn uri(&self) -> String {
        self.backend.clone()
    }
}

impl PythonJoin for BySteward {
    fn join(&self, part: ChordPart) -> BoxFuture<'_, Result<(), String>> {
        self.return_part(part).boxed()
    }
}

impl Errbacks for BySteward {
    fn is_new_style(&self, errback: &Signature) -> bool {
        self.new_style.contains(&errback.task)
    }

    fn call(&self, failed: Arc<Failed>, errback: Signature) -> BoxFuture<'_, ()> {
        async move {
            let fields = [
                ("task_id", Value::from(failed.task_id.as_str())),
                ("headers", Value::Map(failed.headers.clone())),
                ("exception", failed.exception.to_value()),
                ("traceback", failed.exception.traceback.clone().into()),
                ("errbacks", Value::List(vec![errback.to_value()])),
            ];
            if let Err(error) = BySteward::call(self, "call_errbacks", fields).await {
                let id = &failed.task_id;
                tracing::error!(target: "celery.backends.base", "errback {} of task {id} was not called: {error}", errback.task);
            }
        }
        .boxed()
    }
}

/// What Celery's own `Request` has said of an end in the steward.
#[derive(Debug, Default, PartialEq)]
pub struct Told {
    /// Kinds and fields, in order.
    pub events: Vec<(String, Map)>,
    /// `ack`, `requeue` or `drop`; none if it has left the message alone.
    pub settled: Option<String>,
}

impl Told {
    /// Reads an answer; what is missing was not said.
    pub fn read(answer: &[u8]) -> Self {
        let Ok(Value::Map(mut answer)) = json::parse(answer) else { return Self::default() };
        let events = answer.get("events").and_then(Value::as_list).unwrap_or_default().iter();
        let events = events.filter_map(|event| match event.as_list()? {
            [Value::Str(kind), Value::Map(fields)] => Some((kind.clone(), fields.clone())),
            _ => None,
        });
        let events = events.collect();
        let settled = match answer.swap_remove("settled") {
            Some(Value::Str(word)) => Some(word),
            _ => None,
        };
        Self { events, settled }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_told_is_read() {
        let told = Told::read(br#"{"events": [["task-failed", {"uuid": "1"}], 7], "settled": "requeue"}"#);
        let fields = Map::from_iter([("uuid".to_owned(), Value::from("1"))]);
        assert_eq!(
            told,
            Told { events: vec![("task-failed".to_owned(), fields)], settled: Some("requeue".to_owned()) }
        );
        assert_eq!(Told::read(b"null"), Told::default());
    }
}
