//! [`Publisher`]: messages into files, through the tables of exchanges (`kombu/transport/virtual/exchange.py`).

use std::sync::Arc;

use crate::{
    broker::{
        BrokerError,
        envelope::Draft,
        filesystem::{
            name,
            options::FilesystemOptions,
            store,
            table::{Binding, Tables},
        },
    },
    protocol::{Exchange, ExchangeType, Message, Queue, Route},
};

/// Writes and declares; all of it may block.
#[derive(Debug, Clone)]
pub(super) struct Publisher {
    options: Arc<FilesystemOptions>,
    tables: Tables,
}

impl Publisher {
    pub fn new(options: Arc<FilesystemOptions>) -> Self {
        Self { tables: Tables::new(options.control_folder.clone()), options }
    }

    /// Binds a queue to its exchanges. Queues themselves need no declaration.
    pub fn declare(&self, queue: &Queue) -> Result<(), BrokerError> {
        for (exchange, binding) in bindings(queue)? {
            self.tables.bind(exchange, &binding)?;
        }
        Ok(())
    }

    /// Removes a queue with its bindings and its messages.
    pub fn delete(&self, queue: &Queue) -> Result<(), BrokerError> {
        for (exchange, binding) in bindings(queue)? {
            self.tables.unbind(exchange, &binding)?;
        }
        self.purge(&queue.name).map(drop)
    }

    /// Resolves when the files are where they belong. What no queue is bound for is dropped, as kombu does.
    pub fn publish(&self, route: &Route, message: &Message) -> Result<(), BrokerError> {
        let draft = Draft::new(message, &route.exchange, &route.routing_key, self.options.base64_bodies)
            .map_err(|error| BrokerError::refused(format!("a message cannot be written into a file: {error}")))?;
        for queue in self.targets(route)? {
            let name = name::fresh(&queue);
            store::put(&self.options.data_folder_out, &name, draft.copy().as_bytes()).map_err(|error| {
                let folder = self.options.data_folder_out.display();
                BrokerError::refused(format!("Cannot add file {name:?} to directory {folder}: {error}"))
            })?;
        }
        Ok(())
    }

    /// Empties a queue; how many messages there were.
    pub fn purge(&self, queue: &str) -> Result<u64, BrokerError> {
        let folder = &self.options.data_folder_in;
        store::purge(folder, queue)
            .map_err(|error| BrokerError::refused(format!("{} cannot be read: {error}", folder.display())))
    }

    fn targets(&self, route: &Route) -> Result<Vec<String>, BrokerError> {
        let Route { exchange, exchange_type, routing_key, .. } = route;
        let deadletter = self.options.deadletter_queue.as_deref();
        if exchange.is_empty() {
            return Ok(vec![
                if routing_key.is_empty() { deadletter.unwrap_or_default() } else { routing_key }.to_owned(),
            ]);
        }
        check(exchange, exchange_type)?;
        let mut bindings = self.tables.read(exchange)?;
        match exchange_type {
            ExchangeType::Fanout => return Ok(bindings.into_iter().map(|binding| binding.queue).collect()),
            ExchangeType::Topic => {
                let is_target = |binding: &Binding| !binding.queue.is_empty() && Some(&*binding.queue) != deadletter;
                bindings.retain(|binding| binding.matches(routing_key) && is_target(binding));
            }
            _ => bindings.retain(|binding| binding.routing_key == *routing_key),
        }
        let mut queues: Vec<String> = bindings.into_iter().map(|binding| binding.queue).collect();
        queues.sort();
        queues.dedup();
        if queues.is_empty() && *exchange_type != ExchangeType::Topic {
            queues.extend(deadletter.map(str::to_owned));
        }
        Ok(queues)
    }
}

/// The rows of a queue, with their exchanges.
fn bindings(queue: &Queue) -> Result<Vec<(&str, Binding)>, BrokerError> {
    queue.bound_by().into_iter().map(|(exchange, key, _)| row(exchange, key, &queue.name)).collect()
}

fn row<'a>(exchange: &'a Exchange, key: &str, queue: &str) -> Result<(&'a str, Binding), BrokerError> {
    check(&exchange.name, &exchange.kind)?;
    Ok((&exchange.name, Binding::new(exchange, key, queue)))
}

fn check(exchange: &str, kind: &ExchangeType) -> Result<(), BrokerError> {
    match kind {
        ExchangeType::Direct | ExchangeType::Topic | ExchangeType::Fanout => Ok(()),
        other => Err(BrokerError::refused(format!(
            "exchange '{exchange}' is of type '{}': the file system has direct, topic and fanout exchanges",
            other.as_str()
        ))),
    }
}
