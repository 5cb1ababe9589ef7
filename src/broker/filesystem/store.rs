//! Files in the data folders: written aside and renamed, so that nobody reads half of one; counted, and removed.

use std::{
    ffi::OsString,
    fs::{self, OpenOptions},
    io::{self, Write},
    path::Path,
};

use crate::broker::filesystem::name::{hidden, queue_of};

/// Puts a message into a folder under this name.
pub(super) fn put(folder: &Path, name: &str, payload: &[u8]) -> io::Result<()> {
    let aside = folder.join(hidden("new"));
    let written =
        OpenOptions::new().write(true).create_new(true).open(&aside).and_then(|mut file| file.write_all(payload));
    let put = written.and_then(|()| fs::rename(&aside, folder.join(name)));
    if put.is_err() {
        let _ = fs::remove_file(&aside);
    }
    put
}

/// The names of the messages in a folder whose queue is wanted, in no order.
pub(super) fn list(folder: &Path, wanted: impl Fn(&str) -> bool) -> io::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder)? {
        let name = entry?.file_name();
        if queue_of(&name).is_some_and(&wanted) {
            names.push(name);
        }
    }
    Ok(names)
}

/// Removes a queue's messages; how many there were. What others take meanwhile is theirs.
pub(super) fn purge(folder: &Path, queue: &str) -> io::Result<u64> {
    let names = list(folder, |found| found == queue)?;
    Ok(names.iter().filter(|name| fs::remove_file(folder.join(name)).is_ok()).count() as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_put_and_purged_by_queue() {
        let directory = tempfile::tempdir().expect("a directory");
        let folder = directory.path();
        for name in ["1_a.q.msg", "2_b.q.msg", "3_c.other.msg", "4_d.x.q.msg"] {
            put(folder, name, b"{}").unwrap();
        }
        fs::create_dir(folder.join("5_e.q.msg")).unwrap();
        assert_eq!(purge(folder, "q").unwrap(), 2);
        let mut left: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["3_c.other.msg", "4_d.x.q.msg", "5_e.q.msg"]);
    }

    #[test]
    fn a_name_that_cannot_be_leaves_nothing_behind() {
        let directory = tempfile::tempdir().expect("a directory");
        for name in ["1_a.no/folder.msg", &"x".repeat(300), "a\0b"] {
            assert!(put(directory.path(), name, b"{}").is_err());
        }
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 0);
    }
}
