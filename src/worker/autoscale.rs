//! [`Autoscaler`]: how many children there should be, as arithmetic (`celery/worker/autoscale.py`).
//!
//! It is asked for each request that goes to the pool, which is when more children may be needed, and from time to time,
//! which is when there may be too many. What it says is done by the dispatcher.

use std::time::{Duration, Instant};

/// `--autoscale max,min`, and how patient to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct AutoscaleRange {
    /// Most children.
    pub max: usize,
    /// Fewest children; may be none.
    pub min: usize,
    /// `AUTOSCALE_KEEPALIVE`: how long it must have been quiet before there are fewer. Default 30 s.
    pub keepalive: Duration,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scale {
    /// So many children more.
    Up(usize),
    /// So many fewer.
    Down(usize),
}

/// Owned by the dispatcher.
#[derive(Debug)]
pub struct Autoscaler {
    range: AutoscaleRange,
    /// When children were last added or a request last came in: whichever is later.
    last_active: Option<Instant>,
    next_look: Instant,
}

impl Autoscaler {
    /// Nothing has come in yet.
    pub fn new(range: AutoscaleRange, now: Instant) -> Self {
        Self { range, last_active: None, next_look: now + range.keepalive }
    }

    /// Between how many and how many.
    pub fn range(&self) -> AutoscaleRange {
        self.range
    }

    /// Changes the range, by remote control.
    pub fn set_range(&mut self, max: usize, min: usize) {
        (self.range.max, self.range.min) = (max, min);
    }

    /// When to ask again, even if nothing comes in.
    pub fn next_look(&self) -> Instant {
        self.next_look
    }

    /// A request has come in.
    pub fn received(&mut self, now: Instant) {
        self.last_active = Some(now);
    }

    /// What to do with so many `processes` and a quantity `qty` of requests that wait for them or run in them.
    pub fn decide(&mut self, qty: usize, processes: usize, now: Instant) -> Option<Scale> {
        if self.next_look <= now {
            self.next_look = now + self.range.keepalive;
        }
        let wanted = qty.min(self.range.max);
        if wanted > processes {
            self.last_active = Some(now);
            return Some(Scale::Up(wanted - processes));
        }
        let surplus = processes.saturating_sub(qty.max(self.range.min));
        let quiet = self.last_active.is_some_and(|last| now.saturating_duration_since(last) > self.range.keepalive);
        (surplus > 0 && quiet).then_some(Scale::Down(surplus))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEEPALIVE: Duration = Duration::from_secs(30);

    #[test]
    fn children_come_at_once_and_go_when_it_has_been_quiet() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut scaler = Autoscaler::new(AutoscaleRange { max: 4, min: 1, keepalive: KEEPALIVE }, start);
        assert_eq!(scaler.decide(0, 4, after(100)), None, "nothing has come in yet");
        scaler.received(after(100));
        assert_eq!(scaler.decide(1, 1, after(100)), None);
        assert_eq!(scaler.decide(3, 1, after(101)), Some(Scale::Up(2)));
        assert_eq!(scaler.decide(9, 3, after(102)), Some(Scale::Up(1)));
        assert_eq!(scaler.decide(9, 4, after(103)), None);
        assert_eq!(scaler.decide(2, 4, after(132)), None);
        assert_eq!(scaler.decide(2, 4, after(133)), Some(Scale::Down(2)));
        assert_eq!(scaler.decide(0, 2, after(134)), Some(Scale::Down(1)));
        assert_eq!(scaler.decide(0, 1, after(135)), None);
        scaler.received(after(140));
        assert_eq!(scaler.decide(0, 3, after(141)), None);
    }

    #[test]
    fn it_is_looked_at_once_in_a_while() {
        let start = Instant::now();
        let mut scaler = Autoscaler::new(AutoscaleRange { max: 4, min: 0, keepalive: KEEPALIVE }, start);
        assert_eq!(scaler.next_look(), start + KEEPALIVE);
        scaler.decide(0, 0, start + KEEPALIVE / 2);
        assert_eq!(scaler.next_look(), start + KEEPALIVE);
        scaler.decide(0, 0, start + KEEPALIVE);
        assert_eq!(scaler.next_look(), start + 2 * KEEPALIVE);
    }
}
