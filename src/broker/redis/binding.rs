//! [`Bindings`]: queues, their bindings and their expiry, as kombu keeps them in the database.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use fred::{error::Error, types::Value as Reply};
use futures::future::try_join_all;

use crate::{
    broker::{
        redis::{
            keys::Keys,
            link::{self, Link},
            script,
        },
        topic,
    },
    protocol::{Exchange, ExchangeType, Queue},
};

/// A table lives this many times its queue's expiry, and never for less than [`SHORTEST_LIFE`].
const EXPIRY_FACTOR: i64 = 2;
const SHORTEST_LIFE: i64 = 60 * 60 * 1000;
const SWEEP_LIMIT: i64 = 100;
/// Time between two sweeps of overdue tables.
pub(super) const SWEEP_INTERVAL: Duration = Duration::from_secs(60);

/// One queue as this connection has declared it.
#[derive(Debug, Clone, Default)]
struct Declared {
    /// Exchanges and members of their binding tables.
    bindings: Vec<(String, String)>,
    /// `x-expires`, in milliseconds.
    expires: Option<i64>,
    /// Consumed right now.
    consumed: bool,
}

/// What has been declared on this connection, and the way to the tables.
#[derive(Clone)]
pub(super) struct Bindings {
    link: Link,
    keys: Keys,
    deadletter_queue: Option<String>,
    declared: Arc<Mutex<HashMap<String, Declared>>>,
}

impl Bindings {
    pub fn new(link: Link, keys: Keys, deadletter_queue: Option<String>) -> Self {
        Self { link, keys, deadletter_queue, declared: Arc::default() }
    }

    /// Notes a queue and writes its bindings.
    pub async fn declare(&self, queue: &Queue) -> Result<(), Error> {
        let expires = queue.arguments.get("x-expires").and_then(|value| value.as_f64()).map(|millis| millis as i64);
        let bindings = self.members(queue);
        for (exchange, member) in &bindings {
            self.bind(exchange, member, expires).await?;
        }
        let mut declared = self.declared();
        let consumed = declared.get(&queue.name).is_some_and(|known| known.consumed);
        declared.insert(queue.name.clone(), Declared { bindings, expires, consumed });
        Ok(())
    }

    /// Notes whether a queue is being consumed, and its bindings are to be kept alive.
    pub fn set_consumed(&self, queue: &str, consumed: bool) {
        if let Some(known) = self.declared().get_mut(queue) {
            known.consumed = consumed;
        }
    }

    /// Removes a queue with its bindings and its messages. It is forgotten last, so that what was broken off can be done again.
    pub async fn delete(&self, queue: &str) -> Result<(), Error> {
        let known = self.declared().get(queue).cloned().unwrap_or_default();
        for (exchange, member) in &known.bindings {
            for table in [self.keys.binding(exchange), self.keys.binding_permanent(exchange)] {
                self.link.call("SREM", vec![table.into(), member.as_str().into()]).await?;
            }
        }
        let lists = self.keys.queue_lists(queue).into_iter().map(Reply::from).collect();
        self.link.call("DEL", lists).await?;
        self.declared().remove(queue);
        Ok(())
    }

    /// The queues that a message to this exchange goes to.
    pub async fn lookup(&self, exchange: &str, routing_key: &str) -> Result<Vec<String>, Error> {
        let mut queues = match exchange {
            "" if routing_key.is_empty() => Vec::new(),
            "" => vec![routing_key.to_owned()],
            _ => self.bound(exchange, routing_key).await?,
        };
        if queues.is_empty() {
            queues.extend(self.deadletter_queue.clone());
        }
        Ok(queues)
    }

    /// The lists of a queue that are to be given its expiry after a publish, and that expiry.
    pub fn expiry(&self, queue: &str) -> Option<(Vec<String>, i64)> {
        let expires = self.declared().get(queue)?.expires?;
        Some((self.keys.queue_lists(queue), expires))
    }

    /// How often [`refresh`](Self::refresh) is due; none if nothing that expires is consumed.
    pub fn refresh_interval(&self) -> Option<Duration> {
        let shortest = self.declared().values().filter(|d| d.consumed).filter_map(|d| d.expires).map(lifetime).min()?;
        Some(Duration::from_millis(shortest as u64 / 3))
    }

    /// Puts off the deadlines of the tables that consumed, expiring queues are bound in.
    pub async fn refresh(&self) -> Result<(), Error> {
        let expiring: Vec<Declared> =
            self.declared().values().filter(|d| d.consumed && d.expires.is_some()).cloned().collect();
        for queue in &expiring {
            for (exchange, member) in &queue.bindings {
                self.bind(exchange, member, queue.expires).await?;
            }
        }
        Ok(())
    }

    /// Deletes tables whose deadline has passed.
    pub async fn sweep(&self) -> Result<(), Error> {
        let keys = [self.keys.binding_deadlines.as_str().into()];
        let args = vec![self.keys.binding("").into(), self.keys.binding_permanent("").into(), SWEEP_LIMIT.into()];
        self.link.run(&script::SWEEP_BINDINGS, &keys, args).await.map(drop)
    }

    async fn bound(&self, exchange: &str, routing_key: &str) -> Result<Vec<String>, Error> {
        let reply = self.link.call("SMEMBERS", vec![self.keys.binding(exchange).into()]).await?;
        let Reply::Array(members) = reply else { return Ok(Vec::new()) };
        let members = members.into_iter().filter_map(link::text);
        let mut queues: Vec<String> =
            members.filter_map(|member| self.keys.queue_of_member(&member, routing_key).map(str::to_owned)).collect();
        queues.sort();
        queues.dedup();
        Ok(queues)
    }

    async fn bind(&self, exchange: &str, member: &str, expires: Option<i64>) -> Result<(), Error> {
        if let Some(expires) = expires {
            let keys = [self.keys.binding(exchange).into(), self.keys.binding_deadlines.as_str().into()];
            let args = vec![member.into(), exchange.into(), lifetime(expires).into()];
            return self.link.run(&script::BIND_EXPIRING, &keys, args).await.map(drop);
        }
        let tables = [self.keys.binding_permanent(exchange), self.keys.binding(exchange)];
        let adds = tables.map(|table| self.link.call("SADD", vec![table.into(), member.into()]));
        try_join_all(adds).await.map(drop)
    }

    fn members(&self, queue: &Queue) -> Vec<(String, String)> {
        let bound_by = queue.bound_by().into_iter();
        bound_by.map(|(exchange, key, _)| (exchange.name.clone(), self.member(exchange, key, &queue.name))).collect()
    }

    fn member(&self, exchange: &Exchange, routing_key: &str, queue: &str) -> String {
        let pattern = if exchange.kind == ExchangeType::Topic { topic::pattern(routing_key) } else { String::new() };
        self.keys.member(routing_key, &pattern, queue)
    }

    fn declared(&self) -> MutexGuard<'_, HashMap<String, Declared>> {
        self.declared.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn lifetime(expires: i64) -> i64 {
    expires.saturating_mul(EXPIRY_FACTOR).max(SHORTEST_LIFE)
}
