//! [`Exchange`]: the round trip that settles and takes, as a command and its reply.

use std::sync::Arc;

use bytes::Bytes;
use fred::{error::Error, types::Value as Reply};
use futures::future::try_join_all;

use crate::{
    broker::redis::{
        holdings::Held,
        keys::Keys,
        link::{self, Link},
        order::QueueOrder,
        payload,
        restore::{End, Restorer, now},
        script,
    },
    serialization::json,
};

/// Held messages that one script moves or makes young: it must not keep the server for long.
const CHUNK: usize = 200;
/// Bytes of held messages that one script reads or moves, to aim at.
const CHUNK_BYTES: usize = 4 << 20;

/// Messages out of a reply: the index of the queue in the order that was asked in, and the payload.
#[derive(Default)]
pub(super) struct Taken {
    pub messages: Vec<(usize, Bytes)>,
}

/// Speaks with the script that settles and takes.
#[derive(Clone)]
pub(super) struct Exchange {
    keys: Keys,
    tag_prefix: String,
    notes: bool,
}

impl Exchange {
    /// `tag_prefix` begins the names of all our fields in `unacked`; without `notes` nothing is written there.
    pub fn new(keys: Keys, tag_prefix: String, notes: bool) -> Self {
        Self { keys, tag_prefix, notes }
    }

    /// Whether the server keeps what we hold.
    pub fn notes(&self) -> bool {
        self.notes
    }

    /// The field of a delivery in `unacked`.
    pub fn tag(&self, number: u64) -> Bytes {
        format!("{}{number}", self.tag_prefix).into()
    }

    /// Settles these deliveries and takes up to `want` messages, which are numbered from `first`.
    pub async fn run(
        &self,
        link: &Link,
        order: &QueueOrder,
        settled: &[u64],
        first: u64,
        want: usize,
    ) -> Result<Taken, Error> {
        let settled = if self.notes { settled } else { &[] };
        if settled.is_empty() && want == 0 {
            return Ok(Taken::default());
        }
        let reply = link.run(&script::EXCHANGE, &self.keys_of(order), self.args(order, settled, first, want)).await?;
        Ok(taken(reply))
    }

    /// Copies of what was taken, where the server keeps none.
    pub fn copies(&self, taken: &Taken, order: &QueueOrder) -> Vec<(Bytes, Arc<str>)> {
        if self.notes {
            return Vec::new();
        }
        taken.messages.iter().map(|(queue, payload)| (payload.clone(), order.queues()[*queue].clone())).collect()
    }

    /// Puts copies back into their queues.
    pub async fn push_copies(&self, link: &Link, copies: Vec<(Bytes, Arc<str>)>, end: End) -> Result<(), Error> {
        let pushes = copies.into_iter().map(|(payload, queue)| {
            let list = self.keys.queue_for_priority(&queue, payload::priority(&payload));
            let payload = Bytes::from(payload::mark_redelivered(&payload));
            link.call(end.command(), vec![list.into(), Reply::Bytes(payload)])
        });
        try_join_all(pushes).await.map(drop)
    }

    /// Gives held deliveries back to the front of their queues, in this order. Returns how many messages that were.
    pub async fn give_back(&self, link: &Link, restorer: &Restorer, held: &[(u64, Held)]) -> Result<usize, Error> {
        if self.notes {
            let tags: Vec<u64> = held.iter().map(|(tag, _)| *tag).collect();
            return self.give_noted_back(link, restorer, &tags).await;
        }
        let copies: Vec<_> = held.iter().filter_map(|(_, held)| held.copy.clone()).collect();
        let count = copies.len();
        self.push_copies(link, copies, End::Front).await.map(|()| count)
    }

    /// The server moves them by itself; only those that it cannot place are read here.
    async fn give_noted_back(&self, link: &Link, restorer: &Restorer, mut tags: &[u64]) -> Result<usize, Error> {
        let mut given = 0;
        while !tags.is_empty() {
            let args = self.args_to_give_back(&tags[..tags.len().min(CHUNK)]);
            let Reply::Array(reply) = link.run(&script::GIVE_ALL_BACK, &self.unacked_keys(), args).await? else {
                break;
            };
            let mut numbers = reply.into_iter().filter_map(|number| number.convert::<u64>().ok());
            let (seen, moved) = (numbers.next().unwrap_or_default(), numbers.next().unwrap_or_default());
            let rest: Vec<_> = numbers.map(|tag| (self.tag(tag), None)).collect();
            given += moved as usize;
            if !rest.is_empty() {
                given += restorer.give_back(rest, End::Front).await?;
            }
            tags = tags.get((seen as usize).max(1)..).unwrap_or_default();
        }
        Ok(given)
    }

