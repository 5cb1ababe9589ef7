//! [`Message`]: headers, properties and a body that stays bytes until the place that runs it.

use bytes::Bytes;

use crate::serialization::{AcceptContent, DecodeError, Encoded, Map, Value, decode};

/// A message as a broker hands it over, or is asked to carry.
#[derive(Debug, Clone, Default)]
pub struct Message {
    /// The application's headers: in protocol 2 everything that a worker must know about a task.
    pub headers: Headers,
    /// AMQP's basic properties, and what kombu's virtual transports put among them.
    pub properties: Properties,
    /// The serialized (and perhaps compressed) body, not base64.
    pub body: Bytes,
}

impl Message {
    /// One of remote control or events: the broker need not keep it, and none is more urgent than another.
    pub fn transient(encoded: Encoded, headers: Map, exchange: String, routing_key: String) -> Self {
        Self {
            headers: Headers::new(headers),
            properties: Properties {
                content_type: Some(encoded.content_type.to_owned()),
                content_encoding: Some(encoded.content_encoding.to_owned()),
                delivery_mode: Some(1),
                priority: Some(0),
                delivery_info: DeliveryInfo { exchange, routing_key },
                ..Properties::default()
            },
            body: encoded.body,
        }
    }

    /// The body as its properties say; without a content type it is raw data, as for kombu.
    ///
    /// # Errors
    /// What is not accepted, and what cannot be read.
    pub fn decode(&self, accept: &AcceptContent) -> Result<Value, DecodeError> {
        let Properties { content_type, content_encoding, .. } = &self.properties;
        let content_type = content_type.as_deref().unwrap_or("application/data");
        decode(&self.body, content_type, content_encoding.as_deref().unwrap_or("utf-8"), accept)
    }
}

/// Message headers: the parsed map, and the JSON text they came in where there was one.
///
/// The text goes to the Python child as it is, so that what we do not know survives.
#[derive(Debug, Clone, Default)]
pub struct Headers {
    map: Map,
    json: Option<Bytes>,
    absent: bool,
}

impl Headers {
    /// Headers that arrived as JSON text (kombu's virtual transports), already parsed into `map`.
    pub fn from_json(json: Bytes, map: Map) -> Self {
        Self { map, json: Some(json), absent: false }
    }

    /// Headers that arrived as a table (AMQP), or that are to be sent.
    pub fn new(map: Map) -> Self {
        Self { map, json: None, absent: false }
    }

    /// A message whose headers are null: neither protocol 1 nor 2 ("unknown message").
    pub fn absent() -> Self {
        Self { absent: true, ..Self::default() }
    }

    /// Whether the message had no headers at all.
    pub fn is_absent(&self) -> bool {
        self.absent
    }

    /// One header.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.map.get(name)
    }

    /// All headers, in the order of the wire.
    pub fn map(&self) -> &Map {
        &self.map
    }

    /// The JSON text as received; none for AMQP and for messages made here.
    pub fn json(&self) -> Option<&Bytes> {
        self.json.as_ref()
    }

    /// Sets a header; the received text no longer applies.
    pub fn insert(&mut self, name: impl Into<String>, value: impl Into<Value>) {
        self.json = None;
        self.absent = false;
        self.map.insert(name.into(), value.into());
    }
}

/// AMQP basic properties, plus the fields that kombu's virtual transports add.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Properties {
    /// MIME type of the body; kombu takes a missing one for `application/data`.
    pub content_type: Option<String>,
    /// `utf-8` or `binary`; kombu takes a missing one for `utf-8`.
    pub content_encoding: Option<String>,
    /// The task id, in messages from Celery.
    pub correlation_id: Option<String>,
    /// Routing key for results (`rpc://`) and replies.
    pub reply_to: Option<String>,
    /// 1 transient, 2 persistent.
    pub delivery_mode: Option<u8>,
    /// 0 to 255 on AMQP, 0 to 9 on Redis.
    pub priority: Option<i64>,
    /// Milliseconds, as text, after which a broker may drop the message.
    pub expiration: Option<String>,
    /// Where it was published to.
    pub delivery_info: DeliveryInfo,
    /// Everything else (`message_id`, `timestamp`, `type`, `app_id`, ...), kept for the Python task.
    pub other: Map,
}

/// kombu's `delivery_info`, reduced to what a task may see.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct DeliveryInfo {
    /// Empty for the default exchange.
    pub exchange: String,
    /// The queue's name, on the default exchange.
    pub routing_key: String,
}
