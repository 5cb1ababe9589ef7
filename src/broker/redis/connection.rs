//! [`RedisConnection`]: one session with the server, as a [`Connection`].

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use futures::future::BoxFuture;
use tokio::sync::{OnceCell, mpsc, watch};

use crate::{
    broker::{
        BrokerError, Connection, Deliveries, Delivery, Unacked,
        lifeline::Lifeline,
        redis::{
            binding::Bindings,
            courier::{Courier, Orders},
            exchange::Exchange,
            fanout::{self, Fanout},
            keys::Keys,
            ledger::Ledger,
            link::Link,
            mailbox,
            options::RedisOptions,
            order::QueueOrder,
            publisher::Publisher,
            restore::Restorer,
            tracking::Tracking,
            transport::Heritage,
            unacked::{Desk, RedisUnacked},
            upkeep::{self, Upkeep},
            url::RedisUrl,
        },
    },
    protocol::{ExchangeType, Message, Queue, Route},
};

/// Batches of deliveries that may wait for the worker.
const CAPACITY: usize = 4;
/// Held messages that are given back in one step of closing.
const GIVEN_BACK_AT_ONCE: usize = 1000;
/// How long a step of closing may take.
const CLOSE_LIMIT: Duration = Duration::from_secs(10);

/// A live connection: a link for commands, one more for pub/sub once something is subscribed, one for every mailbox.
pub(super) struct RedisConnection {
    link: Link,
    url: RedisUrl,
    options: Arc<RedisOptions>,
    keys: Keys,
    bindings: Bindings,
    restorer: Restorer,
    exchange: Exchange,
    publisher: Publisher,
    ledger: Arc<Ledger>,
    unacked: Arc<RedisUnacked>,
    orders: Arc<Orders>,
    deliveries: Mutex<Option<Deliveries>>,
    fanout: OnceCell<Fanout>,
    /// Names of queues to delete at the end.
    to_delete: Arc<Mutex<HashSet<String>>>,
    /// Queues that routes have had declared.
    declared: Mutex<HashSet<String>>,
    /// True once the courier has ended and its ledger is where it belongs.
    rested: watch::Receiver<bool>,
    /// Closed once already.
    finished: AtomicBool,
    /// The stream of deliveries, for broadcast queues; the courier keeps it open.
    out: mpsc::WeakSender<Vec<Delivery>>,
    /// Tasks that put the messages of broadcast queues into it, by queue.
    broadcasts: Mutex<HashMap<String, AbortOnDrop>>,
}

impl RedisConnection {
    /// Begins a session on a fresh link.
    pub fn start(link: Link, url: &RedisUrl, options: &Arc<RedisOptions>, heritage: &Arc<Heritage>) -> Self {
        let keys = Keys::new(options, url.db);
        let bindings = Bindings::new(link.clone(), keys.clone(), options.deadletter_queue.clone());
        let restorer = Restorer::new(link.clone(), keys.clone(), bindings.clone());
        let exchange = Exchange::new(keys.clone(), heritage.tag_prefix.clone(), options.ack_emulation);
        let ledger = Arc::new(Ledger::default());
        for lost in heritage.take() {
            ledger.adopt(&lost);
        }
        heritage.unacked.open(Desk { link: link.clone(), exchange: exchange.clone(), ledger: ledger.clone() });
        let (out, deliveries) = mpsc::channel(CAPACITY);
        let (resting, rested) = watch::channel(false);
        let connection = Self {
            publisher: Publisher {
                link: link.clone(),
                keys: keys.clone(),
                bindings: bindings.clone(),
                base64: options.base64_bodies,
            },
            url: url.clone(),
            options: options.clone(),
            orders: Arc::default(),
            deliveries: Mutex::new(Some(deliveries)),
            fanout: OnceCell::new(),
            to_delete: Arc::default(),
            declared: Mutex::default(),
            link,
            keys,
            bindings,
            restorer,
            unacked: heritage.unacked.clone(),
            exchange,
            ledger,
            rested,
            finished: AtomicBool::new(false),
            out: out.downgrade(),
            broadcasts: Mutex::default(),
        };
        tokio::spawn(connection.upkeep().run());
        tokio::spawn(carry(connection.courier(heritage, out), heritage.clone(), resting));
        connection
    }

    fn upkeep(&self) -> Upkeep {
        Upkeep {
            link: self.link.clone(),
            options: self.options.clone(),
            restorer: self.restorer.clone(),
            bindings: self.bindings.clone(),
            ledger: self.ledger.clone(),
            exchange: self.exchange.clone(),
        }
    }

