//! What has to be done from time to time on a connection: health checks, refreshing what we hold, sweeps.

use std::{sync::Arc, time::Duration};

use fred::error::Error;
use futures::future::BoxFuture;
use tokio::time::{Instant, sleep, timeout};

use crate::broker::{
    BrokerError,
    redis::{
        binding::{Bindings, SWEEP_INTERVAL},
        exchange::Exchange,
        ledger::Ledger,
        link::{Link, is_lost},
        options::RedisOptions,
        restore::Restorer,
    },
};

/// What is held is refreshed in pieces of this many, with a rest after each: there may be a million.
const CHUNK: usize = 500;
/// What is held is shown to be alive this many times within the visibility timeout.
const REFRESHES: u32 = 4;

/// The parts of a connection that need care.
#[derive(Clone)]
pub(super) struct Upkeep {
    pub link: Link,
    pub options: Arc<RedisOptions>,
    pub restorer: Restorer,
    pub bindings: Bindings,
    pub ledger: Arc<Ledger>,
    pub exchange: Exchange,
}

impl Upkeep {
    /// Does all of it until the connection ends.
    pub async fn run(self) {
        // A connection may come after a long time without one, and the first sweep is our own.
        self.refresh_held().await;
        let chores: [BoxFuture<'_, ()>; 4] = [
            Box::pin(check_health(&self.link, self.options.health_check_interval)),
            Box::pin(self.keep_held()),
            Box::pin(self.sweep_unacked()),
            Box::pin(self.keep_bindings()),
        ];
        tokio::select! {
            _ = futures::future::join_all(chores) => {}
            _ = self.link.lifeline.ended() => {}
        }
    }

    /// Keeps the score of what we hold young, so that nobody takes a long task for an abandoned one.
    async fn keep_held(&self) {
        let interval = self.options.visibility_timeout / REFRESHES;
        if interval.is_zero() {
            return;
        }
        loop {
            sleep(interval).await;
            self.refresh_held().await;
        }
    }

    async fn refresh_held(&self) {
        if !self.exchange.notes() {
            return;
        }
        let mut from = 0;
        loop {
            let tags = self.ledger.tags_in_use(from, CHUNK);
            let Some(last) = tags.last() else { return };
            from = last + 1;
            let begun = Instant::now();
            self.note("refresh what is held", self.exchange.refresh(&self.link, &tags).await);
            if tags.len() < CHUNK || self.link.lifeline.reason().is_some() {
                return;
            }
            sleep(begun.elapsed()).await;
        }
    }

    /// Once at the start, then in kombu's cadence.
    async fn sweep_unacked(&self) {
        if !self.exchange.notes() {
            return;
        }
        loop {
            match self.restorer.sweep(&self.options).await {
                Ok(Some(count)) if count > 0 => {
                    tracing::info!("Restored {count} message(s) after the visibility timeout")
                }
                outcome => self.note("restore abandoned messages", outcome),
            }
            sleep(self.options.sweep_interval()).await;
        }
    }

    /// Keeps the binding tables of expiring queues alive, and deletes those of others that nobody keeps.
    async fn keep_bindings(&self) {
        let (mut refreshed, mut swept) = (None::<Instant>, None::<Instant>);
        let due = |last: Option<Instant>, interval| last.is_none_or(|at| at.elapsed() >= interval);
        loop {
            sleep(Duration::from_secs(1)).await;
            let Some(interval) = self.bindings.refresh_interval() else { continue };
            if due(refreshed, interval) {
                refreshed = Some(Instant::now());
                self.note("refresh bindings", self.bindings.refresh().await);
            }
            if due(swept, SWEEP_INTERVAL) {
                swept = Some(Instant::now());
                self.note("sweep bindings", self.bindings.sweep().await);
            }
        }
    }

    fn note<T>(&self, what: &str, outcome: Result<T, Error>) {
        match outcome {
            Ok(_) => {}
            Err(error) if is_lost(&error) => self.link.lifeline.end(self.link.error(&error)),
            Err(error) => tracing::warn!("could not {what}: {}", self.link.error(&error)),
        }
    }
}

/// Ends the connection when the server does not answer: a half-open one would be silent for ever.
pub(super) async fn check_health(link: &Link, interval: Option<Duration>) {
    let Some(interval) = interval else { return };
    loop {
        sleep(interval).await;
        match timeout(interval, link.call("PING", Vec::new())).await {
            Ok(Err(error)) if is_lost(&error) => return link.lifeline.end(link.error(&error)),
            Ok(_) => {}
            Err(_) => {
                let seconds = interval.as_secs_f64();
                return link.lifeline.end(BrokerError::lost(format!("redis did not answer a PING within {seconds} s")));
            }
        }
    }
}
