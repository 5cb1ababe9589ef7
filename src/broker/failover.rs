//! [`Failover`]: which broker of a list is tried next, and when (`kombu/connection.py:_ensure_connection`).
//!
//! Who has more to do than to connect walks step by step: connects, sleeps, logs and gives up himself.

use std::{sync::Arc, time::Duration};

use crate::{
    broker::{Backoff, BrokerError, BrokerErrorKind, Connection, Transport},
    config::FailoverStrategy,
};

/// What to do after a failed attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NextAttempt {
    /// Try the next one at once.
    Failover,
    /// There were as many attempts as there are brokers: wait, then try the next one.
    After(Duration),
    /// `broker_connection_max_retries` attempts were made again and again in vain.
    None,
}

/// A walk over a failover list, which begins with its first broker.
pub struct Failover<'t> {
    transports: &'t [Arc<dyn Transport>],
    strategy: FailoverStrategy,
    max_retries: Option<u32>,
    waits: Backoff,
    attempts: u32,
    position: usize,
}

impl<'t> Failover<'t> {
    /// `max_retries` counts every attempt after the first, as `broker_connection_max_retries` does; none is for ever.
    pub fn new(transports: &'t [Arc<dyn Transport>], strategy: FailoverStrategy, max_retries: Option<u32>) -> Self {
        Self { transports, strategy, max_retries, waits: Backoff::new(None), attempts: 0, position: 0 }
    }

    /// The broker to be tried; none in an empty list.
    pub fn current(&self) -> Option<&'t Arc<dyn Transport>> {
        self.transports.get(self.position)
    }

    /// Notes that the current one cannot be reached, and goes on to the next.
    pub fn failed(&mut self) -> NextAttempt {
        let count = self.transports.len().max(1);
        if self.max_retries.is_some_and(|max| self.attempts >= max) {
            return NextAttempt::None;
        }
        self.attempts = self.attempts.saturating_add(1);
        self.position = match self.strategy {
            FailoverStrategy::RoundRobin => (self.position + 1) % count,
            FailoverStrategy::Shuffle => rand::random_range(0..count),
        };
        if (self.attempts as usize).is_multiple_of(count) {
            self.waits.next().map_or(NextAttempt::None, NextAttempt::After)
        } else {
            NextAttempt::Failover
        }
    }

    /// Connects to the first that can be reached. `told` hears of each failure after which another attempt is made, and of the
    /// wait before that.
    ///
    /// # Errors
    /// The last failure: there were attempts enough, or the broker is one that no attempt would help.
    pub async fn connect(mut self, told: impl Fn(&BrokerError, Duration)) -> Result<Arc<dyn Connection>, BrokerError> {
        loop {
            let Some(transport) = self.current() else {
                return Err(BrokerError::unusable("there is no broker to connect to"));
            };
            let failure = match transport.connect().await {
                Ok(connection) => return Ok(connection),
                // A refused password is refused the next time too.
                Err(failure) if failure.kind() == BrokerErrorKind::Unusable => return Err(failure),
                Err(failure) => failure,
            };
            let wait = match self.failed() {
                NextAttempt::None => return Err(failure),
                NextAttempt::Failover => Duration::ZERO,
                NextAttempt::After(wait) => wait,
            };
            told(&failure, wait);
            tokio::time::sleep(wait).await;
        }
    }

    /// How often it has waited.
    pub fn rounds(&self) -> u32 {
        self.waits.retries()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::{MemoryBroker, MemoryTransport};

    fn transports(count: usize) -> Vec<Arc<dyn Transport>> {
        (0..count).map(|_| Arc::new(MemoryTransport::new(MemoryBroker::new())) as Arc<dyn Transport>).collect()
    }

    fn after(seconds: u64) -> NextAttempt {
        NextAttempt::After(Duration::from_secs(seconds))
    }

    #[test]
    fn round_and_round_with_a_wait_after_each() {
        let transports = transports(3);
        let mut failover = Failover::new(&transports, FailoverStrategy::RoundRobin, Some(7));
        let mut seen = Vec::new();
        loop {
            let position = failover.position;
            let next = failover.failed();
            seen.push((position, next));
            if next == NextAttempt::None {
                break;
            }
        }
        let on = NextAttempt::Failover;
        let expected =
            [(0, on), (1, on), (2, after(2)), (0, on), (1, on), (2, after(4)), (0, on), (1, NextAttempt::None)];
        assert_eq!(seen, expected);
        assert_eq!(failover.rounds(), 2);
    }

    #[test]
    fn one_alone_waits_each_time() {
        let transports = transports(1);
        let mut failover = Failover::new(&transports, FailoverStrategy::Shuffle, Some(2));
        assert_eq!([failover.failed(), failover.failed(), failover.failed()], [after(2), after(4), NextAttempt::None]);
    }

    #[test]
    fn shuffled_any_may_be_next() {
        let transports = transports(3);
        let mut failover = Failover::new(&transports, FailoverStrategy::Shuffle, None);
        assert_eq!(failover.position, 0);
        let seen: std::collections::BTreeSet<_> = (0..200)
            .map(|_| {
                let before = failover.position;
                failover.failed();
                (before, failover.position)
            })
            .collect();
        // Also the same one again, as with kombu's `shufflecycle`.
        assert_eq!(seen.len(), 9);
    }
}
