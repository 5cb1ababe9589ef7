//! Whether a body can be a task's, without building what is in it.
//!
//! Celery's main process decodes every body before it gives it to a child, and settles by what it finds. For a Python
//! task this worker leaves the decoding to the child; what it may not leave is the decision.

use serde::de::IgnoredAny;

use crate::{
    protocol::{Message, ProtocolError},
    serialization::{AcceptContent, Value, json},
};

/// Refuses content that is not accepted, and JSON that is not `[args, kwargs, embed]`. Other serializers are checked by the
/// place that decodes them.
pub fn validate_body(message: &Message, accept: &AcceptContent) -> Result<(), ProtocolError> {
    let content_type = message.properties.content_type.as_deref().unwrap_or("application/data");
    accept.check(content_type)?;
    let compressed = message.headers.get("compression").is_some_and(Value::is_truthy);
    if content_type != "application/json" || compressed {
        return Ok(());
    }
    let has_types = memchr::memmem::find(&message.body, b"__type__").is_some();
    if (!has_types || accept.registers_types()) && is_triple(&message.body) {
        return Ok(());
    }
    match json::parse(&message.body)? {
        Value::List(parts) if parts.len() == 3 => Ok(()),
        _ => Err(ProtocolError::InvalidTask("the body is not [args, kwargs, embed]".to_owned())),
    }
}

/// The common case, at the speed of a scan. What it cannot tell (`NaN`, lone surrogates) is for the parser.
fn is_triple(body: &[u8]) -> bool {
    serde_json::from_slice::<(IgnoredAny, IgnoredAny, IgnoredAny)>(body).is_ok()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::protocol::Properties;

    #[test]
    fn types_of_python_are_for_the_child() {
        let message = |body: &'static str| Message {
            properties: Properties { content_type: Some("application/json".to_owned()), ..Properties::default() },
            body: Bytes::from_static(body.as_bytes()),
            ..Message::default()
        };
        let typed = message(r#"[[{"__type__": "point", "__value__": [1, 2]}], {}, {}]"#);
        let accept = AcceptContent::default();
        assert!(matches!(validate_body(&typed, &accept), Err(ProtocolError::Undecodable(_))));
        let accept = accept.with_registered_types(true);
        assert!(validate_body(&typed, &accept).is_ok());
        assert!(validate_body(&message(r#"{"__type__": "point", "__value__": 1}"#), &accept).is_err());
    }
}
