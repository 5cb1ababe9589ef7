//! [`Pace`]: for how long a handler computes between its awaits, as far as one knows.
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

/// Computing for so long at a time is short.
const SHORT: Duration = Duration::from_micros(100);

/// The longest time that one handler has computed at a time, forgotten slowly. Nothing is known at first.
#[derive(Debug)]
pub struct Pace(AtomicU64);

impl Default for Pace {
    fn default() -> Self {
        Self(AtomicU64::new(u64::MAX))
    }
}

impl Pace {
    /// Whether the handler may be awaited among others.
    pub fn is_short(&self) -> bool {
        u128::from(self.0.load(Ordering::Relaxed)) <= SHORT.as_nanos()
    }

    /// Awaits one run of the handler, and learns from it.
    pub async fn measure<T>(&self, run: BoxFuture<'_, T>) -> T {
        let mut measured = Measured { run, longest: Duration::ZERO };
        let ended = (&mut measured).await;
        self.note(measured.longest);
        ended
    }

    /// One long time counts at once, and is half forgotten after some short ones.
    fn note(&self, longest: Duration) {
        let new = u64::try_from(longest.as_nanos()).unwrap_or(u64::MAX);
        let before = self.0.load(Ordering::Relaxed);
        let faded = if before == u64::MAX { new } else { before - before / 8 };
        self.0.store(new.max(faded), Ordering::Relaxed);
    }
}

struct Measured<'a, T> {
    run: BoxFuture<'a, T>,
    longest: Duration,
}

impl<T> Future for Measured<'_, T> {
    type Output = T;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<T> {
        let began = Instant::now();
        let polled = self.run.as_mut().poll(cx);
        self.longest = self.longest.max(began.elapsed());
        polled
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

    #[tokio::test]
    async fn a_run_is_measured() {
        let pace = Pace::default();
        assert_eq!(pace.measure(Box::pin(async { 7 })).await, 7);
        assert!(pace.0.load(Ordering::Relaxed) < u64::MAX);
    }
}
