//! A task message from a call: header for header what `celery/app/amqp.py:as_task_v2` and `as_task_v1` write.

use bytes::Bytes;

use crate::{
    producer::{ProducerError, options::Options, times::Times},
    protocol::{Headers, Message, Properties, repr},
    serialization::{self, Map, Value, compression, map},
};

/// Longest `argsrepr` and `kwargsrepr`, in characters.
const REPR_MAX: usize = 1024;

/// What of a message is the same for both protocols.
pub(super) struct Draft<'a> {
    pub task: &'a str,
    pub id: &'a str,
    pub args: Vec<Value>,
    pub kwargs: Map,
    pub times: Times,
    pub root_id: Value,
    pub parent_id: Value,
    pub origin: &'a str,
}

/// How the body is written.
pub(super) struct Format {
    pub serializer: String,
    pub compression: Option<String>,
    pub delivery_mode: u8,
}

impl Draft<'_> {
    /// Protocol 2: everything that a worker must know is in the headers.
    pub fn protocol_2(mut self, options: &mut Options<'_>) -> Result<(Map, Value), ProducerError> {
        let (stamped_headers, stamps) = stamps(options);
        let argsrepr = options.take_text("argsrepr")?.unwrap_or_else(|| repr::args_repr(&self.args, REPR_MAX));
        let kwargsrepr = options.take_text("kwargsrepr")?.unwrap_or_else(|| repr::kwargs_repr(&self.kwargs, REPR_MAX));
        let origin = options.take_text("origin")?.unwrap_or_else(|| self.origin.to_owned());
        let body = Value::List(vec![
            Value::List(std::mem::take(&mut self.args)),
            Value::Map(std::mem::take(&mut self.kwargs)),
            map([
                ("callbacks", options.take_list_or_null("link")),
                ("errbacks", options.take_list_or_null("link_error")),
                ("chain", options.take_or_null("chain")),
                ("chord", options.take_or_null("chord")),
            ])
            .into(),
        ]);
        let headers = map([
            ("lang", "py".into()),
            ("task", self.task.into()),
            ("id", self.id.into()),
            ("shadow", options.take_or_null("shadow")),
            ("eta", self.times.eta),
            ("expires", self.times.expires),
            ("group", options.take_or_null("group_id")),
            ("group_index", options.take_or_null("group_index")),
            ("retries", options.take("retries").unwrap_or(Value::Int(0))),
            ("timelimit", time_limits(options)),
            ("root_id", self.root_id),
            ("parent_id", self.parent_id),
            ("argsrepr", argsrepr.into()),
            ("kwargsrepr", kwargsrepr.into()),
            ("origin", origin.into()),
            ("ignore_result", options.take_or_null("ignore_result")),
            ("replaced_task_nesting", options.take("replaced_task_nesting").unwrap_or(Value::Int(0))),
            ("stamped_headers", stamped_headers),
            ("stamps", stamps),
        ]);
        Ok((headers, body))
    }

    /// Protocol 1: everything is in the body, the headers are empty.
    pub fn protocol_1(self, options: &mut Options<'_>) -> (Map, Value) {
        let group = options.take_or_null("group_id");
        let body = map([
            ("task", self.task.into()),
            ("id", self.id.into()),
            ("args", Value::List(self.args)),
            ("kwargs", Value::Map(self.kwargs)),
            ("group", group.clone()),
            ("group_index", options.take_or_null("group_index")),
            ("retries", options.take("retries").unwrap_or(Value::Int(0))),
            ("eta", self.times.eta),
            ("expires", self.times.expires),
            ("utc", Value::Bool(true)),
            ("callbacks", options.take_list_or_null("link")),
            ("errbacks", options.take_list_or_null("link_error")),
            ("timelimit", time_limits(options)),
            ("taskset", group),
            ("chord", options.take_or_null("chord")),
        ]);
        let unused = ["shadow", "chain", "ignore_result", "replaced_task_nesting", "origin", "argsrepr", "kwargsrepr"];
        options.drop_all(&unused);
        stamps(options);
        (Map::new(), Value::Map(body))
    }
}

/// The message, once the options that are headers and routing are taken: what is left of them are properties.
pub(super) fn finished(
    mut headers: Map,
    body: &Value,
    mut options: Options<'_>,
    format: &Format,
    mut properties: Properties,
) -> Result<Message, ProducerError> {
    if let Some(Value::Map(custom)) = options.take("headers") {
        headers.extend(custom);
    }
    let encoded = serialization::encode(body, &format.serializer)?;
    let body = compressed(encoded.body, format, &mut headers)?;
    properties.content_type = Some(encoded.content_type.to_owned());
    properties.content_encoding = Some(encoded.content_encoding.to_owned());
    properties.delivery_mode = Some(format.delivery_mode);
    if let Some(priority) = options.take("priority") {
        let priority = priority.as_i64().ok_or_else(|| options.wrong("priority", "is not an integer"))?;
        properties.priority = Some(priority);
    }
    // Words for Celery's producer, which has done its work; the rest are properties, as kombu has it.
    options.drop_all(&[
        "retry",
        "retry_policy",
        "declare",
        "timeout",
        "confirm_timeout",
        "immediate",
        "mandatory",
        "redelivered",
        "use_link",
        "exchange_type",
        "add_to_parent",
        "producer",
        "connection",
        "router",
    ]);
    properties.other.extend(options.rest().into_iter().filter(|(_, value)| !value.is_null()));
    Ok(Message { headers: Headers::new(headers), properties, body })
}

fn compressed(body: Bytes, format: &Format, headers: &mut Map) -> Result<Bytes, ProducerError> {
    let Some(name) = &format.compression else { return Ok(body) };
    let (body, mime) = compression::compress(name, &body)?;
    headers.insert("compression".to_owned(), mime.into());
    Ok(body.into())
}

/// `[hard, soft]`.
fn time_limits(options: &mut Options<'_>) -> Value {
    Value::List(vec![options.take_or_null("time_limit"), options.take_or_null("soft_time_limit")])
}

/// The stamps' names, and the stamps; each stamp is an option of its own.
fn stamps(options: &mut Options<'_>) -> (Value, Value) {
    let names = options.take_or_null("stamped_headers");
    let mut stamps = Map::new();
    for name in names.as_list().unwrap_or_default().iter().filter_map(Value::as_str) {
        if let Some(stamp) = options.take(name) {
            stamps.insert(name.to_owned(), stamp);
        }
    }
    (names, Value::Map(stamps))
}
