//! Who takes whose place: the spare child that is forked before the old one retires.
//!
//! A spare belongs to one child, whose place (`index`) it has: apps divide their devices by that number. It initialises
//! itself while the old one still works, stands by, and takes jobs once the old one has been told to leave, so that there
//! are never more at work than there are places. None is forked long before it is needed: it holds memory and perhaps
//! connections.

use std::time::Duration;

use tokio::time::Instant;
use tracing::debug;

use super::child::{Child, Serial};
use super::supervisor::Supervisor;

/// How long before the expected end of the old child the spare is asked for, at least.
const LEAD: Duration = Duration::from_secs(1);
/// So many times as long as children have taken to come up.
const STARTS: u32 = 2;
/// Weight of the newest measurement, as one part of so many.
const WEIGHT: u32 = 4;

/// How long children take to come up.
#[derive(Debug, Default)]
pub(super) struct StartUp(Duration);

impl StartUp {
    /// One has come up.
    pub(super) fn observe(&mut self, took: Duration) {
        self.0 = if self.0.is_zero() { took } else { (self.0 * (WEIGHT - 1) + took) / WEIGHT };
    }

    /// How long before it is needed a spare is asked for.
    fn lead(&self) -> Duration {
        LEAD.max(self.0.saturating_mul(STARTS))
    }
}

impl Supervisor {
    /// Has spares forked for the children that will soon have done their share of tasks.
    pub(super) fn prepare_successors(&mut self, now: Instant) {
        if self.stopping || self.zygote.is_none() || self.options.max_tasks_per_child.is_none() {
            return;
        }
        let lead = self.start_up.lead();
        let due = |child: &Child| child.expected_end().map_or(now, |end| end.checked_sub(lead).unwrap_or(now));
        let spent = self.roster.iter().filter(|child| child.is_spent() && !self.roster.has_successor(child.serial));
        let dues: Vec<(Instant, Serial, u32)> = spent.map(|child| (due(child), child.serial, child.index)).collect();
        for (due, serial, index) in dues {
            if due > now {
                self.wake(due);
            } else if let Err(error) = self.fork(index, Some(serial), now) {
                // It is asked for again soon; when the old one has left, the place is filled, or it is told why not.
                return debug!(target: "celery.concurrency.prefork", "cannot ask for a spare child: {error}");
            }
        }
    }

    /// Those whose predecessors have left take their places.
    pub(super) fn promote_successors(&mut self) {
        let standing: Vec<Serial> =
            self.roster.iter().filter(|child| child.counts()).map(|child| child.serial).collect();
        let waits = |child: &&mut Child| child.succeeds.is_some_and(|before| !standing.contains(&before));
        self.roster.iter_mut().filter(waits).for_each(|child| child.succeeds = None);
    }

    /// Gives up so many places: those of idle children first, at once; a busy one leaves when it has ended what it has begun.
    pub(super) fn shrink(&mut self, count: usize) {
        let mut standing: Vec<(bool, Serial)> =
            self.roster.iter().filter(|child| child.counts()).map(|child| (child.begun > 0, child.serial)).collect();
        standing.sort_by_key(|(busy, _)| *busy);
        let leaving: Vec<Serial> = standing.into_iter().take(count).map(|(_, serial)| serial).collect();
        let goes = |child: &&mut Child| leaving.contains(&child.succeeds.unwrap_or(child.serial));
        for child in self.roster.iter_mut().filter(goes) {
            child.is_surplus = true;
            child.succeeds = None;
            child.retire();
            child.leave_if_done();
        }
        self.places -= count.min(self.places);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spares_are_asked_for_earlier_where_children_are_slow() {
        let mut start_up = StartUp::default();
        assert_eq!(start_up.lead(), LEAD);
        start_up.observe(Duration::from_secs(20));
        assert_eq!(start_up.lead(), Duration::from_secs(40));
        start_up.observe(Duration::from_secs(4));
        assert_eq!(start_up.lead(), Duration::from_secs(32));
    }
}