    fn courier(&self, heritage: &Heritage, out: mpsc::Sender<Vec<Delivery>>) -> Courier {
        Courier {
            link: self.link.clone(),
            exchange: self.exchange.clone(),
            tracking: Tracking::new(self.keys.clone(), self.options.polling_interval),
            restorer: self.restorer.clone(),
            ledger: self.ledger.clone(),
            orders: self.orders.clone(),
            order: QueueOrder::new(self.options.queue_order_strategy),
            next_tag: heritage.next_tag.clone(),
            out,
        }
    }

    /// A link for broadcasts: when it ends, the session does.
    async fn listening_link(&self) -> Result<Link, BrokerError> {
        let link = Link::listen(&self.url, &self.options, self.link.lifeline.clone()).await?;
        let (checked, interval) = (link.clone(), self.options.health_check_interval);
        tokio::spawn(async move {
            tokio::select! {
                () = upkeep::check_health(&checked, interval) => {}
                _ = checked.lifeline.ended() => {}
            }
        });
        Ok(link)
    }

    async fn fanout(&self) -> Result<&Fanout, BrokerError> {
        let open = async || {
            let link = self.listening_link().await?;
            Ok(Fanout::new(link, self.keys.clone()))
        };
        self.fanout.get_or_try_init(open).await
    }

    async fn subscribe_fanout(&self, queue: &Queue) -> Result<Deliveries, BrokerError> {
        let fanout = self.fanout().await?;
        let subscribed = fanout.subscribe(&queue.name, &queue.exchange.name, &queue.routing_key).await;
        let deliveries = subscribed.map_err(|error| {
            fanout::ends(&self.link, &error);
            self.link.error(&error)
        })?;
        let (fanout, connection) = (fanout.clone(), self.cleaner());
        let (name, exchange) = (queue.name.clone(), queue.exchange.name.clone());
        tokio::spawn(async move {
            fanout.abandoned(&name, &exchange).await;
            connection.clean(&name).await;
        });
        Ok(deliveries)
    }

    /// A task queue on a fanout exchange (`kombu.common.Broadcast`): its messages come by pub/sub, and nobody holds them.
    async fn consume_broadcast(&self, queue: &Queue) -> Result<(), BrokerError> {
        let mut broadcasts = self.subscribe_fanout(queue).await?;
        let out = self.out.clone();
        let forwarding = tokio::spawn(async move {
            while let Some(batch) = broadcasts.recv().await {
                let Some(out) = out.upgrade() else { return };
                let _ = out.send(batch).await;
            }
        });
        self.broadcasts().insert(queue.name.clone(), AbortOnDrop(forwarding));
        Ok(())
    }

    fn broadcasts(&self) -> MutexGuard<'_, HashMap<String, AbortOnDrop>> {
        self.broadcasts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn subscribe_mailbox(&self, queue: &Queue) -> Result<Deliveries, BrokerError> {
        let link = Link::connect(&self.url, &self.options, Lifeline::new()).await?;
        let (mailbox, session) = (link.clone(), self.link.lifeline.clone());
        let (cleaner, name) = (self.cleaner(), queue.name.clone());
        tokio::spawn(async move {
            tokio::select! {
                _ = mailbox.lifeline.ended() => cleaner.clean(&name).await,
                reason = session.ended() => mailbox.lifeline.end(reason),
            }
        });
        Ok(mailbox::open(link, &self.keys, &queue.name))
    }

    fn cleaner(&self) -> Cleaner {
        Cleaner { bindings: self.bindings.clone(), to_delete: self.to_delete.clone() }
    }

    async fn declare_once(&self, queue: &Queue) -> Result<(), BrokerError> {
        let known = self.declared.lock().unwrap_or_else(PoisonError::into_inner).contains(&queue.name);
        if known {
            return Ok(());
        }
        self.declare(queue).await?;
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.name.clone());
        Ok(())
    }

    /// Settles what is to be settled, and gives up what goes with this connection.
    async fn settle_all(&self) -> Result<(), BrokerError> {
        self.orders.close();
        self.broadcasts().clear();
        let _ = self.rested.clone().wait_for(|rested| *rested).await;
        if let Some(reason) = self.link.lifeline.reason() {
            return Err(reason);
        }
        let leaving: Vec<String> = self.to_delete.lock().unwrap_or_else(PoisonError::into_inner).drain().collect();
        for queue in leaving {
            self.bindings.delete(&queue).await.map_err(|error| self.link.error(&error))?;
        }
        Ok(())
    }

    async fn finish(&self) -> Result<usize, BrokerError> {
        self.in_time(self.settle_all()).await?;
        let held = self.ledger.held();
        self.ledger.close();
        if held > 0 {
            tracing::info!("Restoring {held} unacknowledged message(s)");
        }
        let mut count = 0;
        loop {
            let some = self.ledger.take_held(GIVEN_BACK_AT_ONCE);
            if some.is_empty() {
                break;
            }
            let given = self.exchange.give_back(&self.link, &self.restorer, &some);
            count += self.in_time(async { given.await.map_err(|error| self.link.error(&error)) }).await?;
        }
        let swept = async {
            self.restorer.swept().await;
            Ok(())
        };
        self.in_time(swept).await?;
        self.link.quit().await;
        Ok(count)
    }

    /// A step of closing. A server that does not answer ends the connection.
    async fn in_time<T>(&self, step: impl Future<Output = Result<T, BrokerError>>) -> Result<T, BrokerError> {
        tokio::time::timeout(CLOSE_LIMIT, step).await.unwrap_or_else(|_| {
            let reason = BrokerError::lost("redis did not take back what is held in time");
            self.link.lifeline.end(reason.clone());
            Err(reason)
        })
    }
}

