//! [`DisabledBackend`]: no result backend is configured, and nothing is kept.

use bytes::Bytes;
use futures::future::{BoxFuture, FutureExt, ready};

use crate::backend::{BackendError, ChordPart, ChordProgress, ResultBackend, StoreRequest, document::Format};

/// `celery/backends/base.py:DisabledBackend`. Producers refuse chords with it, so that its parts never meet.
#[derive(Debug, Default)]
pub struct DisabledBackend {
    format: Format,
}

impl DisabledBackend {
    /// With the format in which results would be written: a result that cannot be is a failure even so.
    pub fn new(format: Format) -> Self {
        Self { format }
    }
}

impl ResultBackend for DisabledBackend {
    fn store(&self, _: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        ready(Ok(())).boxed()
    }

    fn fetch<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BackendError>> {
        ready(Ok(None)).boxed()
    }

    fn chord_part(&self, _: ChordPart) -> BoxFuture<'_, Result<ChordProgress, BackendError>> {
        ready(Ok(ChordProgress::Waiting)).boxed()
    }

    fn chord_done<'a>(&'a self, _: &'a str, _: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Ok(())).boxed()
    }

    fn chord_failed<'a>(&'a self, _: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        ready(Ok(())).boxed()
    }

    fn format(&self) -> &Format {
        &self.format
    }

    fn is_disabled(&self) -> bool {
        true
    }

    fn uri(&self) -> String {
        "disabled://".to_owned()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        ready(()).boxed()
    }
}
