//! [`State`]: what this worker holds and runs, for remote control and for the end.

use std::{collections::HashMap, sync::Arc};

use crate::{
    pool::Accepted,
    protocol::{Message, TaskHeaders},
    task::{Runner, TaskDefinition},
    worker::{execute::Signal, request::Request},
};

/// A request that has been given to a pool.
#[derive(Debug)]
pub struct Entry {
    /// What is known of it.
    pub headers: Arc<TaskHeaders>,
    /// What it runs.
    pub definition: Arc<TaskDefinition>,
    /// The message, for its arguments and properties.
    pub message: Arc<Message>,
    /// Whether it was handed out before.
    pub redelivered: bool,
    /// None while it waits for a seat.
    pub accepted: Option<Accepted>,
    /// Read by its [`execute`](super::execute).
    pub signal: tokio::sync::mpsc::Sender<Signal>,
}

impl Entry {
    /// An entry for a request that is about to be executed.
    pub fn new(request: &Request, signal: tokio::sync::mpsc::Sender<Signal>) -> Self {
        Self {
            headers: request.headers.clone(),
            definition: request.definition.clone(),
            message: request.message.clone(),
            redelivered: request.redelivered,
            accepted: None,
            signal,
        }
    }

    fn is_python(&self) -> bool {
        matches!(self.definition.runner, Runner::Python)
    }
}

/// Everything reserved or active, and the totals. Owned by the dispatcher; others see snapshots.
#[derive(Debug, Default)]
pub struct State {
    requests: HashMap<u64, Entry>,
    active: usize,
    /// Those of the requests that need a child, and those of the active ones.
    python: (usize, usize),
    totals: HashMap<String, u64>,
}

impl State {
    /// A request goes to a pool.
    pub fn reserve(&mut self, number: u64, entry: Entry) {
        self.python.0 += usize::from(entry.is_python());
        self.requests.insert(number, entry);
    }

    /// It has begun: it counts towards the totals, by the name for people.
    pub fn accept(&mut self, number: u64, accepted: Accepted) {
        let Some(entry) = self.requests.get_mut(&number) else { return };
        entry.accepted = Some(accepted);
        self.active += 1;
        self.python.1 += usize::from(entry.is_python());
        let name = entry.headers.display_name();
        match self.totals.get_mut(name) {
            Some(total) => *total += 1,
            None => drop(self.totals.insert(name.to_owned(), 1)),
        }
    }

    /// It has ended, begun or not.
    pub fn forget(&mut self, number: u64) -> Option<Entry> {
        let entry = self.requests.remove(&number)?;
        self.active -= usize::from(entry.accepted.is_some());
        self.python.0 -= usize::from(entry.is_python());
        self.python.1 -= usize::from(entry.is_python() && entry.accepted.is_some());
        Some(entry)
    }

    /// All requests in the pools' hands.
    pub fn entries(&self) -> impl Iterator<Item = (u64, &Entry)> {
        self.requests.iter().map(|(number, entry)| (*number, entry))
    }

    /// How many are in the pools' hands.
    pub fn len(&self) -> usize {
        self.requests.len()
    }

    /// Whether none is.
    pub fn is_empty(&self) -> bool {
        self.requests.is_empty()
    }

    /// How many have begun and not ended.
    pub fn active(&self) -> usize {
        self.active
    }

    /// How many are acknowledged when they begin, or have been.
    pub fn early(&self) -> usize {
        self.requests.values().filter(|entry| !entry.definition.options.acks_late).count()
    }

    /// How many are for children, begun or not.
    pub fn reserved_python(&self) -> usize {
        self.python.0
    }

    /// How many have begun in children and not ended.
    pub fn active_python(&self) -> usize {
        self.python.1
    }

    /// How often each task was accepted since the start.
    pub fn totals(&self) -> &HashMap<String, u64> {
        &self.totals
    }
}
