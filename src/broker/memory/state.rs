//! [`State`]: all that the broker knows, changed only under its lock.

use std::{collections::HashMap, sync::Arc};

use crate::{
    broker::{
        Acker, BrokerError, Delivery, Settle, Settlement,
        memory::{
            outlet::{Consumer, Held, Link, LinkEnds},
            queue::{MemoryQueue, Stored},
            routing::Binding,
        },
    },
    protocol::{Exchange, ExchangeType, Message, Queue, Route},
};

/// Exchanges, bindings, queues and connections.
#[derive(Default)]
pub(super) struct State {
    exchanges: HashMap<String, ExchangeType>,
    bindings: Vec<Binding>,
    queues: HashMap<Arc<str>, MemoryQueue>,
    links: HashMap<u64, Link>,
    last_id: u64,
    refusals: usize,
}

impl State {
    pub(super) fn depth(&self, queue: &str) -> Option<usize> {
        self.queues.get(queue).map(MemoryQueue::len)
    }

    pub(super) fn held(&self) -> usize {
        self.links.values().map(|link| link.held.len()).sum()
    }

    pub(super) fn consumers(&self, queue: &str) -> usize {
        self.queues.get(queue).map_or(0, |queue| queue.consumers.len())
    }

    pub(super) fn messages(&self, queue: &str) -> Vec<Message> {
        self.queues.get(queue).map(MemoryQueue::messages).unwrap_or_default()
    }

    pub(super) fn refuse_connections(&mut self, times: usize) {
        self.refusals = times;
    }

    /// A new connection; `sink` makes the receiver of its settlements from its number.
    pub(super) fn connect(
        &mut self,
        sink: impl FnOnce(u64) -> Arc<dyn Settle>,
    ) -> Result<(u64, LinkEnds), BrokerError> {
        if self.refusals > 0 {
            self.refusals -= 1;
            return Err(BrokerError::lost("connection refused by the in-process broker"));
        }
        let id = self.fresh_id();
        let (link, ends) = Link::new(sink(id));
        self.links.insert(id, link);
        Ok((id, ends))
    }

    /// Fails if the connection is over.
    pub(super) fn check(&self, link: u64) -> Result<(), BrokerError> {
        match self.links.contains_key(&link) {
            true => Ok(()),
            false => Err(BrokerError::lost("the connection to the in-process broker is closed")),
        }
    }

    pub(super) fn declare(&mut self, link: u64, queue: &Queue) -> Result<(), BrokerError> {
        self.check(link)?;
        let bound_by = queue.bound_by();
        bound_by.iter().try_for_each(|(exchange, ..)| self.declare_exchange(exchange))?;
        if queue.no_declare {
            return Ok(());
        }
        self.declare_queue(link, queue)?;
        bound_by.into_iter().try_for_each(|(exchange, key, _)| self.bind(exchange, key, &queue.name))
    }

    fn declare_exchange(&mut self, exchange: &Exchange) -> Result<(), BrokerError> {
        if exchange.name.is_empty() || exchange.no_declare {
            return Ok(());
        }
        match self.exchanges.get(&exchange.name) {
            Some(kind) if *kind != exchange.kind => Err(BrokerError::refused(format!(
                "precondition failed: exchange '{}' is of type '{}', not '{}'",
                exchange.name,
                kind.as_str(),
                exchange.kind.as_str()
            ))),
            Some(_) => Ok(()),
            None => {
                self.exchanges.insert(exchange.name.clone(), exchange.kind.clone());
                Ok(())
            }
        }
    }

    fn declare_queue(&mut self, link: u64, queue: &Queue) -> Result<(), BrokerError> {
        if self.queues.contains_key(queue.name.as_str()) {
            let existing = self.queue(link, &queue.name)?;
            return match existing.conflict(queue) {
                Some(what) => Err(BrokerError::refused(format!(
                    "precondition failed: inequivalent argument '{what}' for queue '{}'",
                    queue.name
                ))),
                None => Ok(()),
            };
        }
        self.queues.insert(queue.name.as_str().into(), MemoryQueue::new(queue, link));
        Ok(())
    }

