//! Declarations, as kombu's `Queue.declare` makes them: exchange, queue, binding.

use lapin::{
    Channel, ExchangeKind,
    options::{ExchangeDeclareOptions, QueueBindOptions, QueueDeclareOptions},
};

use crate::{
    broker::{
        BrokerError,
        amqp::{
            error,
            table::{from_map, short},
        },
    },
    protocol::{Exchange, ExchangeType, Queue},
    serialization::Map,
};

/// Declares all that a queue needs. A queue that is not to be declared still has its exchange declared.
///
/// # Errors
/// Refused: it exists and is different (`PRECONDITION_FAILED`), belongs to another connection, or may not be declared.
pub(super) async fn declare(channel: &Channel, queue: &Queue) -> Result<(), BrokerError> {
    let bound_by = queue.bound_by();
    for (exchange, ..) in &bound_by {
        declare_exchange(channel, exchange).await?;
    }
    if queue.no_declare {
        return Ok(());
    }
    declare_queue(channel, queue).await?;
    for (exchange, routing_key, arguments) in bound_by {
        bind(channel, queue, exchange, routing_key, arguments).await?;
    }
    Ok(())
}

/// Declares an exchange, unless it is one that is there already.
pub(super) async fn declare_exchange(channel: &Channel, exchange: &Exchange) -> Result<(), BrokerError> {
    if exchange.name.is_empty() || exchange.name.starts_with("amq.") || exchange.no_declare {
        return Ok(());
    }
    let options = ExchangeDeclareOptions {
        durable: exchange.durable,
        auto_delete: exchange.auto_delete,
        ..ExchangeDeclareOptions::default()
    };
    let arguments = from_map(&exchange.arguments)?;
    let declared = channel.exchange_declare(short(&exchange.name)?, kind(&exchange.kind), options, arguments).await;
    declared.map_err(|error| error::during(format!("cannot declare exchange '{}'", exchange.name), &error))
}

async fn declare_queue(channel: &Channel, queue: &Queue) -> Result<(), BrokerError> {
    let options = QueueDeclareOptions {
        durable: queue.durable,
        exclusive: queue.exclusive,
        auto_delete: queue.auto_delete,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(short(&queue.name)?, options, from_map(&queue.arguments)?).await;
    declared.map(drop).map_err(|error| error::during(format!("cannot declare queue '{}'", queue.name), &error))
}

async fn bind(
    channel: &Channel,
    queue: &Queue,
    exchange: &Exchange,
    routing_key: &str,
    arguments: &Map,
) -> Result<(), BrokerError> {
    let (name, from, key) = (short(&queue.name)?, short(&exchange.name)?, short(routing_key)?);
    let bound = channel.queue_bind(name, from, key, QueueBindOptions::default(), from_map(arguments)?).await;
    bound.map_err(|error| {
        error::during(format!("cannot bind queue '{}' to exchange '{}'", queue.name, exchange.name), &error)
    })
}

fn kind(kind: &ExchangeType) -> ExchangeKind {
    match kind {
        ExchangeType::Direct => ExchangeKind::Direct,
        ExchangeType::Topic => ExchangeKind::Topic,
        ExchangeType::Fanout => ExchangeKind::Fanout,
        ExchangeType::Headers => ExchangeKind::Headers,
        ExchangeType::Other(name) => ExchangeKind::Custom(name.clone()),
    }
}
