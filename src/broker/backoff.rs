//! [`Backoff`]: how long to wait before the next attempt to connect.
//!
//! A plain value without a clock: the caller sleeps, logs and gives up.

use std::time::Duration;

const START: u32 = 2;
const STEP: u32 = 2;
const LAST: u32 = 30;

/// The waits between attempts to connect: 2, 4, 6, … seconds, 30 at most (`kombu.utils.functional.retry_over_time` with the
/// numbers of `celery/worker/consumer/consumer.py:ensure_connected`).
///
/// As an iterator it yields the next wait, and ends when the attempts are used up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backoff {
    retries: u32,
    max_retries: Option<u32>,
}

impl Backoff {
    /// `max_retries` is `broker_connection_max_retries` (100 by default); none is forever.
    pub fn new(max_retries: Option<u32>) -> Self {
        Self { retries: 0, max_retries }
    }

    /// Waits handed out since the last success.
    pub fn retries(&self) -> u32 {
        self.retries
    }

    /// Begins anew, after a success.
    pub fn reset(&mut self) {
        self.retries = 0;
    }
}

impl Iterator for Backoff {
    type Item = Duration;

    fn next(&mut self) -> Option<Duration> {
        if self.max_retries.is_some_and(|max| self.retries >= max) {
            return None;
        }
        let seconds = START.saturating_add(STEP.saturating_mul(self.retries)).min(LAST);
        self.retries = self.retries.saturating_add(1);
        Some(Duration::from_secs(seconds.into()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(backoff: &mut Backoff, count: usize) -> Vec<u64> {
        backoff.take(count).map(|wait| wait.as_secs()).collect()
    }

    #[test]
    fn waits_grow_by_two_seconds_and_then_stay() {
        let mut backoff = Backoff::new(None);
        assert_eq!(seconds(&mut backoff, 18), [2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30, 30, 30, 30]);
    }

    #[test]
    fn a_success_begins_anew() {
        let mut backoff = Backoff::new(Some(2));
        assert_eq!(seconds(&mut backoff, 5), [2, 4]);
        backoff.reset();
        assert_eq!(seconds(&mut backoff, 5), [2, 4]);
    }
}
