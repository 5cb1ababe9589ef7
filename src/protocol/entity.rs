//! Exchanges, queues and routes, as kombu's `entity.py` names them.

use crate::serialization::Map;

/// How an exchange chooses queues.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum ExchangeType {
    /// Equal routing keys.
    #[default]
    Direct,
    /// Patterns of words.
    Topic,
    /// Every queue.
    Fanout,
    /// Header tables (AMQP only).
    Headers,
    /// A plugin's type, by its name.
    Other(String),
}

impl ExchangeType {
    /// AMQP's name of the type.
    pub fn as_str(&self) -> &str {
        match self {
            ExchangeType::Direct => "direct",
            ExchangeType::Topic => "topic",
            ExchangeType::Fanout => "fanout",
            ExchangeType::Headers => "headers",
            ExchangeType::Other(name) => name,
        }
    }
}

impl From<&str> for ExchangeType {
    fn from(name: &str) -> Self {
        match name {
            "direct" | "" => ExchangeType::Direct,
            "topic" => ExchangeType::Topic,
            "fanout" => ExchangeType::Fanout,
            "headers" => ExchangeType::Headers,
            other => ExchangeType::Other(other.to_owned()),
        }
    }
}

/// An exchange to be declared. The default exchange has the empty name and is never declared.
#[derive(Debug, Clone, PartialEq)]
pub struct Exchange {
    /// Empty for the default exchange.
    pub name: String,
    /// How it routes.
    pub kind: ExchangeType,
    /// Survives a broker restart.
    pub durable: bool,
    /// Goes away with its last queue.
    pub auto_delete: bool,
    /// Never declared, only used.
    pub no_declare: bool,
    /// Broker-specific arguments.
    pub arguments: Map,
}

impl Exchange {
    /// A durable exchange, as Celery declares those of its task queues.
    pub fn new(name: impl Into<String>, kind: ExchangeType) -> Self {
        Self { name: name.into(), kind, durable: true, auto_delete: false, no_declare: false, arguments: Map::new() }
    }
}

/// A way from an exchange to a queue (kombu's `binding`).
#[derive(Debug, Clone, PartialEq)]
pub struct Binding {
    /// Where messages come from.
    pub exchange: Exchange,
    /// The binding key.
    pub routing_key: String,
    /// What a headers exchange compares, and other arguments.
    pub arguments: Map,
}

/// A queue with its exchange and binding (kombu's `Queue`).
#[derive(Debug, Clone, PartialEq)]
pub struct Queue {
    /// The queue's name.
    pub name: String,
    /// What `-Q` and `-X` may call it, for a `Broadcast`.
    pub alias: Option<String>,
    /// Where messages for it are sent. It is bound there, unless it has `bindings`; the default exchange needs no binding.
    pub exchange: Exchange,
    /// The binding key.
    pub routing_key: String,
    /// What it is bound by instead of its exchange.
    pub bindings: Vec<Binding>,
    /// Survives a broker restart.
    pub durable: bool,
    /// Of this connection only.
    pub exclusive: bool,
    /// Goes away with its last consumer.
    pub auto_delete: bool,
    /// Deliveries count as acknowledged at once (pidbox, events).
    pub no_ack: bool,
    /// Never declared, only consumed.
    pub no_declare: bool,
    /// `x-max-priority`, `x-queue-type`, `x-expires` (milliseconds), `x-message-ttl` (milliseconds), ...
    pub arguments: Map,
    /// Arguments of the binding.
    pub binding_arguments: Map,
    /// Arguments of `basic.consume`.
    pub consumer_arguments: Map,
}

impl Queue {
    /// What it is to be bound by: exchange, key, arguments. In kombu a queue with `bindings` has no exchange of its own
    /// (`kombu/entity.py:Queue.__init__`); the one that Celery gives it is for sending only.
    pub fn bound_by(&self) -> Vec<(&Exchange, &str, &Map)> {
        let own =
            self.bindings.is_empty().then_some((&self.exchange, self.routing_key.as_str(), &self.binding_arguments));
        let given = self.bindings.iter().map(|by| (&by.exchange, by.routing_key.as_str(), &by.arguments));
        own.into_iter().chain(given).filter(|(exchange, ..)| !exchange.name.is_empty()).collect()
    }

    /// A durable queue on a direct exchange of its own name, as Celery makes missing ones.
    pub fn direct(name: impl Into<String>) -> Self {
        let name = name.into();
        Self {
            exchange: Exchange::new(name.clone(), ExchangeType::Direct),
            routing_key: name.clone(),
            name,
            alias: None,
            bindings: Vec::new(),
            durable: true,
            exclusive: false,
            auto_delete: false,
            no_ack: false,
            no_declare: false,
            arguments: Map::new(),
            binding_arguments: Map::new(),
            consumer_arguments: Map::new(),
        }
    }
}

/// Where a message is to be published.
#[derive(Debug, Clone, PartialEq)]
pub struct Route {
    /// Empty for the default exchange: the routing key is then the queue's name.
    pub exchange: String,
    /// How that exchange routes; the Redis transport needs it to choose its way.
    pub exchange_type: ExchangeType,
    /// Routing key.
    pub routing_key: String,
    /// A queue to declare before the first publish, as Celery's `declare=[queue]`.
    pub declare: Option<Box<Queue>>,
}

impl Route {
    /// Straight to a queue, through the default exchange.
    pub fn queue(name: impl Into<String>) -> Self {
        Self { exchange: String::new(), exchange_type: ExchangeType::Direct, routing_key: name.into(), declare: None }
    }
}
