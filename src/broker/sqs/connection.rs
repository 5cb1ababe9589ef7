//! [`SqsConnection`]: one session with SQS, as a [`Connection`]. There is no connection in the network's sense; it is lost
//! when a request remains without an answer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, join_all};
use tokio::{sync::mpsc, time::timeout};

use crate::{
    broker::{
        BrokerError, Connection, Deliveries, Delivery,
        sqs::{
            access::Access,
            exchange::Exchanges,
            keeper::{Keeper, Pace},
            ledger::Ledger,
            link::Link,
            options::SqsOptions,
            poller::{Poller, Polling},
            publisher::Publisher,
            queue::Queues,
            settler::{Settler, give_back},
        },
    },
    protocol::{Message, Queue, Route},
};

/// Batches of deliveries that may wait for the worker.
const CAPACITY: usize = 16;
/// How long a closing connection waits for SQS where there is no progress.
const FAREWELL: Duration = Duration::from_secs(10);
/// How long messages are hidden whose queue hides nothing: it is extended all the time, and a killed worker's come back soon.
const LEAST_VISIBILITY: Duration = Duration::from_secs(30);

/// A live connection.
pub(super) struct SqsConnection {
    queues: Arc<Queues>,
    options: Arc<SqsOptions>,
    publisher: Publisher,
    polling: Arc<Polling>,
    settler: Arc<Settler>,
    pace: Arc<Pace>,
    link: Arc<Link>,
    /// Those that have been told to stop as well, until they rest.
    pollers: Mutex<Vec<Arc<Poller>>>,
    deliveries: Mutex<Option<Deliveries>>,
    /// None when it has ended.
    out: Mutex<Option<mpsc::Sender<Vec<Delivery>>>>,
    finished: AtomicBool,
}

impl SqsConnection {
    /// Begins a session: asks which queues there are, takes over what earlier ones held.
    pub async fn open(
        access: Arc<Access>,
        options: Arc<SqsOptions>,
        ledger: Arc<Ledger>,
    ) -> Result<Arc<Self>, BrokerError> {
        let queues = Arc::new(Queues::open(access, options.clone()).await?);
        ledger.inherit();
        let link = Arc::new(Link::default());
        let (out, deliveries) = mpsc::channel(CAPACITY);
        let requeue_after = Duration::from_secs(options.wait_time_seconds.into());
        let settler =
            Arc::new(Settler { ledger: ledger.clone(), link: link.clone(), requeue_after, turn: Default::default() });
        let pace = Arc::new(Pace::default());
        tokio::spawn(settler.clone().run());
        tokio::spawn(Keeper { ledger: ledger.clone(), link: link.clone(), pace: pace.clone() }.run());
        let polling = Polling {
            ledger,
            link: link.clone(),
            prefetch: AtomicU32::new(0),
            wait_time_seconds: options.wait_time_seconds,
            polling_interval: options.polling_interval,
        };
        Ok(Arc::new(Self {
            publisher: Publisher { options: options.clone(), queues: queues.clone(), exchanges: Exchanges::default() },
            polling: Arc::new(polling),
            queues,
            options,
            settler,
            pace,
            link,
            pollers: Mutex::default(),
            deliveries: Mutex::new(Some(deliveries)),
            out: Mutex::new(Some(out)),
            finished: AtomicBool::new(false),
        }))
    }

    fn check(&self) -> Result<(), BrokerError> {
        self.link.reason().map_or(Ok(()), Err)
    }

    fn pollers(&self) -> MutexGuard<'_, Vec<Arc<Poller>>> {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, queue: &Queue) -> Result<(), BrokerError> {
        self.check()?;
        let known = self.queues.get(&queue.name).await?;
        let visibility = match known.visibility_timeout().await.unwrap_or(self.options.visibility_timeout) {
            Duration::ZERO => LEAST_VISIBILITY,
            some => some,
        };
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let out = out.ok_or_else(|| BrokerError::lost("connection closed"))?;
        self.pace.include(visibility);
        let mut pollers = self.pollers();
        pollers.retain(|poller| !poller.is_at_rest());
        if !pollers.iter().any(|poller| poller.receives(&queue.name)) {
            pollers.push(Arc::new(Poller::start(self.polling.clone(), known, visibility, out)));
        }
        Ok(())
    }

    /// Ends it for everybody who listens.
    fn end(&self, why: &str) {
        self.out.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.link.end(BrokerError::lost(why));
    }

    async fn stop_pollers(&self) {
        let pollers = self.pollers().clone();
        join_all(pollers.iter().map(|poller| poller.stop())).await;
    }

    /// Sends what settlements there are, as long as SQS takes them.
    async fn settle_all(&self) {
        while self.link.reason().is_none() {
            match timeout(FAREWELL, self.settler.settle()).await {
                Ok(0) | Err(_) => return,
                Ok(_) => {}
            }
        }
    }

    async fn finish(&self) -> usize {
        self.stop_pollers().await;
        let pollers = self.pollers().clone();
        if !pollers.iter().all(|poller| poller.is_at_rest()) {
            tracing::info!("Waiting for SQS to answer the last poll, or a message might stay hidden");
        }
        let last_answers = join_all(pollers.iter().map(|poller| poller.rested()));
        futures::future::join(last_answers, self.settle_all()).await;
        let held = self.polling.ledger.take_held();
        if held.is_empty() {
            return 0;
        }
        tracing::info!("Restoring {} unacknowledged message(s)", held.len());
        timeout(FAREWELL, give_back(held)).await.unwrap_or(0)
    }
}

impl Connection for SqsConnection {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            if !queue.no_declare {
                self.queues.get(&queue.name).await?;
                self.publisher.exchanges.bind(queue);
            }
            Ok(())
        })
    }

    fn deliveries(&self) -> Deliveries {
        let taken = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(self.begin(queue))
    }

    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            let pollers: Vec<_> = self.pollers().iter().filter(|poller| poller.receives(queue)).cloned().collect();
            join_all(pollers.iter().map(|poller| poller.stop())).await;
            Ok(())
        })
    }

    fn subscribe<'a>(&'a self, _: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>> {
        Box::pin(std::future::ready(Err(BrokerError::refused("SQS has no broadcasts, so nobody can listen to them"))))
    }

    fn set_prefetch(&self, count: u32) {
        self.polling.prefetch.store(count, Ordering::Relaxed);
        self.polling.ledger.freed.send_replace(());
    }

    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            if let Some(queue) = &route.declare {
                self.declare(queue).await?;
            }
            self.publisher.publish(route, &message).await
        })
    }

    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move {
            self.check()?;
            self.queues.get(queue).await?.purge().await
        })
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        Box::pin(async move {
            self.link.ended().await;
            self.link.reason().unwrap_or_else(|| BrokerError::lost("connection closed"))
        })
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.finished.store(true, Ordering::Relaxed);
            self.end("connection abandoned");
        })
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.stop_pollers().await;
            Ok(())
        })
    }

    fn tags_survive(&self) -> bool {
        true
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move {
            if self.finished.swap(true, Ordering::Relaxed) {
                return Ok(0);
            }
            let given = self.finish().await;
            self.end("connection closed");
            Ok(given)
        })
    }
}

impl Drop for SqsConnection {
    fn drop(&mut self) {
        self.end("connection closed");
    }
}
