//! [`PredefinedQueue`]: a queue that `broker_transport_options` name by its URL, with its own ways in.

use std::{collections::BTreeMap, time::Duration};

use crate::{
    broker::{
        BrokerError,
        transport_option::{refused, seconds, text},
    },
    serialization::{Map, Value},
};

/// The option that lists them.
pub(super) const OPTION: &str = "predefined_queues";

/// One entry of `predefined_queues`.
#[derive(Clone, PartialEq, Eq, Default)]
pub struct PredefinedQueue {
    /// Its URL.
    pub url: String,
    /// Default: the transport's.
    pub region: Option<String>,
    /// Default: the broker URL's user, or what the environment has.
    pub access_key_id: Option<String>,
    /// Default: the broker URL's password, or what the environment has.
    pub secret_access_key: Option<String>,
    /// How long a rejected message stays away, by how often it was received.
    pub backoff_policy: BTreeMap<u32, Duration>,
    /// Names of the tasks that this is for.
    pub backoff_tasks: Vec<String>,
}

impl std::fmt::Debug for PredefinedQueue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PredefinedQueue").field("url", &self.url).field("region", &self.region).finish_non_exhaustive()
    }
}

impl PredefinedQueue {
    /// Reads the whole option.
    pub fn all(value: &Value) -> Result<BTreeMap<String, Self>, BrokerError> {
        if value.is_null() {
            return Ok(BTreeMap::new());
        }
        let queues = value.as_map().ok_or_else(|| refused(OPTION, "must be a dict of queues by name"))?;
        queues.iter().map(|(name, queue)| Ok((name.clone(), Self::one(name, queue)?))).collect()
    }

    /// Whether the back-off policy is to be applied to a rejected message of this task, which was received so often; the time
    /// that it then stays away, where the policy says one.
    pub fn backoff(&self, task: &str, received: u32) -> Option<Option<Duration>> {
        let applies = !self.backoff_policy.is_empty() && self.backoff_tasks.iter().any(|name| name == task);
        applies.then(|| self.backoff_policy.get(&received).copied())
    }

    fn one(name: &str, value: &Value) -> Result<Self, BrokerError> {
        let entry = value.as_map().ok_or_else(|| refused(OPTION, &format!("'{name}' must be a dict")))?;
        let url =
            entry.get("url").and_then(Value::as_str).ok_or_else(|| refused(OPTION, &format!("'{name}' has no url")))?;
        match (url.ends_with(".fifo"), name.ends_with(".fifo")) {
            (true, false) => {
                return Err(refused(OPTION, &format!("Queue with url '{url}' must have a name ending with .fifo")));
            }
            (false, true) => {
                return Err(refused(OPTION, &format!("Queue with name '{name}' is not a FIFO queue: '{url}'")));
            }
            _ => {}
        }
        Ok(Self {
            url: url.to_owned(),
            region: word(entry, "region")?,
            access_key_id: word(entry, "access_key_id")?,
            secret_access_key: word(entry, "secret_access_key")?,
            backoff_policy: entry.get("backoff_policy").map_or(Ok(BTreeMap::new()), policy)?,
            backoff_tasks: entry.get("backoff_tasks").map_or(Ok(Vec::new()), names)?,
        })
    }
}

fn word(entry: &Map, key: &str) -> Result<Option<String>, BrokerError> {
    match entry.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(value) => text(OPTION, value).map(Some),
    }
}

fn names(value: &Value) -> Result<Vec<String>, BrokerError> {
    match value {
        Value::Null => Ok(Vec::new()),
        Value::List(names) => names.iter().map(|name| text(OPTION, name)).collect(),
        _ => Err(refused(OPTION, "backoff_tasks must be a list of task names")),
    }
}

/// `{1: 10, 2: 20}`. All keys of the app's settings come as text; what is no number never matches, in kombu neither.
fn policy(value: &Value) -> Result<BTreeMap<u32, Duration>, BrokerError> {
    if value.is_null() {
        return Ok(BTreeMap::new());
    }
    let policy = value.as_map().ok_or_else(|| refused(OPTION, "backoff_policy must be a dict of seconds"))?;
    let numbered = policy.iter().filter_map(|(key, value)| Some((key.parse().ok()?, value)));
    numbered.map(|(count, value)| Ok((count, seconds(OPTION, value)?))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str, url: &str) -> Value {
        let policy = crate::serialization::map([("2", Value::Int(20)), ("x", Value::Int(1))]);
        let entry = crate::serialization::map([
            ("url", url.into()),
            ("access_key_id", "a".into()),
            ("secret_access_key", "b".into()),
            ("backoff_policy", Value::Map(policy)),
            ("backoff_tasks", Value::List(vec!["proj.slow".into()])),
        ]);
        Value::Map([(name.to_owned(), Value::Map(entry))].into_iter().collect())
    }

    #[test]
    fn a_policy_is_for_its_tasks_and_counts() {
        let all = PredefinedQueue::all(&queue("q", "https://sqs/1/q")).unwrap();
        let queue = &all["q"];
        assert_eq!(queue.backoff("proj.slow", 2), Some(Some(Duration::from_secs(20))));
        assert_eq!(queue.backoff("proj.slow", 3), Some(None));
        assert_eq!(queue.backoff("proj.fast", 2), None);
        assert!(!format!("{queue:?}").contains("\"b\""));
    }

    #[test]
    fn fifo_queues_are_named_so() {
        let wrong = PredefinedQueue::all(&queue("q.fifo", "https://sqs/1/q")).unwrap_err().to_string();
        assert!(wrong.contains("Queue with name 'q.fifo' is not a FIFO queue"), "{wrong}");
        let wrong = PredefinedQueue::all(&queue("q", "https://sqs/1/q.fifo")).unwrap_err().to_string();
        assert!(wrong.contains("must have a name ending with .fifo"), "{wrong}");
        assert!(PredefinedQueue::all(&queue("q.fifo", "https://sqs/1/q.fifo")).is_ok());
    }
}