    fn bind(&mut self, exchange: &Exchange, key: &str, queue: &str) -> Result<(), BrokerError> {
        if exchange.name.is_empty() {
            return Ok(());
        }
        if !self.exchanges.contains_key(&exchange.name) {
            return Err(BrokerError::refused(format!("not found: no exchange '{}'", exchange.name)));
        }
        let binding = Binding { exchange: exchange.name.clone(), key: key.to_owned(), queue: queue.into() };
        if !self.bindings.contains(&binding) {
            self.bindings.push(binding);
        }
        Ok(())
    }

    /// Adds a consumer to a queue and gives it what waits.
    pub(super) fn consume(&mut self, queue: &str, mut consumer: Consumer) -> Result<u64, BrokerError> {
        self.check(consumer.link)?;
        let id = self.fresh_id();
        consumer.id = id;
        self.queue(consumer.link, queue)?.consumers.push_back(consumer);
        self.dispatch(queue);
        Ok(id)
    }

    /// Removes the consumers of a queue that `which` names, and the queue if it lived by them.
    pub(super) fn cancel(&mut self, queue: &str, which: impl Fn(&Consumer) -> bool) {
        let Some(found) = self.queues.get_mut(queue) else { return };
        let before = found.consumers.len();
        found.consumers.retain(|consumer| !which(consumer));
        if before > 0 && found.consumers.is_empty() && found.auto_delete() {
            self.remove_queue(queue);
        }
    }

    /// Removes consumers of all queues.
    pub(super) fn cancel_everywhere(&mut self, which: impl Fn(&Consumer) -> bool) {
        let names: Vec<Arc<str>> = self.queues.keys().cloned().collect();
        for name in names {
            self.cancel(&name, &which);
        }
    }

    pub(super) fn set_prefetch(&mut self, link: u64, count: u32) {
        if let Some(link) = self.links.get_mut(&link) {
            link.prefetch = count;
            self.dispatch_all();
        }
    }

    pub(super) fn publish(&mut self, route: &Route, mut message: Message) -> Result<(), BrokerError> {
        let targets = self.targets(route)?;
        message.properties.delivery_info.exchange = route.exchange.clone();
        message.properties.delivery_info.routing_key = route.routing_key.clone();
        for name in targets {
            let sequence = self.fresh_id();
            if let Some(queue) = self.queues.get_mut(&name) {
                queue.push(message.clone(), sequence);
            }
            self.dispatch(&name);
        }
        Ok(())
    }

    fn targets(&self, route: &Route) -> Result<Vec<Arc<str>>, BrokerError> {
        if route.exchange.is_empty() {
            return Ok(self
                .queues
                .get_key_value(route.routing_key.as_str())
                .map(|(name, _)| name.clone())
                .into_iter()
                .collect());
        }
        let kind = self
            .exchanges
            .get(&route.exchange)
            .ok_or_else(|| BrokerError::refused(format!("not found: no exchange '{}'", route.exchange)))?;
        let mut names: Vec<Arc<str>> = self
            .bindings
            .iter()
            .filter(|binding| binding.exchange == route.exchange && binding.takes(kind, &route.routing_key))
            .map(|binding| binding.queue.clone())
            .collect();
        names.sort();
        names.dedup();
        Ok(names)
    }

    pub(super) fn purge(&mut self, link: u64, queue: &str) -> Result<u64, BrokerError> {
        self.check(link)?;
        Ok(self.queue(link, queue)?.purge())
    }

