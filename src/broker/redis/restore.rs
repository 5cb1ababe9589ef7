//! Giving messages back: what is requeued, what is held at the end, and what others left behind.
//!
//! kombu watches the whole `unacked` hash for this, so that any traffic makes it start over; here a script compares the one
//! entry and moves it.

use std::{sync::Arc, time::Duration};

use bytes::Bytes;
use fred::{error::Error, types::Value as Reply};
use futures::future::try_join_all;
use tokio::sync::Mutex;

use crate::{
    broker::{
        envelope::scanner,
        redis::{
            binding::Bindings,
            keys::Keys,
            link::{self, Link},
            options::RedisOptions,
            payload, script,
        },
    },
    serialization::json,
};

/// How long the lock of the sweep lives at most: a worker that dies with it must not stop everybody's sweeps for long.
const LONGEST_LOCK: Duration = Duration::from_secs(30);
const CHUNK: usize = 100;

/// The end of a list that a message goes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum End {
    /// Behind everything that waits (`reject(requeue=True)`).
    Back,
    /// Next to be taken (close, visibility timeout).
    Front,
}

impl End {
    pub fn command(self) -> &'static str {
        match self {
            End::Back => "LPUSH",
            End::Front => "RPUSH",
        }
    }
}

/// A held message: its tag, and its score if that must not have changed.
pub(super) type Suspect = (Bytes, Option<String>);

/// The lists that a message goes back to, and what goes there.
type Target = (Vec<String>, Vec<u8>);

/// Moves messages from `unacked` back to lists.
#[derive(Clone)]
pub(super) struct Restorer {
    link: Link,
    keys: Keys,
    bindings: Bindings,
    /// Locked while a sweep goes on, so that nobody disconnects with the server's lock in hand.
    sweeping: Arc<Mutex<()>>,
}

impl Restorer {
    pub fn new(link: Link, keys: Keys, bindings: Bindings) -> Self {
        Self { link, keys, bindings, sweeping: Arc::default() }
    }

    /// Gives back what is still held under these tags, in this order. Returns how many messages that were.
    pub async fn give_back(&self, tags: Vec<Suspect>, end: End) -> Result<usize, Error> {
        let mut count = 0;
        for chunk in tags.chunks(CHUNK) {
            count += self.give_chunk_back(chunk, end).await?;
        }
        Ok(count)
    }

    /// Gives back what has been held for longer than the visibility timeout, by whomever
    /// (`kombu/transport/redis.py:QoS.restore_visible`). None if another worker is at it.
    pub async fn sweep(&self, options: &RedisOptions) -> Result<Option<usize>, Error> {
        let _sweeping = self.sweeping.lock().await;
        let token = uuid::Uuid::new_v4().simple().to_string();
        if !self.lock(&token, options.unacked_mutex_expire.min(LONGEST_LOCK)).await? {
            return Ok(None);
        }
        let outcome = self.restore_visible(options).await;
        let unlock = [self.keys.unacked_mutex.as_str().into()];
        self.link.run(&script::UNLOCK, &unlock, vec![token.into()]).await?;
        outcome.map(Some)
    }

    /// Waits for the end of a sweep that goes on.
    pub async fn swept(&self) {
        drop(self.sweeping.lock().await);
    }

    async fn restore_visible(&self, options: &RedisOptions) -> Result<usize, Error> {
        let ceiling = now() - options.visibility_timeout.as_secs_f64();
        let mut args: Vec<Reply> = vec![self.keys.unacked_index.as_str().into(), format!("{ceiling}").into()];
        args.extend(["0", "BYSCORE", "REV"].map(Reply::from));
        if let Some(limit) = options.unacked_restore_limit {
            args.extend(["LIMIT".into(), "0".into(), limit.to_string().into()]);
        }
        args.push("WITHSCORES".into());
        let reply = self.link.call("ZRANGE", args).await?;
        self.give_back(with_scores(reply), End::Front).await
    }

    async fn lock(&self, token: &str, expire: Duration) -> Result<bool, Error> {
        let millis = expire.as_millis().max(1).to_string();
        let args = [self.keys.unacked_mutex.as_str(), token, "NX", "PX", &millis].map(Reply::from);
        Ok(!matches!(self.link.call("SET", args.to_vec()).await?, Reply::Null))
    }

    async fn give_chunk_back(&self, chunk: &[Suspect], end: End) -> Result<usize, Error> {
        let mut args: Vec<Reply> = Vec::with_capacity(chunk.len() + 1);
        args.push(self.keys.unacked.as_str().into());
        args.extend(chunk.iter().map(|(tag, _)| Reply::Bytes(tag.clone())));
        let Reply::Array(entries) = self.link.call("HMGET", args).await? else { return Ok(0) };
        let entries: Vec<Bytes> = entries.into_iter().map(|entry| link::bytes(entry).unwrap_or_default()).collect();
        let targets = try_join_all(entries.iter().map(|entry| self.target(entry))).await?;
        let placed = chunk.iter().zip(entries).zip(targets).filter_map(|(held, target)| Some((held, target?)));
        let mut moves = placed.map(|((suspect, entry), target)| self.move_one(suspect, entry, target, end));
        let Some(first) = moves.next() else { return Ok(0) };
        // Alone: those that find that the server does not know the script yet may overtake each other.
        let first = first.await?;
        let others = try_join_all(moves).await?;
        Ok(usize::from(first) + others.into_iter().filter(|moved| *moved).count())
    }

