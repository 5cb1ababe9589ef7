//! [`Writer`]: everyone's documents in few, large writes. Knows no chords.
//!
//! One batch is on its way at a time, so that the states of a task arrive in their order whatever is tried again.

use std::{
    mem,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use bytes::Bytes;
use fred::types::{Key, Value};
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::{
    backend::{
        AlwaysRetry, BackendError, RetryPolicy,
        document::Format,
        redis::{
            link::{Link, Trouble, passes},
            plain,
            script::Script,
        },
        retry::Patience,
    },
    protocol::TaskState,
};

/// Documents in one script call: the server serves nobody else meanwhile.
const MAX_DOCUMENTS: usize = 256;
/// Bytes of documents in one script call, unless one alone is larger.
const MAX_BYTES: usize = 4 << 20;

/// Writes every document whose task has no `SUCCESS` yet, and tells the waiting clients in the same step.
///
/// A document of Celery's JSON begins with its status, which is all that has to be looked at. Any other that is in the way
/// (pickled, compressed, someone else's) is handed back to be read here; the next call names it as the one it may replace.
/// Replies with what was not settled: position, `old` or `error`, and the text.
const STORE: &str = r#"
local unsettled = {}
local function leave(i, why, what)
    unsettled[#unsettled + 1] = i
    unsettled[#unsettled + 1] = why
    unsettled[#unsettled + 1] = what
end
for i, key in ipairs(KEYS) do
    local ttl, document, replaced = ARGV[3 * i - 2], ARGV[3 * i - 1], ARGV[3 * i]
    local head = redis.pcall('GETRANGE', key, 0, 19)
    local free = head == ''
    if type(head) == 'table' then
        leave(i, 'error', head.err)
    elseif string.sub(head, 1, 12) == '{"status": "' then
        free = head ~= '{"status": "SUCCESS"'
    elseif not free then
        local old = redis.call('GET', key)
        free = old == replaced
        if not free then leave(i, 'old', old) end
    end
    if free then
        local reply
        if ttl == '0' then
            reply = redis.pcall('SET', key, document)
        else
            reply = redis.pcall('SETEX', key, ttl, document)
        end
        if reply.err then
            leave(i, 'error', reply.err)
        else
            redis.call('PUBLISH', key, document)
        end
    end
end
return unsettled
"#;

/// Where documents are handed in. The writing task ends when this is dropped and everything is written.
pub(super) struct Writer {
    queue: mpsc::UnboundedSender<Write>,
    closing: CancellationToken,
    /// Counted by the writing task.
    retries: Arc<AtomicU64>,
}

/// One document on its way.
pub(super) struct Write {
    pub(super) key: Key,
    /// Seconds; 0 is for ever.
    pub(super) ttl: u64,
    pub(super) document: Bytes,
    /// The document that this one may replace, once it has been read.
    replaced: Bytes,
    done: oneshot::Sender<Result<(), BackendError>>,
}

impl Writer {
    /// Starts the writing task.
    pub(super) fn spawn(link: Arc<Link>, format: Format, policy: RetryPolicy, always: Option<AlwaysRetry>) -> Self {
        let (queue, writes) = mpsc::unbounded_channel();
        let closing = link.closing().clone();
        let (script, is_plain, retries) = (Script::new(STORE), AtomicBool::new(false), Arc::<AtomicU64>::default());
        let task = WriterTask { link, format, policy, always, script, is_plain, retries: retries.clone() };
        tokio::spawn(task.run(writes));
        Self { queue, closing, retries }
    }

    /// Resolves when the document is stored or its task already has a `SUCCESS`.
    pub(super) async fn store(&self, key: String, ttl: u64, document: Bytes) -> Result<(), BackendError> {
        let (done, settled) = oneshot::channel();
        let write = Write { key: key.into(), ttl, document, replaced: Bytes::new(), done };
        let closed = || BackendError::Unreachable("the result backend is closed".to_owned());
        if self.closing.is_cancelled() {
            return Err(closed());
        }
        self.queue.send(write).map_err(|_| closed())?;
        settled.await.map_err(|_| closed())?
    }

    /// How often writing had to be tried again.
    pub(super) fn retries(&self) -> u64 {
        self.retries.load(Ordering::Relaxed)
    }

    /// Resolves when everything handed in so far is settled.
    pub(super) async fn flush(&self) {
        let (done, settled) = oneshot::channel();
        let marker = Write { key: Key::from(""), ttl: 0, document: Bytes::new(), replaced: Bytes::new(), done };
        if self.queue.send(marker).is_ok() {
            let _ = settled.await;
        }
    }
}

impl Write {
    pub(super) fn settle(self, outcome: Result<(), BackendError>) {
        // Nobody waits any more: the caller was cancelled.
        let _ = self.done.send(outcome);
    }

    fn is_marker(&self) -> bool {
        self.key.as_bytes().is_empty()
    }
}

struct WriterTask {
    link: Arc<Link>,
    format: Format,
    policy: RetryPolicy,
    always: Option<AlwaysRetry>,
    script: Script,
    /// The server allows no scripts.
    is_plain: AtomicBool,
    retries: Arc<AtomicU64>,
}

impl WriterTask {
    async fn run(self, mut queue: mpsc::UnboundedReceiver<Write>) {
        let mut taken = Vec::new();
        while queue.recv_many(&mut taken, MAX_DOCUMENTS).await > 0 {
            let (markers, writes): (Vec<_>, Vec<_>) = taken.drain(..).partition(Write::is_marker);
            for batch in batches(writes) {
                self.write(batch).await;
            }
            markers.into_iter().for_each(|marker| marker.settle(Ok(())));
        }
    }

    async fn write(&self, mut batch: Vec<Write>) {
        let mut patience = None;
        while !batch.is_empty() {
            let reason = match self.attempt(&mut batch).await {
                Ok(None) => continue,
                Ok(Some(reason)) | Err(Trouble::Passing(reason)) => reason,
                Err(Trouble::NoScripts(reason)) if !self.is_plain.swap(true, Ordering::Relaxed) => {
                    tracing::info!("Redis allows no scripts ({reason}): results are written in transactions");
                    continue;
                }
                Err(trouble) => return refuse(batch, &trouble),
            };
            self.retries.fetch_add(1, Ordering::Relaxed);
            let patience = patience.get_or_insert_with(|| {
                Patience::for_write("_store_result", &self.policy, self.always, self.link.closing())
            });
            if let Err(error) = patience.wait(&reason).await {
                batch.into_iter().for_each(|write| write.settle(Err(error.clone())));
                return;
            }
        }
    }

    /// Leaves in the batch what is to be tried again; a text when that must wait.
    async fn attempt(&self, batch: &mut Vec<Write>) -> Result<Option<String>, Trouble> {
        if self.is_plain.load(Ordering::Relaxed) {
            return plain::attempt(&self.link, &self.format, batch).await.map(|()| None);
        }
        let keys = batch.iter().map(|write| write.key.clone()).collect();
        let args = batch.iter().flat_map(arguments).collect();
        let reply = self.script.run(&self.link, keys, args).await?;
        Ok(self.sort(batch, unsettled(reply)?))
    }

    fn sort(&self, batch: &mut Vec<Write>, unsettled: Vec<Unsettled>) -> Option<String> {
        let mut waits = None;
        let mut unsettled = unsettled.into_iter().peekable();
        for (position, mut write) in mem::take(batch).into_iter().enumerate() {
            match unsettled.next_if(|reply| reply.position == position) {
                None => write.settle(Ok(())),
                Some(Unsettled { old: Some(old), .. }) => match self.format.status_of(&old) {
                    Ok(TaskState::Success) => write.settle(Ok(())),
                    Ok(_) => {
                        write.replaced = old;
                        batch.push(write);
                    }
                    Err(error) => write.settle(Err(BackendError::Unreadable(error.to_string()))),
                },
                Some(Unsettled { error, .. }) if passes(&error) => {
                    batch.push(write);
                    waits = Some(error);
                }
                Some(Unsettled { error, .. }) => write.settle(Err(BackendError::Refused(error))),
            }
        }
        if waits.as_ref().is_some_and(|error| error.starts_with("READONLY")) {
            self.link.turn_away();
        }
        waits
    }
}

/// What the script says of one document that it did not settle.
struct Unsettled {
    position: usize,
    old: Option<Bytes>,
    error: String,
}

fn unsettled(reply: Value) -> Result<Vec<Unsettled>, Trouble> {
    let strange = || Trouble::Refused("the store script got a strange reply".to_owned());
    let Value::Array(items) = reply else { return Err(strange()) };
    let (replies, []) = items.as_chunks::<3>() else { return Err(strange()) };
    let read = |[position, why, what]: &[Value; 3]| {
        let position = usize::try_from(position.as_i64()?).ok()?.checked_sub(1)?;
        let is_old = why.as_str()? == "old";
        let error = if is_old { String::new() } else { what.as_string()? };
        Some(Unsettled {
            position,
            old: if is_old { Some(what.as_bytes().map(Bytes::copy_from_slice)?) } else { None },
            error,
        })
    };
    replies.iter().map(|reply| read(reply).ok_or_else(strange)).collect()
}

fn arguments(write: &Write) -> [Value; 3] {
    [Value::from(write.ttl as i64), Value::Bytes(write.document.clone()), Value::Bytes(write.replaced.clone())]
}

fn refuse(batch: Vec<Write>, trouble: &Trouble) {
    for write in batch {
        write.settle(Err(trouble.clone().into()));
    }
}

/// Splits what was taken off the queue.
fn batches(taken: Vec<Write>) -> Vec<Vec<Write>> {
    let mut batches: Vec<Vec<Write>> = Vec::new();
    let mut bytes = usize::MAX;
    for write in taken {
        bytes = bytes.saturating_add(write.document.len());
        if bytes > MAX_BYTES {
            bytes = write.document.len();
            batches.push(Vec::new());
        }
        if let Some(batch) = batches.last_mut() {
            batch.push(write);
        }
    }
    batches
}
