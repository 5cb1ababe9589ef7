//! Celery's settings, one row each (`celery/app/defaults.py`).
//!
//! Defaults, types, old names and messages derive from the rows. The typed view of them is
//! [`Settings`](super::Settings); nothing here reads a value.

mod backends;
mod beat;
mod broker;
mod control;
mod general;
mod key;
mod result;
mod task;
mod worker;

use std::{collections::HashMap, sync::LazyLock};

pub use key::{Fallback, Key, Kind, Reader};

/// Every row, by room.
pub fn rows() -> impl Iterator<Item = &'static Key> {
    [general::ROWS, broker::ROWS, task::ROWS, worker::ROWS, result::ROWS, control::ROWS, beat::ROWS, backends::ROWS]
        .into_iter()
        .flatten()
}

/// The row of a setting, by its new name.
pub fn find(name: &str) -> Option<&'static Key> {
    BY_NAME.get(name).copied()
}

static BY_NAME: LazyLock<HashMap<&'static str, &'static Key>> =
    LazyLock::new(|| rows().map(|key| (key.name, key)).collect());

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_documented() {
        assert_eq!(BY_NAME.len(), rows().count());
        assert!(rows().all(|key| !key.doc.is_empty()));
    }

    /// Who says that the worker acts on a setting must have somebody who reads it, if it is not an option that is read.
    #[test]
    fn what_the_worker_acts_on_is_read() {
        let mut sources = Vec::new();
        let mut directories = vec![concat!(env!("CARGO_MANIFEST_DIR"), "/src").into()];
        while let Some(directory) = directories.pop() {
            for entry in std::fs::read_dir::<std::path::PathBuf>(directory).unwrap() {
                let path = entry.unwrap().path();
                if path.is_dir() && !path.ends_with("config/keys") {
                    directories.push(path);
                } else if path.extension().is_some_and(|extension| extension == "rs") {
                    sources.push(std::fs::read_to_string(path).unwrap());
                }
            }
        }
        let is_read = |key: &Key| sources.iter().any(|source| source.contains(&format!("\"{}\"", key.name)));
        let unread = rows().filter(|key| key.reader == Reader::Worker && key.flag.is_none() && !is_read(key));
        // The queues come out of the app's `app.amqp.queues`.
        assert_eq!(unread.map(|key| key.name).collect::<Vec<_>>(), ["task_queues"]);
    }

    #[test]
    fn defaults_have_their_declared_type() {
        for key in rows() {
            let fits = matches!(
                (key.kind, key.default),
                (_, Fallback::None)
                    | (Kind::Any, _)
                    | (Kind::Bool, Fallback::Bool(_))
                    | (Kind::Str, Fallback::Str(_))
                    | (Kind::Int | Kind::Float, Fallback::Int(_) | Fallback::Float(_))
                    | (Kind::List, Fallback::List(_))
                    | (Kind::Dict, Fallback::Dict(_))
            );
            assert!(fits, "{}", key.name);
        }
    }
}
