//! kombu's native delayed delivery (`kombu/transport/native_delayed_delivery.py`): a chain of exchanges and queues in which
//! the broker keeps a message until its time. Who sends messages into it is the producer's business.
//!
//! There is a level for each bit of a delay in seconds. A message goes through the queue of each bit that is set, whose
//! TTL is worth that bit, and past the queues of the others; from the last level it reaches the delivery exchange.

use lapin::{
    Channel,
    options::{ExchangeBindOptions, QueueBindOptions},
    types::FieldTable,
};

use crate::{
    broker::{
        BrokerError,
        amqp::{error, table::short, topology},
    },
    protocol::{Exchange, ExchangeType, Queue},
    serialization::{Map, Value},
};

/// How many bits a delay has.
const LEVELS: usize = 28;
/// Where messages arrive whose time has come.
const DELIVERY: &str = "celery_delayed_delivery";

/// Declares all levels and the delivery exchange. Idempotent.
///
/// # Errors
/// Refused: they exist and are different, or may not be declared.
pub(super) async fn declare(channel: &Channel, queue_type: &str) -> Result<(), BrokerError> {
    for level in (0..LEVELS).rev() {
        topology::declare(channel, &waiting(level, queue_type)).await?;
    }
    for level in (1..LEVELS).rev() {
        bind_exchange(channel, &name(level - 1), &name(level), &key(level, "0")).await?;
    }
    topology::declare_exchange(channel, &Exchange::new(DELIVERY, ExchangeType::Topic)).await?;
    bind_exchange(channel, DELIVERY, &name(0), &key(0, "0")).await
}

/// Has messages whose time has come reach a queue and its exchange, which have to exist.
///
/// # Errors
/// Refused: one of the two does not exist.
pub(super) async fn bind(channel: &Channel, queue: &str, exchange: &str, key: &str) -> Result<(), BrokerError> {
    let key = if key.starts_with('#') { key.to_owned() } else { format!("#.{key}") };
    bind_exchange(channel, exchange, DELIVERY, &key).await?;
    let (to, from, options) = (short(queue)?, short(exchange)?, QueueBindOptions::default());
    let bound = channel.queue_bind(to, from, short(&key)?, options, FieldTable::default()).await;
    bound.map_err(|error| error::during(format!("cannot bind queue '{queue}' to exchange '{exchange}'"), &error))
}

fn name(level: usize) -> String {
    format!("celery_delayed_{level}")
}

/// Of the messages that have this bit: a word for each bit before it, and whatever comes after it.
fn key(level: usize, bit: &str) -> String {
    format!("{}{bit}.#", "*.".repeat(LEVELS - 1 - level))
}

/// A level's queue, bound to the level's exchange for messages that are to wait there.
fn waiting(level: usize, queue_type: &str) -> Queue {
    let next = level.checked_sub(1).map_or_else(|| DELIVERY.to_owned(), name);
    let mut arguments = Map::from_iter([
        ("x-queue-type".to_owned(), Value::from(queue_type)),
        ("x-overflow".to_owned(), Value::from("reject-publish")),
        ("x-message-ttl".to_owned(), Value::Int(1000 << level)),
        ("x-dead-letter-exchange".to_owned(), Value::from(next)),
    ]);
    if queue_type == "quorum" {
        arguments.insert("x-dead-letter-strategy".to_owned(), Value::from("at-least-once"));
    }
    Queue {
        exchange: Exchange::new(name(level), ExchangeType::Topic),
        routing_key: key(level, "1"),
        arguments,
        ..Queue::direct(name(level))
    }
}

async fn bind_exchange(channel: &Channel, to: &str, from: &str, key: &str) -> Result<(), BrokerError> {
    let options = ExchangeBindOptions::default();
    let bound = channel.exchange_bind(short(to)?, short(from)?, short(key)?, options, FieldTable::default()).await;
    bound.map_err(|error| error::during(format!("cannot bind exchange '{to}' to exchange '{from}'"), &error))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_level_waits_for_its_bit() {
        let (first, last) = (waiting(27, "quorum"), waiting(0, "classic"));
        assert_eq!((first.name.as_str(), first.routing_key.as_str()), ("celery_delayed_27", "1.#"));
        assert_eq!(first.arguments["x-message-ttl"], Value::Int(134_217_728_000));
        assert_eq!(first.arguments["x-dead-letter-exchange"], Value::from("celery_delayed_26"));
        assert_eq!(last.routing_key, format!("{}1.#", "*.".repeat(27)));
        assert_eq!(last.arguments["x-dead-letter-exchange"], Value::from(DELIVERY));
        assert!(first.arguments.contains_key("x-dead-letter-strategy"));
        assert!(!last.arguments.contains_key("x-dead-letter-strategy"));
    }
}
