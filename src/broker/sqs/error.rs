//! [`SqsError`]: an error of Amazon's client, and what can be done about it.

use std::error::Error;

use aws_sdk_sqs::{
    config::http::HttpResponse,
    error::{DisplayErrorContext, ProvideErrorMetadata, SdkError},
};

use crate::broker::BrokerError;

/// SQS's codes come with this before them, or without.
const PREFIX: &str = "AWS.SimpleQueueService.";
/// A service that does not let this key in.
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
/// What is over after a while.
const PASSING: [&str; 14] = [
    "ExpiredToken",
    "ExpiredTokenException",
    "KmsThrottled",
    "OverLimit",
    "QueueDeletedRecently",
    "RequestExpired",
    "RequestLimitExceeded",
    "RequestThrottled",
    "RequestThrottledException",
    "Throttling",
    "ThrottlingException",
    "ThrottledException",
    "TooManyRequestsException",
    "SlowDown",
];
const GONE: [&str; 2] = ["NonExistentQueue", "QueueDoesNotExist"];
/// A receipt that is good for nothing any more.
const STALE: [&str; 4] = ["InvalidParameterValue", "MessageNotInflight", "ReceiptHandleIsInvalid", "InvalidIdFormat"];

/// By what can be done about it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nobody answers.
    NoAnswer,
    /// Not now.
    Passing,
    /// The key is not let in.
    Denied,
    /// The queue is not there.
    Gone,
    /// Not like that.
    Refused,
}

/// Which, and in which words.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{message}")]
pub(super) struct SqsError {
    pub trouble: Trouble,
    message: String,
}

impl SqsError {
    pub fn new(trouble: Trouble, message: impl Into<String>) -> Self {
        Self { trouble, message: message.into() }
    }

    /// `what` has failed.
    pub fn of<E>(what: &str, error: &SdkError<E, HttpResponse>) -> Self
    where
        E: ProvideErrorMetadata + Error + 'static,
    {
        let SdkError::ServiceError(service) = error else {
            return Self::new(Trouble::NoAnswer, format!("{what}: {}", innermost(error)));
        };
        let (code, text) = (service.err().code().unwrap_or("Unknown"), service.err().message().unwrap_or("no message"));
        Self::new(trouble(code, service.raw().status().as_u16()), format!("{what}: {code}: {text}"))
    }

    /// There was no answer in time.
    pub fn late(what: &str) -> Self {
        Self::new(Trouble::NoAnswer, format!("{what}: no answer in time"))
    }

    /// For whom has a connection: it lives, and may do better the next time.
    pub fn on_connection(self) -> BrokerError {
        match self.trouble {
            Trouble::NoAnswer | Trouble::Passing => BrokerError::passing(self.message),
            _ => self.into(),
        }
    }
}

/// For whom has none.
impl From<SqsError> for BrokerError {
    fn from(error: SqsError) -> Self {
        match error.trouble {
            Trouble::NoAnswer | Trouble::Passing => Self::lost(error.message),
            Trouble::Denied => Self::unusable(error.message),
            Trouble::Gone | Trouble::Refused => Self::refused(error.message),
        }
    }
}

/// Whether an entry of a batch failed because its receipt is worth nothing any more.
pub(super) fn is_stale(code: &str) -> bool {
    STALE.contains(&bare(code))
}

fn bare(code: &str) -> &str {
    code.strip_prefix(PREFIX).unwrap_or(code)
}

fn trouble(code: &str, status: u16) -> Trouble {
    let code = bare(code);
    if GONE.contains(&code) {
        Trouble::Gone
    } else if PASSING.contains(&code) || matches!(status, 408 | 429 | 500..) {
        Trouble::Passing
    } else if DENIED.contains(&code) || matches!(status, 401 | 403) {
        Trouble::Denied
    } else {
        Trouble::Refused
    }
}

/// The innermost cause says what it was, the outer ones how Amazon's client is made.
fn innermost<E: Error + 'static>(error: &E) -> String {
    let mut cause: &(dyn Error + 'static) = error;
    while let Some(source) = cause.source() {
        cause = source;
    }
    let text = cause.to_string();
    if text.is_empty() { DisplayErrorContext(error).to_string() } else { text }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_say_what_can_be_done() {
        let table = [
            ("InvalidClientTokenId", 403, Trouble::Denied),
            ("ExpiredToken", 403, Trouble::Passing),
            ("ThrottlingException", 400, Trouble::Passing),
            ("Unknown", 503, Trouble::Passing),
            ("AWS.SimpleQueueService.NonExistentQueue", 400, Trouble::Gone),
            ("QueueDoesNotExist", 400, Trouble::Gone),
            ("InvalidSignatureException", 403, Trouble::Denied),
            ("Unknown", 429, Trouble::Passing),
            ("UnknownOperationException", 404, Trouble::Refused),
        ];
        for (code, status, expected) in table {
            assert_eq!(trouble(code, status), expected, "{code}");
        }
        assert!(is_stale("AWS.SimpleQueueService.MessageNotInflight") && !is_stale("RequestThrottled"));
    }
}
