//! [`FilesystemConnection`]: one session with the folders, as a [`Connection`].

use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use futures::future::BoxFuture;
use tokio::sync::{OnceCell, mpsc, watch};

use crate::{
    broker::{
        BrokerError, Connection, Deliveries, Delivery,
        filesystem::{
            courier::Courier,
            ledger::Ledger,
            options::FilesystemOptions,
            orders::{Consumer, Orders},
            publisher::Publisher,
            unacked::UnackedFolder,
        },
        lifeline::Lifeline,
    },
    protocol::{Message, Queue, Route},
};

/// Batches of deliveries that may wait for the worker, or for a subscriber.
const CAPACITY: usize = 4;
const SUBSCRIBER_CAPACITY: usize = 64;

/// A live connection. Its courier begins with the first queue: who only publishes has none.
pub(super) struct FilesystemConnection {
    options: Arc<FilesystemOptions>,
    publisher: Publisher,
    orders: Arc<Orders>,
    ledger: Arc<Ledger>,
    deliveries: Mutex<Option<Deliveries>>,
    out: Mutex<Option<mpsc::Sender<Vec<Delivery>>>>,
    /// How many messages were given back, once the courier has ended.
    courier: OnceCell<watch::Receiver<Option<usize>>>,
    lifeline: Lifeline,
    /// Queues that routes have had declared.
    declared: Mutex<HashSet<String>>,
    fleeting: Arc<Fleeting>,
    /// Closed or abandoned already: there is nothing more to give back.
    finished: AtomicBool,
}

impl FilesystemConnection {
    /// Begins a session in folders that are there.
    pub fn open(options: Arc<FilesystemOptions>) -> Self {
        let (out, deliveries) = mpsc::channel(CAPACITY);
        let publisher = Publisher::new(options.clone());
        Self {
            orders: Arc::default(),
            ledger: Arc::default(),
            deliveries: Mutex::new(Some(deliveries)),
            out: Mutex::new(Some(out)),
            courier: OnceCell::new(),
            lifeline: Lifeline::new(),
            declared: Mutex::default(),
            fleeting: Arc::new(Fleeting { publisher: publisher.clone(), queues: Mutex::default() }),
            finished: AtomicBool::new(false),
            publisher,
            options,
        }
    }

    fn check(&self) -> Result<(), BrokerError> {
        self.lifeline.reason().map_or(Ok(()), Err)
    }

    async fn start_courier(&self) -> Result<(), BrokerError> {
        self.check()?;
        self.courier.get_or_try_init(|| self.courier()).await.map(drop)
    }

    async fn courier(&self) -> Result<watch::Receiver<Option<usize>>, BrokerError> {
        let folder = self.options.data_folder_in.clone();
        let unacked = blocking(move || {
            UnackedFolder::create(&folder)
                .map_err(|error| BrokerError::unusable(format!("{} cannot be written to: {error}", folder.display())))
        });
        let unacked = Arc::new(unacked.await?);
        let out = self.out.lock().unwrap_or_else(PoisonError::into_inner).take();
        let out = out.ok_or_else(|| BrokerError::lost("connection closed"))?;
        let courier = Courier {
            options: self.options.clone(),
            orders: self.orders.clone(),
            ledger: self.ledger.clone(),
            out,
            lifeline: self.lifeline.clone(),
        };
        let (resting, rested) = watch::channel(None);
        tokio::spawn(async move {
            resting.send_replace(Some(courier.run(unacked).await));
        });
        Ok(rested)
    }

    async fn declare_once(&self, queue: &Queue) -> Result<(), BrokerError> {
        let known = self.declared.lock().unwrap_or_else(PoisonError::into_inner).contains(&queue.name);
        if known || queue.no_declare {
            return Ok(());
        }
        self.declare(queue).await?;
        self.declared.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.name.clone());
        Ok(())
    }

    async fn subscription(&self, queue: &Queue) -> Result<Deliveries, BrokerError> {
        self.declare(queue).await?;
        self.start_courier().await?;
        let (stream, deliveries) = mpsc::channel(SUBSCRIBER_CAPACITY);
        if queue.auto_delete {
            self.fleeting.add(queue);
        }
        self.orders.add(Consumer { queue: queue.name.as_str().into(), stream: Some(stream.clone()) });
        let (orders, fleeting, name) = (self.orders.clone(), self.fleeting.clone(), queue.name.clone());
        let lifeline = self.lifeline.clone();
        tokio::spawn(async move {
            let unwanted = tokio::select! {
                () = stream.closed() => true,
                // Its reader is to see the end.
                _ = lifeline.ended() => false,
            };
            orders.remove(&name).await;
            if unwanted {
                fleeting.delete(&name).await;
            }
        });
        Ok(deliveries)
    }

    async fn finish(&self) -> usize {
        self.orders.close();
        // Nobody is to start one now.
        self.out.lock().unwrap_or_else(PoisonError::into_inner).take();
        let given = match self.courier.get() {
            Some(rested) => rested.clone().wait_for(Option::is_some).await.map_or(0, |given| given.unwrap_or(0)),
            None => 0,
        };
        self.fleeting.delete_all().await;
        self.lifeline.end(BrokerError::lost("connection closed"));
        given
    }
}

