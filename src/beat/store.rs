//! [`Store`]: the schedule file, by which a restarted beat knows when each entry was last sent.
//!
//! JSON beside the name that Celery's beat gives its own: that one is a database of pickles in a format that depends on
//! the machine, which only Python reads. The file is locked as long as beat runs.

use std::{
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, Read, Write},
    os::unix::fs::MetadataExt,
    path::{Path, PathBuf},
    time::SystemTime,
};

use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

use super::{LOGGER, entry::Entry};
use crate::{
    beat::BeatError,
    protocol::time::{TimeZone, Timestamp, isoformat, parse_iso},
};

/// What the file holds.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub struct Kept {
    /// `timezone` as it was set: another one makes what is kept meaningless, as in Celery.
    pub tz: Option<String>,
    /// `enable_utc`.
    pub utc_enabled: bool,
    /// By name.
    pub entries: IndexMap<String, Run>,
}

/// When an entry was last sent, and how often it was.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Run {
    /// ISO 8601.
    pub last_run_at: String,
    /// Sent so often.
    pub total_run_count: u64,
}

/// The file, locked.
#[derive(Debug)]
pub struct Store {
    path: PathBuf,
    /// Holds the lock.
    file: File,
    tz: Option<String>,
    utc_enabled: bool,
}

impl Store {
    /// Where the file is for the name that `--schedule` or `beat_schedule_filename` gives.
    pub fn path(filename: &str) -> PathBuf {
        PathBuf::from(format!("{filename}.json"))
    }

    /// Opens and locks the file, and takes up what it holds: the entries' times and counts. Without one, `imported` is
    /// what Celery's own file has held.
    ///
    /// # Errors
    /// When another process has it, or it cannot be read or written. One that makes no sense is begun anew.
    pub fn open(
        path: &Path,
        (tz, utc_enabled): (Option<String>, bool),
        imported: Option<Kept>,
        entries: &mut [Entry],
    ) -> Result<Self, BeatError> {
        let failed = |source| BeatError::File { path: path.to_owned(), source };
        let mut file = locked(path)?;
        let mut text = String::new();
        let read = file.read_to_string(&mut text);
        let store = Self { path: path.to_owned(), file, tz, utc_enabled };
        let kept = match read {
            Ok(0) => imported,
            Ok(_) => serde_json::from_str(&text)
                .map_err(io::Error::from)
                .map(Some)
                .unwrap_or_else(|error| store.corrupted(&error)),
            Err(error) if error.kind() == io::ErrorKind::InvalidData => store.corrupted(&error),
            Err(error) => return Err(failed(error)),
        };
        if let Some(kept) = kept.filter(|kept| store.is_meant(kept)) {
            take_up(&kept, entries);
        }
        Ok(store)
    }

    /// Writes the entries' times and counts: all of them or, if that fails, none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn sync(&mut self, entries: &[Entry]) -> Result<(), BeatError> {
        let run = |entry: &Entry| Run {
            last_run_at: isoformat(moment(entry.last_run_at), &TimeZone::Utc),
            total_run_count: entry.total_run_count,
        };
        let runs = entries.iter().filter(|entry| entry.kept).map(|entry| (entry.name.clone(), run(entry)));
        let kept = Kept { tz: self.tz.clone(), utc_enabled: self.utc_enabled, entries: runs.collect() };
        self.replace(&kept).map_err(|source| BeatError::File { path: self.path.clone(), source })
    }

    fn replace(&mut self, kept: &Kept) -> io::Result<()> {
        let mut name = self.path.clone().into_os_string();
        name.push(".new");
        let beside = PathBuf::from(name);
        let mut file = File::create(&beside)?;
        // Before it takes the other's place: there is never a file that nobody has locked.
        file.lock()?;
        file.write_all(&serde_json::to_vec_pretty(kept)?)?;
        file.sync_all()?;
        fs::rename(&beside, &self.path)?;
        self.file = file;
        Ok(())
    }

    fn corrupted(&self, error: &io::Error) -> Option<Kept> {
        tracing::error!(target: LOGGER, "Removing corrupted schedule file '{}': {error}", self.path.display());
        None
    }

    /// As Celery, which forgets everything when the time zone is another one.
    fn is_meant(&self, kept: &Kept) -> bool {
        let shown = |tz: &Option<String>| tz.as_ref().map_or("None".to_owned(), |tz| format!("'{tz}'"));
        let state = |enabled| if enabled { "enabled" } else { "disabled" };
        if kept.tz.is_some() && kept.tz != self.tz {
            tracing::warn!(target: LOGGER, "Reset: Timezone changed from {} to {}", shown(&kept.tz), shown(&self.tz));
            return false;
        }
        if kept.utc_enabled != self.utc_enabled {
            tracing::warn!(target: LOGGER, "Reset: UTC changed from {} to {}", state(kept.utc_enabled), state(self.utc_enabled));
            return false;
        }
        true
    }
}

/// The file at that path, locked: not one that another process has just replaced.
fn locked(path: &Path) -> Result<File, BeatError> {
    let failed = |source| BeatError::File { path: path.to_owned(), source };
    loop {
        let mut options = OpenOptions::new();
        let file = options.read(true).write(true).create(true).truncate(false).open(path).map_err(failed)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Err(BeatError::Held { path: path.to_owned() }),
            Err(TryLockError::Error(error)) => return Err(failed(error)),
        }
        let (ours, there) = (file.metadata().map_err(failed)?, fs::metadata(path));
        if there.is_ok_and(|there| (there.dev(), there.ino()) == (ours.dev(), ours.ino())) {
            return Ok(file);
        }
    }
}

fn take_up(kept: &Kept, entries: &mut [Entry]) {
    for entry in entries.iter_mut().filter(|entry| entry.kept) {
        let Some(run) = kept.entries.get(&entry.name) else { continue };
        let Ok(last) = parse_iso(&run.last_run_at).as_ref().map(Timestamp::micros) else { continue };
        (entry.last_run_at, entry.total_run_count) = (last, run.total_run_count);
    }
}

fn moment(micros: i64) -> SystemTime {
    let distance = std::time::Duration::from_micros(micros.unsigned_abs());
    if micros < 0 { SystemTime::UNIX_EPOCH - distance } else { SystemTime::UNIX_EPOCH + distance }
}
