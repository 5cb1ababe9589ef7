//! [`Sink`]: where lines go. One thread writes them, whole and in order.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    thread,
    time::Duration,
};

/// How long the writer lets lines gather before it writes them with one call.
const GATHER: Duration = Duration::from_millis(2);
/// Beyond so many bytes waiting, whoever logs waits too: lines are never dropped.
const CAPACITY: usize = 4 << 20;
/// What a pipe takes in one piece (`PIPE_BUF`); children write to the same pipe.
const ATOMIC: usize = 4096;

/// A handle to the writer thread; cheap to clone.
#[derive(Clone)]
pub(in crate::cli) struct Sink(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// The writer waits for lines here.
    filled: Condvar,
    /// Those who flush, or who wait for room, wait here.
    drained: Condvar,
}

#[derive(Default)]
struct State {
    waiting: Vec<u8>,
    /// Whether the writer has taken lines that are not written yet.
    writing: bool,
    /// How many wait in [`Sink::flush`]: the writer does not gather then.
    hurried: usize,
}

impl Sink {
    /// A sink to a file, which is appended to, or to stderr.
    pub(in crate::cli) fn open(file: Option<PathBuf>) -> io::Result<Self> {
        let place = file.map_or(Ok(Place::Stderr), LogFile::open_place)?;
        let shared = Arc::new(Shared { state: Mutex::default(), filled: Condvar::new(), drained: Condvar::new() });
        let theirs = Arc::clone(&shared);
        thread::Builder::new().name("log".to_owned()).spawn(move || theirs.run(place))?;
        Ok(Self(shared))
    }

    /// Hands over one line, newline included. Returns at once unless the reader of the log is far behind.
    pub(super) fn write(&self, line: &str) {
        let mut state = self.0.lock();
        while state.waiting.len() > CAPACITY {
            state = self.0.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        let first = state.waiting.is_empty();
        state.waiting.extend_from_slice(line.as_bytes());
        drop(state);
        if first {
            self.0.filled.notify_one();
        }
    }

    /// Returns once all lines handed over before are written.
    pub(in crate::cli) fn flush(&self) {
        let mut state = self.0.lock();
        state.hurried += 1;
        self.0.filled.notify_one();
        while !state.waiting.is_empty() || state.writing {
            state = self.0.drained.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        state.hurried -= 1;
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn run(&self, mut place: Place) {
        let mut lines = Vec::new();
        loop {
            self.take(&mut lines);
            place.write(&lines);
            lines.clear();
            self.lock().writing = false;
            self.drained.notify_all();
        }
    }

    /// Waits for lines, lets some more gather, and takes them all.
    fn take(&self, lines: &mut Vec<u8>) {
        let mut state = self.lock();
        while state.waiting.is_empty() {
            state = self.filled.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
        if state.hurried == 0 {
            (state, _) = self
                .filled
                .wait_timeout_while(state, GATHER, |state| state.hurried == 0)
                .unwrap_or_else(PoisonError::into_inner);
        }
        std::mem::swap(&mut state.waiting, lines);
        state.writing = true;
    }
}

/// Where the writer writes. Errors are not reported: there is no place left to report them to.
enum Place {
    Stderr,
    File(LogFile),
}

impl Place {
    fn write(&mut self, lines: &[u8]) {
        match self {
            Place::Stderr => write_pieces(&mut io::stderr().lock(), lines),
            Place::File(file) => file.write(lines),
        }
    }
}

/// A file that is opened again when its name no longer leads to it, as `WatchedFileHandler` does for logrotate.
struct LogFile {
    path: PathBuf,
    file: File,
    id: (u64, u64),
}

impl LogFile {
    fn open_place(path: PathBuf) -> io::Result<Place> {
        Self::open(&path).map(|(file, id)| Place::File(Self { path, file, id }))
    }

    fn open(path: &Path) -> io::Result<(File, (u64, u64))> {
        let file = OpenOptions::new().append(true).create(true).open(path)?;
        let metadata = file.metadata()?;
        Ok((file, (metadata.dev(), metadata.ino())))
    }

    fn write(&mut self, lines: &[u8]) {
        let there = fs::metadata(&self.path).map(|metadata| (metadata.dev(), metadata.ino())).ok();
        if there != Some(self.id)
            && let Ok((file, id)) = Self::open(&self.path)
        {
            (self.file, self.id) = (file, id);
        }
        let _ = self.file.write_all(lines);
    }
}

/// Writes whole lines, as many at a time as a pipe takes in one piece; a longer line goes alone.
fn write_pieces(out: &mut impl Write, mut lines: &[u8]) {
    while !lines.is_empty() {
        let window = &lines[..lines.len().min(ATOMIC)];
        let end = memchr::memrchr(b'\n', window)
            .or_else(|| memchr::memchr(b'\n', lines))
            .map_or(lines.len(), |newline| newline + 1);
        if out.write_all(&lines[..end]).is_err() {
            return;
        }
        lines = &lines[end..];
    }
}
