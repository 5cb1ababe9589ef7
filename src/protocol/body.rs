//! [`Body`]: arguments and embedded workflow of a protocol 2 message.

use std::borrow::Cow;

use crate::{
    protocol::{Message, ProtocolError, Signature},
    serialization::{self, AcceptContent, DecodeError, Map, Value, compression},
};

/// The decoded body: `[args, kwargs, embed]`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Body {
    /// Positional arguments.
    pub args: Vec<Value>,
    /// Keyword arguments.
    pub kwargs: Map,
    /// What is to follow.
    pub embed: Embed,
}

/// The workflow that travels inside a message.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Embed {
    /// `link`: sent when the task succeeds.
    pub callbacks: Vec<Signature>,
    /// `link_error`: called or sent when it fails.
    pub errbacks: Vec<Signature>,
    /// The rest of the chain, **reversed**: the next task is the last element.
    pub chain: Vec<Signature>,
    /// The body of the chord of whose header this task is a part.
    pub chord: Option<Box<Signature>>,
    /// Keys nobody here has heard of; Celery merges them into the request.
    pub other: Map,
}

impl Body {
    /// Decompresses and decodes the body of a protocol 2 message.
    ///
    /// # Errors
    /// `Undecodable` when the bytes cannot be read or may not be; `InvalidTask` when they say something else than
    /// `[args, kwargs, embed]`.
    pub fn decode(message: &Message, accept: &AcceptContent) -> Result<Self, ProtocolError> {
        Self::from_value(decode_payload(message, accept)?)
    }

    /// Reads `[args, kwargs, embed]`; embed may be null.
    ///
    /// # Errors
    /// `InvalidTask` for every other shape.
    pub fn from_value(value: Value) -> Result<Self, ProtocolError> {
        let parts: Option<[Value; 3]> = match value {
            Value::List(parts) => parts.try_into().ok(),
            _ => None,
        };
        let [args, kwargs, embed] = parts.ok_or_else(|| invalid("The message body is not [args, kwargs, embed]"))?;
        let Value::List(args) = args else {
            return Err(invalid("Task arguments must be a list or tuple"));
        };
        let Value::Map(kwargs) = kwargs else {
            return Err(invalid("Task keyword arguments must be a mapping"));
        };
        Ok(Self { args, kwargs, embed: Embed::from_value(embed)? })
    }

    /// `[args, kwargs, embed]`, with null for what is empty.
    pub fn to_value(&self) -> Value {
        let parts = vec![Value::List(self.args.clone()), Value::Map(self.kwargs.clone()), self.embed.to_value()];
        Value::List(parts)
    }
}

impl Embed {
    fn from_value(value: Value) -> Result<Self, ProtocolError> {
        let map = match value {
            Value::Null => return Ok(Self::default()),
            Value::Map(map) => map,
            _ => return Err(invalid("The embedded workflow of the message is not a mapping")),
        };
        let mut embed = Self::default();
        for (key, value) in map {
            match key.as_str() {
                "callbacks" => embed.callbacks = signatures(value)?,
                "errbacks" => embed.errbacks = signatures(value)?,
                "chain" => embed.chain = signatures(value)?,
                "chord" if value.is_null() => {}
                "chord" => embed.chord = Some(Box::new(Signature::from_owned(value)?)),
                _ => {
                    embed.other.insert(key, value);
                }
            }
        }
        Ok(embed)
    }

    /// The dict that travels as the body's third element.
    pub fn to_value(&self) -> Value {
        let mut map = Map::with_capacity(4 + self.other.len());
        map.insert("callbacks".to_owned(), list_or_null(&self.callbacks));
        map.insert("errbacks".to_owned(), list_or_null(&self.errbacks));
        map.insert("chain".to_owned(), list_or_null(&self.chain));
        map.insert("chord".to_owned(), self.chord.as_ref().map_or(Value::Null, |chord| chord.to_value()));
        map.extend(self.other.clone());
        Value::Map(map)
    }
}

