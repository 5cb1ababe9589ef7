//! [`Revoked`]: which tasks are not to be run, by id and by stamp (`celery/worker/state.py`).

use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

use crate::{
    protocol::{TaskHeaders, repr::repr},
    serialization::{Map, Value},
    worker::options::RevokedLimits,
};

/// Notes of ids that were revoked once more, beyond as many as there are ids.
const MOST_SUPERSEDED: usize = 64;

/// The revoked ids and stamps of this worker. Owned by the dispatcher.
#[derive(Debug)]
pub struct Revoked {
    ids: HashMap<String, Instant>,
    order: VecDeque<(String, Instant)>,
    stamps: Map,
    limits: RevokedLimits,
}

impl Revoked {
    /// None yet.
    pub fn new(limits: RevokedLimits) -> Self {
        Self { ids: HashMap::new(), order: VecDeque::new(), stamps: Map::new(), limits }
    }

    /// Notes what was revoked before a restart, oldest first, so many seconds ago.
    pub fn restore(&mut self, revoked: &[(String, f64)], now: Instant) {
        for (id, age) in revoked {
            let age = Duration::try_from_secs_f64(*age).unwrap_or_default();
            self.insert(id.as_str(), now.checked_sub(age).unwrap_or(now));
        }
    }

    /// The ids, oldest first, with the seconds since they were revoked.
    pub fn ages(&self, now: Instant) -> Vec<(String, f64)> {
        let current = self.order.iter().filter(|(id, at)| self.ids.get(id) == Some(at));
        current.map(|(id, at)| (id.clone(), now.saturating_duration_since(*at).as_secs_f64())).collect()
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

    /// As `LimitedSet` does it: nothing is looked at before there are `max`, not even the age.
    fn purge(&mut self, now: Instant) {
        if self.order.len() > 2 * self.ids.len() + MOST_SUPERSEDED {
            let ids = &self.ids;
            self.order.retain(|(id, at)| ids.get(id) == Some(at));
        }
        let RevokedLimits { max, expires } = self.limits;
        if max == 0 || self.ids.len() < max {
            return;
        }
        while let Some((id, at)) = self.order.front() {
            let is_current = self.ids.get(id) == Some(at);
            let is_expired = !expires.is_zero() && now.saturating_duration_since(*at) >= expires;
            if is_current && !is_expired && self.ids.len() <= max {
                return;
            }
            if is_current {
                self.ids.remove(id);
            }
            self.order.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn revoked(max: usize, expires: u64) -> Revoked {
        Revoked::new(RevokedLimits { max, expires: Duration::from_secs(expires) })
    }

    #[test]
    fn the_old_go_once_there_are_many() {
        let mut revoked = revoked(3, 60);
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        revoked.insert("a", start);
        revoked.insert("b", after(61));
        assert!(revoked.contains("a"));
        revoked.insert("c", after(62));
        assert_eq!(revoked.ids().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn without_limit_nothing_goes_but_what_is_noted_twice() {
        let mut revoked = revoked(0, 1);
        let start = Instant::now();
        for second in 0..1000 {
            revoked.insert("a", start + Duration::from_secs(second));
        }
        revoked.insert("b", start + Duration::from_secs(1000));
        assert_eq!(revoked.ids().collect::<Vec<_>>(), ["a", "b"]);
        assert!(revoked.order.len() < 100, "{}", revoked.order.len());
    }

    #[test]
    fn the_oldest_goes_when_there_are_too_many() {
        let mut revoked = revoked(2, 60);
        let now = Instant::now();
        for id in ["a", "b", "c"] {
            revoked.insert(id, now);
        }
        assert!(!revoked.contains("a") && revoked.contains("b") && revoked.contains("c"));
        assert_eq!(revoked.ids().collect::<Vec<_>>(), ["b", "c"]);
    }

    #[test]
    fn what_was_revoked_before_a_restart_keeps_its_age() {
        let mut revoked = revoked(3, 60);
        let now = Instant::now();
        revoked.restore(&[("a".to_owned(), 50.0), ("b".to_owned(), 1.0), ("c".to_owned(), f64::NAN)], now);
        let ages: Vec<(String, u64)> =
            revoked.ages(now).into_iter().map(|(id, age)| (id, age.round() as u64)).collect();
        assert_eq!(ages, [("a".to_owned(), 50), ("b".to_owned(), 1), ("c".to_owned(), 0)]);
        revoked.insert("d", now + Duration::from_secs(11));
        assert!(!revoked.contains("a") && revoked.contains("b"));
    }

    #[test]
    fn a_stamp_matches_a_value_or_any_of_a_list() {
        let mut revoked = revoked(2, 60);
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
