//! [`AmqpConnection`]: one session with the server. Consumers with acknowledgements share a channel, and so a prefetch
//! window; subscriptions have channels of their own; publishing has its own connection.

use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::{StreamExt, future::BoxFuture};
use lapin::{
    Channel, Consumer, Event,
    options::{BasicCancelOptions, BasicConsumeOptions, QueuePurgeOptions},
    types::ShortString,
};
use tokio::{sync::mpsc, task::JoinSet};

use crate::{
    broker::{
        BrokerError, Connection, Deliveries, Delivery,
        amqp::{
            AmqpOptions,
            channel::{self, ChannelSlot},
            consume::{End, Settling, pump},
            delays,
            dial::Dialer,
            ending::Ending,
            error,
            publish::Publisher,
            qos::Prefetch,
            settle::{self, Desk, Tally},
            table::{from_map, short},
            topology,
        },
    },
    protocol::{Message, Queue, Route},
};

/// Batches that may wait for the worker; what they may hold is bounded by the prefetch window.
const BATCHES: usize = 1024;
/// How long an orderly goodbye may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// A queue being consumed.
struct Consuming {
    channel: Channel,
    tag: ShortString,
    /// Set before we cancel it, so that its end is not taken for the server's doing.
    cancelled: Arc<AtomicBool>,
}

/// See the module's text.
pub(super) struct AmqpConnection {
    lapin: lapin::Connection,
    channel: Channel,
    operations: ChannelSlot,
    publisher: Publisher,
    prefetch: Arc<Prefetch>,
    consuming: Mutex<HashMap<String, Consuming>>,
    deliveries: Mutex<Option<Deliveries>>,
    ending: Arc<Ending>,
    desk: Arc<Desk>,
    tally: Arc<Tally>,
    last_consumer: AtomicU32,
    /// Dropped, and so ended, with the connection.
    tasks: Mutex<JoinSet<()>>,
}

impl AmqpConnection {
    /// Connects and opens the channel for tasks.
    pub(super) async fn open(dialer: Arc<Dialer>, options: &AmqpOptions) -> Result<Self, BrokerError> {
        let (lapin, server) = dialer.dial().await?;
        let channel = channel::open(&lapin).await?;
        let (outlet, deliveries) = mpsc::channel(BATCHES);
        let connection = Self {
            operations: ChannelSlot::default(),
            publisher: Publisher::new(dialer, options.confirm_timeout),
            prefetch: Arc::new(Prefetch::new(server.wants_global_qos() && !options.per_consumer_qos)),
            consuming: Mutex::default(),
            deliveries: Mutex::new(Some(deliveries)),
            ending: Arc::new(Ending::new(outlet)),
            desk: Arc::default(),
            tally: Arc::default(),
            last_consumer: AtomicU32::new(0),
            tasks: Mutex::default(),
            lapin,
            channel,
        };
        connection.spawn_tasks();
        Ok(connection)
    }

    fn spawn_tasks(&self) {
        let (channel, tally, ending) = (self.channel.clone(), self.tally.clone(), self.ending.clone());
        let (desk, prefetch) = (self.desk.clone(), self.prefetch.clone());
        self.spawn(async move {
            if let Err(error) = settle::run(channel, desk, tally, prefetch).await {
                ending.end(error::during("cannot settle deliveries", &error));
            }
        });
        let (channel, prefetch) = (self.channel.clone(), self.prefetch.clone());
        self.spawn(async move { prefetch.follow(&channel).await });
        let (mut events, status) = (self.lapin.events_listener(), self.lapin.status().clone());
        let ending = self.ending.clone();
        self.spawn(async move {
            while let Some(event) = events.next().await {
                match event {
                    Event::Error(error) if !status.connected() => ending.end(BrokerError::lost(error::text(&error))),
                    Event::ConnectionBlocked(reason) => tracing::warn!(reason, "the broker blocks the connection"),
                    _ => {}
                }
            }
        });
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let mut tasks = lock(&self.tasks);
        while tasks.try_join_next().is_some() {}
        tasks.spawn(task);
    }

    async fn begin(&self, queue: &Queue) -> Result<(), BrokerError> {
        self.ending.check()?;
        if lock(&self.consuming).contains_key(&queue.name) {
            return Ok(());
        }
        let outlet = self.ending.outlet()?;
        self.prefetch.apply(&self.channel).await?;
        // Deliveries without acks have tags as well, and would be holes in the ledger.
        let (channel, settling) = match queue.no_ack {
            true => (channel::open(&self.lapin).await?, Settling::NoAck),
            false => (self.channel.clone(), Settling::Through(self.desk.clone(), self.tally.clone())),
        };
        let consumer = self.basic_consume(&channel, queue, queue.no_ack).await?;
        let cancelled = Arc::new(AtomicBool::new(false));
        let entry = Consuming { channel, tag: consumer.tag(), cancelled: cancelled.clone() };
        lock(&self.consuming).insert(queue.name.clone(), entry);
        let (ending, name) = (self.ending.clone(), Arc::<str>::from(queue.name.as_str()));
        self.spawn(async move {
            match pump(consumer, name.clone(), settling, outlet).await {
                End::Failed(error) => ending.end(error::during(format!("cannot consume queue '{name}'"), &error)),
                End::Cancelled if !cancelled.load(Ordering::Acquire) => {
                    ending.end(BrokerError::lost(format!("the broker cancelled the consumer of queue '{name}'")));
                }
                End::Cancelled | End::Unwanted => {}
            }
        });
        Ok(())
    }

