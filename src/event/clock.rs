//! [`Clock`]: Celery's logical clock (`kombu/clocks.py:LamportClock`).

use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// A Lamport clock, shared by everything that stamps events and control messages.
#[derive(Debug, Clone, Default)]
pub struct Clock {
    value: Arc<AtomicU64>,
}

impl Clock {
    /// Moves on by one, and says to where.
    pub fn forward(&self) -> u64 {
        self.value.fetch_add(1, Ordering::Relaxed) + 1
    }

    /// Catches up with another node's clock, and moves past it.
    pub fn adjust(&self, other: u64) -> u64 {
        let catch_up = |value: u64| Some(value.max(other).saturating_add(1));
        // The closure never refuses, so both arms hold the value before.
        match self.value.fetch_update(Ordering::Relaxed, Ordering::Relaxed, catch_up) {
            Ok(before) | Err(before) => before.max(other).saturating_add(1),
        }
    }

    /// What it shows.
    pub fn value(&self) -> u64 {
        self.value.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn adjusting_moves_past_the_greater_of_both() {
        let clock = Clock::default();
        assert_eq!(clock.forward(), 1);
        assert_eq!(clock.adjust(10), 11);
        assert_eq!(clock.adjust(3), 12);
        assert_eq!(clock.value(), 12);
    }
}
