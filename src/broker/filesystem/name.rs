//! Names of message files: `<milliseconds>_<uuid>.<queue>.msg` (`kombu/transport/filesystem.py:Channel._put`).

use std::{
    ffi::{OsStr, OsString},
    os::unix::ffi::OsStrExt,
};

use rustix::time::{ClockId, clock_gettime};
use uuid::Uuid;

/// A name that puts a message behind all others of its queue. Those of one process are in order within a millisecond, too.
pub(super) fn fresh(queue: &str) -> String {
    composed(&now().to_string(), queue)
}

/// Another name for a message that goes back to its place. The old one must not be used again: where kombu keeps processed
/// files it never takes a file whose name is there already.
pub(super) fn again(old: &OsStr, queue: &str) -> String {
    let time = old.to_str().and_then(|old| old.split_once('_')).map(|(time, _)| time);
    match time.filter(|time| !time.is_empty() && time.bytes().all(|b| b.is_ascii_digit())) {
        Some(time) => composed(time, queue),
        None => fresh(queue),
    }
}

/// The queue of a file with this name; none of a file that is no message. It follows the first dot, and may have more.
pub(super) fn queue_of(name: &OsStr) -> Option<&str> {
    let bytes = name.as_bytes();
    let dot = memchr::memchr(b'.', bytes)?;
    std::str::from_utf8(bytes[dot + 1..].strip_suffix(b".msg")?).ok()
}

/// A name that is nobody's message.
pub(super) fn hidden(kind: &str) -> OsString {
    format!(".{kind}-{}", Uuid::new_v4()).into()
}

fn composed(time: &str, queue: &str) -> String {
    format!("{time}_{}.{queue}.msg", Uuid::now_v7())
}

/// Python's `time.monotonic`, in milliseconds.
fn now() -> i64 {
    let time = clock_gettime(ClockId::Monotonic);
    time.tv_sec * 1000 + (time.tv_nsec + 500_000) / 1_000_000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> Option<&str> {
        queue_of(OsStr::new(name))
    }

    #[test]
    fn names_are_kombus() {
        let name = fresh("a.b@c");
        let (time, rest) = name.split_once('_').unwrap();
        assert!(time.parse::<i64>().is_ok(), "{name}");
        assert_eq!(rest.split_once('.').map(|(id, rest)| (id.len(), rest)), Some((36, "a.b@c.msg")));
        assert_eq!(queue(&name), Some("a.b@c"));
        let names: Vec<String> = (0..1000).map(|_| fresh("q")).collect();
        assert!(names.is_sorted());
    }

    #[test]
    fn queues_are_found_and_nothing_else_is_a_message() {
        let table = [
            ("1_2.celery.msg", Some("celery")),
            ("1_2.a.celery.msg", Some("a.celery")),
            ("1_2..msg", Some("")),
            ("anything.celery.msg", Some("celery")),
            ("1_2.celery.msg.tmp", None),
            ("celery.msg", None),
            ("1_2", None),
        ];
        for (name, expected) in table {
            assert_eq!(queue(name), expected, "{name}");
        }
        assert_eq!(queue_of(OsStr::from_bytes(b"\xff.celery.msg")), Some("celery"));
        assert_eq!(queue_of(OsStr::from_bytes(b"1.\xff.msg")), None);
        assert_eq!(queue_of(&hidden("unacked")), None);
    }

    #[test]
    fn what_goes_back_keeps_its_place() {
        let back = again(OsStr::new("123_x.q.msg"), "q");
        assert!(back.starts_with("123_") && back.ends_with(".q.msg"), "{back}");
        for odd in ["x.q.msg", "_x.q.msg", "../1_x.q.msg"] {
            let (time, _) =
                again(OsStr::new(odd), "q").split_once('_').map(|(time, id)| (time.to_owned(), id.len())).unwrap();
            assert!(time.parse::<i64>().is_ok(), "{odd}: {time}");
        }
    }
}
