//! [`SqsConnection`]: one session with SQS, as a [`Connection`]. There is no connection in the network's sense; it is lost
//! when a request remains without an answer.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU32, Ordering},
    },
    time::Duration,
};

use futures::future::{BoxFuture, join, join_all};
use tokio::sync::mpsc;
use tokio_util::sync::DropGuard;

use crate::{
    broker::{
        BrokerError, Connection, Deliveries, Delivery,
        sqs::{
            error::{SqsError, Trouble},
            exchange::Exchanges,
            keeper::Pace,
            ledger::Ledger,
            link::Link,
            options::SqsOptions,
            poller::{Poller, Polling},
            publisher::Publisher,
            queue::Queues,
        },
    },
    protocol::{Message, Queue, Route},
};

/// Batches of deliveries that may wait for the worker.
const CAPACITY: usize = 16;
/// How long a closing connection waits for SQS where there is no progress: a request may take almost as long.
pub(super) const FAREWELL: Duration = Duration::from_secs(25);
/// How long messages are hidden whose queue hides nothing: it is extended all the time, and a killed worker's come back soon.
const LEAST_VISIBILITY: Duration = Duration::from_secs(30);

/// What the connections of a transport have in common.
pub(super) struct Shared {
    pub ledger: Arc<Ledger>,
    pub pace: Arc<Pace>,
    /// What serves the ledger ends with the last of these.
    pub _service: Arc<DropGuard>,
}

/// A live connection.
pub(super) struct SqsConnection {
    queues: Arc<Queues>,
    options: Arc<SqsOptions>,
    publisher: Publisher,
    polling: Arc<Polling>,
    shared: Shared,
    link: Arc<Link>,
    /// SQS has let us in before.
    known: bool,
    /// Those that have been told to stop as well, until they rest.
    pollers: Mutex<Vec<Arc<Poller>>>,
    deliveries: Mutex<Option<Deliveries>>,
    /// None when it has ended.
    out: Mutex<Option<mpsc::Sender<Vec<Delivery>>>>,
    /// Nothing more is to be consumed.
    stopped: AtomicBool,
    closed: AtomicBool,
}

impl SqsConnection {
    /// Begins a session, and takes over what earlier ones held. `known`: SQS has let us in before.
    pub fn new(queues: Queues, options: Arc<SqsOptions>, shared: Shared, known: bool) -> Self {
        let (queues, link) = (Arc::new(queues), Arc::new(Link::new(shared.ledger.clone())));
        let (out, deliveries) = mpsc::channel(CAPACITY);
        let polling = Polling {
            ledger: shared.ledger.clone(),
            link: link.clone(),
            prefetch: AtomicU32::new(0),
            wait_time_seconds: options.wait_time_seconds,
            polling_interval: options.polling_interval,
        };
        Self {
            publisher: Publisher { options: options.clone(), queues: queues.clone(), exchanges: Exchanges::default() },
            polling: Arc::new(polling),
            queues,
            options,
            shared,
            link,
            known,
            pollers: Mutex::default(),
            deliveries: Mutex::new(Some(deliveries)),
            out: Mutex::new(Some(out)),
            stopped: AtomicBool::new(false),
            closed: AtomicBool::new(false),
        }
    }

    fn check(&self) -> Result<(), BrokerError> {
        self.link.reason().map_or(Ok(()), Err)
    }

    fn pollers(&self) -> MutexGuard<'_, Vec<Arc<Poller>>> {
        self.pollers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn begin(&self, queue: &Queue) -> Result<(), BrokerError> {
        self.check()?;
        let found = self.queues.get(&queue.name).await.map_err(|error| self.error(&queue.name, error))?;
        let visibility = match found.visibility_timeout().await {
            Ok(Duration::ZERO) => LEAST_VISIBILITY,
            Ok(some) => some,
            // Who may not ask may receive all the same.
            Err(error) if self.is_tolerated(queue, &error) => self.options.visibility_timeout,
            Err(error) => return Err(self.error(&queue.name, error)),
        };
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let out = out.ok_or_else(|| BrokerError::lost("connection closed"))?;
        self.shared.pace.include(visibility);
        if self.stopped.load(Ordering::Relaxed) {
            return Err(BrokerError::lost("nothing more is to be consumed"));
        }
        let mut pollers = self.pollers();
        pollers.retain(|poller| !poller.is_at_rest());
        if !pollers.iter().any(|poller| poller.receives(&queue.name)) {
            pollers.push(Arc::new(Poller::start(self.polling.clone(), found, visibility, out)));
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

    async fn finish(&self) -> usize {
        self.stop_pollers().await;
        let (ledger, pollers) = (&self.shared.ledger, self.pollers().clone());
        let held = ledger.release_all(self.link.number);
        if held > 0 {
            tracing::info!("Restoring {held} unacknowledged message(s)");
        }
        if !pollers.iter().all(|poller| poller.is_at_rest()) {
            tracing::info!("Waiting for SQS to answer the last poll, or a message might stay hidden");
        }
        let patience = Duration::from_secs(self.options.wait_time_seconds.into()) + FAREWELL;
        let last_answers = join_all(pollers.iter().map(|poller| poller.rested(patience)));
        ledger.hurry();
        join(last_answers, ledger.all_settled(FAREWELL)).await;
        // Of the last answers.
        ledger.all_settled(FAREWELL).await;
        ledger.released(self.link.number)
    }

    /// What cannot be done now may be done later on the same connection. A queue that was there when we looked, and is not, is
    /// looked for again.
    fn error(&self, queue: &str, error: SqsError) -> BrokerError {
        match error.trouble {
            Trouble::Gone if self.known => {
                self.queues.forget(queue);
                BrokerError::passing(error.to_string())
            }
            _ => error.on_connection(),
        }
    }

    /// Whether a queue is consumed although its attributes may not be read: one that is not declared, or of a worker that has
    /// been let in before. Its own poller says what it may not.
    fn is_tolerated(&self, queue: &Queue, error: &SqsError) -> bool {
        error.trouble == Trouble::Denied && (self.known || queue.no_declare)
    }
}

impl Connection for SqsConnection {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            if !queue.no_declare {
                let found = self.queues.get(&queue.name).await.map_err(|error| self.error(&queue.name, error))?;
                match found.visibility_timeout().await {
                    Err(error) if self.is_tolerated(queue, &error) => tracing::error!("{error}"),
                    Err(error) => return Err(self.error(&queue.name, error)),
                    Ok(_) => {}
                }
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
        self.shared.ledger.freed.send_replace(());
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
            let found = self.queues.get(queue).await.map_err(SqsError::on_connection)?;
            found.purge().await.map_err(SqsError::on_connection)
        })
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        Box::pin(self.link.ended())
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        Box::pin(async move {
            self.end("connection abandoned");
        })
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.stopped.store(true, Ordering::Relaxed);
            self.shared.ledger.stop(self.link.number);
            self.stop_pollers().await;
            Ok(())
        })
    }

    fn tags_survive(&self) -> bool {
        true
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move {
            if self.closed.swap(true, Ordering::Relaxed) {
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
