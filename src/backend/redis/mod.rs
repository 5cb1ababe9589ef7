//! [`RedisBackend`]: results in Redis (or Valkey, KeyDB, ...), as `celery/backends/redis.py` keeps them.
//!
//! One pipelined connection; everyone's documents go out in few large writes. Says nothing about when a result is written.

mod address;
mod chord;
mod legacy_chord;
mod link;
mod plain;
mod script;
mod tls;
mod url;
mod writer;

use std::sync::Arc;

use bytes::Bytes;
use fred::interfaces::KeysInterface;
use futures::{FutureExt, future::BoxFuture};

use crate::{
    backend::{
        BackendError, BackendOptions, ChordPart, ChordProgress, Keys, ResultBackend, StoreRequest, document::Format,
        retry::Patience,
    },
    protocol::{Signature, TaskState},
};

pub use crate::backend::options::BackendOptions as RedisBackendOptions;
use {address::Address, chord::ChordScripts, link::Link, link::Trouble, writer::Writer};

/// The longest string that Redis takes (`_MAX_STR_VALUE_SIZE`).
const MAX_DOCUMENT: usize = 512 << 20;

/// Results in Redis.
pub struct RedisBackend {
    link: Arc<Link>,
    writer: Writer,
    keys: Keys,
    scripts: ChordScripts,
    options: BackendOptions,
    shown: String,
}

impl RedisBackend {
    /// Starts to connect to the server of the URL, and does not wait for it. Needs a Tokio runtime.
    ///
    /// # Errors
    ///
    /// [`BackendError::Unusable`] for a URL or certificates that can never work, [`BackendError::Unsupported`] for what
    /// only Python can do.
    pub fn connect(url: &str, mut options: RedisBackendOptions) -> Result<Self, BackendError> {
        let address = Address::parse(url, &options.redis)?;
        if address.is_text_only && options.format.compression.take().is_some() {
            tracing::warn!(
                "The Redis result backend is configured with decode_responses enabled. The result_compression setting \
                 is ignored and results are stored uncompressed."
            );
        }
        let link = Arc::new(Link::open(&address)?);
        let writer = Writer::spawn(
            Arc::clone(&link),
            options.format.clone(),
            options.retry_policy.clone(),
            options.always_retry,
        );
        let keys = Keys::new(options.global_keyprefix.as_deref());
        Ok(Self { link, writer, keys, scripts: ChordScripts::default(), options, shown: address.shown })
    }

    async fn write(&self, request: StoreRequest) -> Result<(), BackendError> {
        if request.task_id.is_empty() {
            return Err(BackendError::Refused("task_id must not be empty".to_owned()));
        }
        if request.document.len() > MAX_DOCUMENT {
            return Err(BackendError::Refused("value too large for Redis backend".to_owned()));
        }
        let ttl = self.options.expires_of(request.state == TaskState::Failure);
        self.writer.store(self.keys.task(&request.task_id), ttl, request.document).await
    }

    async fn read(&self, task_id: &str) -> Result<Option<Bytes>, BackendError> {
        let key = self.keys.task(task_id);
        let mut patience = self.patience_to_read("_get_task_meta_for");
        loop {
            let read = async { self.link.client().await?.get(&key).await.map_err(|e| self.link.trouble(e)) };
            match read.await {
                Err(Trouble::Passing(reason)) => patience.wait(&reason).await?,
                read => return Ok(read?),
            }
        }
    }

    fn patience(&self, operation: &'static str) -> Patience<'_> {
        Patience::for_write(operation, &self.options.retry_policy, self.options.always_retry, self.link.closing())
    }

    fn patience_to_read(&self, operation: &'static str) -> Patience<'_> {
        Patience::for_read(operation, &self.options.retry_policy, self.options.always_retry, self.link.closing())
    }
}

impl ResultBackend for RedisBackend {
    fn store(&self, request: StoreRequest) -> BoxFuture<'_, Result<(), BackendError>> {
        self.write(request).boxed()
    }

    fn fetch<'a>(&'a self, task_id: &'a str) -> BoxFuture<'a, Result<Option<Bytes>, BackendError>> {
        self.read(task_id).boxed()
    }

    fn chord_part(&self, part: ChordPart) -> BoxFuture<'_, Result<ChordProgress, BackendError>> {
        async move {
            if part.group_id.is_empty() || part.task_id.is_empty() {
                return Ok(ChordProgress::Waiting);
            }
            if self.options.chords.has_claims() {
                self.count_part(&part).await
            } else {
                self.count_part_as_before(&part).await
            }
        }
        .boxed()
    }

    fn extend_claim<'a>(
        &'a self,
        group_id: &'a str,
        claim: &'a str,
        body: &'a Signature,
    ) -> BoxFuture<'a, Result<bool, BackendError>> {
        self.extend(group_id, claim, body).boxed()
    }

    fn chord_done<'a>(&'a self, group_id: &'a str, claim: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        self.clean_up(group_id, claim).boxed()
    }

    fn chord_failed<'a>(&'a self, group_id: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        self.drop_size(group_id).boxed()
    }

    fn set_chord_size<'a>(&'a self, group_id: &'a str, size: u64) -> BoxFuture<'a, Result<(), BackendError>> {
        self.begin_chord(group_id, size).boxed()
    }

    fn save_group<'a>(
        &'a self,
        group_id: &'a str,
        result: &'a crate::serialization::Value,
    ) -> BoxFuture<'a, Result<(), BackendError>> {
        self.keep_group(group_id, result).boxed()
    }

    fn add_to_chord<'a>(&'a self, group_id: &'a str) -> BoxFuture<'a, Result<(), BackendError>> {
        self.add_part(group_id).boxed()
    }

    fn format(&self) -> &Format {
        &self.options.format
    }

    fn retries(&self) -> u64 {
        self.writer.retries()
    }

    fn uri(&self) -> String {
        self.shown.clone()
    }

    fn close(&self) -> BoxFuture<'_, ()> {
        async move {
            self.link.closing().cancel();
            self.writer.flush().await;
            self.link.quit().await;
        }
        .boxed()
    }
}

impl From<Trouble> for BackendError {
    fn from(trouble: Trouble) -> Self {
        match trouble {
            Trouble::Passing(reason) => BackendError::Unreachable(reason),
            Trouble::Refused(reason) => BackendError::Refused(reason),
            Trouble::NoScripts(reason) => BackendError::Refused(format!("the server allows no scripts: {reason}")),
            Trouble::UnknownScript => BackendError::Refused("the server holds no script of ours".to_owned()),
        }
    }
}
