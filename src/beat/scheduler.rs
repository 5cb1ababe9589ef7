//! [`Scheduler`]: which entry is sent next (`celery/beat.py:Scheduler.tick`). No clock and no I/O of its own.

use std::{
    cmp::{Ordering, Reverse},
    collections::BinaryHeap,
};

use super::{LOGGER, entry::Entry, humanize::humanize, schedule::Reckoning};

/// Looks a little earlier than it has to, so that it is not late.
const DRIFT: f64 = -0.010;

/// The entries, ordered by when each is to be looked at.
#[derive(Debug)]
pub struct Scheduler {
    entries: Vec<Entry>,
    /// None until the first tick.
    heap: Option<BinaryHeap<Reverse<Event>>>,
    reckoning: Reckoning,
    max_interval: f64,
}

/// What to do now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Tick {
    /// Send an entry, tell [`Scheduler::sent`], and tick again at once.
    Send(Occurrence),
    /// Tick again in so many seconds; at once if there are none.
    Wait(f64),
}

/// An entry that is due. Its time and count have moved on already, so that a failure does not send it for ever.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Occurrence {
    entry: usize,
    next: f64,
    /// When it was sent before.
    last: i64,
}

/// When to look at an entry: seconds since the epoch, and its place.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Event {
    time: f64,
    entry: usize,
}

impl Eq for Event {}

impl PartialOrd for Event {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Event {
    fn cmp(&self, other: &Self) -> Ordering {
        self.time.total_cmp(&other.time).then(self.entry.cmp(&other.entry))
    }
}

impl Scheduler {
    /// A scheduler that has not looked at its entries yet. `max_interval` is in seconds.
    pub fn new(entries: Vec<Entry>, reckoning: Reckoning, max_interval: f64) -> Self {
        Self { entries, heap: None, reckoning, max_interval }
    }

    /// The entries as they are now.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// The entries before the first tick, for what was kept of them.
    pub fn entries_mut(&mut self) -> &mut [Entry] {
        &mut self.entries
    }

    /// The longest time between two ticks, in seconds.
    pub fn max_interval(&self) -> f64 {
        self.max_interval
    }

    /// The entry of an occurrence.
    pub fn entry(&self, occurrence: &Occurrence) -> &Entry {
        &self.entries[occurrence.entry]
    }

    /// Looks at the entry whose turn it is. `now` is in microseconds since the epoch.
    pub fn tick(&mut self, now: i64) -> Tick {
        if self.heap.is_none() {
            self.populate(now);
        }
        let Some(event) = self.first() else { return Tick::Wait(self.max_interval) };
        let early = event.time - when(now, 0.0);
        if early > 0.0 {
            return Tick::Wait(early.min(self.max_interval));
        }
        self.pop();
        let (is_due, next) = self.is_due(event.entry, now);
        if is_due {
            let entry = &mut self.entries[event.entry];
            let last = std::mem::replace(&mut entry.last_run_at, now);
            entry.total_run_count += 1;
            return Tick::Send(Occurrence { entry: event.entry, next, last });
        }
        self.push(Event { time: when(now, next), entry: event.entry });
        let is_next = self.first().is_some_and(|first| first.entry == event.entry);
        Tick::Wait(if is_next { adjusted(next).min(self.max_interval) } else { 0.0 })
    }

    /// An entry has been sent, or has failed to be.
    pub fn sent(&mut self, occurrence: Occurrence, now: i64) {
        self.push(Event { time: when(now, occurrence.next), entry: occurrence.entry });
    }

    /// An entry has not been sent, and beat ends: the next one will see to it.
    pub fn unsent(&mut self, occurrence: Occurrence) {
        let entry = &mut self.entries[occurrence.entry];
        entry.last_run_at = occurrence.last;
        entry.total_run_count = entry.total_run_count.saturating_sub(1);
    }

    fn populate(&mut self, now: i64) {
        let event = |entry| {
            let (is_due, next) = self.is_due(entry, now);
            Reverse(Event { time: when(now, if is_due { 0.0 } else { next }), entry })
        };
        self.heap = Some((0..self.entries.len()).map(event).collect());
    }

    /// An entry whose next time cannot be told does not stop the others: it is looked at again later.
    fn is_due(&self, entry: usize, now: i64) -> (bool, f64) {
        let entry = &self.entries[entry];
        match entry.schedule.is_due(entry.last_run_at, now, &self.reckoning) {
            Ok(due) => (due.is_due, due.next),
            Err(error) => {
                let again = humanize(self.max_interval, "");
                tracing::error!(target: LOGGER, "beat: Cannot calculate the next run of '{}', trying again in {again}. ({error})", entry.name);
                (false, self.max_interval)
            }
        }
    }

    fn first(&self) -> Option<Event> {
        self.heap.as_ref()?.peek().map(|Reverse(event)| *event)
    }

    fn pop(&mut self) {
        self.heap.as_mut().and_then(BinaryHeap::pop);
    }

    fn push(&mut self, event: Event) {
        self.heap.get_or_insert_default().push(Reverse(event));
    }
}

/// Seconds since the epoch, so many from now.
fn when(now: i64, next: f64) -> f64 {
    let (seconds, micros) = (now.div_euclid(1_000_000), now.rem_euclid(1_000_000));
    seconds as f64 + micros as f64 / 1e6 + adjusted(next)
}

fn adjusted(seconds: f64) -> f64 {
    if seconds > 0.0 { seconds + DRIFT } else { seconds }
}
