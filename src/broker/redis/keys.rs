//! [`Keys`]: the names of everything in the database, to the byte as kombu writes them.

use crate::broker::{
    redis::options::{FanoutPrefix, RedisOptions},
    topic,
};

const HIGHEST_PRIORITY: i64 = 9;

/// Key, channel and binding names for one set of options and one database.
#[derive(Debug, Clone)]
pub(super) struct Keys {
    prefix: String,
    sep: String,
    steps: Vec<i64>,
    fanout_prefix: String,
    fanout_patterns: bool,
    /// Hash of what is held.
    pub unacked: String,
    /// Sorted set of when it was taken.
    pub unacked_index: String,
    /// Lock of the sweep.
    pub unacked_mutex: String,
    /// Sorted set of when binding tables of expiring queues may go.
    pub binding_deadlines: String,
}

impl Keys {
    pub fn new(options: &RedisOptions, db: u8) -> Self {
        let prefix = &options.global_keyprefix;
        Self {
            unacked: format!("{prefix}{}", options.unacked_key),
            unacked_index: format!("{prefix}{}", options.unacked_index_key),
            unacked_mutex: format!("{prefix}{}", options.unacked_mutex_key),
            binding_deadlines: format!("{prefix}_kombu.binding_deadlines"),
            fanout_prefix: fanout_prefix(&options.fanout_prefix, db),
            fanout_patterns: options.fanout_patterns,
            prefix: prefix.clone(),
            sep: options.sep.clone(),
            steps: options.priority_steps.clone(),
        }
    }

    /// How many lists a queue has.
    pub fn step_count(&self) -> usize {
        self.steps.len()
    }

    /// What the names of lists are made of: the prefix of all keys, what is put before a step, the steps.
    pub fn list_parts(&self) -> (&str, &str, &[i64]) {
        (&self.prefix, &self.sep, &self.steps)
    }

    /// A queue's list for the step at `index`.
    pub fn queue_step(&self, queue: &str, index: usize) -> String {
        self.list(queue, self.steps[index])
    }

    /// All lists of a queue, first consumed first.
    pub fn queue_lists(&self, queue: &str) -> Vec<String> {
        self.steps.iter().map(|&step| self.list(queue, step)).collect()
    }

    /// The list that a message of this priority goes to.
    pub fn queue_for_priority(&self, queue: &str, priority: i64) -> String {
        let priority = priority.clamp(0, HIGHEST_PRIORITY);
        let above = self.steps.iter().take_while(|&&step| step <= priority).count();
        let step = if above == 0 { self.steps.last() } else { self.steps.get(above - 1) };
        self.list(queue, step.copied().unwrap_or(0))
    }

    /// Whether a key is one of the lists of a queue.
    pub fn belongs_to(&self, key: &[u8], queue: &str) -> bool {
        let Some(name) = key.strip_prefix(self.prefix.as_bytes()) else { return false };
        let Some(rest) = name.strip_prefix(queue.as_bytes()) else { return false };
        rest.is_empty() || rest.starts_with(self.sep.as_bytes())
    }

    /// What all lists of a queue begin with.
    pub fn queue_prefix(&self, queue: &str) -> String {
        format!("{}{queue}", self.prefix)
    }

    /// An exchange's binding table.
    pub fn binding(&self, exchange: &str) -> String {
        format!("{}_kombu.binding.{exchange}", self.prefix)
    }

    /// The part of an exchange's binding table that no sweep may delete.
    pub fn binding_permanent(&self, exchange: &str) -> String {
        format!("{}_kombu.binding_permanent.{exchange}", self.prefix)
    }

    /// A member of a binding table.
    pub fn member(&self, routing_key: &str, pattern: &str, queue: &str) -> String {
        [routing_key, pattern, queue].join(&self.sep)
    }

