//! [`Producer`]: sends signatures.

use std::{sync::Arc, time::SystemTime};

use futures::future::BoxFuture;

use crate::{
    broker::Publish,
    producer::{
        Apply, ProducerError, ProducerSettings,
        apply::Parent,
        canvas::{Plan, Step, TaskCall},
        message::{Draft, Format, finished},
        options::Options,
        router::{Routed, Router},
        times::Times,
        unlock,
    },
    protocol::{Message, Properties, Route, Signature},
    serialization::{Map, Value, map},
};

/// Where the size of a chord's header is kept: the result backend, by way of the worker.
pub trait ChordHeaders: Send + Sync {
    /// Sets how many parts the chord has. Called before the last of them is sent.
    fn set_size<'a>(&'a self, group_id: &'a str, size: u64) -> BoxFuture<'a, Result<(), String>>;

    /// Whether `celery.chord_unlock` looks for the parts instead, as for backends that do not count them.
    fn are_unlocked(&self) -> bool {
        false
    }

    /// Keeps the result tuple of a header that has groups in it, so that its join gives back their shape.
    fn save_header<'a>(&'a self, group_id: &'a str, result: &'a Value) -> BoxFuture<'a, Result<(), String>>;
}

/// Who is told of each message sent: the event dispatcher, with `task_send_sent_event`.
pub trait SentEvents: Send + Sync {
    /// Takes the fields of a `task-sent` event.
    fn sent(&self, fields: Map);
}

/// What was sent.
#[derive(Debug, Clone, PartialEq)]
pub struct Sent {
    /// The id to wait for: of the task, of a chain's last task, of a chord's body, or of a group.
    pub id: String,
    /// The result tuple as Celery lists it among `children`.
    pub result: Value,
}

/// Sends tasks and workflows. Cheap to clone.
#[derive(Clone)]
pub struct Producer(Arc<Inner>);

struct Inner {
    publisher: Arc<dyn Publish>,
    settings: ProducerSettings,
    router: Router,
    chords: Option<Arc<dyn ChordHeaders>>,
    events: Option<Arc<dyn SentEvents>>,
}

impl Producer {
    /// A producer over a publisher. Chords can be sent once there is a place for their sizes.
    pub fn new(
        publisher: Arc<dyn Publish>,
        settings: ProducerSettings,
        chords: Option<Arc<dyn ChordHeaders>>,
        events: Option<Arc<dyn SentEvents>>,
    ) -> Self {
        let router = Router::new(&settings);
        Self(Arc::new(Inner { publisher, settings, router, chords, events }))
    }

    /// What the app's configuration says about messages.
    pub fn settings(&self) -> &ProducerSettings {
        &self.0.settings
    }

    /// Sends a task, group, chain or chord. Resolves when the broker has every message that goes out now.
    ///
    /// # Errors
    /// When a message cannot be made or the broker does not take it; earlier messages of the workflow may be out.
    pub async fn send(&self, signature: Signature, apply: Apply) -> Result<Sent, ProducerError> {
        let settings = &self.0.settings;
        let mut plan = Plan::new(&settings.oid, settings.protocol == 1);
        let result = plan.apply(signature, apply.args, apply.options)?;
        for step in plan.into_steps() {
            self.run(step, apply.parent.as_ref()).await?;
        }
        Ok(Sent { id: result.id().to_owned(), result: result.into_tuple() })
    }

    async fn run(&self, step: Step, parent: Option<&Parent>) -> Result<(), ProducerError> {
        match step {
            Step::Send(call) => self.publish(*call, parent).await,
            Step::Unlock { group_id, body, result } if self.chords()?.are_unlocked() => {
                let known = self.merged(&body.task, Map::new());
                let call = unlock::call(&group_id, &body, result, &known, &self.0.settings.default_queue);
                self.publish(call, parent).await
            }
            Step::Unlock { .. } => Ok(()),
            Step::ChordSize { .. } | Step::SaveHeader { .. } if self.chords()?.are_unlocked() => Ok(()),
            Step::ChordSize { group_id, size } => {
                let set = self.chords()?.set_size(&group_id, size).await;
                set.map_err(|reason| ProducerError::Chord { group_id, reason })
            }
            Step::SaveHeader { group_id, result } => {
                let saved = self.chords()?.save_header(&group_id, &result).await;
                saved.map_err(|reason| ProducerError::Chord { group_id, reason })
            }
        }
    }

    async fn publish(&self, call: TaskCall, parent: Option<&Parent>) -> Result<(), ProducerError> {
        let (route, message, event) = self.prepare(call, parent, SystemTime::now())?;
        self.0.publisher.publish(route, message).await?;
        if let (Some(events), Some(event)) = (&self.0.events, event) {
            events.sent(event);
        }
        Ok(())
    }

