//! [`Exchanges`]: which queues a message goes to. kombu's SQS transport keeps its bindings in the memory of the process.

use std::{
    collections::HashMap,
    sync::{Mutex, PoisonError},
};

use crate::{
    broker::topic,
    protocol::{ExchangeType, Queue, Route},
};

#[derive(Debug, Clone, PartialEq, Eq)]
struct Binding {
    key: String,
    queue: String,
}

/// Bindings of the queues that were declared, by exchange.
#[derive(Default)]
pub(super) struct Exchanges {
    tables: Mutex<HashMap<String, Vec<Binding>>>,
}

impl Exchanges {
    /// Binds a queue to its exchanges.
    pub fn bind(&self, queue: &Queue) {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        for (exchange, key, _) in queue.bound_by() {
            let table = tables.entry(exchange.name.clone()).or_default();
            let binding = Binding { key: key.to_owned(), queue: queue.name.clone() };
            if !table.contains(&binding) {
                table.push(binding);
            }
        }
    }

    /// The queues of a route. Where there is none it goes to the dead letters' one if there is one, and else nowhere.
    pub fn queues(&self, route: &Route, deadletter: Option<&str>) -> Vec<String> {
        let Route { exchange, exchange_type, routing_key, .. } = route;
        let mut queues = match (exchange.as_str(), exchange_type) {
            // Nobody hears a broadcast.
            (_, ExchangeType::Fanout) => return Vec::new(),
            ("", _) if routing_key.is_empty() => Vec::new(),
            ("", _) => vec![routing_key.clone()],
            _ => self.bound(exchange, exchange_type, routing_key),
        };
        if queues.is_empty() {
            queues.extend(deadletter.map(str::to_owned));
        }
        queues
    }

    fn bound(&self, exchange: &str, kind: &ExchangeType, routing_key: &str) -> Vec<String> {
        let tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        let table = tables.get(exchange).map(Vec::as_slice).unwrap_or_default();
        let takes = |binding: &&Binding| match kind {
            ExchangeType::Topic => topic::matches(&binding.key, routing_key),
            _ => binding.key == routing_key,
        };
        let mut queues: Vec<String> = table.iter().filter(takes).map(|binding| binding.queue.clone()).collect();
        queues.sort();
        queues.dedup();
        queues
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Exchange;

    #[test]
    fn only_what_is_bound_is_reached() {
        let exchanges = Exchanges::default();
        let topic = Exchange::new("news", ExchangeType::Topic);
        exchanges.bind(&Queue { exchange: topic, routing_key: "a.#".to_owned(), ..Queue::direct("one") });
        exchanges.bind(&Queue::direct("two"));
        let route = |exchange: &str, kind: ExchangeType, key: &str| Route {
            exchange: exchange.to_owned(),
            exchange_type: kind,
            routing_key: key.to_owned(),
            declare: None,
        };
        assert_eq!(exchanges.queues(&route("news", ExchangeType::Topic, "a.b"), None), ["one"]);
        assert_eq!(exchanges.queues(&route("two", ExchangeType::Direct, "two"), None), ["two"]);
        assert_eq!(exchanges.queues(&route("two", ExchangeType::Direct, "three"), Some("lost")), ["lost"]);
        assert_eq!(exchanges.queues(&Route::queue("never.declared"), None), ["never.declared"]);
        assert!(exchanges.queues(&route("celery.pidbox", ExchangeType::Fanout, ""), Some("lost")).is_empty());
    }
}
