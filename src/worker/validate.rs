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
    if content_type != "application/json" || compressed || is_plain_body(&message.body) {
        return Ok(());
    }
    match json::parse(&message.body)? {
        Value::List(parts) if parts.len() == 3 => Ok(()),
        _ => Err(ProtocolError::InvalidTask("the body is not [args, kwargs, embed]".to_owned())),
    }
}

/// The common case, at the speed of a scan. What it cannot tell (typed values, `NaN`, lone surrogates) is for the parser.
fn is_plain_body(body: &[u8]) -> bool {
    memchr::memmem::find(body, b"__type__").is_none()
        && serde_json::from_slice::<(IgnoredAny, IgnoredAny, IgnoredAny)>(body).is_ok()
}