    /// Settles a delivery; one that is no longer held is somebody else's.
    pub(super) fn settle(&mut self, link: u64, tag: u64, settlement: Settlement) -> bool {
        let Some(held) = self.links.get_mut(&link).and_then(|link| link.held.remove(&tag)) else { return false };
        if settlement == Settlement::Requeue {
            self.put_back(held);
        }
        self.dispatch_all();
        true
    }

    /// Ends a connection; what it held goes back. Says how many that were.
    pub(super) fn disconnect(&mut self, link: u64, reason: BrokerError) -> usize {
        let Some(gone) = self.links.remove(&link) else { return 0 };
        let held = gone.end(reason);
        let count = held.len();
        held.into_values().for_each(|held| self.put_back(held));
        self.cancel_everywhere(|consumer| consumer.link == link);
        let owned: Vec<Arc<str>> =
            self.queues.iter().filter(|(_, queue)| queue.owned_by(link)).map(|(name, _)| name.clone()).collect();
        owned.iter().for_each(|name| self.remove_queue(name));
        self.dispatch_all();
        count
    }

    pub(super) fn disconnect_all(&mut self, reason: &BrokerError) {
        let links: Vec<u64> = self.links.keys().copied().collect();
        for link in links {
            self.disconnect(link, reason.clone());
        }
    }

    fn put_back(&mut self, held: Held) {
        if let Some(queue) = self.queues.get_mut(&held.queue) {
            queue.put(Stored { redelivered: true, ..held.stored });
        }
    }

    fn queue(&mut self, link: u64, name: &str) -> Result<&mut MemoryQueue, BrokerError> {
        let queue =
            self.queues.get_mut(name).ok_or_else(|| BrokerError::refused(format!("not found: no queue '{name}'")))?;
        if queue.locked_for(link) {
            return Err(BrokerError::refused(format!("resource locked: queue '{name}' belongs to another connection")));
        }
        Ok(queue)
    }

    fn remove_queue(&mut self, name: &str) {
        self.queues.remove(name);
        self.bindings.retain(|binding| &*binding.queue != name);
    }

    fn dispatch_all(&mut self) {
        let names: Vec<Arc<str>> = self.queues.keys().cloned().collect();
        names.iter().for_each(|name| self.dispatch(name));
    }

    /// Hands a queue's messages to its consumers in turn, as long as somebody has room.
    fn dispatch(&mut self, name: &str) {
        let Some((name, queue)) = self.queues.get_key_value(name).map(|(name, _)| name.clone()).and_then(|name| {
            let queue = self.queues.get_mut(&name)?;
            Some((name, queue))
        }) else {
            return;
        };
        while queue.len() > 0 {
            let Some(turn) = queue.consumers.iter().position(|consumer| has_room(&self.links, consumer)) else { break };
            let Some(consumer) = queue.consumers.remove(turn) else { break };
            if let Some(stored) = queue.pop() {
                hand_out(&mut self.links, &consumer, &name, stored);
            }
            queue.consumers.push_back(consumer);
        }
        self.links.values_mut().for_each(Link::flush);
    }

    fn fresh_id(&mut self) -> u64 {
        self.last_id += 1;
        self.last_id
    }
}

fn has_room(links: &HashMap<u64, Link>, consumer: &Consumer) -> bool {
    match &consumer.stream {
        Some(stream) => !stream.is_closed(),
        None => links.get(&consumer.link).is_some_and(Link::has_room),
    }
}

fn hand_out(links: &mut HashMap<u64, Link>, consumer: &Consumer, queue: &Arc<str>, stored: Stored) {
    let Some(stream) = &consumer.stream else {
        if let Some(link) = links.get_mut(&consumer.link) {
            link.hand_out(queue, stored);
        }
        return;
    };
    let delivery = Delivery {
        message: Ok(stored.message),
        queue: queue.clone(),
        redelivered: stored.redelivered,
        acker: Acker::settled(),
    };
    // A subscriber that has just gone loses it, as it would have lost it from its socket.
    let _ = stream.try_send(vec![delivery]);
}
