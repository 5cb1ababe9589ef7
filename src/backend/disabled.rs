//! [`DisabledBackend`]: no result backend is configured, and nothing is kept.

use futures::future::{BoxFuture, FutureExt, ready};

use crate::backend::{BackendError, ResultBackend, StoreRequest, document::Format};

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

    fn format(&self) -> &Format {
        &self.format
    }

    fn is_disabled(&self) -> bool {
        true
    }

    fn uri(&self) -> String {
        "disabled://".to_owned()
    }
}
