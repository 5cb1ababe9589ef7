//! Queues by remote control: `active_queues`, `add_consumer`, `cancel_consumer`.

use crate::{
    control::{CommandError, Node, arguments::Arguments, error::ok},
    protocol::{Binding, Exchange, Queue},
    serialization::{Map, Value, map},
};

pub(super) async fn active_queues(node: &Node, _: Arguments) -> Result<Value, CommandError> {
    let queues = node.ask(|dispatcher| dispatcher.queues()).await?;
    Ok(Value::List(queues.iter().map(as_dict).collect()))
}

pub(super) async fn add_consumer(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let name = arguments.name("queue")?;
    let queue = match node.options.queues.get(&name) {
        Some(known) => known.clone(),
        None => made_up(&name, &arguments)?,
    };
    node.ask(move |dispatcher| dispatcher.add_queue(queue)).await?;
    Ok(ok(format!("add consumer {name}")))
}

pub(super) async fn cancel_consumer(node: &Node, arguments: Arguments) -> Result<Value, CommandError> {
    let name = arguments.name("queue")?;
    let cancelled = name.clone();
    node.ask(move |dispatcher| dispatcher.cancel_queue(cancelled)).await?;
    Ok(ok(format!("no longer consuming from {name}")))
}

/// A queue that nobody has declared, as `Queues.select_add` makes it.
fn made_up(name: &str, arguments: &Arguments) -> Result<Queue, CommandError> {
    let exchange = arguments.text("exchange")?.unwrap_or_else(|| name.to_owned());
    let kind = arguments.text("exchange_type")?.unwrap_or_default();
    Ok(Queue {
        exchange: Exchange::new(exchange, kind.as_str().into()),
        routing_key: arguments.text("routing_key")?.unwrap_or_else(|| name.to_owned()),
        ..Queue::direct(name)
    })
}

/// kombu's `Queue.as_dict(recurse=True)`.
fn as_dict(queue: &Queue) -> Value {
    let durations = |name: &str| queue.arguments.get(name).and_then(Value::as_f64).map(|millis| millis / 1000.0);
    let limit = |name: &str| queue.arguments.get(name).cloned().unwrap_or_default();
    // A queue that is bound by others has none of its own.
    let exchange = queue.bindings.is_empty().then(|| exchange_dict(&queue.exchange));
    map([
        ("name", queue.name.as_str().into()),
        ("exchange", exchange.into()),
        ("routing_key", queue.routing_key.as_str().into()),
        ("queue_arguments", table(&queue.arguments)),
        ("binding_arguments", table(&queue.binding_arguments)),
        ("consumer_arguments", table(&queue.consumer_arguments)),
        ("durable", queue.durable.into()),
        ("exclusive", queue.exclusive.into()),
        ("auto_delete", queue.auto_delete.into()),
        ("no_ack", queue.no_ack.into()),
        ("alias", queue.alias.clone().into()),
        ("bindings", Value::List(queue.bindings.iter().map(binding).collect())),
        ("no_declare", declared_as(queue.no_declare)),
        ("expires", durations("x-expires").into()),
        ("message_ttl", durations("x-message-ttl").into()),
        ("max_length", limit("x-max-length")),
        ("max_length_bytes", limit("x-max-length-bytes")),
        ("max_priority", limit("x-max-priority")),
    ])
    .into()
}

fn exchange_dict(exchange: &Exchange) -> Value {
    map([
        ("name", exchange.name.as_str().into()),
        ("type", exchange.kind.as_str().into()),
        ("arguments", table(&exchange.arguments)),
        ("durable", exchange.durable.into()),
        ("passive", false.into()),
        ("auto_delete", exchange.auto_delete.into()),
        ("delivery_mode", Value::Null),
        ("no_declare", exchange.no_declare.into()),
    ])
    .into()
}

fn binding(by: &Binding) -> Value {
    map([
        ("exchange", exchange_dict(&by.exchange)),
        ("routing_key", by.routing_key.as_str().into()),
        ("arguments", table(&by.arguments)),
        ("unbind_arguments", Value::Null),
    ])
    .into()
}

/// kombu leaves it null unless it was said.
fn declared_as(no_declare: bool) -> Value {
    if no_declare { true.into() } else { Value::Null }
}

/// kombu leaves tables null that nobody gave.
fn table(arguments: &Map) -> Value {
    if arguments.is_empty() { Value::Null } else { Value::Map(arguments.clone()) }
}
