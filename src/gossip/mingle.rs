//! [`Mingle`]: asks the neighbours what they have revoked and what time it is (`celery/worker/consumer/mingle.py`).

use std::{sync::Arc, time::Duration};

use futures::future::BoxFuture;
use tracing::{info, warn};

use crate::{
    broker::{BrokerError, BrokerErrorKind, Connection, Deliveries, Delivery},
    event::Clock,
    protocol::{Exchange, ExchangeType, Message, Properties, Queue, Route},
    serialization::{AcceptContent, Map, Value, decode, encode, map},
    worker::{SessionHook, WorkerHandle},
};

/// How long to wait for one more answer.
const PATIENCE: Duration = Duration::from_secs(1);
/// When the queue for the answers goes that nobody uses, in milliseconds.
const REPLY_QUEUE_EXPIRES: i64 = 10_000;
/// Answers heard at most: so many neighbours have nothing new to say.
const MOST: usize = 10_000;

/// How to mingle; made by `app`.
#[derive(Debug, Clone)]
pub struct MingleOptions {
    /// Node name.
    pub hostname: String,
    /// `control_exchange`.
    pub exchange: String,
    /// `task_serializer`.
    pub serializer: String,
    /// `accept_content`.
    pub accept: AcceptContent,
}

/// The asking side; the answering one is the command `hello`.
pub struct Mingle {
    options: MingleOptions,
    clock: Clock,
    /// The one of requests and replies.
    mailbox_clock: Clock,
    handle: WorkerHandle,
}

impl Mingle {
    /// Mingles on each connection, for the worker behind `handle`, whose events show `clock`.
    pub fn new(options: MingleOptions, clock: Clock, mailbox_clock: Clock, handle: WorkerHandle) -> Self {
        Self { options, clock, mailbox_clock, handle }
    }

    async fn sync(&self, connection: &Arc<dyn Connection>) -> Result<(), BrokerError> {
        info!(target: "celery.worker.consumer.mingle", "mingle: searching for neighbors");
        let oid = uuid::Uuid::new_v4().to_string();
        let mut replies = connection.subscribe(&self.reply_queue(&oid)).await?;
        if let Some(hello) = self.hello(&oid).await {
            connection.publish(&self.route(), hello).await?;
        }
        let neighbours = self.collect(&mut replies).await;
        if neighbours.is_empty() {
            info!(target: "celery.worker.consumer.mingle", "mingle: all alone");
            return Ok(());
        }
        info!(target: "celery.worker.consumer.mingle", "mingle: sync with {} nodes", neighbours.len());
        for neighbour in neighbours {
            self.merge(neighbour).await;
        }
        info!(target: "celery.worker.consumer.mingle", "mingle: sync complete");
        Ok(())
    }

    /// What neighbours answer, until nobody has anything to say for a while.
    async fn collect(&self, replies: &mut Deliveries) -> Vec<Map> {
        let mut found = Vec::new();
        while found.len() < MOST
            && let Ok(Some(batch)) = tokio::time::timeout(PATIENCE, replies.recv()).await
        {
            found.extend(batch.into_iter().filter_map(|delivery| self.read(delivery)).flatten());
        }
        found
    }

    /// The answers in one message: `{node: {"revoked": [...], "clock": n}}`, others' only.
    fn read(&self, delivery: Delivery) -> Option<Vec<Map>> {
        let message = delivery.message.ok()?;
        let Properties { content_type, content_encoding, .. } = &message.properties;
        let (kind, charset) = (content_type.as_deref()?, content_encoding.as_deref().unwrap_or("utf-8"));
        let clock = message.headers.get("clock").and_then(Value::as_i64);
        self.mailbox_clock.adjust(clock.and_then(|clock| u64::try_from(clock).ok()).unwrap_or(0));
        let Value::Map(body) = decode(&message.body, kind, charset, &self.options.accept).ok()? else { return None };
        let others = body.into_iter().filter(|(node, _)| *node != self.options.hostname);
        let answers = others.filter_map(|(_, answer)| match answer {
            Value::Map(answer) if !answer.is_empty() => Some(answer),
            _ => None,
        });
        Some(answers.collect())
    }

    async fn merge(&self, neighbour: Map) {
        match neighbour.get("clock").and_then(Value::as_i64).and_then(|clock| u64::try_from(clock).ok()) {
            Some(clock) if clock > 0 => self.clock.adjust(clock),
            _ => self.clock.forward(),
        };
        let ids: Vec<String> = match neighbour.get("revoked") {
            Some(Value::List(ids)) => ids.iter().filter_map(Value::as_str).map(str::to_owned).collect(),
            // Older workers send times with the ids.
            Some(Value::Map(ids)) => ids.keys().cloned().collect(),
            _ => return,
        };
        // None means that the worker is ending.
        let _ = self.handle.ask(move |dispatcher| dispatcher.merge_revoked(&ids)).await;
    }

    /// The request; none when the worker is ending.
    async fn hello(&self, oid: &str) -> Option<Message> {
        let revoked = self.handle.ask(|dispatcher| dispatcher.revoked_ids()).await?;
        let arguments = map([("from_node", self.options.hostname.as_str().into()), ("revoked", revoked.into())]);
        let reply_to = map([("exchange", self.reply_exchange().into()), ("routing_key", oid.into())]);
        let body = map([
            ("method", "hello".into()),
            ("arguments", arguments.into()),
            ("destination", Value::Null),
            ("pattern", Value::Null),
            ("matcher", Value::Null),
            ("ticket", uuid::Uuid::new_v4().to_string().into()),
            ("reply_to", reply_to.into()),
        ]);
        let encoded = encode(&Value::Map(body), &self.options.serializer).ok()?;
        let expires = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default() + PATIENCE;
        let headers = map([("clock", self.mailbox_clock.forward().into()), ("expires", expires.as_secs_f64().into())]);
        Some(Message::transient(encoded, headers, self.exchange(), String::new()))
    }

    fn route(&self) -> Route {
        let exchange = transient(self.exchange(), ExchangeType::Fanout);
        let declare = Queue { exchange, no_declare: true, ..Queue::direct("") };
        Route {
            exchange: self.exchange(),
            exchange_type: ExchangeType::Fanout,
            routing_key: String::new(),
            declare: Some(Box::new(declare)),
        }
    }

    fn reply_queue(&self, oid: &str) -> Queue {
        Queue {
            exchange: transient(self.reply_exchange(), ExchangeType::Direct),
            routing_key: oid.to_owned(),
            durable: false,
            exclusive: true,
            auto_delete: true,
            no_ack: true,
            arguments: Map::from_iter([("x-expires".to_owned(), Value::Int(REPLY_QUEUE_EXPIRES))]),
            ..Queue::direct(format!("{oid}.{}", self.reply_exchange()))
        }
    }

    fn exchange(&self) -> String {
        format!("{}.pidbox", self.options.exchange)
    }

    fn reply_exchange(&self) -> String {
        format!("reply.{}.pidbox", self.options.exchange)
    }
}

impl SessionHook for Mingle {
    fn on_session<'a>(&'a self, connection: &'a Arc<dyn Connection>) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            match self.sync(connection).await {
                Err(failure) if failure.kind() != BrokerErrorKind::ConnectionLost => {
                    warn!(target: "celery.worker.consumer.mingle", "mingle: cannot ask the neighbors: {failure}");
                    Ok(())
                }
                done => done,
            }
        })
    }
}

fn transient(name: String, kind: ExchangeType) -> Exchange {
    Exchange { durable: false, ..Exchange::new(name, kind) }
}
