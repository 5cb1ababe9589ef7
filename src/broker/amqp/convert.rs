//! Messages ↔ what lapin sends and receives.

use bytes::Bytes;
use lapin::{BasicProperties, types::ShortString};

use crate::{
    broker::{BrokerError, amqp::table},
    protocol::{DeliveryInfo, Headers, Message, Properties},
    serialization::{Map, Value},
};

/// A received message.
pub(super) fn to_message(
    exchange: &ShortString,
    routing_key: &ShortString,
    properties: &BasicProperties,
    body: Vec<u8>,
) -> Message {
    Message {
        headers: properties
            .headers()
            .as_ref()
            .map_or_else(Headers::default, |headers| Headers::new(table::to_map(headers))),
        properties: Properties {
            content_type: owned(properties.content_type()),
            content_encoding: owned(properties.content_encoding()),
            correlation_id: owned(properties.correlation_id()),
            reply_to: owned(properties.reply_to()),
            delivery_mode: *properties.delivery_mode(),
            priority: properties.priority().map(i64::from),
            expiration: owned(properties.expiration()),
            delivery_info: DeliveryInfo {
                exchange: exchange.as_str().to_owned(),
                routing_key: routing_key.as_str().to_owned(),
            },
            other: others(properties),
        },
        body: Bytes::from(body),
    }
}

fn owned(text: &Option<ShortString>) -> Option<String> {
    text.as_ref().map(|text| text.as_str().to_owned())
}

/// The properties nobody here looks at, under py-amqp's names.
fn others(properties: &BasicProperties) -> Map {
    let texts = [
        ("message_id", properties.message_id()),
        ("type", properties.kind()),
        ("user_id", properties.user_id()),
        ("app_id", properties.app_id()),
        ("cluster_id", properties.cluster_id()),
    ];
    let mut others: Map = texts
        .into_iter()
        .filter_map(|(name, text)| Some((name.to_owned(), Value::from(text.as_ref()?.as_str()))))
        .collect();
    if let Some(timestamp) = properties.timestamp() {
        others.insert("timestamp".to_owned(), Value::Int(i64::try_from(*timestamp).unwrap_or(i64::MAX)));
    }
    others
}

/// The properties of a message to be sent.
///
/// # Errors
/// Refused: a property that AMQP has no room for.
pub(super) fn from_message(message: &Message) -> Result<BasicProperties, BrokerError> {
    let from = &message.properties;
    let headers = if message.headers.is_absent() { None } else { Some(table::from_map(message.headers.map())?) };
    let mut to = text(BasicProperties::default(), &from.content_type, BasicProperties::with_content_type)?;
    to = text(to, &from.content_encoding, BasicProperties::with_content_encoding)?;
    to = text(to, &from.correlation_id, BasicProperties::with_correlation_id)?;
    to = text(to, &from.reply_to, BasicProperties::with_reply_to)?;
    to = text(to, &from.expiration, BasicProperties::with_expiration)?;
    if let Some(headers) = headers {
        to = to.with_headers(headers);
    }
    if let Some(mode) = from.delivery_mode {
        to = to.with_delivery_mode(mode);
    }
    if let Some(priority) = from.priority {
        to = to.with_priority(priority.clamp(0, 255) as u8);
    }
    with_others(to, &from.other)
}

fn text(
    to: BasicProperties,
    value: &Option<String>,
    with: fn(BasicProperties, ShortString) -> BasicProperties,
) -> Result<BasicProperties, BrokerError> {
    match value {
        Some(value) => Ok(with(to, table::short(value)?)),
        None => Ok(to),
    }
}

fn with_others(mut to: BasicProperties, others: &Map) -> Result<BasicProperties, BrokerError> {
    for (name, value) in others {
        to = match (name.as_str(), value) {
            ("message_id", Value::Str(id)) => to.with_message_id(table::short(id)?),
            ("type", Value::Str(kind)) => to.with_type(table::short(kind)?),
            ("user_id", Value::Str(id)) => to.with_user_id(table::short(id)?),
            ("app_id", Value::Str(id)) => to.with_app_id(table::short(id)?),
            ("cluster_id", Value::Str(id)) => to.with_cluster_id(table::short(id)?),
            ("timestamp", Value::Int(seconds)) if *seconds >= 0 => to.with_timestamp(*seconds as u64),
            // Fields of kombu's virtual transports (`body_encoding`, `delivery_tag`) have no place here.
            _ => to,
        };
    }
    Ok(to)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::{from_message, to_message};
    use crate::{
        protocol::{DeliveryInfo, Headers, Message, Properties},
        serialization::{Map, Value},
    };

    #[test]
    fn messages_come_back() {
        let other: Map = [
            ("message_id", Value::from("m")),
            ("type", Value::from("t")),
            ("user_id", Value::from("u")),
            ("app_id", Value::from("a")),
            ("cluster_id", Value::from("c")),
            ("timestamp", Value::Int(5)),
        ]
        .into_iter()
        .map(|(name, value)| (name.to_owned(), value))
        .collect();
        let message = Message {
            headers: Headers::new(Map::from_iter([("task".to_owned(), Value::from("x"))])),
            properties: Properties {
                content_type: Some("application/json".to_owned()),
                content_encoding: Some("utf-8".to_owned()),
                correlation_id: Some("1".to_owned()),
                reply_to: Some("2".to_owned()),
                delivery_mode: Some(2),
                priority: Some(255),
                expiration: Some("60000".to_owned()),
                delivery_info: DeliveryInfo { exchange: "e".to_owned(), routing_key: "k".to_owned() },
                other,
            },
            body: Bytes::from_static(b"[]"),
        };
        let sent = from_message(&message).unwrap();
        let back = to_message(&"e".into(), &"k".into(), &sent, message.body.to_vec());
        assert_eq!(back.properties, message.properties);
        assert_eq!((back.headers.map(), &back.body), (message.headers.map(), &message.body));
    }

    #[test]
    fn without_headers_is_protocol_1() {
        let sent = from_message(&Message { headers: Headers::absent(), ..Message::default() }).unwrap();
        assert!(sent.headers().is_none());
        let back = to_message(&"".into(), &"q".into(), &sent, Vec::new());
        assert!(!back.headers.is_absent() && back.headers.map().is_empty());
    }
}
