//! [`EtaQueue`]: requests whose time has not come, by time.

use std::{collections::BTreeMap, time::SystemTime};

use crate::worker::request::Request;

/// Requests that wait for their `eta`. Owned by the dispatcher, which sleeps until [`EtaQueue::next`].
#[derive(Debug, Default)]
pub struct EtaQueue {
    waiting: BTreeMap<(SystemTime, u64), Request>,
}

impl EtaQueue {
    /// Holds a request until `eta`.
    pub fn insert(&mut self, eta: SystemTime, request: Request) {
        self.waiting.insert((eta, request.number), request);
    }

    /// When the first one is due.
    pub fn next(&self) -> Option<SystemTime> {
        self.waiting.first_key_value().map(|((eta, _), _)| *eta)
    }

    /// One that is due, if any.
    pub fn pop_due(&mut self, now: SystemTime) -> Option<Request> {
        let entry = self.waiting.first_entry()?;
        (entry.key().0 <= now).then(|| entry.remove())
    }

    /// Gives up all of them; their messages are left to the broker.
    pub fn clear(&mut self) {
        for request in self.waiting.values_mut() {
            request.leave();
        }
        self.waiting.clear();
    }

    /// What waits, soonest first.
    pub fn iter(&self) -> impl Iterator<Item = (SystemTime, &Request)> {
        self.waiting.iter().map(|((eta, _), request)| (*eta, request))
    }
}
