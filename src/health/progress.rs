//! [`Progress`]: whether the tasks that have ended get settled, as one probe after the other sees it.

use std::time::{Duration, Instant};

/// How long nothing may be settled while something waits to be: longer than one attempt to store a result may take
/// (`redis_socket_timeout` is 120 seconds) several times over.
const STUCK: Duration = Duration::from_secs(600);

/// What one probe sees.
#[derive(Debug, Clone, Copy)]
pub(super) struct Turn {
    /// Tasks that have ended and are not settled.
    pub(super) settling: usize,
    /// Tasks that were settled since the start, and attempts to store a result that failed: with a backend that is away
    /// all is as it can be.
    pub(super) moved: u64,
    /// Whether there is a broker to settle them at.
    pub(super) is_up: bool,
}

/// The last time that something moved.
#[derive(Debug)]
pub(super) struct Progress {
    moved: u64,
    at: Instant,
}

impl Progress {
    /// Nothing is stuck yet.
    pub(super) fn new(now: Instant) -> Self {
        Self { moved: 0, at: now }
    }

    /// Notes what a probe sees, and says whether it is stuck.
    pub(super) fn judge(&mut self, turn: Turn, now: Instant) -> Result<(), String> {
        if turn.settling == 0 || turn.moved != self.moved || !turn.is_up {
            *self = Self { moved: turn.moved, at: now };
            return Ok(());
        }
        let still = now.saturating_duration_since(self.at);
        if still <= STUCK {
            return Ok(());
        }
        Err(format!("{} tasks have ended, and none was settled for {} seconds", turn.settling, still.as_secs()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_waits_and_does_not_move_is_stuck() {
        let start = Instant::now();
        let late = start + STUCK + Duration::from_secs(1);
        let turn = |settling, moved, is_up| Turn { settling, moved, is_up };
        let judged = |second| {
            let mut progress = Progress::new(start);
            assert!(progress.judge(turn(3, 7, true), start).is_ok());
            progress.judge(second, late)
        };
        assert!(judged(turn(3, 7, true)).is_err());
        assert!(judged(turn(0, 7, true)).is_ok(), "nothing waits");
        assert!(judged(turn(3, 8, true)).is_ok(), "one was settled");
        assert!(judged(turn(3, 7, false)).is_ok(), "there is no broker");
    }
}
