//! [`Pace`]: for how long a handler computes, as far as one knows.
//!
//! What computes for microseconds costs less where it is awaited than in a task of its own; what computes for longer would
//! hold up everything else there.

use std::{
    future::Future,
    pin::Pin,
    sync::atomic::{AtomicU64, Ordering},
    task::{Context, Poll},
    time::{Duration, Instant},
};

use futures::future::BoxFuture;

/// Computing for so long in a run is short.
const SHORT: Duration = Duration::from_micros(100);
/// A handler that has computed for so long once is never short again: it may do so at any time.
const LONG: Duration = Duration::from_millis(10);

/// The longest time that one handler has computed in a run, forgotten slowly unless it was very long. Nothing is known at
/// first. It is the whole run that counts: where tokio makes a busy handler pause, each part of it is short.
#[derive(Debug)]
pub struct Pace(AtomicU64);

/// Nothing is known.
const UNKNOWN: u64 = u64::MAX;

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(UNKNOWN))
    }
}

impl Pace {
    /// Whether the handler may be awaited among others.
    pub fn is_short(&self) -> bool {
        u128::from(self.0.load(Ordering::Relaxed)) <= SHORT.as_nanos()
    }

    /// Awaits one run of the handler, and learns from it, also if the run is dropped before its end.
    pub async fn measure<T>(&self, run: BoxFuture<'_, T>) -> T {
        Measured { pace: self, run, computed: Duration::ZERO }.await
    }

    fn note(&self, computed: Duration) {
        let new = u64::try_from(computed.as_nanos()).unwrap_or(UNKNOWN - 1);
        let learn = |before: u64| match before {
            UNKNOWN => Some(new),
            before if u128::from(before) >= LONG.as_nanos() => Some(before.max(new)),
            before => Some(new.max(before - before / 8)),
        };
        // It cannot fail: there is always something to learn.
        let _ = self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, learn);
    }
}

struct Measured<'a, T> {
    pace: &'a Pace,
    run: BoxFuture<'a, T>,
    computed: Duration,
}

impl<T> Future for Measured<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let began = Instant::now();
        let polled = self.run.as_mut().poll(cx);
        self.computed += began.elapsed();
        polled
    }
}

impl<T> Drop for Measured<'_, T> {
    fn drop(&mut self) {
        self.pace.note(self.computed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_never_ran_is_not_short() {
        let pace = Pace::default();
        assert!(!pace.is_short());
        pace.note(Duration::from_micros(5));
        assert!(pace.is_short());
    }

    #[test]
    fn one_long_run_is_remembered_for_a_while() {
        let pace = Pace::default();
        pace.note(Duration::from_micros(5));
        pace.note(Duration::from_millis(1));
        pace.note(Duration::from_micros(5));
        assert!(!pace.is_short());
        for _ in 0..40 {
            pace.note(Duration::from_micros(5));
        }
        assert!(pace.is_short());
    }

    #[test]
    fn a_very_long_run_is_never_forgotten() {
        let pace = Pace::default();
        pace.note(Duration::from_secs(1));
        for _ in 0..1000 {
            pace.note(Duration::from_micros(5));
        }
        assert!(!pace.is_short());
    }

    #[tokio::test]
    async fn a_run_is_measured_even_if_it_does_not_end() {
        let pace = Pace::default();
        assert_eq!(pace.measure(Box::pin(async { 7 })).await, 7);
        assert_ne!(pace.0.load(Ordering::Relaxed), UNKNOWN);
        let dropped = Pace::default();
        let mut run = Box::pin(dropped.measure(Box::pin(std::future::pending::<()>())));
        assert!(futures::poll!(&mut run).is_pending());
        drop(run);
        assert_ne!(dropped.0.load(Ordering::Relaxed), UNKNOWN);
    }
}
