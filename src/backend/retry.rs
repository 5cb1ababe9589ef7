//! [`RetryPolicy`] and [`Patience`]: how long a backend goes on trying. Knows no server; sleeps and logs.

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::{backend::BackendError, serialization::Map};

/// `retry_policy` of `result_backend_transport_options` (`celery/backends/base.py:Backend.retry_policy`).
#[derive(Debug, Clone, PartialEq)]
pub struct RetryPolicy {
    /// Tries after the first; none is without end. Default 20.
    pub max_retries: Option<u32>,
    /// Seconds before the first retry. Default 0.
    pub interval_start: f64,
    /// Seconds more for every further one. Default 1.
    pub interval_step: f64,
    /// Seconds that the steps may add up to. Default 1.
    pub interval_max: f64,
    /// Whether the user chose `max_retries`: only then is a result ever given up.
    pub is_limited: bool,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self { max_retries: Some(20), interval_start: 0.0, interval_step: 1.0, interval_max: 1.0, is_limited: false }
    }
}

impl RetryPolicy {
    /// The defaults, updated by the user's dict.
    pub fn from_map(map: &Map) -> Self {
        let mut policy = Self::default();
        let seconds = |name: &str, default| map.get(name).and_then(|v| v.as_f64()).unwrap_or(default);
        policy.interval_start = seconds("interval_start", policy.interval_start);
        policy.interval_step = seconds("interval_step", policy.interval_step);
        policy.interval_max = seconds("interval_max", policy.interval_max);
        if let Some(limit) = map.get("max_retries") {
            policy.max_retries = limit.as_i64().map(|n| n.clamp(0, u32::MAX.into()) as u32);
            policy.is_limited = policy.max_retries.is_some();
        }
        policy
    }

    /// Before retry `n`, counted from 0 (kombu's `fxrange` with its last value repeated).
    fn delay(&self, n: u32) -> Duration {
        let seconds =
            (self.interval_start + f64::from(n) * self.interval_step).min(self.interval_max + self.interval_start);
        Duration::try_from_secs_f64(seconds).unwrap_or_default()
    }
}

/// `result_backend_always_retry` with its three companions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AlwaysRetry {
    /// `result_backend_base_sleep_between_retries_ms`. Default 10.
    pub base_ms: u64,
    /// `result_backend_max_sleep_between_retries_ms`. Default 10000.
    pub max_ms: u64,
    /// `result_backend_max_retries`; none is `inf`, the default.
    pub max_retries: Option<u64>,
}

impl Default for AlwaysRetry {
    fn default() -> Self {
        Self { base_ms: 10, max_ms: 10_000, max_retries: None }
    }
}

impl AlwaysRetry {
    /// Full jitter (`celery/utils/time.py:get_exponential_backoff_interval`).
    pub(super) fn delay(&self, n: u64) -> Duration {
        let grown = self.base_ms.saturating_mul(2u64.saturating_pow(n.min(63) as u32));
        Duration::from_millis(rand::random_range(0..=grown.min(self.max_ms)))
    }
}

/// The retries of one operation. Made when it fails for the first time.
pub(super) struct Patience<'a> {
    policy: &'a RetryPolicy,
    always: Option<AlwaysRetry>,
    /// Whether what is tried must not be lost while this process lives.
    keeps: bool,
    closing: &'a CancellationToken,
    operation: &'static str,
    tries: u32,
    rounds: u64,
    tries_while_closing: u32,
}

impl<'a> Patience<'a> {
    /// For a write: goes on until it succeeds, unless the user limited `max_retries` or the backend is being closed.
    pub(super) fn for_write(
        operation: &'static str,
        policy: &'a RetryPolicy,
        always: Option<AlwaysRetry>,
        closing: &'a CancellationToken,
    ) -> Self {
        let keeps = !policy.is_limited;
        Self { policy, always, keeps, closing, operation, tries: 0, rounds: 0, tries_while_closing: 0 }
    }

    /// For a read: gives up as Celery does.
    pub(super) fn for_read(
        operation: &'static str,
        policy: &'a RetryPolicy,
        always: Option<AlwaysRetry>,
        closing: &'a CancellationToken,
    ) -> Self {
        Self { keeps: false, ..Self::for_write(operation, policy, always, closing) }
    }

    /// Waits for the next try; an error when there is none.
    pub(super) async fn wait(&mut self, reason: &str) -> Result<(), BackendError> {
        let Some(delay) = self.next_delay(reason) else {
            return Err(BackendError::Unreachable(format!("{} gave up: {reason}", self.operation)));
        };
        tokio::time::sleep(delay).await;
        Ok(())
    }

    fn next_delay(&mut self, reason: &str) -> Option<Duration> {
        let limit = self.policy.max_retries;
        if limit.is_none_or(|limit| self.tries < limit) || self.may_go_on() {
            return Some(self.next_try(reason));
        }
        let always = self.always?;
        if always.max_retries.is_some_and(|limit| self.rounds >= limit) || self.closing.is_cancelled() {
            return None;
        }
        self.rounds += 1;
        self.tries = 0;
        let left = always.max_retries.map_or_else(|| "inf".to_owned(), |limit| (limit - self.rounds).to_string());
        tracing::warn!("Failed operation {}. Retrying {left} more times.", self.operation);
        Some(always.delay(self.rounds))
    }

