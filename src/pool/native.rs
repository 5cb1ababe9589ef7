//! Seats for native tasks: a counted permit to run a future, and a panic turned into a value.
//!
//! No process, no queue of its own and no time limits: who awaits a future may drop it.

use std::any::Any;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures::FutureExt;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task;

/// A handler has panicked instead of returning.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the task panicked: {message}")]
pub struct Panicked {
    /// What it panicked with, where that was text.
    pub message: String,
}

impl Panicked {
    fn new(payload: &(dyn Any + Send)) -> Self {
        let text = payload.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let text = text.or_else(|| payload.downcast_ref::<String>().cloned());
        Self { message: text.unwrap_or_else(|| "no message".to_owned()) }
    }
}

/// So many native tasks at once; cheap to clone, and all clones share the seats.
#[derive(Debug, Clone)]
pub struct NativePool {
    seats: Arc<Semaphore>,
}

impl NativePool {
    /// With this many seats.
    pub fn new(seats: usize) -> Self {
        Self { seats: Arc::new(Semaphore::new(seats.min(Semaphore::MAX_PERMITS))) }
    }

    /// Waits for a seat; it is free again when the permit is dropped. None of the seats is ever taken away for good, so this
    /// only waits.
    pub async fn seat(&self) -> SemaphorePermit<'_> {
        match self.seats.acquire().await {
            Ok(seat) => seat,
            // Nobody closes the semaphore.
            Err(_) => std::future::pending().await,
        }
    }

    /// Waits for a seat and runs the future on it, in the calling task. The seat is free again when this returns or is
    /// dropped.
    pub async fn run<F: Future>(&self, future: F) -> Result<F::Output, Panicked> {
        let _seat = self.seats.acquire().await;
        let ended = AssertUnwindSafe(future).catch_unwind().await;
        ended.map_err(|payload| Panicked::new(payload.as_ref()))
    }

    /// Waits for a seat and runs a function that blocks, on a thread where it may. Dropping this does not end the
    /// function; the seat stays taken until it does.
    pub async fn run_blocking<T, F>(&self, function: F) -> Result<T, Panicked>
    where
        T: Send + 'static,
        F: FnOnce() -> T + Send + 'static,
    {
        let seat = Arc::clone(&self.seats).acquire_owned().await;
        let ended = task::spawn_blocking(move || {
            let _seat = seat;
            function()
        });
        ended.await.map_err(|error| match error.try_into_panic() {
            Ok(payload) => Panicked::new(payload.as_ref()),
            Err(_) => Panicked { message: "cancelled before it began".to_owned() },
        })
    }

    /// Seats that nothing runs on.
    pub fn idle(&self) -> usize {
        self.seats.available_permits()
    }

    /// More seats at once, or fewer as soon as they are idle.
    pub fn resize(&self, by: i32) {
        let seats = by.unsigned_abs() as usize;
        if by >= 0 {
            return self.seats.add_permits(seats);
        }
        let missing = seats - self.seats.forget_permits(seats);
        if missing > 0 {
            let all = Arc::clone(&self.seats);
            let surplus = u32::try_from(missing).unwrap_or(u32::MAX);
            tokio::spawn(async move {
                if let Ok(permits) = all.acquire_many(surplus).await {
                    permits.forget();
                }
            });
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn a_panic_is_a_value_and_gives_the_seat_back() {
        let pool = NativePool::new(1);
        let ended = pool.run(async { panic!("no {}", "luck") }).await;
        assert_eq!(ended, Err::<(), _>(Panicked { message: "no luck".into() }));
        let ended = pool.run_blocking(|| panic!("none here")).await;
        assert_eq!(ended, Err::<(), _>(Panicked { message: "none here".into() }));
        assert_eq!(pool.run(async { 7 }).await, Ok(7));
    }

    #[tokio::test]
    async fn no_more_run_than_there_are_seats() {
        let pool = NativePool::new(1);
        let (release, held) = oneshot::channel::<()>();
        let mut first = Box::pin(pool.run(held));
        assert!(futures::poll!(&mut first).is_pending());
        let mut second = Box::pin(pool.run(async { 2 }));
        assert!(futures::poll!(&mut second).is_pending());
        release.send(()).unwrap();
        assert!(first.await.is_ok());
        assert_eq!(second.await, Ok(2));
        assert_eq!(pool.idle(), 1);
    }

    #[tokio::test]
    async fn seats_can_be_added_and_taken() {
        let pool = NativePool::new(1);
        pool.resize(2);
        assert_eq!(pool.idle(), 3);
        pool.resize(-3);
        assert_eq!(pool.idle(), 0);
    }
}