impl Connection for FilesystemConnection {
    fn declare<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            if queue.no_declare {
                return Ok(());
            }
            let (publisher, queue) = (self.publisher.clone(), queue.clone());
            blocking(move || publisher.declare(&queue)).await
        })
    }

    fn deliveries(&self) -> Deliveries {
        let taken = self.deliveries.lock().unwrap_or_else(PoisonError::into_inner).take();
        taken.unwrap_or_else(|| mpsc::channel(1).1)
    }

    fn consume<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.start_courier().await?;
            self.orders.add(Consumer { queue: queue.name.as_str().into(), stream: None });
            Ok(())
        })
    }

    fn cancel<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.orders.remove(queue).await;
            Ok(())
        })
    }

    fn subscribe<'a>(&'a self, queue: &'a Queue) -> BoxFuture<'a, Result<Deliveries, BrokerError>> {
        Box::pin(self.subscription(queue))
    }

    fn set_prefetch(&self, count: u32) {
        self.orders.set_prefetch(count);
    }

    fn publish<'a>(&'a self, route: &'a Route, message: Message) -> BoxFuture<'a, Result<(), BrokerError>> {
        Box::pin(async move {
            self.check()?;
            if let Some(queue) = &route.declare {
                self.declare_once(queue).await?;
            }
            let (publisher, route) = (self.publisher.clone(), route.clone());
            blocking(move || publisher.publish(&route, &message)).await
        })
    }

    fn purge<'a>(&'a self, queue: &'a str) -> BoxFuture<'a, Result<u64, BrokerError>> {
        Box::pin(async move {
            self.check()?;
            let (publisher, queue) = (self.publisher.clone(), queue.to_owned());
            blocking(move || publisher.purge(&queue)).await
        })
    }

    fn closed(&self) -> BoxFuture<'_, BrokerError> {
        Box::pin(self.lifeline.ended())
    }

    fn abandon(&self) -> BoxFuture<'_, ()> {
        // There is no broker that would hand out again what a lost connection held: its courier does, as it ends.
        Box::pin(async move {
            self.lifeline.end(BrokerError::lost("connection abandoned"));
            self.finished.store(true, Ordering::Relaxed);
            self.finish().await;
        })
    }

    fn stop_consuming(&self) -> BoxFuture<'_, Result<(), BrokerError>> {
        Box::pin(async move {
            self.orders.stop().await;
            Ok(())
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<usize, BrokerError>> {
        Box::pin(async move {
            if self.finished.swap(true, Ordering::Relaxed) {
                return Ok(0);
            }
            Ok(self.finish().await)
        })
    }
}

impl Drop for FilesystemConnection {
    fn drop(&mut self) {
        self.orders.close();
    }
}

/// Queues that go with their only consumer.
struct Fleeting {
    publisher: Publisher,
    queues: Mutex<HashMap<String, Queue>>,
}

impl Fleeting {
    fn add(&self, queue: &Queue) {
        self.queues.lock().unwrap_or_else(PoisonError::into_inner).insert(queue.name.clone(), queue.clone());
    }

    async fn delete(&self, name: &str) {
        let queue = self.queues.lock().unwrap_or_else(PoisonError::into_inner).remove(name);
        let Some(queue) = queue else { return };
        let publisher = self.publisher.clone();
        if let Err(error) = blocking(move || publisher.delete(&queue)).await {
            tracing::debug!("could not delete queue {name}: {error}");
        }
    }

    async fn delete_all(&self) {
        let names: Vec<String> = self.queues.lock().unwrap_or_else(PoisonError::into_inner).keys().cloned().collect();
        for name in names {
            self.delete(&name).await;
        }
    }
}

/// Does what may block where it may.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, BrokerError> + Send + 'static,
) -> Result<T, BrokerError> {
    tokio::task::spawn_blocking(work).await.map_err(|_| BrokerError::lost("the program ends"))?
}
