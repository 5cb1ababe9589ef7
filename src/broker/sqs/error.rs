//! Errors of Amazon's client, as those of a broker.

use std::error::Error;

use aws_sdk_sqs::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};

use crate::broker::{BrokerError, BrokerErrorKind};

/// Codes of a service that does not let this key in.
const DENIED: [&str; 8] = [
    "AccessDenied",
    "AccessDeniedException",
    "AuthFailure",
    "InvalidAccessKeyId",
    "InvalidClientTokenId",
    "MissingAuthenticationToken",
    "SignatureDoesNotMatch",
    "UnrecognizedClientException",
];

/// What has failed, for the worker: [`Unusable`](BrokerErrorKind::Unusable) where the key is not let in,
/// [`Refused`](BrokerErrorKind::Refused) where the service says no to something else,
/// [`ConnectionLost`](BrokerErrorKind::ConnectionLost) where it does not answer, or cannot now.
pub(super) fn broker_error<E, R>(what: &str, error: &SdkError<E, R>) -> BrokerError
where
    E: ProvideErrorMetadata + Error + 'static,
    R: std::fmt::Debug + 'static,
{
    let SdkError::ServiceError(service) = error else {
        return BrokerError::lost(format!("{what}: {}", causes(error)));
    };
    let (code, message) = (service.err().code().unwrap_or("Unknown"), service.err().message().unwrap_or("no message"));
    BrokerError::new(kind(code), format!("{what}: {code}: {message}"))
}

fn kind(code: &str) -> BrokerErrorKind {
    let passing =
        ["Throttl", "TooManyRequests", "RequestLimit", "Internal", "ServiceUnavailable", "Expired", "Unknown"];
    match code {
        code if DENIED.contains(&code) => BrokerErrorKind::Unusable,
        code if passing.iter().any(|part| code.contains(part)) => BrokerErrorKind::ConnectionLost,
        _ => BrokerErrorKind::Refused,
    }
}

/// Whatever it was: with another connection it may be different.
pub(super) fn lost(error: &BrokerError) -> BrokerError {
    BrokerError::lost(error.to_string())
}

/// The innermost cause says what it was, the outer ones how Amazon's client is made.
fn causes<E: Error + 'static>(error: &E) -> String {
    let mut innermost: &(dyn Error + 'static) = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    if text.is_empty() { DisplayErrorContext(error).to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_whether_to_try_again() {
        assert_eq!(kind("InvalidClientTokenId"), BrokerErrorKind::Unusable);
        assert_eq!(kind("ExpiredToken"), BrokerErrorKind::ConnectionLost);
        assert_eq!(kind("ThrottlingException"), BrokerErrorKind::ConnectionLost);
        assert_eq!(kind("AWS.SimpleQueueService.NonExistentQueue"), BrokerErrorKind::Refused);
    }
}