    fn args_to_give_back(&self, tags: &[u64]) -> Vec<Reply> {
        let (prefix, sep, steps) = self.keys.list_parts();
        let mut args: Vec<Reply> = vec![
            prefix.into(),
            sep.into(),
            self.tag_prefix.as_str().into(),
            (CHUNK_BYTES as i64).into(),
            (steps.len() as i64).into(),
        ];
        args.extend(steps.iter().map(|&step| Reply::from(step)));
        args.extend(tags.iter().map(|&tag| Reply::from(tag as i64)));
        args
    }

    /// Reads held messages again and makes them young: their entries in `unacked`, none for one that is gone. Fewer than asked
    /// for where they are large, but at least one.
    pub async fn read(&self, link: &Link, tags: &[u64]) -> Result<Vec<Option<Bytes>>, Error> {
        let mut args: Vec<Reply> =
            vec![format!("{:.6}", now()).into(), self.tag_prefix.as_str().into(), (CHUNK_BYTES as i64).into()];
        args.extend(tags.iter().map(|&tag| Reply::from(tag as i64)));
        match link.run(&script::READ, &self.unacked_keys(), args).await? {
            Reply::Array(entries) => Ok(entries.into_iter().map(link::bytes).collect()),
            _ => Ok(Vec::new()),
        }
    }

    /// Makes held messages young.
    pub async fn refresh(&self, link: &Link, tags: &[u64]) -> Result<(), Error> {
        let mut args: Vec<Reply> = vec![format!("{:.6}", now()).into(), self.tag_prefix.as_str().into()];
        args.extend(tags.iter().map(|&tag| Reply::from(tag as i64)));
        let index = [self.keys.unacked_index.as_str().into()];
        link.run(&script::REFRESH, &index, args).await.map(drop)
    }

    fn unacked_keys(&self) -> [Reply; 2] {
        [self.keys.unacked.as_str().into(), self.keys.unacked_index.as_str().into()]
    }

    fn keys_of(&self, order: &QueueOrder) -> Vec<Reply> {
        let mut keys = self.unacked_keys().to_vec();
        for step in 0..self.keys.step_count() {
            keys.extend(order.queues().iter().map(|queue| Reply::from(self.keys.queue_step(queue, step))));
        }
        keys
    }

    fn args(&self, order: &QueueOrder, settled: &[u64], first: u64, want: usize) -> Vec<Reply> {
        let flag = |on: bool| Reply::from(if on { "1" } else { "0" });
        let mut args: Vec<Reply> = vec![
            format!("{:.6}", now()).into(),
            self.tag_prefix.as_str().into(),
            (first as i64).into(),
            (want as i64).into(),
            flag(self.notes),
            flag(order.takes_turns()),
            (order.queues().len() as i64).into(),
            (settled.len() as i64).into(),
        ];
        args.extend(order.queues().iter().map(|queue| Reply::from(suffix(queue))));
        args.extend(settled.iter().map(|&tag| Reply::from(tag as i64)));
        args
    }
}

/// What follows the payload in an entry of `unacked`: the default exchange and the queue, so that kombu finds the way back.
fn suffix(queue: &str) -> String {
    let mut text = ", \"\", ".to_owned();
    json::write_str(&mut text, queue);
    text.push(']');
    text
}

fn taken(reply: Reply) -> Taken {
    let Reply::Array(items) = reply else { return Taken::default() };
    let mut items = items.into_iter();
    if let Some(complaint) = items.next().and_then(link::text).filter(|text| !text.is_empty()) {
        tracing::warn!("redis cannot take from a queue: {complaint}");
    }
    let mut messages = Vec::with_capacity(items.len() / 2);
    while let (Some(queue), Some(payload)) = (items.next(), items.next()) {
        if let (Reply::Integer(queue), Some(payload)) = (queue, link::bytes(payload)) {
            messages.push((queue.saturating_sub(1) as usize, payload));
        }
    }
    Taken { messages }
}
