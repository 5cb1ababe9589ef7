//! Envelopes, read. [`writer`](super::writer) writes them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use bytes::Bytes;

use crate::{
    broker::{
        MalformedMessage,
        envelope::scanner::{self, NotJson},
    },
    protocol::{DeliveryInfo, Headers, Message, Properties},
    serialization::{Map, Value, json},
};

const EXCERPT_LENGTH: usize = 300;

/// A message out of its envelope, and whether it says that someone had it before.
#[derive(Debug)]
pub(in crate::broker) struct Envelope {
    pub message: Message,
    pub redelivered: bool,
}

/// Reads an envelope (`kombu/transport/virtual/base.py:Message`).
pub(in crate::broker) fn parse(raw: &[u8]) -> Result<Envelope, MalformedMessage> {
    read(raw).map_err(|Flaw(reason)| MalformedMessage { reason, excerpt: excerpt(raw) })
}

struct Flaw(String);

impl From<NotJson> for Flaw {
    fn from(error: NotJson) -> Self {
        Flaw(format!("the envelope is {error}"))
    }
}

impl From<crate::serialization::DecodeError> for Flaw {
    fn from(error: crate::serialization::DecodeError) -> Self {
        Flaw(format!("the envelope cannot be read: {error}"))
    }
}

fn read(raw: &[u8]) -> Result<Envelope, Flaw> {
    let (mut body, mut headers, mut properties) = (None, None, None);
    let (mut content_type, mut content_encoding) = (None, None);
    let mut restored = false;
    scanner::object(raw, |key, place| match key {
        b"body" => body = Some(&raw[place]),
        b"headers" => headers = Some(&raw[place]),
        b"properties" => properties = Some(&raw[place]),
        b"content-type" => content_type = Some(&raw[place]),
        b"content-encoding" => content_encoding = Some(&raw[place]),
        b"redelivered" => restored = &raw[place] == b"true",
        _ => {}
    })?;
    let properties = properties.ok_or_else(|| Flaw("the envelope has no properties".to_owned()))?;
    let mut reading = Reading::default();
    reading.read(properties)?;
    reading.properties.content_type = optional_text(content_type)?;
    reading.properties.content_encoding = optional_text(content_encoding)?;
    let body = read_body(body, reading.body_encoding.as_deref())?;
    let message = Message { headers: read_headers(headers)?, properties: reading.properties, body };
    Ok(Envelope { message, redelivered: reading.redelivered || restored })
}

/// The properties as they are being read.
#[derive(Default)]
struct Reading {
    properties: Properties,
    body_encoding: Option<String>,
    redelivered: bool,
}

impl Reading {
    fn read(&mut self, text: &[u8]) -> Result<(), Flaw> {
        let mut outcome = Ok(());
        scanner::object(text, |key, place| {
            if outcome.is_ok() {
                outcome = self.set(key, &text[place]);
            }
        })?;
        outcome
    }

    fn set(&mut self, key: &[u8], value: &[u8]) -> Result<(), Flaw> {
        let properties = &mut self.properties;
        match key {
            b"correlation_id" => properties.correlation_id = read_text(value)?,
            b"reply_to" => properties.reply_to = read_text(value)?,
            b"expiration" => properties.expiration = read_text(value)?,
            b"delivery_mode" => properties.delivery_mode = integer(value)?.and_then(|mode| u8::try_from(mode).ok()),
            b"priority" => properties.priority = integer(value)?,
            b"delivery_info" => return self.read_delivery_info(value),
            b"body_encoding" => {
                self.body_encoding = read_text(value)?;
                self.keep(key, value)?;
            }
            _ => self.keep(key, value)?,
        }
        Ok(())
    }

    fn read_delivery_info(&mut self, text: &[u8]) -> Result<(), Flaw> {
        if text == b"null" {
            return Ok(());
        }
        let mut info = DeliveryInfo::default();
        let mut outcome = Ok(());
        scanner::object(text, |key, place| {
            let result = match key {
                b"exchange" => read_text(&text[place]).map(|name| info.exchange = name.unwrap_or_default()),
                b"routing_key" => read_text(&text[place]).map(|key| info.routing_key = key.unwrap_or_default()),
                b"redelivered" => {
                    self.redelivered = &text[place] == b"true";
                    Ok(())
                }
                _ => Ok(()),
            };
            if outcome.is_ok() {
                outcome = result;
            }
        })?;
        self.properties.delivery_info = info;
        outcome
    }

