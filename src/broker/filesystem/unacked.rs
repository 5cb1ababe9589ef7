//! [`UnackedFolder`]: what one worker holds, in a hidden folder beside the messages.
//!
//! kombu keeps that in the memory of the worker, so that a kill loses it. Here a file is moved into the worker's own folder
//! when it is taken, and removed when it is settled. The owner keeps a file in it locked; a folder whose lock is free is that
//! of a dead worker, and what it holds goes back. No queue has a name that such a folder could be taken for a message of.

use std::{
    ffi::OsStr,
    fs::{self, File},
    io::{self, ErrorKind},
    path::{Path, PathBuf},
};

use crate::broker::{
    envelope,
    filesystem::{
        name::{self, queue_of},
        store,
    },
};

const PREFIX: &str = "unacked";
const LOCK: &str = "lock";
/// Larger files go back as they are.
const LARGEST_TO_MARK: u64 = 64 << 20;

/// A folder that is ours until it is dropped.
pub(super) struct UnackedFolder {
    /// Where its messages come from and go back to.
    data: PathBuf,
    path: PathBuf,
    _lock: File,
}

/// Which place a message goes back to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Behind all others.
    Back,
    /// Where it was.
    Own,
}

impl UnackedFolder {
    /// Makes one in a data folder. It is locked before it has the name by which others find it.
    pub fn create(data: &Path) -> io::Result<Self> {
        let unborn = data.join(name::hidden("new"));
        fs::create_dir(&unborn)?;
        let path = data.join(name::hidden(PREFIX));
        let made = File::create(unborn.join(LOCK)).and_then(|lock| {
            lock.lock()?;
            fs::rename(&unborn, &path)?;
            Ok(lock)
        });
        match made {
            Ok(lock) => Ok(Self { data: data.to_owned(), path, _lock: lock }),
            Err(error) => {
                let _ = fs::remove_dir_all(&unborn);
                Err(error)
            }
        }
    }

    /// Where a message of this name lies while it is held.
    pub fn file(&self, name: &OsStr) -> PathBuf {
        self.path.join(name)
    }

    /// Done with.
    pub fn remove(&self, name: &OsStr) -> io::Result<()> {
        match fs::remove_file(self.file(name)) {
            Err(error) if error.kind() != ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// Gives a message back to its queue.
    pub fn give_back(&self, name: &OsStr, place: Place) -> io::Result<()> {
        give_back(&self.data, &self.file(name), place)
    }

    /// Gives back what dead workers have held; how many messages. Folders that are not ours to open are left alone.
    pub fn recover(&self) -> usize {
        let Ok(entries) = fs::read_dir(&self.data) else { return 0 };
        let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
        let others = paths.filter(|path| is_unacked(path) && *path != self.path);
        others.map(|path| recover(&self.data, &path).unwrap_or(0)).sum()
    }
}

impl Drop for UnackedFolder {
    fn drop(&mut self) {
        // Where something is left, for want of space, the next worker gives it back.
        if fs::read_dir(&self.path).is_ok_and(|entries| entries.count() == 1) {
            discard(&self.path);
        }
    }
}

fn is_unacked(path: &Path) -> bool {
    let name = path.file_name().and_then(OsStr::to_str);
    name.is_some_and(|name| name.strip_prefix('.').is_some_and(|name| name.starts_with("unacked-")))
}

fn recover(data: &Path, folder: &Path) -> io::Result<usize> {
    let lock = File::open(folder.join(LOCK))?;
    if lock.try_lock().is_err() {
        return Ok(0);
    }
    let mut names: Vec<_> = fs::read_dir(folder)?.filter_map(Result::ok).map(|entry| entry.file_name()).collect();
    names.retain(|name| name != LOCK);
    names.sort();
    for name in &names {
        give_back(data, &folder.join(name), Place::Own)?;
    }
    discard(folder);
    Ok(names.len())
}

fn discard(folder: &Path) {
    let _ = fs::remove_file(folder.join(LOCK));
    let _ = fs::remove_dir(folder);
}

/// Marked as kombu marks what it restores; unmarked where there is no room for another file.
fn give_back(data: &Path, held: &Path, place: Place) -> io::Result<()> {
    let old = held.file_name().unwrap_or_default();
    let queue = queue_of(old).unwrap_or_default();
    let new = match place {
        Place::Back => name::fresh(queue),
        Place::Own => name::again(old, queue),
    };
    let marked = marked(held).and_then(|payload| store::put(data, &new, &payload).ok());
    match marked {
        Some(()) => fs::remove_file(held),
        None => fs::rename(held, data.join(&new)),
    }
}

fn marked(held: &Path) -> Option<Vec<u8>> {
    let file = fs::symlink_metadata(held).ok()?;
    if !file.is_file() || file.len() > LARGEST_TO_MARK {
        return None;
    }
    envelope::marked(fs::read(held).ok()?.trim_ascii()).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn messages(folder: &Path) -> Vec<(String, String)> {
        let names = store::list(folder, |_| true).unwrap();
        let mut found: Vec<_> = names
            .into_iter()
            .map(|name| {
                let text = fs::read_to_string(folder.join(&name)).unwrap();
                (name.into_string().unwrap(), text)
            })
            .collect();
        found.sort();
        found
    }

    fn hold(folder: &UnackedFolder, name: &str, text: &str) {
        fs::write(folder.file(OsStr::new(name)), text).unwrap();
    }

    #[test]
    fn what_is_given_back_is_marked_and_has_another_name() {
        let directory = tempfile::tempdir().unwrap();
        let folder = UnackedFolder::create(directory.path()).unwrap();
        hold(&folder, "7_x.q.msg", "{\"body\": \"\"}\n");
        hold(&folder, "8_x.q.msg", "no JSON");
        hold(&folder, "9_x.q.msg", "{}");
        for name in ["7_x.q.msg", "8_x.q.msg"] {
            folder.give_back(OsStr::new(name), Place::Own).unwrap();
        }
        folder.give_back(OsStr::new("9_x.q.msg"), Place::Back).unwrap();
        let found = messages(directory.path());
        let texts: Vec<&str> = found.iter().map(|(_, text)| text.as_str()).collect();
        assert!(texts.contains(&r#"{"body": "", "redelivered": true}"#) && texts.contains(&"no JSON"), "{found:?}");
        let mut starts: Vec<bool> =
            found.iter().map(|(name, _)| name.starts_with("7_") || name.starts_with("8_")).collect();
        starts.sort();
        assert_eq!(starts, [false, true, true], "{found:?}");
        drop(folder);
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }

    #[test]
    fn only_what_the_dead_have_held_is_recovered() {
        let directory = tempfile::tempdir().unwrap();
        let (ours, living) =
            (UnackedFolder::create(directory.path()).unwrap(), UnackedFolder::create(directory.path()).unwrap());
        hold(&living, "1_x.q.msg", "{}");
        let dead = UnackedFolder::create(directory.path()).unwrap();
        hold(&dead, "2_x.q.msg", "{}");
        hold(&dead, "3_x.q.msg", "{}");
        // Its lock goes, as with a process; what is in it stays.
        drop(dead);
        assert_eq!(ours.recover(), 2);
        assert_eq!(ours.recover(), 0);
        let found = messages(directory.path());
        assert!(found[0].0.starts_with("2_") && found[1].0.starts_with("3_"), "{found:?}");
        assert_eq!(found[0].1, r#"{"redelivered": true}"#);
        drop((ours, living));
        // What the living one held stays until somebody recovers it.
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 3);
    }
}
