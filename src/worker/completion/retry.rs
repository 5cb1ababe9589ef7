//! A task is to be tried again: its message goes out once more, with the same id and all that hangs on it (X45, M99).

use std::time::{Duration, SystemTime};

use crate::{
    ipc::Ended,
    producer::{Apply, ProducerError, without_delay},
    protocol::{Embed, ExceptionInfo, Signature, TaskState, repr, time::isoformat},
    serialization::{Map, Value},
    worker::completion::{
        Completion, RequestInfo,
        document::StoreError,
        ends::{failure, reject},
        exception::{celery, exception_repr, raised},
        success::publish_failure,
    },
};

/// Headers that have a name in Celery, and so are no custom headers (`Context._get_custom_headers`).
const KNOWN_HEADERS: [&str; 43] = [
    "args",
    "argsrepr",
    "as_execution_options",
    "callbacks",
    "called_directly",
    "chain",
    "children",
    "chord",
    "clear",
    "compression",
    "correlation_id",
    "delivery_info",
    "errbacks",
    "eta",
    "expires",
    "get",
    "group",
    "group_index",
    "headers",
    "hostname",
    "id",
    "ignore_result",
    "is_eager",
    "kwargs",
    "kwargsrepr",
    "lang",
    "logfile",
    "loglevel",
    "origin",
    "parent_id",
    "properties",
    "replaced_task_nesting",
    "reply_to",
    "retries",
    "root_id",
    "shadow",
    "soft_time_limit",
    "stamped_headers",
    "stamps",
    "task",
    "taskset",
    "time_limit",
    "timelimit",
];

/// What dead-lettering adds: RabbitMQ would see a cycle in it.
const X_DEATH_HEADERS: [&str; 7] = [
    "x-death",
    "x-first-death-exchange",
    "x-first-death-queue",
    "x-first-death-reason",
    "x-last-death-exchange",
    "x-last-death-queue",
    "x-last-death-reason",
];

/// What is said of a retry.
struct Told {
    /// `Retry in 3s: OSError('down')`.
    reason: String,
    traceback: String,
}

impl Completion {
    /// Sends it again, or fails it when its retries are used up. `children` are those that it has sent until now.
    pub(super) async fn retried(
        &self,
        info: &RequestInfo<'_>,
        embed: Embed,
        mut children: Vec<Value>,
        cause: Option<ExceptionInfo>,
        eta: Option<SystemTime>,
        max_retries: Option<u32>,
    ) -> Ended {
        let retries = info.headers.retries.saturating_add(1);
        let lost = cause.as_ref().is_some_and(is_lost);
        let limit = max_retries.or(info.options.max_retries);
        if limit.is_some_and(|limit| retries > i64::from(limit)) {
            if let Some(exception) = cause.as_ref().filter(|_| lost) {
                self.fail(info, exception).await;
                return failure(exception, false);
            }
            let exception = cause.unwrap_or_else(|| self.used_up(info));
            return self.failed(info, embed, exception, children).await;
        }
        if !lost {
            // What tries again has sent itself.
            let id = Value::List(vec![info.id().into(), Value::Null]);
            children.push(Value::List(vec![id, Value::Null]));
        }
        let told = self.retry_of(info, cause.as_ref(), eta);
        // The backend hears of it first, and writes what it hears of one task in that order: the next run may be over before
        // the broker has confirmed the message.
        let (stored, sent) = futures::join!(
            self.mark_as_retry(info, children, cause.as_ref(), &told),
            self.send_again(info, &embed, retries, eta, lost)
        );
        if let Err(error) = sent {
            let reason = exception_repr(&publish_failure(&error));
            tracing::error!(target: "celery.app.trace", task_id = info.id(), task_name = info.name(),
            "Task {} retry could not be sent: {error}", info.label());
            self.fail(info, &reject(&reason, false)).await;
            return Ended::Rejected {
                requeue: false,
                exception: exception_repr(&reject(&reason, false)),
                traceback: String::new(),
                stores_failure: true,
            };
        }
        if let Err(error) = stored {
            return self.not_stored(&error.to_string());
        }
        tracing::info!(target: "celery.app.trace", task_id = info.id(), task_name = info.name(),
            "Task {} retry: {}", info.label(), told.reason);
        let exception = cause.as_ref().map_or_else(|| "None".to_owned(), exception_repr);
        Ended::Retry { exception, traceback: told.traceback }
    }

    fn retry_of(&self, info: &RequestInfo<'_>, cause: Option<&ExceptionInfo>, eta: Option<SystemTime>) -> Told {
        let when = self.humanized(eta, info.options.default_retry_delay);
        let reason = match cause {
            Some(cause) => format!("Retry {when}: {}", exception_repr(cause)),
            None => format!("Retry {when}"),
        };
        let traceback = traceback(cause, &reason);
        Told { reason, traceback }
    }

    async fn mark_as_retry(
        &self,
        info: &RequestInfo<'_>,
        children: Vec<Value>,
        cause: Option<&ExceptionInfo>,
        told: &Told,
    ) -> Result<(), StoreError> {
        if !info.stores_errors() {
            return Ok(());
        }
        let result = cause.map_or(Value::Null, ExceptionInfo::to_value);
        self.store(self.subject(info, children), TaskState::Retry, result, Some(told.traceback.clone())).await
    }

