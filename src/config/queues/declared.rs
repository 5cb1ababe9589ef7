//! Queues and exchanges as the manifest spells them: the fields of [`Queue`] and [`Exchange`], as plain data.

use crate::{
    config::ConfigError,
    protocol::{Binding, Exchange, Queue},
    serialization::{Map, Value},
};

/// A list of queues.
pub(super) fn queues(value: &Value) -> Result<Vec<Queue>, ConfigError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => items.iter().map(queue).collect(),
        _ => Err(refusal("?", "the queues are not a list")),
    }
}

fn queue(value: &Value) -> Result<Queue, ConfigError> {
    let fields = value.as_map().ok_or_else(|| refusal("?", "a queue is not a dict"))?;
    let name = text(fields, "name").ok_or_else(|| refusal("?", "it has no name"))?;
    let field_error = |reason: &str| refusal(&name, reason);
    Ok(Queue {
        alias: text(fields, "alias").filter(|alias| !alias.is_empty()),
        exchange: exchange(fields.get("exchange")).map_err(field_error)?,
        routing_key: text(fields, "routing_key").unwrap_or_default(),
        bindings: bindings(fields.get("bindings")).map_err(field_error)?,
        durable: truth(fields, "durable", true),
        exclusive: truth(fields, "exclusive", false),
        auto_delete: truth(fields, "auto_delete", false),
        no_ack: truth(fields, "no_ack", false),
        no_declare: truth(fields, "no_declare", false),
        arguments: map(fields, "arguments"),
        binding_arguments: map(fields, "binding_arguments"),
        consumer_arguments: map(fields, "consumer_arguments"),
        name,
    })
}

fn exchange(value: Option<&Value>) -> Result<Exchange, &'static str> {
    match value {
        None | Some(Value::Null) => Ok(Exchange::new("", "direct".into())),
        Some(Value::Str(name)) => Ok(Exchange::new(name, "direct".into())),
        Some(Value::Map(fields)) => Ok(exchange_of(fields)),
        Some(_) => Err("its exchange is neither a name nor a dict"),
    }
}

fn exchange_of(fields: &Map) -> Exchange {
    let kind = text(fields, "kind").or_else(|| text(fields, "type")).unwrap_or_default();
    Exchange {
        name: text(fields, "name").unwrap_or_default(),
        kind: kind.as_str().into(),
        durable: truth(fields, "durable", true),
        auto_delete: truth(fields, "auto_delete", false),
        no_declare: truth(fields, "no_declare", false),
        arguments: map(fields, "arguments"),
    }
}

fn bindings(value: Option<&Value>) -> Result<Vec<Binding>, &'static str> {
    let Some(items) = value.and_then(Value::as_list) else { return Ok(Vec::new()) };
    items.iter().map(binding).collect()
}

fn binding(value: &Value) -> Result<Binding, &'static str> {
    let fields = value.as_map().ok_or("a binding is not a dict")?;
    Ok(Binding {
        exchange: exchange(fields.get("exchange"))?,
        routing_key: text(fields, "routing_key").unwrap_or_default(),
        arguments: map(fields, "arguments"),
    })
}

fn text(fields: &Map, name: &str) -> Option<String> {
    fields.get(name)?.as_str().map(str::to_owned)
}

fn truth(fields: &Map, name: &str, default: bool) -> bool {
    fields.get(name).filter(|value| !value.is_null()).map_or(default, Value::is_truthy)
}

fn map(fields: &Map, name: &str) -> Map {
    fields.get(name).and_then(Value::as_map).cloned().unwrap_or_default()
}

fn refusal(name: &str, reason: &str) -> ConfigError {
    ConfigError::Queue { name: name.to_owned(), reason: reason.to_owned() }
}
