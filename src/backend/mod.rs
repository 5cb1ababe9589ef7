//! Where results go: the port, and one file or folder per backend.
//!
//! A Python child hands over the document that Celery encoded; a native task's is encoded by [`document`]. Either way
//! the parent stores it here, pipelined with everyone else's.

#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "some of it is for Redis alone"))]
mod chord;
#[cfg(any(test, feature = "test-util"))]
pub mod contract;
#[cfg(feature = "database")]
pub mod database;
pub mod disabled;
pub mod document;
mod error;
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "some of it is for Redis alone"))]
mod keys;
pub mod memory;
mod open;
mod options;
#[cfg(feature = "redis")]
pub mod redis;
#[cfg_attr(not(feature = "redis"), allow(dead_code, reason = "some of it is for Redis alone"))]
mod retry;
mod row;
pub mod rpc;
mod settings;
mod status;

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::{
    protocol::{Signature, TaskState},
    serialization::Value,
};

pub use chord::{ChordOptions, PublishRetry};
pub use disabled::DisabledBackend;
pub use document::Format;
pub use error::BackendError;
pub use keys::Keys;
pub use open::open;
pub use options::{BackendOptions, DatabaseSettings, RedisSettings};
pub use retry::{AlwaysRetry, RetryPolicy};
pub use row::Layout;

/// One write to a result backend, already encoded.
#[derive(Debug, Clone)]
pub struct StoreRequest {
    /// Whose result it is.
    pub task_id: String,
    /// The state that the document holds.
    pub state: TaskState,
    /// The encoded document, in the app's `result_serializer`.
    pub document: Bytes,
    /// Where an `rpc://` client waits; none or empty means that nobody does.
    pub reply_to: Option<String>,
    /// What an `rpc://` client tells its results apart by; the task id where the message did not say.
    pub correlation_id: Option<String>,
}

/// A part of a chord's header that has ended.
#[derive(Debug, Clone)]
pub struct ChordPart {
    /// The chord's group id.
    pub group_id: String,
    /// Which part.
    pub task_id: String,
    /// Its place in the header.
    pub group_index: Option<i64>,
    /// How it ended.
    pub state: TaskState,
    /// Its result, or the exception's dict.
    pub result: Value,
    /// The chord's body, from the part's message.
    pub body: Signature,
}

/// What a part's end meant for its chord.
#[derive(Debug, Clone, PartialEq)]
pub enum ChordProgress {
    /// Others are still to come, or someone else publishes the body.
    Waiting,
    /// All parts are there and this worker has the claim: make it last with [`ResultBackend::extend_claim`], publish the
    /// body with these results, then [`ResultBackend::chord_done`], whether or not the body could be published.
    Ready {
        /// In header order.
        results: Vec<Value>,
        /// Proof of the claim.
        claim: String,
    },
    /// All parts are there, one of them failed: fail the body with this `ChordError` text, then
    /// [`ResultBackend::chord_failed`].
    Failed {
        /// `Dependency <id> raised <repr>`.
        reason: String,
    },
    /// The header holds saved groups, or pickles of Python's own classes, which only Celery's own join can read. No claim is
    /// held: call the Python backend's `on_chord_part_return` for this part; it is not counted twice.
    NeedsPython,
}

/// A result backend, as the worker needs it.
pub trait ResultBackend: Send + Sync {
    /// Writes a document. Never overwrites `SUCCESS` where Celery's backend does not. Retries by itself as Celery's backend does;
    /// resolves when the result is safe.
    fn store(&self, request: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>>;

    /// The document kept for a task, still encoded; none if there is none, as always where nothing is kept.
    fn fetch<'a>(&'a self, _task_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BackendError>> {
        ready(Ok(None)).boxed()
    }

    /// Counts a part of a chord's header. Where nothing is kept producers refuse chords, and a part that comes all the same
    /// meets nobody.
    fn chord_part(&self, _part: ChordPart) -> BoxFuture<'_, Result<ChordProgress, BackendError>> {
        ready(Ok(ChordProgress::Waiting)).boxed()
    }

    /// Makes a claim last while the body is being published, as long as its retries may take. False (already logged) when
    /// the claim is someone else's by now: do not publish.
    fn extend_claim<'a>(
        &'a self,
        _group_id: &'a str,
        _claim: &'a str,
        _body: &'a Signature,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        ready(Ok(true)).boxed()
    }

    /// Counts one more part into a chord that is on its way (`add_to_chord`).
    fn add_to_chord<'a>(&'a self, _group_id: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Err(BackendError::Unsupported(format!("{} does not support add_to_chord", self.uri())))).boxed()
    }

    /// Whether chords are not counted here, but joined by `celery.chord_unlock` that looks at the results.
    fn is_unlocked(&self) -> bool {
        false
    }

    /// Tells how many parts a chord has that is being sent from here; the run of an earlier chord of this id is forgotten.
    fn set_chord_size<'a>(&'a self, _group_id: &'a str, _size: u64) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Err(BackendError::Unsupported(format!("{} does not support chords sent by native tasks", self.uri()))))
            .boxed()
    }

    /// Keeps the result tuple of a chord's header that has groups in it, for the join to restore their shape.
    fn save_group<'a>(&'a self, _group_id: &'a str, _result: &'a Value) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Err(BackendError::Unsupported(format!("{} does not support chords sent by native tasks", self.uri()))))
            .boxed()
    }

    /// How often storing had to be tried again since the start, where that is known.
    fn retries(&self) -> u64 {
        0
    }

    /// How documents for this backend are to be encoded.
    fn format(&self) -> &Format;

    /// Clears the chord's counters once its body is published.
    fn chord_done<'a>(&'a self, _group_id: &'a str, _claim: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Ok(())).boxed()
    }

    /// Forgets the chord's size after its failure, keeping the parts' results.
    fn chord_failed<'a>(&'a self, _group_id: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Ok(())).boxed()
    }

    /// Whether results are kept at all.
    fn is_disabled(&self) -> bool {
        false
    }

    /// The URL as Celery's banner shows it, the password replaced by `**`.
    fn uri(&self) -> String;

    /// Writes what is queued and disconnects.
    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
