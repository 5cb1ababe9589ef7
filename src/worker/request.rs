//! [`Request`]: one recognised task message, with the right to settle it.

use std::{
    sync::Arc,
    time::{Duration, SystemTime},
};

use crate::{
    broker::Acker,
    ipc::Job,
    pool::TimeLimits,
    protocol::{Body, Message, Properties, TaskHeaders},
    serialization::{Value, json},
    task::TaskDefinition,
    worker::disposition::Disposition,
};

/// A task that this worker has received and not yet settled (`celery/worker/request.py`).
#[derive(Debug)]
pub struct Request {
    /// Unique over the life of the worker; task ids need not be.
    pub number: u64,
    /// What is known before the body.
    pub headers: Arc<TaskHeaders>,
    /// What the registry says about the task.
    pub definition: Arc<TaskDefinition>,
    /// The message, protocol 1 already lifted to 2.
    pub message: Arc<Message>,
    /// The body, read for tasks that run in this process; children read it themselves.
    pub body: Option<Body>,
    /// Whether the broker says that someone had it before.
    pub redelivered: bool,
    /// When it may start at the earliest.
    pub eta: Option<SystemTime>,
    /// When it is not to start any more.
    pub expires: Option<SystemTime>,
    /// When it was read.
    pub(super) received: SystemTime,
    /// When it began, in seconds since the epoch.
    pub(super) began: Option<f64>,
    /// Whether its end is counted.
    pub(super) counted: bool,
    /// Gone once the message is settled.
    acker: Option<Acker>,
}

impl Request {
    /// A request that holds `acker` until it is settled.
    pub fn new(
        number: u64,
        headers: TaskHeaders,
        definition: Arc<TaskDefinition>,
        message: Message,
        acker: Acker,
    ) -> Self {
        Self {
            number,
            headers: Arc::new(headers),
            definition,
            message: Arc::new(message),
            body: None,
            redelivered: false,
            eta: None,
            expires: None,
            received: SystemTime::now(),
            began: None,
            counted: false,
            acker: Some(acker),
        }
    }

    /// The task's id, as lines of the log have it.
    pub fn id(&self) -> &str {
        &self.headers.id
    }

    /// The task's name for people.
    pub fn name(&self) -> &str {
        self.headers.display_name()
    }

    /// Whether the message is settled already.
    pub fn is_settled(&self) -> bool {
        self.acker.is_none()
    }

    /// Acknowledges, unless settled already.
    pub fn acknowledge(&mut self) {
        self.settle(Disposition::Ack);
    }

    /// Settles, unless settled already.
    pub fn settle(&mut self, disposition: Disposition) {
        let Some(acker) = self.acker.take() else { return };
        match disposition {
            Disposition::Ack => acker.ack(),
            Disposition::Requeue => acker.reject(true),
            Disposition::Drop => acker.reject(false),
        }
    }

    /// Leaves the message to the broker, which hands it out again.
    pub fn leave(&mut self) {
        if let Some(acker) = self.acker.take() {
            acker.leave();
        }
    }

    /// The number under which the broker holds it.
    pub fn number_at_broker(&self) -> Option<u64> {
        self.acker.as_ref()?.number()
    }

    /// Forgets everything but what the broker holds. To be called only by who knows that number.
    pub fn into_tag(mut self) {
        if let Some(acker) = self.acker.take() {
            acker.into_tag();
        }
    }

    /// Takes the right to settle it away, if it is still there.
    pub fn take_acker(&mut self) -> Option<Acker> {
        self.acker.take()
    }

    /// Whether a result is not wanted: the message's word, else the task's.
    pub fn ignores_result(&self) -> bool {
        self.headers.ignore_result.unwrap_or(self.definition.options.ignore_result)
    }

    /// The message's limits, else the task's, else `defaults`; zero counts as unset.
    pub fn limits(&self, defaults: TimeLimits) -> TimeLimits {
        let options = &self.definition.options;
        let (hard, soft) = (
            seconds(self.headers.time_limit).or(options.time_limit),
            seconds(self.headers.soft_time_limit).or(options.soft_time_limit),
        );
        if hard.is_none() && soft.is_none() { defaults } else { TimeLimits { hard, soft } }
    }