    /// The queue of a binding's member, if a message with this routing key goes there.
    pub fn queue_of_member<'a>(&self, member: &'a str, routing_key: &str) -> Option<&'a str> {
        let mut parts = member.splitn(3, self.sep.as_str());
        let (key, pattern, queue) = (parts.next()?, parts.next()?, parts.next()?);
        let matches = if pattern.is_empty() { key == routing_key } else { topic::matches(key, routing_key) };
        matches.then_some(queue)
    }

    /// The pub/sub channel of a fanout exchange.
    pub fn channel(&self, exchange: &str, routing_key: &str) -> String {
        let (prefix, fanout) = (&self.prefix, &self.fanout_prefix);
        if routing_key.is_empty() || !self.fanout_patterns {
            return format!("{prefix}{fanout}{exchange}");
        }
        format!("{prefix}{fanout}{exchange}/{routing_key}")
    }

    /// The exchange that a channel belongs to.
    pub fn exchange_of_channel<'a>(&self, channel: &'a str) -> &'a str {
        let name = channel.strip_prefix(self.prefix.as_str()).unwrap_or(channel);
        let name = if name.starts_with('/') { name.split_once('.').map_or("", |(_, rest)| rest) } else { name };
        name.split('/').next().unwrap_or(name)
    }

    fn list(&self, queue: &str, step: i64) -> String {
        match step {
            0 => format!("{}{queue}", self.prefix),
            step => format!("{}{queue}{}{step}", self.prefix, self.sep),
        }
    }
}

fn fanout_prefix(option: &FanoutPrefix, db: u8) -> String {
    match option {
        FanoutPrefix::Database => format!("/{db}."),
        FanoutPrefix::None => String::new(),
        FanoutPrefix::Custom(text) => text.replace("{db}", &db.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(prefix: &str) -> Keys {
        Keys::new(&RedisOptions { global_keyprefix: prefix.to_owned(), ..RedisOptions::default() }, 3)
    }

    #[test]
    fn priorities_are_spread_over_the_steps() {
        let keys = keys("");
        for (priority, list) in [
            (-1, "q"),
            (0, "q"),
            (2, "q"),
            (3, "q\x06\x163"),
            (5, "q\x06\x163"),
            (6, "q\x06\x166"),
            (9, "q\x06\x169"),
            (99, "q\x06\x169"),
        ] {
            assert_eq!(keys.queue_for_priority("q", priority), list);
        }
        assert_eq!(keys.queue_lists("q"), ["q", "q\x06\x163", "q\x06\x166", "q\x06\x169"]);
    }

    #[test]
    fn every_name_has_the_global_prefix() {
        let keys = keys("p:");
        assert_eq!(keys.unacked, "p:unacked");
        assert_eq!(keys.binding("celery"), "p:_kombu.binding.celery");
        assert_eq!(keys.binding_permanent("celery"), "p:_kombu.binding_permanent.celery");
        assert_eq!(keys.channel("celery.pidbox", ""), "p:/3.celery.pidbox");
        assert_eq!(keys.channel("celeryev", "worker.*"), "p:/3.celeryev/worker.*");
        assert_eq!(keys.exchange_of_channel("p:/3.celeryev/worker.heartbeat"), "celeryev");
        assert_eq!(keys.exchange_of_channel("p:/3.celery.pidbox"), "celery.pidbox");
        assert!(keys.belongs_to(b"p:q\x06\x163", "q"));
        assert!(!keys.belongs_to(b"p:qq", "q"));
        assert!(!keys.belongs_to(b"q", "q"));
    }

    #[test]
    fn members_name_their_queue() {
        let keys = keys("");
        assert_eq!(keys.member("celery", "", "celery"), "celery\x06\x16\x06\x16celery");
        assert_eq!(keys.queue_of_member("a\x06\x16\x06\x16q", "a"), Some("q"));
        assert_eq!(keys.queue_of_member("a\x06\x16\x06\x16q", "b"), None);
        assert_eq!(keys.queue_of_member("a.#\x06\x16^a\\..*?$\x06\x16q", "a.b"), Some("q"));
        assert_eq!(keys.queue_of_member("rubbish", "rubbish"), None);
    }
}
