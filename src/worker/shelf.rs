//! [`Shelf`]: deliveries that wait for their time at the broker, in a few bytes each.

use std::{
    collections::BTreeMap,
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use tokio_util::task::AbortOnDropHandle;

use crate::broker::{Delivery, Unacked};

/// Deliveries read at a time.
const AT_A_TIME: usize = 250;

/// A place on a shelf: microseconds since the epoch, and the delivery's tag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Berth(i64, u64);

impl Berth {
    /// The place of a delivery that waits for `eta`.
    pub fn new(eta: SystemTime, tag: u64) -> Self {
        let micros = |span: Duration| i64::try_from(span.as_micros()).unwrap_or(i64::MAX);
        let at = eta.duration_since(UNIX_EPOCH).map_or_else(|before| -micros(before.duration()), micros);
        Self(at, tag)
    }

    fn eta(self) -> SystemTime {
        let span = Duration::from_micros(self.0.unsigned_abs());
        let at = if self.0 < 0 { UNIX_EPOCH.checked_sub(span) } else { UNIX_EPOCH.checked_add(span) };
        at.unwrap_or(UNIX_EPOCH)
    }
}

/// What a transport holds for us.
pub struct Shelf {
    unacked: Arc<dyn Unacked>,
    /// With fingerprints of the tasks' ids.
    waiting: BTreeMap<Berth, u64>,
    /// The newest tag of the connections before the current one, and of all.
    earlier: u64,
    newest: u64,
    /// What is being read; it stays in `waiting` until it has come.
    reading: Option<AbortOnDropHandle<()>>,
}

/// A delivery that was read again, with the right to settle it.
pub struct Again {
    /// The delivery; none if the broker has taken it back.
    pub delivery: Option<Delivery>,
    /// Whether it has widened the window of the current connection.
    pub widens: bool,
}

/// Where a request is that can be asked for again.
pub struct OnShelf {
    /// Reads it.
    pub unacked: Arc<dyn Unacked>,
    /// Its tags, soonest first.
    pub tags: Vec<u64>,
}

impl Shelf {
    /// An empty one.
    pub fn new(unacked: Arc<dyn Unacked>) -> Self {
        Self { unacked, waiting: BTreeMap::new(), earlier: 0, newest: 0, reading: None }
    }

    /// Whether it is this broker's.
    pub fn is_of(&self, unacked: &Arc<dyn Unacked>) -> bool {
        Arc::ptr_eq(&self.unacked, unacked)
    }

    /// Puts a delivery on it.
    pub fn insert(&mut self, berth: Berth, fingerprint: u64) {
        self.newest = self.newest.max(berth.1);
        self.waiting.insert(berth, fingerprint);
    }

    /// When the first one is due that is not being read.
    pub fn next(&self) -> Option<SystemTime> {
        if self.reading.is_some() {
            return None;
        }
        self.waiting.first_key_value().map(|(berth, _)| berth.eta())
    }

    /// Begins to read those that are due until then, unless there is none or some are being read.
    pub fn read(&mut self, until: SystemTime, done: impl FnOnce(Vec<(Berth, Option<Delivery>)>) + Send + 'static) {
        if self.next().is_none_or(|eta| eta > until) {
            return;
        }
        let last = Berth::new(until, u64::MAX);
        let berths: Vec<Berth> = self.waiting.range(..=last).take(AT_A_TIME).map(|(berth, _)| *berth).collect();
        let unacked = self.unacked.clone();
        self.reading = Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let deliveries = unacked.read(berths.iter().map(|berth| berth.1).collect()).await;
            done(berths.into_iter().zip(deliveries).collect());
        })));
    }

    /// Takes off what was read.
    pub fn take_off(&mut self, found: Vec<(Berth, Option<Delivery>)>) -> Vec<Again> {
        self.reading = None;
        let mut taken = Vec::with_capacity(found.len());
        for (berth, delivery) in found {
            if self.waiting.remove(&berth).is_none() {
                continue;
            }
            let acker = self.unacked.acker(berth.1);
            let delivery = match delivery {
                Some(delivery) => Some(Delivery { acker, ..delivery }),
                None => {
                    // There is nothing left to settle: only our own books are to forget it.
                    acker.ack();
                    None
                }
            };
            taken.push(Again { delivery, widens: berth.1 > self.earlier });
        }
        taken
    }

    /// What waits by now belongs to an earlier connection.
    pub fn begin_session(&mut self) {
        self.earlier = self.newest;
    }

    /// Leaves all of them to the broker.
    pub fn clear(&mut self) {
        self.reading = None;
        for (berth, _) in std::mem::take(&mut self.waiting) {
            self.unacked.acker(berth.1).leave();
        }
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.waiting.len()
    }

    /// The soonest of them.
    pub fn soonest(&self, limit: usize) -> OnShelf {
        let tags = self.waiting.keys().take(limit).map(|berth| berth.1).collect();
        OnShelf { unacked: self.unacked.clone(), tags }
    }

    /// Those that may be one of the tasks with these fingerprints.
    pub fn with_fingerprint(&self, fingerprints: &[u64]) -> OnShelf {
        let meant = self.waiting.iter().filter(|(_, fingerprint)| fingerprints.contains(fingerprint));
        OnShelf { unacked: self.unacked.clone(), tags: meant.map(|(berth, _)| berth.1).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_berth_keeps_its_time_to_the_microsecond() {
        for micros in [0, 1, 1_700_000_000_123_456] {
            let (later, earlier) =
                (UNIX_EPOCH + Duration::from_micros(micros), UNIX_EPOCH - Duration::from_micros(micros));
            assert_eq!((Berth::new(later, 1).eta(), Berth::new(earlier, 1).eta()), (later, earlier));
            assert!(Berth::new(earlier, 1) <= Berth::new(later, 1));
        }
    }
}
