//! The child's side of the [backlog](crate::ipc::backlog): frames go in, and are cleared once they are written.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::sync::atomic::{Ordering, compiler_fence};

use memmap2::MmapMut;

use crate::ipc::backlog::{LENGTH, SIZE};

/// See the module's text.
#[derive(Debug)]
pub(super) struct Backlog {
    memory: MmapMut,
    length: usize,
}

impl Backlog {
    /// Over the file that came with the fork request.
    ///
    /// # Errors
    /// The system's; `InvalidData` for a file of another size.
    pub(super) fn open(descriptor: OwnedFd) -> io::Result<Self> {
        let file = File::from(descriptor);
        // SAFETY: the file is a memfd of the parent's that nobody ever shortens; the parent only reads it, by system call.
        let memory = unsafe { MmapMut::map_mut(&file)? };
        if memory.len() != SIZE {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the file for a backlog has another size"));
        }
        Ok(Self { memory, length: 0 })
    }

    /// Adds whole frames; false, and nothing is added, if there is no room.
    pub(super) fn push(&mut self, frames: &[u8]) -> bool {
        let Some(room) = self.memory.get_mut(LENGTH + self.length..LENGTH + self.length + frames.len()) else {
            return false;
        };
        room.copy_from_slice(frames);
        self.set_length(self.length + frames.len());
        true
    }

    /// What was added since it was cleared.
    pub(super) fn frames(&self) -> &[u8] {
        &self.memory[LENGTH..LENGTH + self.length]
    }

    /// The frames are written.
    pub(super) fn clear(&mut self) {
        self.set_length(0);
    }

    fn set_length(&mut self, length: usize) {
        self.length = length;
        // The process may be killed between any two instructions: frames first, then their length, then other frames.
        compiler_fence(Ordering::SeqCst);
        self.memory[..LENGTH].copy_from_slice(&(length as u32).to_ne_bytes());
        compiler_fence(Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ipc::backlog::{CAPACITY, file, left};

    #[test]
    fn what_was_not_cleared_is_left() {
        let file = file().unwrap();
        let mut backlog = Backlog::open(file.try_clone().unwrap().into()).unwrap();
        assert_eq!(left(&file).unwrap(), b"");
        assert!(backlog.push(b"one"));
        assert!(backlog.push(b"two"));
        assert_eq!((left(&file).unwrap().as_slice(), backlog.frames()), (&b"onetwo"[..], &b"onetwo"[..]));
        backlog.clear();
        assert!(backlog.push(b"three"));
        drop(backlog);
        assert_eq!(left(&file).unwrap(), b"three");
    }

    #[test]
    fn there_is_room_for_so_much_only() {
        let mut backlog = Backlog::open(file().unwrap().into()).unwrap();
        assert!(!backlog.push(&vec![1; CAPACITY + 1]));
        assert!(backlog.push(&vec![1; CAPACITY]));
        assert!(!backlog.push(b"x"));
        assert_eq!(backlog.frames().len(), CAPACITY);
        assert!(Backlog::open(File::open("/dev/null").unwrap().into()).is_err());
    }
}
