//! Rate limits: one token bucket of capacity one per task name (`kombu/utils/limits.py`, `celery/worker/consumer`).

use std::{
    collections::{HashMap, VecDeque},
    sync::Arc,
    time::{Duration, Instant},
};

use crate::{task::RateLimit, worker::request::Request};

/// The requests that wait for a token, by task. Owned by the dispatcher, which sleeps until [`RateLimits::next`].
#[derive(Debug, Default)]
pub struct RateLimits {
    buckets: HashMap<Arc<str>, Bucket>,
}

#[derive(Debug)]
struct Bucket {
    interval: Duration,
    /// When the next token is there.
    ready_at: Instant,
    waiting: VecDeque<Request>,
}

impl RateLimits {
    /// Takes a token for the request, or keeps the request until there is one. Gives the request back if it may start.
    pub fn admit(&mut self, request: Request, limit: RateLimit, now: Instant) -> Option<Request> {
        let interval = interval(limit);
        let bucket = self.buckets.entry(request.definition.name.clone()).or_insert_with(|| Bucket {
            interval,
            ready_at: now,
            waiting: VecDeque::new(),
        });
        bucket.waiting.push_back(request);
        bucket.pop(now)
    }

    /// The next request whose token is there, if any.
    pub fn pop_ready(&mut self, now: Instant) -> Option<Request> {
        self.buckets.values_mut().find_map(|bucket| bucket.pop(now))
    }

    /// When the next token comes that somebody waits for.
    pub fn next(&self) -> Option<Instant> {
        self.buckets.values().filter(|bucket| !bucket.waiting.is_empty()).map(|bucket| bucket.ready_at).min()
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.buckets.values().map(|bucket| bucket.waiting.len()).sum()
    }

    /// Changes the rate of a task; `None` lets everything that waits go. Gives back what may start now without limit.
    /// The next token comes after the new interval at the latest.
    pub fn change(&mut self, task: &str, limit: Option<RateLimit>, now: Instant) -> Vec<Request> {
        match limit {
            None => self.buckets.remove(task).map(|bucket| bucket.waiting.into()).unwrap_or_default(),
            Some(limit) => {
                if let Some(bucket) = self.buckets.get_mut(task) {
                    bucket.interval = interval(limit);
                    bucket.ready_at = bucket.ready_at.min(now + bucket.interval);
                }
                Vec::new()
            }
        }
    }

    /// Gives up all that wait; their messages are left to the broker. When the next token comes stays as it is.
    pub fn clear(&mut self) {
        for mut request in self.buckets.values_mut().flat_map(|bucket| bucket.waiting.drain(..)) {
            request.leave();
        }
    }
}

impl Bucket {
    fn pop(&mut self, now: Instant) -> Option<Request> {
        if now < self.ready_at {
            return None;
        }
        let request = self.waiting.pop_front()?;
        self.ready_at = now + self.interval;
        Some(request)
    }
}

/// As good as never, and no clock overflows with it.
const NEVER: Duration = Duration::from_secs(u32::MAX as u64);

fn interval(limit: RateLimit) -> Duration {
    Duration::try_from_secs_f64(1.0 / limit.per_second).unwrap_or(NEVER).min(NEVER)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_rate_is_too_slow_for_the_clock() {
        for per_second in [1e-19, 1e-300, f64::MIN_POSITIVE, f64::NAN, -1.0] {
            let interval = interval(RateLimit { per_second });
            assert!(Instant::now().checked_add(interval).is_some(), "{per_second}");
        }
        assert_eq!(interval(RateLimit { per_second: 4.0 }), Duration::from_millis(250));
    }
}
