//! [`Roster`]: the children, and which of them gets the next job.

use std::time::Duration;

use tokio::time::Instant;

use super::child::{Child, Life, Serial};
use super::outbox::Outbox;

/// Queued work that is worth a round trip to give it to an idle child.
const WORTH_STEALING: Duration = Duration::from_millis(1);

/// Jobs this short cost less than waking a child for them.
const TINY: Duration = Duration::from_micros(300);

/// Tiny jobs of this much work go to one child in a row: neighbours in the queue then begin together, and their deliveries
/// can be acknowledged by one frame.
const RUN: Duration = Duration::from_micros(250);

/// All children that are not buried yet; the supervisor's.
#[derive(Debug)]
pub(super) struct Roster {
    children: Vec<Child>,
    /// Seats of each child.
    pub(super) seats: usize,
    /// As many children can really run at once.
    processors: usize,
    /// Who was chosen last, and for how much work in a row.
    last: Option<(Serial, Duration)>,
}

impl Roster {
    pub(super) fn new(seats: usize) -> Self {
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        Self { children: Vec::new(), seats, processors, last: None }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.children.is_empty()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Child> {
        self.children.iter()
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Child> {
        self.children.iter_mut()
    }

    pub(super) fn add(&mut self, child: Child) {
        self.children.push(child);
    }

    pub(super) fn remove(&mut self, serial: Serial) -> Option<Child> {
        let place = self.children.iter().position(|child| child.serial == serial)?;
        Some(self.children.remove(place))
    }

    pub(super) fn child(&mut self, serial: Serial) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.serial == serial)
    }

    pub(super) fn by_pid(&mut self, pid: i32) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.pid == pid)
    }

    /// The child that a `Forked` of this place speaks of: zygotes answer in order.
    pub(super) fn forking(&mut self, index: u32) -> Option<&mut Child> {
        self.children
            .iter_mut()
            .find(|child| child.pid == 0 && child.index == index && !child.orphaned && !child.is_old)
    }

    /// Who has this job, begun or not.
    pub(super) fn holder(&mut self, number: u64) -> Option<&mut Child> {
        self.children.iter_mut().find(|child| child.given.iter().any(|ticket| ticket.job.number == number))
    }

    /// How many places are taken.
    pub(super) fn places(&self) -> usize {
        self.children.iter().filter(|child| child.counts()).count()
    }

    /// Whether another child stands by to take this one's place.
    pub(super) fn has_successor(&self, serial: Serial) -> bool {
        self.children.iter().any(|child| child.succeeds == Some(serial))
    }

    /// The lowest place that no one stands for or still works in.
    pub(super) fn free_index(&self) -> u32 {
        let holds = |child: &Child| child.counts() || !child.given.is_empty();
        let taken = |index: &u32| self.children.iter().any(|child| holds(child) && child.index == *index);
        (0..).find(|index| !taken(index)).unwrap_or_default()
    }

    /// Who gets the next job: the idlest of those with a free seat, else the least busy of those that take jobs ahead. Once
    /// every processor has a child to run, tiny jobs gather where they will have begun within a millisecond: waking one more
    /// child for each would take longer.
    pub(super) fn choose(&mut self, estimate: Duration, now: Instant) -> Option<&mut Child> {
        let (place, run) = match self.runs_on(estimate, now) {
            Some((place, run)) => (place, run),
            None => (self.choose_anew(estimate, now)?, estimate),
        };
        let child = self.children.get_mut(place)?;
        self.last = Some((child.serial, run));
        Some(child)
    }

    /// Where the last one went, with the work in a row that this makes.
    fn runs_on(&self, estimate: Duration, now: Instant) -> Option<(usize, Duration)> {
        let (serial, run) = self.last?;
        let run = run.checked_add(estimate).filter(|run| estimate <= TINY && *run <= RUN)?;
        let place = self.children.iter().position(|child| child.serial == serial)?;
        self.children[place].takes_ahead(estimate, self.seats, now).then_some((place, run))
    }

    fn choose_anew(&self, estimate: Duration, now: Instant) -> Option<usize> {
        let seats = self.seats;
        let idle = self.children.iter().enumerate().filter(|(_, child)| child.idle_seats(seats) > 0);
        let idle = idle.min_by_key(|(_, child)| child.given.len()).map(|(place, _)| place);
        let ahead = || self.least_busy(estimate, now);
        match idle {
            Some(_) if self.gathers(estimate) => {
                ahead().filter(|(_, child)| child.work < WORTH_STEALING).map(|(place, _)| place).or(idle)
            }
            None => ahead().map(|(place, _)| place),
            idle => idle,
        }
    }

    fn least_busy(&self, estimate: Duration, now: Instant) -> Option<(usize, &Child)> {
        let ahead = self.children.iter().enumerate().filter(|(_, child)| child.takes_ahead(estimate, self.seats, now));
        ahead.min_by_key(|(_, child)| (child.work, child.given.len()))
    }

    fn gathers(&self, estimate: Duration) -> bool {
        let busy = self.children.iter().filter(|child| child.idle_seats(self.seats) == 0 && child.counts()).count();
        estimate <= TINY && busy >= self.processors
    }

    pub(super) fn has_idle_seat(&self) -> bool {
        self.children.iter().any(|child| child.idle_seats(self.seats) > 0)
    }

    /// Whether any job waits in a child behind another.
    pub(super) fn has_ahead(&self) -> bool {
        self.children.iter().any(|child| child.ahead(self.seats) > 0)
    }

    /// For an idle seat when nothing waits elsewhere: half of what waits in the child with most of it, if that is worth it.
    pub(super) fn steal(&mut self) {
        let seats = self.seats;
        let rich = |child: &&mut Child| child.ahead(seats) > 0 && child.work >= WORTH_STEALING;
        let Some(child) = self.children.iter_mut().filter(rich).max_by_key(|child| child.work) else {
            return;
        };
        if child.given.iter().all(|ticket| ticket.begun.is_some() || !ticket.recalled) {
            child.recall(child.ahead(seats).div_ceil(2));
        }
    }

    /// How many take jobs, or work on their last.
    pub(super) fn up(&self) -> usize {
        self.children.iter().filter(|child| matches!(child.life, Life::Ready | Life::Retiring)).count()
    }

    /// Process ids of those that stand for a place.
    pub(super) fn pids(&self) -> Vec<i32> {
        self.children.iter().filter(|child| child.counts() && child.pid != 0).map(|child| child.pid).collect()
    }

    /// Writes all that has gathered.
    pub(super) fn flush(&mut self) {
        self.children.iter_mut().map(|child| &mut child.outbox).for_each(Outbox::flush);
    }
}
