//! [`Queues`]: the queues by name, and which of them are consumed (`celery/app/amqp.py`).
//!
//! Declaring and consuming them is the broker's and the worker's business.

mod declared;
#[cfg(test)]
mod tests;

use indexmap::IndexMap;

use crate::{
    config::{ConfigError, TaskSettings},
    protocol::{Exchange, ExchangeType},
    serialization::Value,
};

pub use crate::protocol::Queue;

/// Exchange of the queues that belong to one worker each (`worker_direct`).
const DIRECT_EXCHANGE: &str = "C.dq2";

/// Every queue known, and those to consume, in order.
#[derive(Debug, Clone)]
pub struct Queues {
    known: IndexMap<String, Queue>,
    consume_from: Vec<String>,
    rules: Rules,
}

/// How queues are made up or completed.
#[derive(Debug, Clone)]
struct Rules {
    create_missing: bool,
    missing_type: String,
    missing_exchange_type: ExchangeType,
    max_priority: Option<u32>,
}

impl Queues {
    /// The queues of an app without Python: those given, or else the default queue. All of them are consumed until
    /// [`select`](Self::select) says otherwise.
    pub fn new(settings: &TaskSettings, declared: Vec<Queue>) -> Self {
        let mut queues = Self::empty(settings);
        let declared = if declared.is_empty() { vec![default_queue(settings)] } else { declared };
        for queue in declared {
            let queue = completed(queue, settings);
            queues.consume_from.push(queue.name.clone());
            queues.put(queue);
        }
        queues
    }

    /// The queues as the Python app declares them (`Manifest.queues`), complete already, and those it consumes.
    ///
    /// # Errors
    /// When they are not a list of queues.
    pub fn from_manifest(
        settings: &TaskSettings,
        queues: &Value,
        consume_from: &[String],
    ) -> Result<Self, ConfigError> {
        let mut all = Self::empty(settings);
        for queue in declared::queues(queues)? {
            all.known.insert(queue.name.clone(), queue);
        }
        for name in consume_from {
            let name = all.resolve(name)?;
            all.consume_from.push(name);
        }
        Ok(all)
    }

    fn empty(settings: &TaskSettings) -> Self {
        let missing_exchange_type = settings.create_missing_queue_exchange_type.as_deref();
        Self {
            known: IndexMap::new(),
            consume_from: Vec::new(),
            rules: Rules {
                create_missing: settings.create_missing_queues,
                missing_type: settings.create_missing_queue_type.clone(),
                missing_exchange_type: missing_exchange_type.map_or(ExchangeType::Direct, ExchangeType::from),
                max_priority: settings.queue_max_priority,
            },
        }
    }

    /// `-Q`: consume exactly these. Nothing happens when none is named.
    ///
    /// # Errors
    /// When one is not known and may not be made up.
    pub fn select(&mut self, wanted: &[String]) -> Result<(), ConfigError> {
        if wanted.is_empty() {
            return Ok(());
        }
        self.consume_from.clear();
        for name in wanted {
            let resolved = self
                .resolve(name)
                .map_err(|_| ConfigError::UnknownQueue { wanted: wanted.to_vec(), missing: name.clone() })?;
            self.consume(resolved);
        }
        Ok(())
    }

    /// `-X`: consume all but these. Unknown names are ignored.
    pub fn deselect(&mut self, unwanted: &[String]) {
        for name in unwanted {
            let name = self.get(name).map_or(name.clone(), |queue| queue.name.clone());
            self.consume_from.retain(|consumed| *consumed != name);
        }
    }

    /// The worker's own queue (`worker_direct`), consumed along with the others.
    pub fn add_direct(&mut self, nodename: &str) {
        self.select_add(Queue {
            exchange: Exchange::new(DIRECT_EXCHANGE, ExchangeType::Direct),
            routing_key: nodename.to_owned(),
            ..Queue::direct(format!("{nodename}.dq2"))
        });
    }

    /// Consumes one more queue, whatever `-Q` says (remote control's `add_consumer`).
    pub fn select_add(&mut self, queue: Queue) {
        let name = queue.name.clone();
        self.put(queue);
        self.consume(name);
    }

    /// A queue by its name or alias.
    pub fn get(&self, name: &str) -> Option<&Queue> {
        let aliased = || self.known.values().find(|queue| queue.alias.as_deref() == Some(name));
        self.known.get(name).or_else(aliased)
    }

    /// A queue by its name or alias, made up if it may be.
    ///
    /// # Errors
    /// When it is not known and `task_create_missing_queues` is off.
    pub fn get_or_create(&mut self, name: &str) -> Result<&Queue, ConfigError> {
        let name = self.resolve(name)?;
        Ok(&self.known[&name])
    }

    /// The queues to consume, in order.
    pub fn consume_from(&self) -> impl Iterator<Item = &Queue> {
        self.consume_from.iter().filter_map(|name| self.known.get(name))
    }

    /// Every queue known, consumed or not.
    pub fn iter(&self) -> impl Iterator<Item = &Queue> {
        self.known.values()
    }

    fn consume(&mut self, name: String) {
        if !self.consume_from.contains(&name) {
            self.consume_from.push(name);
        }
    }

    fn resolve(&mut self, name: &str) -> Result<String, ConfigError> {
        if let Some(queue) = self.get(name) {
            return Ok(queue.name.clone());
        }
        if !self.rules.create_missing {
            return Err(ConfigError::Queue { name: name.to_owned(), reason: "missing from task_queues".to_owned() });
        }
        let queue = self.rules.missing(name);
        self.put(queue);
        Ok(name.to_owned())
    }

    fn put(&mut self, mut queue: Queue) {
        if let Some(max_priority) = self.rules.max_priority {
            queue.arguments.entry("x-max-priority".to_owned()).or_insert(max_priority.into());
        }
        self.known.insert(queue.name.clone(), queue);
    }
}

impl Rules {
    fn missing(&self, name: &str) -> Queue {
        let mut queue = Queue::direct(name);
        queue.exchange.kind = self.missing_exchange_type.clone();
        if self.missing_type == "quorum" {
            queue.arguments.insert("x-queue-type".to_owned(), "quorum".into());
        }
        queue
    }
}

fn default_queue(settings: &TaskSettings) -> Queue {
    let mut queue = Queue::direct(&settings.default_queue);
    queue.exchange = default_exchange(settings);
    queue.routing_key.clone_from(&settings.default_routing_key);
    if settings.default_queue_type == "quorum" {
        queue.arguments.insert("x-queue-type".to_owned(), "quorum".into());
    }
    queue
}

fn default_exchange(settings: &TaskSettings) -> Exchange {
    Exchange::new(&settings.default_exchange, settings.default_exchange_type.as_str().into())
}

/// A queue without an exchange gets the default one, one without a routing key the default one.
fn completed(mut queue: Queue, settings: &TaskSettings) -> Queue {
    if queue.exchange.name.is_empty() {
        queue.exchange = default_exchange(settings);
    }
    if queue.routing_key.is_empty() {
        queue.routing_key.clone_from(&settings.default_routing_key);
    }
    queue
}
