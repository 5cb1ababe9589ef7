//! What every backend with chords must agree on with Celery: how a part is written, how parts are joined, and how long a
//! claim on the body lasts. Knows no server.

use bytes::Bytes;

use crate::{
    backend::{BackendError, ChordPart, ChordProgress, document::Format},
    protocol::{Signature, TaskState, repr},
    serialization::{DecodeError, Map, Value},
};

/// How chords are counted.
#[derive(Debug, Clone, PartialEq)]
pub struct ChordOptions {
    /// `result_chord_ordered`: whether results keep the header's order. Default true.
    pub is_ordered: bool,
    /// `result_chord_expires`, in seconds; 0 is for ever, none is as `result_expires`.
    pub expires: Option<u64>,
    /// `result_chord_join_timeout`, in seconds. Default 3.
    pub join_timeout: Option<f64>,
    /// What a claim on a body must outlive.
    pub publish_retry: PublishRetry,
    /// The app's Celery, which decides how parts are counted: its Python workers count parts of the same chords.
    pub celery_version: (u16, u16),
}

impl Default for ChordOptions {
    fn default() -> Self {
        Self {
            is_ordered: true,
            expires: None,
            join_timeout: Some(3.0),
            publish_retry: PublishRetry::default(),
            celery_version: (5, 7),
        }
    }
}

/// The settings that bound how long publishing a body may take.
#[derive(Debug, Clone, PartialEq)]
pub struct PublishRetry {
    /// `task_publish_retry`. Default true.
    pub is_on: bool,
    /// `task_publish_retry_policy`. Default 3 retries, 0 to 0.2 s apart.
    pub policy: Map,
    /// `broker_connection_timeout`, in seconds. Default 4.
    pub connection_timeout: Option<f64>,
}

impl Default for PublishRetry {
    fn default() -> Self {
        let policy = [
            ("max_retries", 3.into()),
            ("interval_start", 0.into()),
            ("interval_max", 1.into()),
            ("interval_step", 0.2.into()),
        ];
        Self {
            is_on: true,
            policy: policy.into_iter().map(|(name, value): (_, Value)| (name.to_owned(), value)).collect(),
            connection_timeout: Some(4.0),
        }
    }
}

/// `_CALLBACK_PUBLISH_MAX_RETRIES` of `celery/app/amqp.py`.
const DEFAULT_PUBLISH_RETRIES: i64 = 3;
/// What stands in for a join timeout of none, in seconds.
const DEFAULT_JOIN_TIMEOUT: f64 = 5.0;
/// The least that a claim lasts, in seconds.
const MIN_CLAIM: u64 = 5;
/// The least that a chord is remembered as done, in seconds.
const MIN_DONE: u64 = 300;

impl ChordOptions {
    /// Whether parts are counted by Celery 5.7's scripts instead of the older transactions.
    pub fn has_claims(&self) -> bool {
        self.celery_version >= (5, 7)
    }

    /// How long a claim holds without being extended, in seconds.
    pub(super) fn claim_expires(&self) -> u64 {
        let join_timeout = self.join_timeout.filter(|&seconds| seconds != 0.0).unwrap_or(DEFAULT_JOIN_TIMEOUT);
        MIN_CLAIM.max((join_timeout * 2.0) as u64)
    }

    /// How long late duplicates of parts are known as such, in seconds.
    pub(super) fn done_expires(&self) -> u64 {
        MIN_DONE.max(self.claim_expires() * 2)
    }

