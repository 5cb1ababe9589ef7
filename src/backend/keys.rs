//! [`Keys`]: under which names a key/value backend keeps results, groups and chords.

/// The prefixes of `celery/backends/base.py:BaseKeyValueStoreBackend`, with `global_keyprefix` in front.
#[derive(Debug, Clone)]
pub struct Keys {
    task: String,
    group: String,
}

/// The six keys of a chord on Redis.
#[derive(Debug, Clone)]
pub(super) struct ChordKeys {
    /// `.j`: the parts' results.
    pub(super) results: String,
    /// `.t`: how many parts were added after the chord was sent.
    pub(super) added: String,
    /// `.s`: how many parts the header had.
    pub(super) size: String,
    /// `.d`: which parts are counted (5.7).
    pub(super) counted: String,
    /// `.c`: who publishes the body, or `done` (5.7).
    pub(super) claim: String,
    /// The saved `GroupResult`.
    pub(super) group: String,
}

impl Keys {
    /// With `result_backend_transport_options["global_keyprefix"]`, which gets a `_` unless it ends in one of `:_-.`.
    pub fn new(global_keyprefix: Option<&str>) -> Self {
        let mut prefix = global_keyprefix.unwrap_or_default().to_owned();
        if !prefix.is_empty() && !prefix.ends_with([':', '_', '-', '.']) {
            prefix.push('_');
        }
        Self { task: format!("{prefix}celery-task-meta-"), group: format!("{prefix}celery-taskset-meta-") }
    }

    /// A task's document; also the channel on which clients wait.
    pub fn task(&self, task_id: &str) -> String {
        [&self.task, task_id].concat()
    }

    /// A saved `GroupResult`.
    pub fn group(&self, group_id: &str) -> String {
        [&self.group, group_id].concat()
    }

    pub(super) fn chord(&self, group_id: &str) -> ChordKeys {
        let group = self.group(group_id);
        let with = |suffix: &str| [&group, suffix].concat();
        ChordKeys {
            results: with(".j"),
            added: with(".t"),
            size: with(".s"),
            counted: with(".d"),
            claim: with(".c"),
            group,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_prefix_is_set_off() {
        let cases = [
            (None, "celery-task-meta-x"),
            (Some(""), "celery-task-meta-x"),
            (Some("app"), "app_celery-task-meta-x"),
            (Some("app:"), "app:celery-task-meta-x"),
            (Some("app."), "app.celery-task-meta-x"),
        ];
        for (prefix, key) in cases {
            assert_eq!(Keys::new(prefix).task("x"), key);
        }
        assert_eq!(Keys::new(Some("p-")).chord("g").claim, "p-celery-taskset-meta-g.c");
    }
}