    fn keep(&mut self, key: &[u8], value: &[u8]) -> Result<(), Flaw> {
        let value = match plain(value) {
            Some(text) => Value::Str(text.to_owned()),
            None => json::parse(value)?,
        };
        self.properties.other.insert(String::from_utf8_lossy(key).into_owned(), value);
        Ok(())
    }
}

fn read_headers(text: Option<&[u8]>) -> Result<Headers, Flaw> {
    let Some(text) = text.filter(|text| *text != b"null") else { return Ok(Headers::absent()) };
    match json::parse(text)? {
        Value::Map(map) => Ok(Headers::from_json(Bytes::copy_from_slice(text), map)),
        Value::Pairs(pairs) if pairs.is_empty() => Ok(Headers::from_json(Bytes::copy_from_slice(text), Map::new())),
        _ => Err(Flaw("the headers are not an object".to_owned())),
    }
}

fn read_body(text: Option<&[u8]>, encoding: Option<&str>) -> Result<Bytes, Flaw> {
    let Some(text) = text.filter(|text| *text != b"null") else { return Ok(Bytes::new()) };
    let not_text = || Flaw("the body is not a string".to_owned());
    match encoding {
        Some("base64") => match plain_bytes(text) {
            Some(encoded) => base64_body(encoded),
            None => base64_body(read_text(text)?.ok_or_else(not_text)?.as_bytes()),
        },
        None => Ok(read_text(text)?.ok_or_else(not_text)?.into()),
        Some(name) if name.is_empty() || name.eq_ignore_ascii_case("utf-8") => {
            Ok(read_text(text)?.ok_or_else(not_text)?.into())
        }
        Some(name) => Err(Flaw(format!("the body has the unknown encoding {name:?}"))),
    }
}

/// Base64 as Python's `b64decode` takes it: characters outside of the alphabet are skipped.
fn base64_body(encoded: &[u8]) -> Result<Bytes, Flaw> {
    if let Ok(body) = STANDARD.decode(encoded) {
        return Ok(body.into());
    }
    let in_alphabet = |b: &u8| b.is_ascii_alphanumeric() || matches!(b, b'+' | b'/' | b'=');
    let cleaned: Vec<u8> = encoded.iter().copied().filter(in_alphabet).collect();
    STANDARD.decode(cleaned).map(Into::into).map_err(|error| Flaw(format!("the body is not base64: {error}")))
}

fn optional_text(text: Option<&[u8]>) -> Result<Option<String>, Flaw> {
    text.map_or(Ok(None), read_text)
}

/// A JSON string, or a number as text; null is none.
fn read_text(value: &[u8]) -> Result<Option<String>, Flaw> {
    if let Some(text) = plain(value) {
        return Ok(Some(text.to_owned()));
    }
    match json::parse(value)? {
        Value::Null => Ok(None),
        Value::Str(text) => Ok(Some(text)),
        Value::Int(number) => Ok(Some(number.to_string())),
        Value::Uuid(id) => Ok(Some(id.to_string())),
        other => Err(Flaw(format!("a property must be a string, not {other:?}"))),
    }
}

fn integer(value: &[u8]) -> Result<Option<i64>, Flaw> {
    if let Ok(Ok(number)) = std::str::from_utf8(value).map(str::parse) {
        return Ok(Some(number));
    }
    Ok(match json::parse(value)? {
        Value::Float(number) => Some(number as i64),
        Value::Str(text) => text.trim().parse().ok(),
        _ => None,
    })
}

/// The inside of a JSON string without escapes.
fn plain(value: &[u8]) -> Option<&str> {
    std::str::from_utf8(plain_bytes(value)?).ok()
}

fn plain_bytes(value: &[u8]) -> Option<&[u8]> {
    let inside = value.strip_prefix(b"\"")?.strip_suffix(b"\"")?;
    let ordinary = memchr::memchr(b'\\', inside).is_none() && !inside.iter().any(|b| *b < 0x20);
    ordinary.then_some(inside)
}

/// The JSON object with `"redelivered": true` in it; nothing else changes.
#[cfg(any(test, feature = "redis", feature = "filesystem"))]
pub(in crate::broker) fn marked(object: &[u8]) -> Result<Vec<u8>, NotJson> {
    let mut count = 0;
    let mut old = None;
    scanner::object(object, |key, place| {
        count += 1;
        if key == b"redelivered" {
            old = Some(place);
        }
    })?;
    let mut marked = object.to_vec();
    match old {
        Some(place) => drop(marked.splice(place, *b"true")),
        None => {
            let at = object.len() - 1;
            let comma: &[u8] = if count == 0 { b"" } else { b", " };
            marked.splice(at..at, [comma, b"\"redelivered\": true"].concat());
        }
    }
    Ok(marked)
}