    /// How long a claim must hold while the body is being published, in seconds
    /// (`celery/backends/redis.py:_chord_publish_claim_expires`).
    pub(super) fn publish_expires(&self, body: &Signature) -> u64 {
        let retry = &self.publish_retry;
        let Some(timeout) = retry.connection_timeout else { return self.claim_expires() * 2 };
        let timeout = timeout.max(0.0);
        let own = body.options.get("retry_policy").and_then(Value::as_map);
        let option = |name: &str| own.and_then(|own| own.get(name)).or_else(|| retry.policy.get(name));
        let seconds = |name, default| option(name).and_then(Value::as_f64).unwrap_or(default);
        let is_on = body.options.get("retry").filter(|on| !on.is_null()).map_or(retry.is_on, Value::is_truthy);
        let retries = if is_on { publish_retries(option("max_retries"), &retry.policy) } else { 0 };
        let (start, step, most) =
            (seconds("interval_start", 0.0), seconds("interval_step", 0.2), seconds("interval_max", 1.0));
        let waits: f64 = (0..retries).map(|n| (start + step * f64::from(n)).min(most)).sum();
        let estimate = f64::from(retries + 1) * timeout + waits + timeout.max(1.0);
        self.claim_expires().max(estimate.ceil() as u64)
    }
}

/// `_callback_publish_max_retries`: an unlimited policy is bounded by the app's.
fn publish_retries(own: Option<&Value>, default_policy: &Map) -> u32 {
    let limit = match own {
        None => Some(DEFAULT_PUBLISH_RETRIES),
        Some(limit) => limit.as_i64(),
    };
    let limit = limit.or_else(|| default_policy.get("max_retries").and_then(Value::as_i64));
    // Retrying for longer than this is a policy by mistake; the sum above must end.
    limit.unwrap_or(DEFAULT_PUBLISH_RETRIES).clamp(0, 100_000) as u32
}

/// What is kept of a part: `[1, task_id, state, result]`.
///
/// # Errors
///
/// [`BackendError::Refused`] for a result that the serializer cannot express.
pub(super) fn encode_part(part: &ChordPart, format: &Format) -> Result<Bytes, BackendError> {
    let value =
        Value::List(vec![1.into(), part.task_id.as_str().into(), part.state.as_str().into(), part.result.clone()]);
    format.encode_value(&value).map_err(|e| BackendError::Refused(format!("chord part {}: {e}", part.task_id)))
}

/// The place of a part as Python writes it: it is a part of the name under which the part is counted.
pub(super) fn score(part: &ChordPart) -> String {
    part.group_index.map_or_else(|| "+inf".to_owned(), |index| index.to_string())
}

/// Joins the parts, in the order given. The first that failed decides.
pub(super) fn join(parts: &[Bytes], format: &Format, claim: String) -> ChordProgress {
    let mut results = Vec::with_capacity(parts.len());
    for part in parts {
        match decode_part(part, format) {
            Ok(Ok(result)) => results.push(result),
            Ok(Err(reason)) => return ChordProgress::Failed { reason },
            // A pickle may hold what only Python can read.
            Err(_) if format.serializer == "pickle" => return ChordProgress::NeedsPython,
            Err(error) => return ChordProgress::Failed { reason: format!("Join error: {}", join_error(&error)) },
        }
    }
    ChordProgress::Ready { results, claim }
}

/// The result of a part, or why it makes the chord fail.
fn decode_part(part: &[u8], format: &Format) -> Result<Result<Value, String>, DecodeError> {
    let Value::List(items) = format.decode_value(part)? else { return Err(malformed("a part is no list")) };
    let Ok([_, task_id, state, result]) = <[Value; 4]>::try_from(items) else {
        return Err(malformed("a part has not four elements"));
    };
    let state = TaskState::from(state.as_str().ok_or_else(|| malformed("a part has no state"))?);
    if matches!(state, TaskState::Failure | TaskState::Revoked) {
        let task_id = task_id.as_str().map_or_else(|| repr::repr(&task_id), str::to_owned);
        return Ok(Err(format!("Dependency {task_id} raised {}", exception_repr(&result))));
    }
    Ok(Ok(result))
}

fn malformed(reason: &str) -> DecodeError {
    DecodeError::Malformed { format: "chord part", reason: reason.to_owned() }
}

