//! lapin's errors, by what the worker can do about them.

use lapin::{Error, ErrorKind};

use crate::broker::BrokerError;

/// An operation on a living connection failed; `doing` says what was tried, on what.
pub(super) fn during(doing: impl std::fmt::Display, error: &Error) -> BrokerError {
    let message = format!("{doing}: {}", text(error));
    if error.is_amqp_soft_error() { BrokerError::refused(message) } else { BrokerError::lost(message) }
}

/// Connecting failed. Refused credentials and virtual hosts that do not exist stay that way.
pub(super) fn connecting(uri: &str, error: &Error) -> BrokerError {
    let message = format!("cannot connect to {uri}: {}", text(error));
    match error.kind() {
        ErrorKind::ProtocolError(reply) if matches!(reply.get_id(), 403 | 530) => BrokerError::unusable(message),
        ErrorKind::AuthProviderError(_) | ErrorKind::InvalidProtocolVersion(_) => BrokerError::unusable(message),
        _ => BrokerError::lost(message),
    }
}

/// The server does not offer the SASL mechanism, in py-amqp's words. It may once its plugin is there: so it is for Celery.
pub(super) fn no_mechanism(uri: &str, wanted: &str, offered: &[String]) -> BrokerError {
    BrokerError::lost(format!(
        "cannot connect to {uri}: Couldn't find appropriate auth mechanism (can offer: {wanted}; available: {})",
        offered.join(", ")
    ))
}

/// A name too long for AMQP.
pub(super) fn too_long(what: &str) -> BrokerError {
    BrokerError::refused(format!("{what} is longer than the 255 bytes that AMQP allows"))
}

/// A server's reply as py-amqp words it, where it is one.
pub(super) fn text(error: &Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(reply) => format!("({}) {}", reply.get_id(), reply.get_message()),
        ErrorKind::IOError(error) => error.to_string(),
        _ => error.to_string(),
    }
}
