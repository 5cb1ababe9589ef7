//! [`Publisher`]: publishing with confirms, over a connection of its own.
//!
//! A server that runs out of memory or disk stops reading from connections that publish. If those also acknowledged,
//! nothing would ever drain; so they do not.

use std::{
    collections::HashSet,
    future::poll_fn,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use lapin::{
    Channel, Confirmation, Connection, PublisherConfirm,
    options::{BasicPublishOptions, ConfirmSelectOptions},
};
use tokio::sync::{Mutex as AsyncMutex, Semaphore};

use crate::{
    broker::{
        BrokerError,
        amqp::{channel, convert, dial::Dialer, error, table::short, topology},
    },
    protocol::{Message, Queue, Route},
};

/// How many publishes may wait for their confirms.
const WINDOW: usize = 4096;

/// Publishes; connects when first used, and again when that connection is lost.
pub(super) struct Publisher {
    dialer: Arc<Dialer>,
    link: AsyncMutex<Option<Link>>,
    window: Semaphore,
    confirm_timeout: Option<Duration>,
    /// lapin counts a message and queues its frames in two steps; the server's count has to agree.
    order: Mutex<()>,
}

struct Link {
    connection: Connection,
    channel: Option<Channel>,
    declared: HashSet<String>,
}

impl Publisher {
    pub(super) fn new(dialer: Arc<Dialer>, confirm_timeout: Option<Duration>) -> Self {
        Self {
            dialer,
            link: AsyncMutex::new(None),
            window: Semaphore::new(WINDOW),
            confirm_timeout,
            order: Mutex::new(()),
        }
    }

    /// Resolves when the server has confirmed the message; many may be on their way at a time.
    pub(super) async fn publish(&self, route: &Route, message: &Message) -> Result<(), BrokerError> {
        let _place = self.window.acquire().await;
        let properties = convert::from_message(message)?;
        let (exchange, routing_key) = (short(&route.exchange)?, short(&route.routing_key)?);
        let channel = self.channel(route.declare.as_deref()).await?;
        let sending =
            channel.basic_publish(exchange, routing_key, BasicPublishOptions::default(), &message.body, properties);
        let confirm = self.in_order(sending).await.map_err(|error| failed(route, &error))?;
        self.confirmed(route, confirm).await
    }

    /// Closes its connection, if there is one.
    pub(super) async fn close(&self) {
        let link = self.link.lock().await.take();
        if let Some(link) = link {
            // It is being thrown away: an error has no consequence.
            let _ = link.connection.close(200, "OK".into()).await;
        }
    }

    async fn in_order(
        &self,
        sending: impl Future<Output = lapin::Result<PublisherConfirm>>,
    ) -> lapin::Result<PublisherConfirm> {
        let mut sending = Box::pin(sending);
        poll_fn(|context| {
            let _turn = self.order.lock().unwrap_or_else(PoisonError::into_inner);
            sending.as_mut().poll(context)
        })
        .await
    }

    async fn confirmed(&self, route: &Route, confirm: PublisherConfirm) -> Result<(), BrokerError> {
        let confirmation = match self.confirm_timeout {
            None => confirm.await,
            Some(limit) => tokio::time::timeout(limit, confirm)
                .await
                .map_err(|_| BrokerError::lost(format!("no confirm for a message to {} in time", target(route))))?,
        };
        match confirmation.map_err(|error| failed(route, &error))? {
            Confirmation::Nack(_) => {
                Err(BrokerError::refused(format!("the broker did not take a message to {}", target(route))))
            }
            Confirmation::Ack(_) | Confirmation::NotRequested => Ok(()),
        }
    }

    async fn channel(&self, declare: Option<&Queue>) -> Result<Channel, BrokerError> {
        let mut slot = self.link.lock().await;
        let link = match slot.take().filter(|link| link.connection.status().connected()) {
            Some(link) => slot.insert(link),
            None => {
                let (connection, _) = self.dialer.dial().await?;
                slot.insert(Link { connection, channel: None, declared: HashSet::new() })
            }
        };
        let channel = link.channel().await?;
        if let Some(queue) = declare.filter(|queue| !link.declared.contains(&declaration(queue))) {
            topology::declare(&channel, queue).await?;
            link.declared.insert(declaration(queue));
        }
        Ok(channel)
    }
}

impl Link {
    async fn channel(&mut self) -> Result<Channel, BrokerError> {
        if let Some(channel) = self.channel.as_ref().filter(|channel| channel.status().connected()) {
            return Ok(channel.clone());
        }
        let channel = channel::open(&self.connection).await?;
        let selected = channel.confirm_select(ConfirmSelectOptions::default()).await;
        selected.map_err(|error| error::during("cannot ask for publisher confirms", &error))?;
        Ok(self.channel.insert(channel).clone())
    }
}

fn declaration(queue: &Queue) -> String {
    format!("{}\0{}\0{}", queue.exchange.name, queue.name, queue.routing_key)
}

fn failed(route: &Route, error: &lapin::Error) -> BrokerError {
    error::during(format!("cannot publish to {}", target(route)), error)
}

fn target(route: &Route) -> String {
    match route.exchange.as_str() {
        "" => format!("queue '{}'", route.routing_key),
        exchange => format!("exchange '{exchange}' with routing key '{}'", route.routing_key),
    }
}