/// The beginning of what is no envelope, for the log.
pub(in crate::broker) fn excerpt(raw: &[u8]) -> String {
    String::from_utf8_lossy(&raw[..raw.len().min(EXCERPT_LENGTH)]).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SAMPLE: &str = r#"{"body": "W1sxXSwge30sIHt9XQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.add", "id": "5a53", "timelimit": [null, null]}, "properties": {"correlation_id": "5a53", "reply_to": "523f", "delivery_mode": 2, "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 5, "body_encoding": "base64", "delivery_tag": "a578"}}"#;

    #[test]
    fn a_message_of_kombu_is_read_whole() {
        let Envelope { message, redelivered } = parse(SAMPLE.as_bytes()).unwrap();
        assert!(!redelivered);
        assert_eq!(&message.body[..], b"[[1], {}, {}]");
        assert_eq!(message.headers.get("task").and_then(Value::as_str), Some("proj.add"));
        let json = r#"{"lang": "py", "task": "proj.add", "id": "5a53", "timelimit": [null, null]}"#;
        assert_eq!(message.headers.json().map(|b| &b[..]), Some(json.as_bytes()));
        let properties = &message.properties;
        assert_eq!(properties.correlation_id.as_deref(), Some("5a53"));
        assert_eq!(properties.reply_to.as_deref(), Some("523f"));
        assert_eq!((properties.delivery_mode, properties.priority), (Some(2), Some(5)));
        assert_eq!(properties.delivery_info.routing_key, "celery");
        assert_eq!(properties.content_type.as_deref(), Some("application/json"));
        assert_eq!(properties.other.get("delivery_tag").and_then(Value::as_str), Some("a578"));
    }

    #[test]
    fn an_object_is_marked_and_nothing_else_changes() {
        let once = marked(SAMPLE.as_bytes()).unwrap();
        let text = String::from_utf8(once.clone()).unwrap();
        assert!(text.ends_with(r#""delivery_tag": "a578"}, "redelivered": true}"#), "{text}");
        assert_eq!(text.replace(r#", "redelivered": true"#, ""), SAMPLE);
        assert_eq!(marked(&once).unwrap(), once);
        assert!(parse(&once).unwrap().redelivered);
        assert_eq!(marked(b"{}").unwrap(), br#"{"redelivered": true}"#);
        assert!(marked(b"[]").is_err());
    }

    #[test]
    fn bodies_come_in_two_encodings() {
        let with = |body: &str, encoding: &str| {
            let text = format!(r#"{{"body": {body}, "headers": {{}}, "properties": {{"body_encoding": {encoding}}}}}"#);
            parse(text.as_bytes()).map(|envelope| envelope.message.body).map_err(|flaw| flaw.reason)
        };
        assert_eq!(with(r#""[\u00e9]""#, "null").unwrap(), "[é]".as_bytes());
        assert_eq!(with(r#""YQ=\n=""#, r#""base64""#).unwrap(), b"a"[..]);
        assert_eq!(with("null", r#""base64""#).unwrap(), b""[..]);
        assert!(with(r#""!""#, r#""rot13""#).unwrap_err().contains("rot13"));
        assert!(with(r#""YQ""#, r#""base64""#).unwrap_err().contains("base64"));
        assert!(with("{}", "null").is_err());
    }

    #[test]
    fn what_is_no_envelope_is_malformed_and_never_a_panic() {
        for length in 0..SAMPLE.len() {
            let cut = &SAMPLE.as_bytes()[..length];
            assert!(parse(cut).is_err(), "{length}");
            assert!(marked(cut).is_err(), "{length}");
        }
        let malformed = parse(br#"{"body": "x"}"#).unwrap_err();
        assert_eq!(malformed.reason, "the envelope has no properties");
        assert_eq!(malformed.excerpt, r#"{"body": "x"}"#);
        assert!(parse(br#"{"properties": {}, "headers": null}"#).unwrap().message.headers.is_absent());
        assert!(parse(br#"{"properties": {}, "headers": [1]}"#).is_err());
    }
}
