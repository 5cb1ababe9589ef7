//! Envelopes, written to the byte as `kombu.transport.virtual` writes them.

use base64::{Engine as _, engine::general_purpose::STANDARD};
use uuid::Uuid;

use crate::{
    protocol::{Headers, Message, Properties},
    serialization::{EncodeError, Value, json},
};

/// Properties of a received message that belong to that copy of it.
const OF_THE_COPY: [&str; 2] = ["body_encoding", "delivery_tag"];

/// A message as it goes into a list, a channel or a file, but for its delivery tag, which every copy has its own of.
pub(in crate::broker) struct Draft {
    text: String,
}

impl Draft {
    /// Writes everything up to the delivery tag.
    pub fn new(message: &Message, exchange: &str, routing_key: &str, base64: bool) -> Result<Self, EncodeError> {
        let mut text = String::with_capacity(512 + message.body.len() * 3 / 2);
        text.push_str("{\"body\": ");
        body(&mut text, &message.body, base64)?;
        text.push_str(", \"content-encoding\": ");
        optional(&mut text, message.properties.content_encoding.as_deref());
        text.push_str(", \"content-type\": ");
        optional(&mut text, message.properties.content_type.as_deref());
        text.push_str(", \"headers\": ");
        headers(&mut text, &message.headers)?;
        text.push_str(", \"properties\": {");
        properties(&mut text, &message.properties)?;
        text.push_str("\"delivery_info\": {\"exchange\": ");
        json::write_str(&mut text, exchange);
        text.push_str(", \"routing_key\": ");
        json::write_str(&mut text, routing_key);
        let priority = message.properties.priority.unwrap_or(0);
        let encoding = if base64 { "\"base64\"" } else { "null" };
        text.push_str(&format!("}}, \"priority\": {priority}, \"body_encoding\": {encoding}, \"delivery_tag\": \""));
        Ok(Self { text })
    }

    /// One copy, with a tag of its own.
    pub fn copy(&self) -> String {
        let mut copy = String::with_capacity(self.text.len() + 40);
        copy.push_str(&self.text);
        let mut buffer = Uuid::encode_buffer();
        copy.push_str(Uuid::new_v4().hyphenated().encode_lower(&mut buffer));
        copy.push_str("\"}}");
        copy
    }
}

fn body(out: &mut String, body: &[u8], base64: bool) -> Result<(), EncodeError> {
    if base64 {
        out.push('"');
        STANDARD.encode_string(body, out);
        out.push('"');
        return Ok(());
    }
    let reason = || "a body that is not UTF-8 needs body_encoding base64".to_owned();
    let text =
        std::str::from_utf8(body).map_err(|_| EncodeError::Unsupported { format: "envelope", reason: reason() })?;
    json::write_str(out, text);
    Ok(())
}

fn optional(out: &mut String, text: Option<&str>) {
    match text {
        Some(text) => json::write_str(out, text),
        None => out.push_str("null"),
    }
}

fn headers(out: &mut String, headers: &Headers) -> Result<(), EncodeError> {
    if let Some(text) = headers.json().and_then(|json| std::str::from_utf8(json).ok()) {
        out.push_str(text);
        return Ok(());
    }
    if headers.map().is_empty() {
        out.push_str("{}");
        return Ok(());
    }
    object(out, headers.map().iter())
}

fn object<'a>(out: &mut String, entries: impl Iterator<Item = (&'a String, &'a Value)>) -> Result<(), EncodeError> {
    out.push('{');
    for (index, (key, value)) in entries.enumerate() {
        if index > 0 {
            out.push_str(", ");
        }
        json::write_str(out, key);
        out.push_str(": ");
        json::write(out, value)?;
    }
    out.push('}');
    Ok(())
}

/// The properties before `delivery_info`, each followed by a comma.
fn properties(out: &mut String, properties: &Properties) -> Result<(), EncodeError> {
    let texts = [("correlation_id", &properties.correlation_id), ("reply_to", &properties.reply_to)];
    for (name, value) in texts {
        text_property(out, name, value.as_deref());
    }
    if let Some(mode) = properties.delivery_mode {
        out.push_str(&format!("\"delivery_mode\": {mode}, "));
    }
    text_property(out, "expiration", properties.expiration.as_deref());
    for (name, value) in properties.other.iter().filter(|(name, _)| !OF_THE_COPY.contains(&name.as_str())) {
        json::write_str(out, name);
        out.push_str(": ");
        json::write(out, value)?;
        out.push_str(", ");
    }
    Ok(())
}

fn text_property(out: &mut String, name: &str, value: Option<&str>) {
    if let Some(value) = value {
        out.push_str(&format!("\"{name}\": "));
        json::write_str(out, value);
        out.push_str(", ");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::envelope;

    const SAMPLE: &str = r#"{"body": "W1sxXSwge30sIHt9XQ==", "content-encoding": "utf-8", "content-type": "application/json", "headers": {"lang": "py", "task": "proj.\u00e9"}, "properties": {"correlation_id": "5a53", "reply_to": "523f", "delivery_mode": 2, "expiration": "1000", "message_id": "m", "delivery_info": {"exchange": "", "routing_key": "celery"}, "priority": 5, "body_encoding": "base64", "delivery_tag": ""#;

    #[test]
    fn what_was_read_is_written_to_the_byte() {
        let message = envelope::parse(format!("{SAMPLE}x\"}}}}").as_bytes()).unwrap().message;
        let mut fresh = message.clone();
        fresh.headers = Headers::new(message.headers.map().clone());
        for message in [message, fresh] {
            let draft = Draft::new(&message, "", "celery", true).unwrap();
            assert_eq!(draft.text, SAMPLE);
        }
    }

    #[test]
    fn every_copy_has_its_own_tag() {
        let draft = Draft::new(&Message::default(), "ex", "rk", false).unwrap();
        let (one, two) = (draft.copy(), draft.copy());
        assert_ne!(one, two);
        let read = envelope::parse(one.as_bytes()).unwrap().message;
        assert_eq!(read.properties.delivery_info.exchange, "ex");
        assert_eq!(read.body, b""[..]);
    }

    #[test]
    fn bytes_cannot_go_without_base64() {
        let message = Message { body: b"\xff"[..].into(), ..Message::default() };
        assert!(Draft::new(&message, "", "q", false).is_err());
    }
}