/// The payload of any message, decompressed as its `compression` header says.
///
/// # Errors
/// Those of the serializers, and `ContentDisallowed`.
pub fn decode_payload(message: &Message, accept: &AcceptContent) -> Result<Value, DecodeError> {
    let body = match message.headers.get("compression") {
        None | Some(Value::Null) => Cow::Borrowed(&message.body[..]),
        Some(name) => {
            let name = name.as_str().ok_or_else(|| DecodeError::UnknownCompression(format!("{name:?}")))?;
            Cow::Owned(compression::decompress(name, &message.body, compression::MAX_SIZE)?)
        }
    };
    let content_type = message.properties.content_type.as_deref().unwrap_or_default();
    let content_encoding = message.properties.content_encoding.as_deref().unwrap_or_default();
    serialization::decode(&body, content_type, content_encoding, accept)
}

/// A signature alone counts as a list of one, as Celery's `maybe_list` has it.
fn signatures(value: Value) -> Result<Vec<Signature>, ProtocolError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::List(items) => items.into_iter().map(Signature::from_owned).collect(),
        single => Ok(vec![Signature::from_owned(single)?]),
    }
}

fn list_or_null(signatures: &[Signature]) -> Value {
    if signatures.is_empty() {
        return Value::Null;
    }
    Value::List(signatures.iter().map(Signature::to_value).collect())
}

fn invalid(reason: &str) -> ProtocolError {
    ProtocolError::InvalidTask(reason.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        protocol::{Headers, Properties},
        serialization::json,
    };

    fn message(body: impl Into<bytes::Bytes>) -> Message {
        let properties = Properties {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            ..Properties::default()
        };
        Message { properties, body: body.into(), ..Message::default() }
    }

    fn decode(body: &'static str) -> Result<Body, ProtocolError> {
        Body::decode(&message(body), &AcceptContent::default())
    }

    #[test]
    fn bodies_come_back_unchanged() {
        let sig = r#"{"task": "t", "args": [], "kwargs": {}, "options": {}, "subtask_type": null, "immutable": false}"#;
        for text in [
            r#"[[], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]"#.to_owned(),
            format!(
                r#"[[1], {{"a": 2}}, {{"callbacks": [{sig}], "errbacks": [{sig}], "chain": [{sig}, {sig}], "chord": {sig}, "new": 1}}]"#
            ),
        ] {
            let body = Body::decode(&message(text.clone()), &AcceptContent::default()).unwrap();
            assert_eq!(json::to_string(&body.to_value()).unwrap(), text);
        }
    }

    #[test]
    fn embed_may_be_missing_in_all_but_place() {
        assert_eq!(decode("[[], {}, null]").unwrap(), Body::default());
        assert_eq!(decode("[[], {}, {}]").unwrap(), Body::default());
    }

    #[test]
    fn other_shapes_are_invalid_and_other_bytes_undecodable() {
        for text in ["{}", "[[], {}]", "[[], [], {}]", "[{}, {}, {}]", "[[], {}, []]", r#"[[], {}, {"chain": [1]}]"#] {
            assert!(matches!(decode(text), Err(ProtocolError::InvalidTask(_))), "{text}");
        }
        assert!(matches!(decode("[[], {}, {}"), Err(ProtocolError::Undecodable(DecodeError::Malformed { .. }))));
        let refused = Body::decode(&message("[[], {}, {}]"), &AcceptContent::new(["pickle"]).unwrap());
        assert!(matches!(refused, Err(ProtocolError::Undecodable(DecodeError::ContentDisallowed { .. }))));
    }

    #[test]
    fn compressed_bodies_are_unpacked_by_alias_and_mime() {
        let (packed, mime) = compression::compress("gzip", b"[[1], {}, {}]").unwrap();
        for name in [mime, "zlib"] {
            let mut message = message(packed.clone());
            message.headers = Headers::new([("compression".to_owned(), name.into())].into_iter().collect());
            assert_eq!(Body::decode(&message, &AcceptContent::default()).unwrap().args, [Value::Int(1)]);
        }
        let mut unknown = message(packed);
        unknown.headers.insert("compression", "snappy");
        assert!(matches!(Body::decode(&unknown, &AcceptContent::default()), Err(ProtocolError::Undecodable(_))));
    }
}