    /// Past the limit: kept while the process lives, and once more as long while it ends.
    fn may_go_on(&mut self) -> bool {
        if !self.keeps {
            return false;
        }
        if self.closing.is_cancelled() {
            self.tries_while_closing += 1;
            return self.policy.max_retries.is_none_or(|limit| self.tries_while_closing <= limit);
        }
        true
    }

    fn next_try(&mut self, reason: &str) -> Duration {
        let delay = self.policy.delay(self.tries);
        let limit = self.policy.max_retries.filter(|&limit| limit > 0 && self.tries < limit);
        let limit = limit.map_or_else(|| "Inf".to_owned(), |limit| limit.to_string());
        tracing::error!("Connection to Redis lost: Retry ({}/{limit}) {}.", self.tries, humanize(delay));
        tracing::debug!("{}: {reason}", self.operation);
        self.tries += 1;
        delay
    }
}

/// `humanize_seconds(secs, 'in ')` of `celery/utils/time.py`.
fn humanize(delay: Duration) -> String {
    let seconds = (delay.as_secs_f64() * 100.0).round() / 100.0;
    let units = [("day", 86_400.0), ("hour", 3_600.0), ("minute", 60.0), ("second", 1.0)];
    match units.iter().find(|(_, size)| seconds >= *size) {
        Some((unit, size)) => {
            let count = seconds / size;
            format!("in {count:.2} {unit}{}", if count > 1.0 { "s" } else { "" })
        }
        None => "now".to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_as_kombu_does() {
        let policy = RetryPolicy::default();
        let delays: Vec<_> = (0..4).map(|n| policy.delay(n).as_secs_f64()).collect();
        assert_eq!(delays, [0.0, 1.0, 1.0, 1.0]);
        let policy = RetryPolicy { interval_start: 0.5, interval_step: 0.25, interval_max: 0.5, ..policy };
        let delays: Vec<_> = (0..4).map(|n| policy.delay(n).as_secs_f64()).collect();
        assert_eq!(delays, [0.5, 0.75, 1.0, 1.0]);
    }

    #[test]
    fn says_when_as_celery_does() {
        let cases =
            [(0.0, "now"), (0.9, "now"), (1.0, "in 1.00 second"), (1.5, "in 1.50 seconds"), (90.0, "in 1.50 minutes")];
        for (seconds, text) in cases {
            assert_eq!(humanize(Duration::from_secs_f64(seconds)), text);
        }
    }

    #[test]
    fn limits_end_only_what_the_user_limited() {
        let closing = CancellationToken::new();
        let kept = RetryPolicy { max_retries: Some(2), ..RetryPolicy::default() };
        let mut patience = Patience::for_write("store_result", &kept, None, &closing);
        assert!((0..50).all(|_| patience.next_delay("refused").is_some()));
        let limited = RetryPolicy { is_limited: true, ..kept.clone() };
        let mut patience = Patience::for_write("store_result", &limited, None, &closing);
        let tries: Vec<_> = (0..3).map(|_| patience.next_delay("refused").is_some()).collect();
        assert_eq!(tries, [true, true, false]);
        let mut patience = Patience::for_read("get", &kept, None, &closing);
        assert_eq!((0..9).take_while(|_| patience.next_delay("refused").is_some()).count(), 2);
    }

    #[test]
    fn closing_ends_even_what_is_kept() {
        let closing = CancellationToken::new();
        let policy = RetryPolicy { max_retries: Some(3), ..RetryPolicy::default() };
        let mut patience = Patience::for_write("store_result", &policy, None, &closing);
        assert!((0..10).all(|_| patience.next_delay("refused").is_some()));
        closing.cancel();
        assert_eq!((0..20).take_while(|_| patience.next_delay("refused").is_some()).count(), 3);
    }

    #[test]
    fn always_retry_starts_over() {
        let closing = CancellationToken::new();
        let policy = RetryPolicy { max_retries: Some(1), is_limited: true, ..RetryPolicy::default() };
        let always = AlwaysRetry { max_retries: Some(2), ..AlwaysRetry::default() };
        let mut patience = Patience::for_write("store_result", &policy, Some(always), &closing);
        assert_eq!((0..20).take_while(|_| patience.next_delay("refused").is_some()).count(), 5);
        assert!((0..80).all(|n| always.delay(n) <= Duration::from_secs(10)));
    }

    #[test]
    fn reads_the_users_dict() {
        let map = Map::from_iter([("max_retries".to_owned(), 5.into()), ("interval_step".to_owned(), 0.5.into())]);
        let policy = RetryPolicy::from_map(&map);
        assert_eq!((policy.max_retries, policy.interval_step, policy.is_limited), (Some(5), 0.5, true));
    }
}
