//! [`Packed`]: deliveries that wait for their time here, because their broker keeps no note of them that we could read: a
//! message in as few bytes as it was sent in, instead of the maps and copies that are made of it when it is looked at.

use std::{
    collections::HashMap,
    sync::{Mutex, MutexGuard, PoisonError},
};

use futures::future::{BoxFuture, FutureExt, ready};

use crate::{
    broker::{Acker, Delivery, MalformedMessage, Unacked},
    protocol::{DeliveryInfo, Headers, Message, Properties},
    serialization::{Map, Value, msgpack},
    worker::request::Request,
};

/// Packed messages by the numbers of their requests, which are their tags here.
#[derive(Default)]
pub struct Packed {
    held: Mutex<HashMap<u64, Parcel>>,
}

struct Parcel {
    bytes: Box<[u8]>,
    redelivered: bool,
    acker: Acker,
}

impl Packed {
    /// Packs a request; gives it back if its message has something that cannot be packed.
    pub fn pack(&self, mut request: Request) -> Option<Request> {
        let Ok(bytes) = msgpack::to_vec(&to_value(&request.message)) else { return Some(request) };
        let Some(acker) = request.take_acker() else { return Some(request) };
        let parcel = Parcel { bytes: bytes.into(), redelivered: request.redelivered, acker };
        self.held().insert(request.number, parcel);
        None
    }

    fn held(&self) -> MutexGuard<'_, HashMap<u64, Parcel>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn unpack(&self, tag: u64) -> Option<Delivery> {
        let (bytes, redelivered) = {
            let held = self.held();
            let parcel = held.get(&tag)?;
            (parcel.bytes.clone(), parcel.redelivered)
        };
        let message = msgpack::parse(&bytes).ok().and_then(from_value).ok_or_else(|| MalformedMessage {
            reason: "a packed message cannot be read".to_owned(),
            excerpt: String::new(),
        });
        Some(Delivery { message, queue: "".into(), redelivered, acker: Acker::settled() })
    }
}

impl Unacked for Packed {
    fn read(&self, tags: Vec<u64>) -> BoxFuture<'_, Vec<Option<Delivery>>> {
        ready(tags.into_iter().map(|tag| self.unpack(tag)).collect()).boxed()
    }

    fn acker(&self, tag: u64) -> Acker {
        self.held().remove(&tag).map_or_else(Acker::settled, |parcel| parcel.acker)
    }
}

fn to_value(message: &Message) -> Value {
    let Message { headers, properties: p, body } = message;
    let headers = (!headers.is_absent()).then(|| match headers.json() {
        Some(json) => Value::Bytes(json.clone()),
        None => Value::Map(headers.map().clone()),
    });
    Value::List(vec![
        headers.unwrap_or_default(),
        Value::Bytes(body.clone()),
        p.content_type.clone().into(),
        p.content_encoding.clone().into(),
        p.correlation_id.clone().into(),
        p.reply_to.clone().into(),
        p.delivery_mode.map(i32::from).into(),
        p.priority.into(),
        p.expiration.clone().into(),
        p.delivery_info.exchange.as_str().into(),
        p.delivery_info.routing_key.as_str().into(),
        Value::Map(p.other.clone()),
    ])
}

fn from_value(value: Value) -> Option<Message> {
    let Value::List(parts) = value else { return None };
    let mut parts = parts.into_iter();
    let mut next = || parts.next();
    let headers = match next()? {
        Value::Null => Headers::absent(),
        Value::Bytes(json) => Headers::from_json(json.clone(), map(crate::serialization::json::parse(&json).ok()?)?),
        value => Headers::new(map(value)?),
    };
    let body = match next()? {
        Value::Bytes(body) => body,
        _ => return None,
    };
    let properties = Properties {
        content_type: text(next()?),
        content_encoding: text(next()?),
        correlation_id: text(next()?),
        reply_to: text(next()?),
        delivery_mode: next()?.as_i64().and_then(|mode| u8::try_from(mode).ok()),
        priority: next()?.as_i64(),
        expiration: text(next()?),
        delivery_info: DeliveryInfo { exchange: text(next()?)?, routing_key: text(next()?)? },
        other: map(next()?)?,
    };
    Some(Message { headers, properties, body })
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::Str(text) => Some(text),
        _ => None,
    }
}

fn map(value: Value) -> Option<Map> {
    match value {
        Value::Map(map) => Some(map),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn shown(message: &Message) -> String {
        format!("{message:?}")
    }

    #[test]
    fn a_message_is_the_same_after_it_was_packed() {
        let mut whole = Message { body: Bytes::from_static(b"\x00[[1], {}, {}]"), ..Message::default() };
        whole.headers.insert("task", "t");
        whole.headers.insert("retries", 3);
        whole.headers.insert("blob", Value::Bytes(Bytes::from_static(b"\xff")));
        whole.properties = Properties {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            correlation_id: Some("1".to_owned()),
            reply_to: None,
            delivery_mode: Some(2),
            priority: Some(9),
            expiration: Some("1000".to_owned()),
            delivery_info: DeliveryInfo { exchange: "x".to_owned(), routing_key: "r".to_owned() },
            other: Map::from_iter([("message_id".to_owned(), "m".into())]),
        };
        let text = br#"{"task": "t", "n": [1, null]}"#;
        let json = crate::serialization::json::parse(text).ok().and_then(map).unwrap();
        let as_json = Message { headers: Headers::from_json(Bytes::from_static(text), json), ..whole.clone() };
        let bare = Message { headers: Headers::absent(), ..Message::default() };
        for message in [whole, as_json, bare, Message::default()] {
            let bytes = msgpack::to_vec(&to_value(&message)).unwrap();
            let back = from_value(msgpack::parse(&bytes).unwrap()).unwrap();
            assert_eq!(shown(&back), shown(&message));
        }
    }
}
