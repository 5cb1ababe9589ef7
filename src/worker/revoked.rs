//! [`Revoked`]: which tasks are not to be run, by id and by stamp (`celery/worker/state.py`).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    protocol::{TaskHeaders, repr::repr},
    serialization::{Map, Value},
};

/// Ids kept at most; the oldest go first (`CELERY_WORKER_REVOKES_MAX`).
pub const REVOKES_MAX: usize = 50_000;
/// How long an id is kept once there are too many, or when asked (`CELERY_WORKER_REVOKE_EXPIRES`).
pub const REVOKE_EXPIRES: Duration = Duration::from_secs(10_800);

/// The revoked ids and stamps of this worker. Owned by the dispatcher.
#[derive(Debug)]
pub struct Revoked {
    ids: HashMap<String, Instant>,
    order: VecDeque<(String, Instant)>,
    stamps: Map,
    max: usize,
    expires: Duration,
}

impl Default for Revoked {
    fn default() -> Self {
        Self::new(REVOKES_MAX, REVOKE_EXPIRES)
    }
}

impl Revoked {
    /// At most `max` ids, each for at least `expires`.
    pub fn new(max: usize, expires: Duration) -> Self {
        Self { ids: HashMap::new(), order: VecDeque::new(), stamps: Map::new(), max, expires }
    }

    /// Whether a task is revoked by its id.
    pub fn contains(&self, id: &str) -> bool {
        !self.ids.is_empty() && self.ids.contains_key(id)
    }

    /// Revokes a task; again if it was.
    pub fn insert(&mut self, id: impl Into<String>, now: Instant) {
        let id = id.into();
        self.ids.insert(id.clone(), now);
        self.order.push_back((id, now));
        self.purge(now);
    }

    /// Revokes every task stamped with one of these values.
    pub fn insert_stamp(&mut self, header: &str, values: Vec<Value>) {
        let known = self.stamps.entry(header.to_owned()).or_insert_with(|| Value::List(Vec::new()));
        if let Value::List(known) = known {
            let fresh: Vec<Value> = values.into_iter().filter(|value| !known.contains(value)).collect();
            known.extend(fresh);
        }
    }

    /// The ids, oldest first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.order.iter().filter(|(id, at)| self.ids.get(id) == Some(at)).map(|(id, _)| id.as_str())
    }

    /// The first stamp of a task that is revoked, as Python shows `{name: value}`.
    pub fn matching_stamp(&self, headers: &TaskHeaders) -> Option<String> {
        if self.stamps.is_empty() {
            return None;
        }
        let stamps = headers.stamps.as_map()?;
        headers.stamped_headers.as_deref()?.iter().find_map(|name| {
            let revoked = self.stamps.get(name)?.as_list()?;
            let stamp = stamps.get(name)?;
            let values = stamp.as_list().unwrap_or(std::slice::from_ref(stamp));
            let hit = values.iter().find(|value| revoked.contains(value))?;
            Some(repr(&Value::Map(Map::from_iter([(name.clone(), hit.clone())]))))
        })
    }

    fn purge(&mut self, now: Instant) {
        while self.order.len() > self.max {
            let Some((_, at)) = self.order.front() else { return };
            let stale = self.ids.len() > self.max || now.duration_since(*at) > self.expires;
            let superseded = self.order.front().is_some_and(|(id, at)| self.ids.get(id) != Some(at));
            if !stale && !superseded {
                return;
            }
            if let Some((id, at)) = self.order.pop_front()
                && self.ids.get(&id) == Some(&at)
            {
                self.ids.remove(&id);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut revoked = Revoked::new(2, Duration::from_secs(60));
        let now = Instant::now();
        for id in ["a", "b", "c"] {
            revoked.insert(id, now);
        }
        assert!(!revoked.contains("a") && revoked.contains("b") && revoked.contains("c"));
        assert_eq!(revoked.ids().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn a_stamp_matches_a_value_or_any_of_a_list() {
        let mut revoked = Revoked::default();
        revoked.insert_stamp("customer", vec!["x".into()]);
        let stamped = |value: Value| TaskHeaders {
            stamped_headers: Some(vec!["customer".to_owned()]),
            stamps: Value::Map(Map::from_iter([("customer".to_owned(), value)])),
            ..TaskHeaders::default()
        };
        assert_eq!(revoked.matching_stamp(&stamped("x".into())).as_deref(), Some("{'customer': 'x'}"));
        assert_eq!(revoked.matching_stamp(&stamped(vec!["y", "x"].into())).as_deref(), Some("{'customer': 'x'}"));
        assert_eq!(revoked.matching_stamp(&stamped("y".into())), None);
        assert_eq!(revoked.matching_stamp(&TaskHeaders::default()), None);
    }
}