    fn chords(&self) -> Result<&dyn ChordHeaders, ProducerError> {
        let none = || ProducerError::Canvas("Starting chords requires a result backend to be configured.".to_owned());
        self.0.chords.as_deref().ok_or_else(none)
    }

    /// The message of one task, where it goes, and the fields of its `task-sent` event.
    pub(super) fn prepare(
        &self,
        call: TaskCall,
        parent: Option<&Parent>,
        now: SystemTime,
    ) -> Result<(Route, Message, Option<Map>), ProducerError> {
        let settings = &self.0.settings;
        let TaskCall { task, args, kwargs, options } = call;
        let mut options = Options::new(&task, self.merged(&task, options));
        let id = options.take_text("task_id")?.unwrap_or_else(new_id);
        let times = Times::take(&mut options, now, &settings.timezone)?;
        let routed = self.0.router.route(&mut options, times.delay)?;
        let (root_id, parent_id) = self.lineage(&mut options, &id, parent);
        let format = self.format(&mut options)?;
        let properties = Properties {
            correlation_id: Some(id.clone()),
            reply_to: Some(options.take_text("reply_to")?.unwrap_or_else(|| settings.oid.clone())),
            expiration: times.expiration.clone(),
            delivery_info: crate::protocol::DeliveryInfo {
                exchange: routed.route.exchange.clone(),
                routing_key: routed.route.routing_key.clone(),
            },
            ..Properties::default()
        };
        let draft = Draft { task: &task, id: &id, args, kwargs, times, root_id, parent_id, origin: &settings.origin };
        let (headers, body) = match settings.protocol {
            1 => draft.protocol_1(&mut options),
            _ => draft.protocol_2(&mut options)?,
        };
        let event = self.event(&headers, &routed);
        let message = finished(headers, &body, options, &format, properties)?;
        Ok((routed.route, message, event))
    }

    /// What the call says, over what the task's own options say, over `task_routes`.
    fn merged(&self, task: &str, options: Map) -> Map {
        let known = self.0.settings.exec_options.get(task);
        let mut merged = known.cloned().unwrap_or_default();
        merged.extend(options.into_iter().filter(|(_, value)| !value.is_null()));
        self.0.router.with_routes(task, merged)
    }

    /// Root and parent: those given, else those of the task that sends, else the task itself and none.
    fn lineage(&self, options: &mut Options<'_>, id: &str, parent: Option<&Parent>) -> (Value, Value) {
        let root_id = options.take("root_id").or_else(|| parent.map(|parent| parent.root_id.clone().into()));
        let parent_id = options.take("parent_id").or_else(|| parent.map(|parent| parent.id.clone().into()));
        if self.0.settings.inherit_parent_priority {
            options.set_default("priority", parent.and_then(|parent| parent.priority));
        }
        (root_id.unwrap_or_else(|| id.into()), parent_id.unwrap_or_default())
    }

    fn format(&self, options: &mut Options<'_>) -> Result<Format, ProducerError> {
        let settings = &self.0.settings;
        let delivery_mode = options.take("delivery_mode").map(|mode| match mode {
            Value::Int(1) => Ok(1),
            Value::Int(2) => Ok(2),
            Value::Str(word) if word == "transient" => Ok(1),
            Value::Str(word) if word == "persistent" => Ok(2),
            _ => Err(options.wrong("delivery_mode", "is neither 1 (transient) nor 2 (persistent)")),
        });
        Ok(Format {
            serializer: options.take_text("serializer")?.unwrap_or_else(|| settings.serializer.clone()),
            compression: options.take_text("compression")?.or_else(|| settings.compression.clone()),
            delivery_mode: delivery_mode.transpose()?.unwrap_or(settings.delivery_mode),
        })
    }

    fn event(&self, headers: &Map, routed: &Routed) -> Option<Map> {
        if !self.0.settings.send_sent_event || self.0.events.is_none() {
            return None;
        }
        let header = |name: &str| headers.get(name).cloned().unwrap_or_default();
        Some(map([
            ("uuid", header("id")),
            ("root_id", header("root_id")),
            ("parent_id", header("parent_id")),
            ("name", header("task")),
            ("args", header("argsrepr")),
            ("kwargs", header("kwargsrepr")),
            ("retries", header("retries")),
            ("eta", header("eta")),
            ("expires", header("expires")),
            ("queue", routed.queue.clone().into()),
            ("exchange", routed.route.exchange.clone().into()),
            ("routing_key", routed.route.routing_key.clone().into()),
        ]))
    }
}

impl std::fmt::Debug for Producer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Producer").field("settings", &self.0.settings).finish_non_exhaustive()
    }
}

pub(super) fn new_id() -> String {
    uuid::Uuid::new_v4().to_string()
}
