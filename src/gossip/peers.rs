//! [`Peers`]: the other workers, as their events tell of them (`celery/events/state.py`, as far as gossip uses it).
//!
//! It hears and forgets; what is said of it in the log is [`Gossip`](crate::gossip::Gossip)'s.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use indexmap::IndexMap;
use tokio::time::Instant;

use crate::serialization::{Map, Value};

/// Of a node that has not said how often its heart beats.
const FREQ: Duration = Duration::from_secs(60);
/// How many times its frequency a node may be silent.
const WINDOW: u32 = 2;
/// Seconds between a node's wall clock and ours that are worth a word.
const MOST_DRIFT: u64 = 16;
/// Nodes known at most; beyond it the one known longest is forgotten.
const MOST: usize = 5000;

/// The other workers.
#[derive(Debug, Default)]
pub struct Peers {
    nodes: IndexMap<String, Peer>,
}

#[derive(Debug)]
struct Peer {
    freq: Duration,
    /// None until an event had a time.
    heard: Option<Instant>,
    drifts: bool,
}

/// What an event has changed.
#[derive(Debug, PartialEq, Eq)]
pub enum Change {
    /// It was not known, or says that it has just come.
    Joined,
    /// It says that it goes.
    Left,
}

/// Wall clocks that are apart: told of once for each node.
#[derive(Debug, PartialEq)]
pub struct Drift {
    /// In seconds.
    pub seconds: u64,
    /// What the node's clock said when it sent the event.
    pub theirs: f64,
    /// What ours said when it came.
    pub ours: f64,
}

impl Peers {
    /// Takes note of a worker event of another node.
    pub fn hear(&mut self, node: &str, event: &Map, now: Instant, wall: SystemTime) -> (Option<Change>, Option<Drift>) {
        let kind = event.get("type").and_then(Value::as_str).unwrap_or_default();
        let Some(timestamp) = event.get("timestamp").and_then(Value::as_f64) else { return (None, None) };
        if kind == "worker-offline" {
            self.nodes.shift_remove(node);
            return (Some(Change::Left), None);
        }
        let is_new = !self.nodes.contains_key(node);
        if is_new && self.nodes.len() >= MOST {
            self.nodes.shift_remove_index(0);
        }
        let peer = self.nodes.entry(node.to_owned()).or_insert(Peer { freq: FREQ, heard: None, drifts: false });
        if let Some(freq) = event.get("freq").and_then(Value::as_f64) {
            peer.freq = Duration::try_from_secs_f64(freq).unwrap_or(FREQ);
        }
        peer.heard = Some(now);
        let drift = drift(timestamp, wall).filter(|_| !std::mem::replace(&mut peer.drifts, true));
        ((is_new || kind == "worker-online").then_some(Change::Joined), drift)
    }

    /// Forgets those of whom nothing was heard for too long; their names.
    pub fn lose(&mut self, now: Instant) -> Vec<String> {
        let mut lost = Vec::new();
        self.nodes.retain(|name, peer| {
            let alive = peer.is_alive(now);
            if !alive {
                lost.push(name.clone());
            }
            alive
        });
        lost
    }

    /// How many there seem to be.
    pub fn alive(&self, now: Instant) -> usize {
        self.nodes.values().filter(|peer| peer.is_alive(now)).count()
    }
}

impl Peer {
    fn is_alive(&self, now: Instant) -> bool {
        self.heard.is_some_and(|heard| now.saturating_duration_since(heard) < self.freq.saturating_mul(WINDOW))
    }
}

fn drift(theirs: f64, wall: SystemTime) -> Option<Drift> {
    let ours = wall.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
    let seconds = (ours.trunc() - theirs.trunc()).abs() as u64;
    (seconds > MOST_DRIFT).then_some(Drift { seconds, theirs, ours })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(kind: &str, timestamp: f64, freq: f64) -> Map {
        let fields = [("type", Value::from(kind)), ("timestamp", timestamp.into()), ("freq", freq.into())];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }

    #[test]
    fn nodes_come_and_go() {
        let (mut peers, start, wall) = (Peers::default(), Instant::now(), UNIX_EPOCH + Duration::from_secs(1000));
        let hear =
            |node: &str, kind: &str, peers: &mut Peers| peers.hear(node, &event(kind, 1000.5, 2.0), start, wall).0;
        assert_eq!(hear("a@x", "worker-heartbeat", &mut peers), Some(Change::Joined));
        assert_eq!(hear("a@x", "worker-heartbeat", &mut peers), None);
        assert_eq!(hear("a@x", "worker-online", &mut peers), Some(Change::Joined));
        assert_eq!(hear("b@x", "worker-online", &mut peers), Some(Change::Joined));
        assert_eq!(peers.alive(start), 2);
        assert_eq!(hear("b@x", "worker-offline", &mut peers), Some(Change::Left));
        assert_eq!(peers.alive(start + Duration::from_millis(3999)), 1);
        assert_eq!(peers.lose(start + Duration::from_secs(4)), ["a@x"]);
        assert_eq!(peers.alive(start), 0);
    }

    #[test]
    fn what_nodes_say_of_themselves_is_not_trusted() {
        let (mut peers, start, wall) = (Peers::default(), Instant::now(), UNIX_EPOCH + Duration::from_secs(1000));
        for freq in [f64::NAN, -1.0, f64::INFINITY] {
            peers.hear("a@x", &event("worker-heartbeat", 1000.0, freq), start, wall);
            assert_eq!(peers.alive(start + FREQ), 1);
        }
        assert_eq!(peers.hear("c@x", &Map::new(), start, wall), (None, None));
        for number in 0..MOST + 10 {
            peers.hear(&number.to_string(), &event("worker-heartbeat", 1000.0, 2.0), start, wall);
        }
        assert_eq!(peers.alive(start), MOST);
    }

    #[test]
    fn a_clock_that_is_wrong_is_told_of_once() {
        let (mut peers, start, wall) = (Peers::default(), Instant::now(), UNIX_EPOCH + Duration::from_secs(1000));
        let mut hear = |timestamp| peers.hear("a@x", &event("worker-heartbeat", timestamp, 2.0), start, wall).1;
        assert_eq!(hear(984.0), None);
        assert_eq!(hear(900.0).map(|drift| drift.seconds), Some(100));
        assert_eq!(hear(900.0), None);
    }
}
