//! Values of `broker_transport_options` that kombu's virtual transports have in common, and how one that cannot be honoured is
//! refused. Which options a transport has is its own business.

use std::time::Duration;

use crate::{broker::BrokerError, serialization::Value};

pub(super) fn refused(key: &str, reason: &str) -> BrokerError {
    BrokerError::unusable(format!("broker_transport_options: {key}: {reason}"))
}

pub(super) fn text(key: &str, value: &Value) -> Result<String, BrokerError> {
    value.as_str().map(str::to_owned).ok_or_else(|| refused(key, "must be a string"))
}

pub(super) fn seconds(key: &str, value: &Value) -> Result<Duration, BrokerError> {
    let number = value.as_f64().ok_or_else(|| refused(key, "must be a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|_| refused(key, "must be a number of seconds that is not negative"))
}

/// Whether bodies are sent as base64.
pub(super) fn body_encoding(value: &Value) -> Result<bool, BrokerError> {
    match value.as_str() {
        Some("base64") => Ok(true),
        None if value.is_null() => Ok(false),
        Some(text) if text.is_empty() || text.eq_ignore_ascii_case("utf-8") => Ok(false),
        _ => Err(refused("body_encoding", "must be base64 or utf-8")),
    }
}