    /// What a child needs to run it.
    pub fn job(&self) -> Job {
        Job {
            number: self.number,
            task: self.headers.task.to_string(),
            id: self.headers.id.to_string(),
            redelivered: self.redelivered,
            ..job_of(&self.message)
        }
    }
}

/// A message as Python is given it, whatever it is.
pub(super) fn job_of(message: &Message) -> Job {
    let properties = &message.properties;
    Job {
        headers: headers_json(message),
        properties: properties_json(properties),
        body: message.body.clone(),
        content_type: properties.content_type.clone().unwrap_or_else(|| "application/data".to_owned()),
        content_encoding: properties.content_encoding.clone().unwrap_or_else(|| "utf-8".to_owned()),
        reply_to: properties.reply_to.clone(),
        correlation_id: properties.correlation_id.clone(),
        exchange: properties.delivery_info.exchange.clone(),
        routing_key: properties.delivery_info.routing_key.clone(),
        priority: properties.priority,
        ..Job::default()
    }
}

fn headers_json(message: &Message) -> bytes::Bytes {
    let headers = &message.headers;
    if headers.is_absent() {
        return bytes::Bytes::from_static(b"null");
    }
    if let Some(received) = headers.json() {
        return received.clone();
    }
    let mut out = String::with_capacity(512);
    json::write_map(&mut out, headers.map()).map_or(NO_FIELDS, |()| out.into())
}

fn properties_json(properties: &Properties) -> bytes::Bytes {
    let mut fields = Fields::default();
    fields.text("correlation_id", properties.correlation_id.as_deref());
    fields.text("reply_to", properties.reply_to.as_deref());
    fields.value("delivery_mode", &properties.delivery_mode.map(i32::from).into());
    // kombu's virtual transports carry these two inside the properties.
    if properties.other.contains_key("delivery_tag") {
        let info = &properties.delivery_info;
        fields.name("delivery_info");
        fields.nested(|inner| {
            inner.text("exchange", Some(&info.exchange));
            inner.text("routing_key", Some(&info.routing_key));
        });
    }
    fields.value("priority", &properties.priority.into());
    fields.text("expiration", properties.expiration.as_deref());
    for (name, value) in &properties.other {
        fields.value(name, value);
    }
    fields.into_json()
}

/// What a child is given of headers or properties that no JSON can express (bytes from AMQP that are no text), which
/// Celery's own producer could not have sent.
const NO_FIELDS: bytes::Bytes = bytes::Bytes::from_static(b"{}");

/// The fields of one JSON object, written as they come; those without a value are left out.
#[derive(Default)]
struct Fields {
    out: String,
    failed: bool,
}

impl Fields {
    fn name(&mut self, name: &str) {
        self.out.push_str(if self.out.is_empty() { "{" } else { ", " });
        json::write_str(&mut self.out, name);
        self.out.push_str(": ");
    }

    fn text(&mut self, name: &str, text: Option<&str>) {
        if let Some(text) = text {
            self.name(name);
            json::write_str(&mut self.out, text);
        }
    }

    fn value(&mut self, name: &str, value: &Value) {
        if !value.is_null() {
            self.name(name);
            self.failed |= json::write(&mut self.out, value).is_err();
        }
    }

    fn nested(&mut self, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.out.push_str(&inner.closed());
    }

    fn closed(mut self) -> String {
        self.out.push_str(if self.out.is_empty() { "{}" } else { "}" });
        self.out
    }

    fn into_json(self) -> bytes::Bytes {
        if self.failed { NO_FIELDS } else { self.closed().into() }
    }
}

fn seconds(limit: Option<f64>) -> Option<Duration> {
    limit.filter(|limit| *limit > 0.0).and_then(|limit| Duration::try_from_secs_f64(limit).ok())
}

impl std::fmt::Display for Request {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}[{}]", self.headers.display_name(), self.headers.id)
    }
}
