//! [`Patience`]: how long an operation on a database is tried again (`celery/backends/base.py:_ensure_retryable`).

use std::time::Duration;

use tokio_util::sync::CancellationToken;

use crate::backend::{AlwaysRetry, BackendError};

/// Tries while the backend is being closed.
const LAST_TRIES: u64 = 10;
/// Between them at most.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// The retries of one operation. Made when it fails for the first time.
pub(super) struct Patience<'a> {
    operation: &'static str,
    policy: AlwaysRetry,
    closing: &'a CancellationToken,
    tries: u64,
    last_tries: u64,
}

impl<'a> Patience<'a> {
    /// For a write: goes on until it succeeds, unless the user limited `result_backend_max_retries` or the backend is
    /// being closed.
    pub(super) fn for_write(operation: &'static str, policy: AlwaysRetry, closing: &'a CancellationToken) -> Self {
        Self { operation, policy, closing, tries: 0, last_tries: 0 }
    }

    /// For a read: three tries, as Celery's default.
    pub(super) fn for_read(operation: &'static str, policy: AlwaysRetry, closing: &'a CancellationToken) -> Self {
        let policy = AlwaysRetry { max_retries: policy.max_retries.or(Some(3)), ..policy };
        Self::for_write(operation, policy, closing)
    }

    /// Waits for the next try; an error when there is none.
    pub(super) async fn wait(&mut self, reason: &str) -> Result<(), BackendError> {
        let Some(delay) = self.next_delay(reason) else {
            return Err(BackendError::Unreachable(format!("{} gave up: {reason}", self.operation)));
        };
        // What is being closed has no time to wait for long.
        tokio::select! {
            () = tokio::time::sleep(delay) => {}
            () = self.closing.cancelled(), if !self.closing.is_cancelled() => {}
        }
        Ok(())
    }

    fn next_delay(&mut self, reason: &str) -> Option<Duration> {
        let is_closing = self.closing.is_cancelled();
        self.last_tries += u64::from(is_closing);
        if self.policy.max_retries.is_some_and(|limit| self.tries >= limit) || self.last_tries > LAST_TRIES {
            return None;
        }
        self.tries += 1;
        let left = self.policy.max_retries.map_or_else(|| "inf".to_owned(), |limit| (limit - self.tries).to_string());
        tracing::warn!(
            target: "celery.backends.base",
            "Failed operation {}. Retrying {left} more times. {reason}", self.operation
        );
        let delay = self.policy.delay(self.tries);
        Some(if is_closing { delay.min(LAST_WAIT) } else { delay })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_the_user_limited_ends() {
        let closing = CancellationToken::new();
        let mut patience = Patience::for_write("_store_result", AlwaysRetry::default(), &closing);
        assert!((0..50).all(|_| patience.next_delay("locked").is_some()));
        let limited = AlwaysRetry { max_retries: Some(2), ..AlwaysRetry::default() };
        let mut patience = Patience::for_write("_store_result", limited, &closing);
        let tries: Vec<_> = (0..3).map(|_| patience.next_delay("locked").is_some()).collect();
        assert_eq!(tries, [true, true, false]);
        let mut patience = Patience::for_read("_get_task_meta_for", AlwaysRetry::default(), &closing);
        assert_eq!((0..9).take_while(|_| patience.next_delay("locked").is_some()).count(), 3);
    }

    #[test]
    fn closing_ends_what_has_no_limit() {
        let closing = CancellationToken::new();
        let mut patience = Patience::for_write("_store_result", AlwaysRetry::default(), &closing);
        assert!(patience.next_delay("locked").is_some());
        closing.cancel();
        let last: Vec<_> = (0..99).map_while(|_| patience.next_delay("locked")).collect();
        assert_eq!(last.len() as u64, LAST_TRIES);
        assert!(last.iter().all(|delay| *delay <= LAST_WAIT));
    }
}