    async fn send_again(
        &self,
        info: &RequestInfo<'_>,
        embed: &Embed,
        retries: i64,
        eta: Option<SystemTime>,
        lost: bool,
    ) -> Result<(), ProducerError> {
        let body = self.body(info)?;
        let mut options = inherited(info, embed);
        options.insert("retries".to_owned(), retries.into());
        match eta {
            Some(eta) => options.insert("eta".to_owned(), isoformat(eta, &self.inner.settings.timezone).into()),
            None => options.insert("countdown".to_owned(), info.options.default_retry_delay.as_secs_f64().into()),
        };
        options.retain(|_, value| !value.is_null());
        let signature = Signature {
            task: info.headers.task.to_string(),
            args: body.args,
            kwargs: body.kwargs,
            options,
            ..Signature::default()
        };
        let root_id = info.headers.root_id.as_deref().unwrap_or(&info.headers.id);
        // What retries itself is its own parent; a task that was lost can do nothing any more.
        let apply = match lost {
            true => Apply::default(),
            false => Apply::default().with_parent(&info.headers.id, root_id),
        };
        self.inner.producer.send(signature, apply).await.map(drop)
    }

    fn used_up(&self, info: &RequestInfo<'_>) -> ExceptionInfo {
        let body = self.body(info).unwrap_or_default();
        let headers = info.headers;
        let args = repr::args_repr(&body.args, usize::MAX);
        let kwargs = repr::kwargs_repr(&body.kwargs, usize::MAX);
        let text = format!("Can't retry {}[{}] args:{args} kwargs:{kwargs}", headers.task, headers.id);
        raised(celery("MaxRetriesExceededError", text))
    }

    /// `in 180s`, `at 2026-11-21 ...`.
    fn humanized(&self, eta: Option<SystemTime>, default: Duration) -> String {
        match eta {
            None => format!("in {}s", default.as_secs_f64()),
            Some(eta) => match eta.duration_since(SystemTime::now()) {
                Ok(ahead) => format!("in {}s", ahead.as_secs_f64().round()),
                Err(_) => "in 0s".to_owned(),
            },
        }
    }
}

/// Whether the child was lost: no task raises what is billiard's.
fn is_lost(cause: &ExceptionInfo) -> bool {
    cause.exc_module == "billiard.exceptions"
}

/// What the next message has from this one (`Context.as_execution_options`, `Task.signature_from_request`).
fn inherited(info: &RequestInfo<'_>, embed: &Embed) -> Map {
    let (headers, message) = (info.headers, info.message);
    let raw = |name: &str| message.headers.get(name).cloned().unwrap_or_default();
    let list = |signatures: &[Signature]| match signatures {
        [] => Value::Null,
        some => Value::List(some.iter().map(Signature::to_value).collect()),
    };
    let mut options: Map = [
        ("task_id", Value::from(&*headers.id)),
        ("root_id", headers.root_id.clone().into()),
        ("parent_id", headers.parent_id.clone().into()),
        ("group_id", headers.group.clone().into()),
        ("group_index", headers.group_index.into()),
        ("shadow", headers.shadow.clone().into()),
        ("chord", embed.chord.as_ref().map_or(Value::Null, |chord| chord.to_value())),
        ("chain", list(&embed.chain)),
        ("link", list(&embed.callbacks)),
        ("link_error", list(&embed.errbacks)),
        ("expires", headers.expires.clone().into()),
        ("soft_time_limit", headers.soft_time_limit.map(number).unwrap_or_default()),
        ("time_limit", headers.time_limit.map(number).unwrap_or_default()),
        ("headers", Value::Map(custom_headers(message.headers.map()))),
        ("reply_to", message.properties.reply_to.clone().into()),
        ("replaced_task_nesting", headers.replaced_task_nesting.into()),
        ("origin", headers.origin.clone().into()),
        ("ignore_result", Value::Bool(!info.stores_result())),
        ("priority", message.properties.priority.into()),
    ]
    .into_iter()
    .map(|(name, value)| (name.to_owned(), value))
    .collect();
    if let (Some(names), Some(stamps)) = (&headers.stamped_headers, headers.stamps.as_map()) {
        options.insert("stamped_headers".to_owned(), raw("stamped_headers"));
        let named = stamps.iter().filter(|(name, _)| names.contains(name));
        options.extend(named.map(|(name, stamp)| (name.clone(), stamp.clone())));
    }
    options.extend(destination(info));
    options
}

/// Back to where it came from (M99a).
fn destination(info: &RequestInfo<'_>) -> Map {
    let from = &info.message.properties.delivery_info;
    let routing_key = without_delay(&from.routing_key);
    let fields = match (from.exchange.is_empty(), routing_key.is_empty()) {
        (true, true) => vec![],
        (true, false) => vec![("queue", routing_key)],
        (false, _) => vec![("exchange", from.exchange.as_str()), ("routing_key", routing_key)],
    };
    fields.into_iter().map(|(name, value)| (name.to_owned(), value.into())).collect()
}

fn custom_headers(headers: &Map) -> Map {
    let is_custom = |name: &str| !KNOWN_HEADERS.contains(&name) && !X_DEATH_HEADERS.contains(&name) && name != "utc";
    headers.iter().filter(|(name, _)| is_custom(name)).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whole numbers stay integers.
fn number(seconds: f64) -> Value {
    if seconds.fract() == 0.0 && seconds.abs() < 1e15 { Value::Int(seconds as i64) } else { Value::Float(seconds) }
}

/// Python's text for `Retry` raised while its cause was being handled.
fn traceback(cause: Option<&ExceptionInfo>, reason: &str) -> String {
    if let Some(lost) = cause.filter(|cause| is_lost(cause)) {
        return raised(lost.clone()).traceback.unwrap_or_default();
    }
    let last = format!("Traceback (most recent call last):\ncelery.exceptions.Retry: {reason}\n");
    match cause.and_then(|cause| cause.traceback.as_deref()) {
        Some(cause) => {
            format!("{cause}\nDuring handling of the above exception, another exception occurred:\n\n{last}")
        }
        None => last,
    }
}
