//! [`Elections`]: which of the nodes that were called together does what is to be done once
//! (`celery/worker/consumer/gossip.py`).
//!
//! Every node that hears the call stands, with the time of its logical clock; each of the others acknowledges each of them.
//! Who stood first is elected once there are as many acknowledgements as other nodes. All hear the same, so all agree.

use indexmap::IndexMap;

use crate::{
    protocol::repr::repr,
    serialization::{Map, Value},
};

/// Elections remembered at most: one that is never decided must not stay for ever.
const MOST: usize = 1000;
/// Nodes that stand for one of them at most.
const MOST_CANDIDATES: usize = 10_000;

/// A node that stands.
#[derive(Debug, Clone, PartialEq)]
pub struct Candidate {
    clock: i64,
    /// Node name and process, `host.pid`.
    pub node: String,
    /// What kind of thing is to be done.
    pub topic: Value,
    /// What is to be done.
    pub action: Value,
}

impl Candidate {
    /// Of a `worker-elect` event.
    ///
    /// # Errors
    /// The field that it lacks, as Python shows it.
    pub fn of_event(event: &Map) -> Result<(Value, Self), String> {
        let field = |name: &str| event.get(name).cloned().ok_or_else(|| repr(&name.into()));
        let (id, clock) = (field("id")?, field("clock")?.as_i64().unwrap_or_default());
        let (hostname, pid) = (text(&field("hostname")?), text(&field("pid")?));
        let (topic, action) = (field("topic")?, field("action")?);
        field("cver")?;
        Ok((id, Self { clock, node: format!("{hostname}.{pid}"), topic, action }))
    }
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| repr(value), str::to_owned)
}

/// The elections under way, by their ids as Python shows them.
#[derive(Debug, Default)]
pub struct Elections {
    /// Those that this node was called to, with the acknowledgements so far.
    called: IndexMap<String, usize>,
    candidates: IndexMap<String, Vec<Candidate>>,
}

impl Elections {
    /// This node was called to an election.
    pub fn call(&mut self, id: &Value) {
        bound(&mut self.called);
        self.called.insert(repr(id), 0);
    }

    /// A node stands.
    pub fn stand(&mut self, id: &Value, candidate: Candidate) {
        let id = repr(id);
        if !self.candidates.contains_key(&id) {
            bound(&mut self.candidates);
        }
        let candidates = self.candidates.entry(id).or_default();
        if candidates.len() < MOST_CANDIDATES {
            candidates.push(candidate);
        }
    }

    /// A node has heard of one that stands. With as many of these as there are other nodes the election is decided.
    pub fn acknowledge(&mut self, id: &Value, others: usize) -> Option<Candidate> {
        let id = repr(id);
        let acknowledged = self.called.get_mut(&id)?;
        *acknowledged += 1;
        if *acknowledged < others || !self.candidates.contains_key(&id) {
            return None;
        }
        self.called.shift_remove(&id);
        let candidates = self.candidates.shift_remove(&id)?;
        candidates.into_iter().min_by(|a, b| (a.clock, &a.node).cmp(&(b.clock, &b.node)))
    }
}

fn bound<T>(elections: &mut IndexMap<String, T>) {
    if elections.len() >= MOST {
        elections.shift_remove_index(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn candidate(clock: i64, node: &str) -> Candidate {
        Candidate { clock, node: node.to_owned(), topic: "task".into(), action: Value::Null }
    }

    #[test]
    fn who_stood_first_is_elected() {
        for (candidates, elected) in [
            (vec![(5, "a.1"), (4, "b.1"), (6, "c.1")], "b.1"),
            (vec![(4, "b.2"), (4, "b.1"), (4, "c.1")], "b.1"),
            (vec![(9, "alone.1")], "alone.1"),
        ] {
            let (mut elections, id) = (Elections::default(), Value::from("x"));
            elections.call(&id);
            let others = candidates.len() - 1;
            for (clock, node) in candidates {
                elections.stand(&id, candidate(clock, node));
            }
            for _ in 1..others {
                assert_eq!(elections.acknowledge(&id, others), None);
            }
            assert_eq!(elections.acknowledge(&id, others).map(|one| one.node), Some(elected.to_owned()));
            assert_eq!(elections.acknowledge(&id, others), None, "it is over");
        }
    }

    #[test]
    fn elections_of_others_are_not_ours() {
        let (mut elections, id) = (Elections::default(), Value::from("x"));
        elections.stand(&id, candidate(1, "a.1"));
        assert_eq!(elections.acknowledge(&id, 0), None);
        elections.call(&Value::from("y"));
        assert_eq!(elections.acknowledge(&Value::from("y"), 0), None, "nobody stands");
        for number in 0..2 * MOST as i64 {
            elections.call(&number.into());
            elections.stand(&number.into(), candidate(1, "a.1"));
        }
        assert!(elections.called.len() <= MOST && elections.candidates.len() <= MOST);
    }

    #[test]
    fn a_candidate_is_whole() {
        let event: Map = ["id", "clock", "hostname", "pid", "topic", "action", "cver"]
            .into_iter()
            .map(|name| (name.to_owned(), if name == "clock" { Value::Int(7) } else { name.into() }))
            .collect();
        let (id, found) = Candidate::of_event(&event).unwrap();
        assert_eq!((id, found.clock, &*found.node), (Value::from("id"), 7, "hostname.pid"));
        let lacking: Map = event.into_iter().filter(|(name, _)| name != "topic").collect();
        assert_eq!(Candidate::of_event(&lacking), Err("'topic'".to_owned()));
    }
}
