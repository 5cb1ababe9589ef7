//! [`EtaQueue`]: requests whose time has not come, by time.
//!
//! A request with time to spare is put on a [`Shelf`]: only its time, its tag and a fingerprint of its id stay here, and it is
//! read again shortly before it is due. What is read is the broker's own note of what it has delivered ([`Unacked`]), or
//! where there is none, our own ([`Packed`]).

use std::{
    collections::BTreeMap,
    hash::{BuildHasher, RandomState},
    sync::Arc,
    time::{Duration, SystemTime},
};

use tokio::sync::mpsc;

use crate::{
    broker::{Delivery, Unacked},
    worker::{
        packed::Packed,
        request::Request,
        services::Report,
        shelf::{Again, Berth, OnShelf, Shelf},
    },
};

/// How long before its time a request is read again.
const AHEAD: Duration = Duration::from_secs(2);
/// Most requests that are kept whole while others wait on a shelf.
const WHOLE: usize = 2048;
/// Bytes of bodies beyond which nothing more is read ahead.
const WHOLE_BYTES: usize = 64 << 20;

/// Requests that wait for their `eta`. Owned by the dispatcher, which sleeps until [`EtaQueue::next`].
#[derive(Default)]
pub struct EtaQueue {
    whole: BTreeMap<(SystemTime, u64), Waiting>,
    /// Of the bodies in `whole`.
    bytes: usize,
    /// One for what is packed, and one for each transport that keeps what it has delivered; a fallback has its own.
    shelves: Vec<Shelf>,
    packed: Arc<Packed>,
    /// Makes fingerprints that nobody can foresee.
    hasher: RandomState,
}

/// A request whose time has come or is near.
struct Waiting {
    request: Request,
    /// Whether it has widened the window of the current connection.
    widens: bool,
}

/// What came of reading a shelf; the dispatcher hands it back to [`EtaQueue::take_off`].
pub struct FromShelf {
    shelf: usize,
    found: Vec<(Berth, Option<Delivery>)>,
}

impl std::fmt::Debug for FromShelf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("FromShelf").field("shelf", &self.shelf).field("found", &self.found.len()).finish()
    }
}

impl EtaQueue {
    /// Holds a request until `eta`: whole, if that is near.
    pub fn insert(&mut self, eta: SystemTime, request: Request, unacked: Option<&Arc<dyn Unacked>>, now: SystemTime) {
        let is_near = eta <= now + 2 * AHEAD && self.whole.len() < WHOLE / 2;
        if is_near {
            return self.keep(eta, request, true);
        }
        let fingerprint = self.fingerprint(&request.headers.id);
        let number = request.number;
        match (unacked, request.number_at_broker()) {
            (Some(unacked), Some(tag)) => {
                request.into_tag();
                self.shelf_of(unacked).insert(Berth::new(eta, tag), fingerprint);
            }
            _ => match self.packed.pack(request) {
                None => {
                    let packed: Arc<dyn Unacked> = self.packed.clone();
                    self.shelf_of(&packed).insert(Berth::new(eta, number), fingerprint);
                }
                Some(request) => self.keep(eta, request, true),
            },
        }
    }

    /// Holds a request whole until `eta`.
    pub fn keep(&mut self, eta: SystemTime, request: Request, widens: bool) {
        self.bytes += request.message.body.len();
        self.whole.insert((eta, request.number), Waiting { request, widens });
    }

    /// When the first one is due, or a shelf is to be looked at. `has_room` says whether one that is due could start.
    pub fn next(&self, has_room: bool) -> Option<SystemTime> {
        let due = self.whole.first_key_value().map(|((eta, _), _)| *eta).filter(|_| has_room);
        let reads = self.shelves.iter().filter(|_| self.may_read()).filter_map(Shelf::next);
        due.into_iter().chain(reads.map(|eta| eta - AHEAD)).min()
    }

    /// One that is due, if any, and whether it has widened the window.
    pub fn pop_due(&mut self, now: SystemTime) -> Option<(Request, bool)> {
        let entry = self.whole.first_entry()?;
        if entry.key().0 > now {
            return None;
        }
        let Waiting { request, widens } = entry.remove();
        self.bytes -= request.message.body.len();
        Some((request, widens))
    }

    /// Begins to read what will soon be due. What is found comes as a report.
    pub fn read_ahead(&mut self, now: SystemTime, reports: &mpsc::UnboundedSender<Report>) {
        if !self.may_read() {
            return;
        }
        for (index, shelf) in self.shelves.iter_mut().enumerate() {
            let reports = reports.clone();
            shelf.read(now + AHEAD, move |found| {
                // No receiver means that the dispatcher has ended.
                let _ = reports.send(Report::FromShelf(FromShelf { shelf: index, found }));
            });
        }
    }

    /// Takes what was read off its shelf. What has been cleared meanwhile is not given back.
    pub fn take_off(&mut self, read: FromShelf) -> Vec<Again> {
        match self.shelves.get_mut(read.shelf) {
            Some(shelf) => shelf.take_off(read.found),
            None => Vec::new(),
        }
    }

    /// What waits by now belongs to an earlier connection.
    pub fn begin_session(&mut self) {
        self.whole.values_mut().for_each(|waiting| waiting.widens = false);
        self.shelves.iter_mut().for_each(Shelf::begin_session);
    }

    /// Gives up all of them; their messages are left to the broker.
    pub fn clear(&mut self) {
        for waiting in self.whole.values_mut() {
            waiting.request.leave();
        }
        self.whole.clear();
        self.bytes = 0;
        self.shelves.iter_mut().for_each(Shelf::clear);
    }

    /// What is held whole, soonest first.
    pub fn iter(&self) -> impl Iterator<Item = (SystemTime, &Request)> {
        self.whole.iter().map(|((eta, _), waiting)| (*eta, &waiting.request))
    }

    /// How many wait.
    pub fn len(&self) -> usize {
        self.whole.len() + self.shelves.iter().map(Shelf::len).sum::<usize>()
    }

    /// What is on shelves, the soonest `limit` of each.
    pub fn on_shelves(&self, limit: usize) -> Vec<OnShelf> {
        self.shelves.iter().map(|shelf| shelf.soonest(limit)).collect()
    }

    /// What may be one of these tasks on shelves.
    pub fn on_shelves_by_id(&self, ids: &[String]) -> Vec<OnShelf> {
        let fingerprints: Vec<u64> = ids.iter().map(|id| self.fingerprint(id)).collect();
        self.shelves.iter().map(|shelf| shelf.with_fingerprint(&fingerprints)).collect()
    }

    /// Whether a task waits. On a shelf, its fingerprint counts.
    pub fn contains(&self, id: &str) -> bool {
        let fingerprint = self.fingerprint(id);
        self.iter().any(|(_, request)| *request.headers.id == *id)
            || self.shelves.iter().any(|shelf| !shelf.with_fingerprint(&[fingerprint]).tags.is_empty())
    }

    fn may_read(&self) -> bool {
        self.whole.len() < WHOLE && self.bytes < WHOLE_BYTES
    }

    fn fingerprint(&self, id: &str) -> u64 {
        self.hasher.hash_one(id)
    }

    fn shelf_of(&mut self, unacked: &Arc<dyn Unacked>) -> &mut Shelf {
        let known = self.shelves.iter().position(|shelf| shelf.is_of(unacked));
        let index = known.unwrap_or_else(|| {
            self.shelves.push(Shelf::new(unacked.clone()));
            self.shelves.len() - 1
        });
        &mut self.shelves[index]
    }
}
