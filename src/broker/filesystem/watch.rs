//! [`Watch`]: names of new files in a folder, as the kernel tells them.
//!
//! It tells of what happens on this machine. Where others write over a network, or where there is no inotify to be had, only
//! looking helps.

use std::{ffi::OsString, path::Path};

use futures::{FutureExt, StreamExt, future::pending};
use inotify::{EventMask, EventStream, Inotify, WatchMask};

use crate::broker::filesystem::name::queue_of;

const BUFFER: usize = 16 << 10;
/// Names gathered at once, at most.
const MOST: usize = 4096;

/// What has happened since somebody asked.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Files that are complete.
    pub names: Vec<OsString>,
    /// More has happened than can be told.
    pub look: bool,
}

/// One folder under watch, if the kernel has one left for us.
pub(super) struct Watch {
    events: Option<EventStream<Vec<u8>>>,
}

impl Watch {
    /// Begins to watch. A file counts when its writer has closed it, or when it got its name.
    pub fn new(folder: &Path) -> Self {
        let begun = Inotify::init().and_then(|inotify| {
            let mask = WatchMask::CLOSE_WRITE | WatchMask::MOVED_TO | WatchMask::DELETE_SELF | WatchMask::MOVE_SELF;
            inotify.watches().add(folder, mask)?;
            inotify.into_event_stream(vec![0; BUFFER])
        });
        let events = begun.inspect_err(|error| {
            tracing::info!("the kernel does not tell of new messages ({error}); they are looked for instead");
        });
        Self { events: events.ok() }
    }

    /// Waits for something of interest.
    pub async fn news(&mut self) -> News {
        let Some(events) = &mut self.events else { return pending().await };
        let mut news = News::default();
        while !news.look && news.names.len() < MOST {
            let nothing_yet = news.names.is_empty();
            let event = if nothing_yet { events.next().await } else { events.next().now_or_never().flatten() };
            match event {
                Some(Ok(event)) => match event.name {
                    Some(name) => news.names.extend(queue_of(&name).is_some().then_some(name.clone())),
                    None => news.look |= event.mask.intersects(OF_THE_FOLDER),
                },
                Some(Err(error)) => {
                    tracing::info!("the kernel tells of new messages no more ({error}); they are looked for instead");
                    self.events = None;
                    return News { look: true, ..news };
                }
                None => break,
            }
        }
        news
    }
}

/// What concerns the folder, or the kernel's queue of events.
const OF_THE_FOLDER: EventMask =
    EventMask::Q_OVERFLOW.union(EventMask::DELETE_SELF).union(EventMask::MOVE_SELF).union(EventMask::UNMOUNT);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::broker::filesystem::store;

    #[tokio::test]
    async fn new_messages_are_told_once_they_are_whole() {
        let directory = tempfile::tempdir().unwrap();
        let mut watch = Watch::new(directory.path());
        store::put(directory.path(), "1_a.q.msg", b"{}").unwrap();
        std::fs::write(directory.path().join("2_b.q.msg"), b"{}").unwrap();
        let mut names = Vec::new();
        while names.len() < 2 {
            names.extend(watch.news().await.names);
        }
        assert_eq!(names, ["1_a.q.msg", "2_b.q.msg"]);
        std::fs::remove_dir_all(directory.path()).unwrap();
        assert!(watch.news().await.look);
    }
}