    async fn basic_consume(&self, channel: &Channel, queue: &Queue, no_ack: bool) -> Result<Consumer, BrokerError> {
        let number = self.last_consumer.fetch_add(1, Ordering::Relaxed) + 1;
        let options = BasicConsumeOptions { no_ack, ..BasicConsumeOptions::default() };
        let arguments = from_map(&queue.consumer_arguments)?;
        let tag = short(&format!("None{number}"))?;
        let consumer = channel.basic_consume(short(&queue.name)?, tag, options, arguments).await;
        consumer.map_err(|error| error::during(format!("cannot consume queue '{}'", queue.name), &error))
    }

    async fn subscription(&self, queue: &Queue) -> Result<Deliveries, BrokerError> {
        self.ending.check()?;
        let channel = channel::open(&self.lapin).await?;
        topology::declare(&channel, queue).await?;
        let consumer = self.basic_consume(&channel, queue, true).await?;
        let (outlet, deliveries) = mpsc::channel::<Vec<Delivery>>(BATCHES);
        let name = Arc::<str>::from(queue.name.as_str());
        self.spawn(async move {
            if let End::Failed(error) = pump(consumer, name.clone(), Settling::NoAck, outlet).await {
                tracing::debug!(queue = &*name, error = error::text(&error), "a subscription ended");
            }
            // The channel is of no use any more; if it is gone already, all the better.
            let _ = channel.close(200, "OK".into()).await;
        });
        Ok(deliveries)
    }

    async fn end_consumer(&self, queue: &str) -> Result<(), BrokerError> {
        let Some(entry) = lock(&self.consuming).remove(queue) else { return Ok(()) };
        entry.cancelled.store(true, Ordering::Release);
        let cancelled = entry.channel.basic_cancel(entry.tag, BasicCancelOptions::default()).await;
        cancelled.map_err(|error| error::during(format!("cannot cancel the consumer of queue '{queue}'"), &error))
    }

    /// Waits until all settlements so far are written.
    async fn flush(&self) {
        // A server that does not take them will hand the deliveries out again.
        let _ = tokio::time::timeout(GOODBYE, self.desk.flush()).await;
    }

    async fn leave(&self, why: &str) {
        self.ending.end(BrokerError::lost(why));
        if tokio::time::timeout(GOODBYE, self.goodbye()).await.is_err() {
            tracing::debug!("the broker did not say goodbye");
        }
    }

    async fn goodbye(&self) {
        // Errors of a connection that is being thrown away have no consequence.
        let _ = self.channel.close(200, "OK".into()).await;
        self.publisher.close().await;
        let _ = self.lapin.close(200, "OK".into()).await;
    }
}

impl Connection for AmqpConnection {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            topology::declare(&self.operations.open(&self.lapin).await?, queue).await
        })
    }

    fn declare_delays<'a>(&'a self, queue_type: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            delays::declare(&self.operations.open(&self.lapin).await?, queue_type).await
        })
    }

    fn bind_to_delays<'a>(
        &'a self,
        queue: &'a str,
        exchange: &'a str,
        key: &'a str,
    ) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            delays::bind(&self.operations.open(&self.lapin).await?, queue, exchange, key).await
        })
    }

    fn deliveries(&self) -> Deliveries {
        lock(&self.deliveries).take().unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.begin(queue))
    }

    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            self.end_consumer(queue).await
        })
    }

    fn subscribe<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>> {
        Box::pin(self.subscription(queue))
    }

    fn set_prefetch(&self, count: u32) {
        self.prefetch.want(count);
    }

    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            self.publisher.publish(route, &message).await
        })
    }

    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            let channel = self.operations.open(&self.lapin).await?;
            let purged = channel.queue_purge(short(queue)?, QueuePurgeOptions::default()).await;
            purged.map(u64::from).map_err(|error| error::during(format!("cannot purge queue '{queue}'"), &error))
        })
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        Box::pin(self.ending.ended())
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        Box::pin(self.leave("the connection was abandoned"))
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.ending.check()?;
            let queues: Vec<String> = lock(&self.consuming).keys().cloned().collect();
            let cancelled = queues.iter().map(|queue| self.end_consumer(queue));
            futures::future::try_join_all(cancelled).await.map(drop)
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move {
            let alive = self.ending.check().is_ok();
            if alive {
                self.flush().await;
            }
            self.leave("the connection was closed").await;
            Ok(if alive { self.tally.held() } else { 0 })
        })
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