    async fn move_one(
        &self,
        (tag, score): &Suspect,
        entry: Bytes,
        (lists, payload): Target,
        end: End,
    ) -> Result<bool, Error> {
        let mut keys: Vec<Reply> = vec![self.keys.unacked.as_str().into(), self.keys.unacked_index.as_str().into()];
        keys.extend(lists.into_iter().map(Reply::from));
        let score = score.clone().unwrap_or_default();
        let args = vec![
            Reply::Bytes(tag.clone()),
            Reply::Bytes(entry),
            score.into(),
            end.command().into(),
            Reply::Bytes(payload.into()),
        ];
        match self.link.run(&script::GIVE_BACK, &keys, args).await {
            Err(error) if error.details().starts_with("WRONGTYPE") => {
                tracing::error!("could not give a message back: {}", error.details());
                Ok(false)
            }
            reply => Ok(matches!(reply?, Reply::Integer(1))),
        }
    }

    /// The lists that an entry goes back to, and the payload that goes there. An entry that nobody can place stays where it
    /// is; a missing one has no lists.
    async fn target(&self, entry: &[u8]) -> Result<Option<Target>, Error> {
        if entry.is_empty() {
            return Ok(Some((Vec::new(), Vec::new())));
        }
        let Some((payload, exchange, routing_key)) = parts(entry) else {
            tracing::error!("an entry of {} cannot be read; it stays there", self.keys.unacked);
            return Ok(None);
        };
        let queues = self.bindings.lookup(&exchange, &routing_key).await?;
        if queues.is_empty() {
            tracing::warn!("no queue is bound to exchange {exchange:?} for {routing_key:?}; a message stays unacked");
            return Ok(None);
        }
        let priority = payload::priority(payload);
        let lists = queues.iter().map(|queue| self.keys.queue_for_priority(queue, priority)).collect();
        Ok(Some((lists, payload::mark_redelivered(payload))))
    }
}

/// Seconds since the epoch, as Python's `time.time()`.
pub(super) fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_secs_f64()
}

/// The payload of an entry and the queue it came from, as we have written them.
pub(super) fn payload_and_queue(entry: &[u8]) -> Option<(&[u8], String)> {
    parts(entry).map(|(payload, _, routing_key)| (payload, routing_key))
}

/// Payload, exchange and routing key of an entry. The payload need not be JSON where the rest is as we write it.
fn parts(entry: &[u8]) -> Option<(&[u8], String, String)> {
    let text = |place: &std::ops::Range<usize>| json::parse(&entry[place.clone()]).ok()?.as_str().map(str::to_owned);
    match scanner::array(entry).ok().as_deref() {
        Some([payload, exchange, routing_key]) => Some((&entry[payload.clone()], text(exchange)?, text(routing_key)?)),
        _ => raw_parts(entry),
    }
}

/// `[<whatever>, "", "<queue>"]`.
fn raw_parts(entry: &[u8]) -> Option<(&[u8], String, String)> {
    const MIDDLE: &[u8] = b", \"\", ";
    let inside = entry.strip_prefix(b"[")?.strip_suffix(b"]")?;
    let at = memchr::memmem::rfind(inside, MIDDLE)?;
    let queue = json::parse(&inside[at + MIDDLE.len()..]).ok()?.as_str()?.to_owned();
    Some((&inside[..at], String::new(), queue))
}

/// `ZRANGE ... WITHSCORES`: pairs in RESP3, a flat list in RESP2.
fn with_scores(reply: Reply) -> Vec<Suspect> {
    let Reply::Array(items) = reply else { return Vec::new() };
    let mut flat = Vec::with_capacity(items.len() * 2);
    for item in items {
        match item {
            Reply::Array(pair) => flat.extend(pair),
            other => flat.push(other),
        }
    }
    let mut found = Vec::with_capacity(flat.len() / 2);
    let mut flat = flat.into_iter();
    while let (Some(tag), Some(score)) = (flat.next(), flat.next()) {
        let score = match score {
            Reply::Double(number) => Some(format!("{number:.17e}")),
            other => link::text(other),
        };
        found.extend(link::bytes(tag).map(|tag| (tag, score)));
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_read_even_around_rubbish() {
        let (payload, exchange, key) = parts(br#"[{"a": "]"}, "ex", "r\u00e9"]"#).unwrap();
        assert_eq!((payload, exchange.as_str(), key.as_str()), (&br#"{"a": "]"}"#[..], "ex", "ré"));
        let (payload, exchange, key) = parts(br#"[not json, "", "celery"]"#).unwrap();
        assert_eq!((payload, exchange.as_str(), key.as_str()), (&b"not json"[..], "", "celery"));
        assert!(parts(b"[]").is_none());
        assert!(parts(br#"[{}, 1, 2]"#).is_none());
    }
}
