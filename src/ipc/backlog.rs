//! The backlog: frames that a child has not written yet, in memory that outlives it.
//!
//! A child that runs very short jobs writes what it has to say about several of them at once. Until then the parent could
//! not tell, if the child died, which jobs had begun and how they ended; so the frames lie in a file without a name (a
//! memfd) that both have open. The child maps it (`python::backlog`), the parent reads what is [`left`].
//!
//! Only bytes here: a length (u32, native) and so many bytes of whole frames. Whoever clears a backlog has written the
//! frames before, so that a frame may be seen twice, but never not at all.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use rustix::fs::{MemfdFlags, memfd_create};

/// Bytes of the file.
pub const SIZE: usize = 32 * 1024;
/// Bytes of the length at its beginning.
pub const LENGTH: usize = size_of::<u32>();
/// Bytes of frames that fit in.
pub const CAPACITY: usize = SIZE - LENGTH;

/// A file for a new child's backlog: empty, close-on-exec, gone with its last descriptor.
///
/// # Errors
/// The system's, when there are no descriptors left.
pub fn file() -> io::Result<File> {
    let file = File::from(memfd_create("celery-rs-backlog", MemfdFlags::CLOEXEC)?);
    file.set_len(SIZE as u64)?;
    Ok(file)
}

/// What was left by a child that is gone: whole frames, one after the other.
///
/// # Errors
/// The system's; `InvalidData` for a length that cannot be.
pub fn left(file: &File) -> io::Result<Vec<u8>> {
    let mut length = [0; LENGTH];
    file.read_exact_at(&mut length, 0)?;
    let length = u32::from_ne_bytes(length) as usize;
    if length > CAPACITY {
        return Err(io::Error::new(io::ErrorKind::InvalidData, "the length of a backlog is beyond its size"));
    }
    let mut bytes = vec![0; length];
    file.read_exact_at(&mut bytes, LENGTH as u64)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_frames_are_left_or_nothing() {
        let file = file().unwrap();
        assert_eq!(left(&file).unwrap(), b"");
        file.write_all_at(b"\x03\0\0\0onetwo", 0).unwrap();
        assert_eq!(left(&file).unwrap(), b"one");
    }

    #[test]
    fn an_impossible_length_is_refused() {
        let file = file().unwrap();
        file.write_all_at(&u32::MAX.to_ne_bytes(), 0).unwrap();
        assert_eq!(left(&file).unwrap_err().kind(), io::ErrorKind::InvalidData);
    }
}