fn join_error(error: &DecodeError) -> String {
    let class = match error {
        DecodeError::ContentDisallowed { .. } => "ContentDisallowed",
        DecodeError::SerializerNotInstalled(_) => "SerializerNotInstalled",
        _ => "DecodeError",
    };
    format!("{class}({})", repr::repr(&Value::Str(error.to_string())))
}

/// `repr()` of the exception that Celery would rebuild from this dict (`exception_to_python`).
pub(super) fn exception_repr(exception: &Value) -> String {
    let Some(map) = exception.as_map().filter(|map| !map.is_empty()) else {
        return if exception.is_truthy() { repr::repr(exception) } else { "None".to_owned() };
    };
    let exc_type = map.get("exc_type").and_then(Value::as_str).unwrap_or("Exception");
    let name = exc_type.rsplit('.').next().unwrap_or(exc_type);
    let arguments: Vec<_> = match map.get("exc_message") {
        Some(Value::List(arguments)) => arguments.iter().map(repr::repr).collect(),
        Some(argument) => vec![repr::repr(argument)],
        None => vec!["''".to_owned()],
    };
    format!("{name}({})", arguments.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exception(module: &str, exc_type: &str, message: Value) -> Value {
        let fields = [("exc_type", exc_type.into()), ("exc_message", message), ("exc_module", module.into())];
        Value::Map(fields.into_iter().map(|(k, v)| (k.to_owned(), v)).collect())
    }

    #[test]
    fn shows_exceptions_as_python_does() {
        let cases = [
            (exception("builtins", "ValueError", vec!["it's"].into()), r#"ValueError("it's")"#),
            (exception("builtins", "KeyError", vec![Value::from(1), "x".into()].into()), "KeyError(1, 'x')"),
            (exception("m", "Outer.Inner", Value::List(vec![])), "Inner()"),
            (exception("m", "E", "text".into()), "E('text')"),
            (Value::Null, "None"),
        ];
        for (value, text) in cases {
            assert_eq!(exception_repr(&value), text);
        }
    }

    #[test]
    fn claims_last_as_long_as_celerys() {
        let options = ChordOptions::default();
        assert_eq!((options.claim_expires(), options.done_expires()), (6, 300));
        assert_eq!(ChordOptions { join_timeout: None, ..options.clone() }.claim_expires(), 10);
        assert_eq!(ChordOptions { join_timeout: Some(200.0), ..options.clone() }.done_expires(), 800);
        let body = Signature::default();
        assert_eq!(options.publish_expires(&body), 21, "4 tries of 4 s, 0 + 0.2 + 0.4 s between them, 4 s more");
        let mut once = body.clone();
        once.options.insert("retry".into(), false.into());
        assert_eq!(options.publish_expires(&once), 8);
        let endless = PublishRetry { connection_timeout: None, ..PublishRetry::default() };
        assert_eq!(ChordOptions { publish_retry: endless, ..options }.publish_expires(&body), 12);
    }

    #[test]
    fn joins_in_the_given_order_until_one_failed() {
        let format = Format::default();
        let part = |text: &'static str| Bytes::from_static(text.as_bytes());
        let good = [part(r#"[1, "a", "SUCCESS", 2]"#), part(r#"[1, "b", "SUCCESS", [3]]"#)];
        let results = vec![Value::from(2), Value::List(vec![3.into()])];
        assert_eq!(join(&good, &format, "c".into()), ChordProgress::Ready { results, claim: "c".into() });
        let bad =
            part(r#"[1, "b", "FAILURE", {"exc_type": "ValueError", "exc_message": ["no"], "exc_module": "builtins"}]"#);
        let reason = "Dependency b raised ValueError('no')".to_owned();
        assert_eq!(join(&[good[0].clone(), bad], &format, String::new()), ChordProgress::Failed { reason });
        for rubbish in ["", "{", "[1]", "[1, 2, 3, 4]"] {
            let progress = join(&[part(rubbish)], &format, String::new());
            assert!(
                matches!(progress, ChordProgress::Failed { reason } if reason.starts_with("Join error: ")),
                "{rubbish}"
            );
        }
    }
}
