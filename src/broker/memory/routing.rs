//! Which queues an exchange chooses: exact keys, topic patterns, everything. Header exchanges are not spoken here.

use std::sync::Arc;

use crate::protocol::ExchangeType;

/// A queue bound to an exchange.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub(super) exchange: String,
    pub(super) key: String,
    pub(super) queue: Arc<str>,
}

impl Binding {
    /// Whether a message with this key, published to the binding's exchange, goes to its queue.
    pub(super) fn takes(&self, kind: &ExchangeType, routing_key: &str) -> bool {
        match kind {
            ExchangeType::Direct | ExchangeType::Other(_) => self.key == routing_key,
            ExchangeType::Topic => topic_matches(&self.key, routing_key),
            ExchangeType::Fanout | ExchangeType::Headers => true,
        }
    }
}

/// AMQP's topic patterns: words between dots, `*` is one word, `#` any number of them.
pub(super) fn topic_matches(pattern: &str, key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let words: Vec<&str> = if key.is_empty() { Vec::new() } else { key.split('.').collect() };
    // reach[i]: whether the pattern read so far can have consumed exactly the first i words.
    let mut reach = vec![false; words.len() + 1];
    reach[0] = true;
    for part in pattern {
        reach = step(part, &words, &reach);
    }
    reach[words.len()]
}

fn step(part: &str, words: &[&str], reach: &[bool]) -> Vec<bool> {
    let mut next = vec![false; reach.len()];
    if part == "#" {
        let first = reach.iter().position(|&r| r).unwrap_or(reach.len());
        next[first..].fill(true);
        return next;
    }
    for (i, word) in words.iter().enumerate() {
        next[i + 1] = reach[i] && (part == "*" || part == *word);
    }
    next
}

#[cfg(test)]
mod tests {
    use super::topic_matches;

    #[test]
    fn topics() {
        let table = [
            ("task.received", "task.received", true),
            ("task.*", "task.received", true),
            ("task.*", "task.received.late", false),
            ("task.#", "task", true),
            ("task.#", "task.a.b", true),
            ("#", "", true),
            ("#", "a.b.c", true),
            ("*", "", false),
            ("#.q", "1.0.q", true),
            ("#.q", "q", true),
            ("*.1.#", "0.1.x.y", true),
            ("*.1.#", "0.0.x.y", false),
            ("a.#.c.#", "a.b.c.d", true),
            ("worker.#", "task.x", false),
        ];
        for (pattern, key, matches) in table {
            assert_eq!(topic_matches(pattern, key), matches, "{pattern} {key}");
        }
    }
}
