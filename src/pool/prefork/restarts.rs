//! The guard against children that die as fast as they are replaced (billiard's `restart_state`).

use std::time::Duration;

use tokio::time::Instant;

use crate::pool::PoolError;

const PERIOD: Duration = Duration::from_secs(1);

/// Counts restarts after bad ends. One job that begins clears the count: then the start-up went well.
#[derive(Debug)]
pub(super) struct Restarts {
    most: u32,
    count: u32,
    since: Option<Instant>,
}

impl Restarts {
    pub(super) fn new(most: u32) -> Self {
        Self { most, count: 0, since: None }
    }

    /// A child is about to be replaced because it ended badly.
    pub(super) fn step(&mut self, now: Instant) -> Result<(), PoolError> {
        let since = *self.since.get_or_insert(now);
        if now - since >= PERIOD {
            self.since = Some(now);
            self.count = 0;
        } else if self.most > 0 && self.count >= self.most {
            return Err(PoolError::RestartFrequency(format!("{} in 1s", self.count)));
        }
        self.count += 1;
        Ok(())
    }

    /// A job has begun.
    pub(super) fn clear(&mut self) {
        self.count = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_storm_is_refused() {
        let mut restarts = Restarts::new(3);
        let now = Instant::now();
        assert!((0..3).all(|_| restarts.step(now).is_ok()));
        assert_eq!(restarts.step(now).unwrap_err().to_string(), "3 in 1s");
    }

    #[test]
    fn time_and_work_clear_the_count() {
        let mut restarts = Restarts::new(2);
        let now = Instant::now();
        assert!((0..2).all(|_| restarts.step(now).is_ok()));
        restarts.clear();
        assert!(restarts.step(now).is_ok());
        assert!(restarts.step(now).is_ok());
        assert!((0..2).all(|_| restarts.step(now + PERIOD).is_ok()));
        assert!(restarts.step(now + PERIOD).is_err());
    }
}
