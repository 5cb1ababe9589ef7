//! Delivery → [`Request`], or a [`Refusal`]: a message is recognised in full before anything moves.

use std::{sync::Arc, time::SystemTime};

use crate::{
    broker::{Acker, Delivery, MalformedMessage},
    protocol::{Body, Message, ProtocolError, TaskHeaders, decode_payload, lift, repr::repr, time::parse_iso},
    serialization::{AcceptContent, DecodeError, Value},
    task::{Registry, Runner, TaskDefinition},
    worker::{request::Request, validate::validate_body},
};

/// A delivery that is no task of ours; each kind has one fate, see [`refuse`](super::refuse).
#[derive(Debug)]
pub struct Refusal {
    /// Why.
    pub reason: RefusalReason,
    /// The message, as far as it is one.
    pub message: Message,
    /// The body, where it had to be decoded to find out.
    pub payload: Option<Value>,
    /// The right to settle it.
    pub acker: Acker,
}

/// Why a delivery is refused (`celery/worker/consumer/consumer.py:create_task_handler`).
#[derive(Debug)]
#[expect(clippy::large_enum_variant, reason = "the whole refusal is boxed, and rare")]
pub enum RefusalReason {
    /// Not even an envelope: acknowledged and logged, since nobody could ever read it.
    Malformed(MalformedMessage),
    /// The body cannot be read: acknowledged and logged.
    Undecodable(DecodeError),
    /// A content type that is not accepted, or a field that cannot be: rejected and logged.
    InvalidTask(String),
    /// No task of this name: rejected, logged, `NotRegistered` stored.
    UnknownTask(TaskHeaders),
    /// No task message at all: rejected and logged.
    UnknownMessage,
}

/// What it takes to recognise a message.
#[derive(Clone)]
pub struct Receiver {
    /// The tasks of this worker.
    pub registry: Arc<Registry>,
    /// `accept_content`.
    pub accept: AcceptContent,
}

impl Receiver {
    /// Recognises a delivery; `number` becomes the request's.
    pub fn receive(&self, number: u64, delivery: Delivery) -> Result<Request, Box<Refusal>> {
        let Delivery { message, acker, redelivered, .. } = delivery;
        let message = match message {
            Ok(message) => message,
            Err(malformed) => return Err(refusal(RefusalReason::Malformed(malformed), Message::default(), acker)),
        };
        let original = (!is_plain(&message)).then(|| message.clone());
        let lifted = match &original {
            None => Ok(message),
            Some(original) => lift(message, &self.accept).map_err(|error| (error, original.clone())),
        };
        let message = match lifted {
            Ok(message) => message,
            Err((error, message)) => {
                let payload = self.decoded(&message);
                let reason = match error {
                    // To find the name of its task the body has to be read; whatever keeps Celery from that is one
                    // error to it.
                    ProtocolError::Undecodable(error) if message.headers.get("task").is_none() => {
                        RefusalReason::Undecodable(error)
                    }
                    error => reason(error),
                };
                let mut refusal = refusal(reason, message, acker);
                refusal.payload = payload;
                return Err(refusal);
            }
        };
        let headers = match TaskHeaders::from_message(&message) {
            Ok(headers) => headers,
            Err(error) => return Err(refusal(reason(error), message, acker)),
        };
        let Some(definition) = self.registry.find(&headers.task) else {
            return Err(refusal(RefusalReason::UnknownTask(headers), original.unwrap_or(message), acker));
        };
        let definition = definition.clone();
        match self.read(&message, &headers, &definition) {
            Err(error) => Err(refusal(reason(error), message, acker)),
            Ok((body, eta, expires)) => {
                let mut request = Request::new(number, headers, definition, message, acker);
                (request.body, request.redelivered, request.eta, request.expires) = (body, redelivered, eta, expires);
                Ok(request)
            }
        }
    }

    /// The body of a message that does not name its task in its headers: Celery has decoded it to find the name there.
    fn decoded(&self, message: &Message) -> Option<Value> {
        let names_its_task = message.headers.is_absent() || message.headers.get("task").is_some();
        if names_its_task {
            None
        } else {
            decode_payload(message, &self.accept).ok().filter(|payload| !payload.is_null())
        }
    }

    fn read(
        &self,
        message: &Message,
        headers: &TaskHeaders,
        definition: &TaskDefinition,
    ) -> Result<Read, ProtocolError> {
        let body = match definition.runner {
            Runner::Native(_) => Some(Body::decode(message, &self.accept)?),
            Runner::Python => {
                validate_body(message, &self.accept)?;
                None
            }
        };
        Ok((body, instant("ETA", &headers.eta)?, instant("expires", &headers.expires)?))
    }
}

/// What is read of a message beyond its headers: the body where it is needed here, `eta` and `expires`.
type Read = (Option<Body>, Option<SystemTime>, Option<SystemTime>);

/// Protocol 2 at first sight, the common case: nothing to lift, and no copy to keep for the refusal.
fn is_plain(message: &Message) -> bool {
    message.headers.get("task").is_some() && message.body.first() == Some(&b'[')
}

fn instant(what: &str, text: &Option<String>) -> Result<Option<SystemTime>, ProtocolError> {
    let Some(text) = text else { return Ok(None) };
    let unreadable = |_| {
        ProtocolError::InvalidTask(format!("invalid {what} value {}: no ISO 8601 time", repr(&text.as_str().into())))
    };
    parse_iso(text).map(|at| Some(at.into())).map_err(unreadable)
}

fn reason(error: ProtocolError) -> RefusalReason {
    match error {
        ProtocolError::UnknownMessage(_) => RefusalReason::UnknownMessage,

        ProtocolError::Undecodable(error @ DecodeError::ContentDisallowed { .. }) => {
            RefusalReason::InvalidTask(error.to_string())
        }
        ProtocolError::Undecodable(error) => RefusalReason::Undecodable(error),
        other => RefusalReason::InvalidTask(other.to_string()),
    }
}

fn refusal(reason: RefusalReason, message: Message, acker: Acker) -> Box<Refusal> {
    Box::new(Refusal { reason, message, payload: None, acker })
}