impl Connection for RedisConnection {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if queue.no_declare {
                return Ok(());
            }
            self.bindings.declare(queue).await.map_err(|error| self.link.error(&error))?;
            if queue.auto_delete && queue.exchange.kind == ExchangeType::Fanout {
                self.to_delete.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.name.clone());
            }
            Ok(())
        })
    }

    fn deliveries(&self) -> Deliveries {
        let taken = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if let Some(reason) = self.link.lifeline.reason() {
                return Err(reason);
            }
            self.bindings.set_consumed(&queue.name, true);
            match queue.exchange.kind {
                ExchangeType::Fanout => self.consume_broadcast(queue).await?,
                _ => self.orders.add(&queue.name),
            }
            Ok(())
        })
    }

    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.bindings.set_consumed(queue, false);
            self.orders.remove(queue);
            self.broadcasts().remove(queue);
            Ok(())
        })
    }

    fn subscribe<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>> {
        Box::pin(async move {
            self.declare(queue).await?;
            self.bindings.set_consumed(&queue.name, true);
            match queue.exchange.kind {
                ExchangeType::Fanout => self.subscribe_fanout(queue).await,
                _ => self.subscribe_mailbox(queue).await,
            }
        })
    }

    fn set_prefetch(&self, count: u32) {
        self.orders.set_prefetch(count);
    }

    fn set_paused(&self, paused: bool) {
        self.orders.set_paused(paused);
    }

    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            if let Some(queue) = &route.declare {
                self.declare_once(queue).await?;
            }
            self.publisher.publish(route, &message).await
        })
    }

    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move { self.publisher.purge(queue).await })
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        Box::pin(async move {
            let reason = self.link.lifeline.ended().await;
            let _ = self.rested.clone().wait_for(|rested| *rested).await;
            reason
        })
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.link.lifeline.end(BrokerError::lost("the connection was abandoned"));
            let _ = self.closed().await;
        })
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.orders.stop();
            self.broadcasts().clear();
            Ok(())
        })
    }

    fn tags_survive(&self) -> bool {
        true
    }

    fn unacked(&self) -> Option<Arc<dyn Unacked>> {
        self.exchange.notes().then(|| self.unacked.clone() as Arc<dyn Unacked>)
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move {
            if self.finished.swap(true, Ordering::Relaxed) {
                return Ok(0);
            }
            self.finish().await
        })
    }
}

impl Drop for RedisConnection {
    fn drop(&mut self) {
        self.link.lifeline.end(BrokerError::lost("the connection was dropped"));
    }
}

/// Deletes queues that go with their only consumer.
struct Cleaner {
    bindings: Bindings,
    to_delete: Arc<Mutex<HashSet<String>>>,
}

impl Cleaner {
    async fn clean(&self, queue: &str) {
        self.bindings.set_consumed(queue, false);
        let due = || self.to_delete.lock().unwrap_or_else(PoisonError::into_inner);
        if !due().contains(queue) {
            return;
        }
        match self.bindings.delete(queue).await {
            // Not before: who closes the connection meanwhile, and so ends this, has to do it again.
            Ok(()) => drop(due().remove(queue)),
            Err(error) => tracing::debug!("could not delete queue {queue}: {error}"),
        }
    }
}

/// Runs the courier; leaves the ledger of a lost connection to the next one.
async fn carry(courier: Courier, heritage: Arc<Heritage>, resting: watch::Sender<bool>) {
    let (ledger, lifeline) = (courier.ledger.clone(), courier.link.lifeline.clone());
    courier.run().await;
    if lifeline.reason().is_some() {
        heritage.leave(ledger);
    }
    resting.send_replace(true);
}

/// A task that goes with its handle.
struct AbortOnDrop(tokio::task::JoinHandle<()>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}
