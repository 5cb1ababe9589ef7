//! [`Collector`]: the hands of the courier, which take, settle and give back files. Everything in it may block.

use std::{
    collections::{BTreeSet, HashMap, HashSet},
    ffi::{OsStr, OsString},
    fs::{self, File, OpenOptions, TryLockError},
    io::{self, ErrorKind, Read},
    os::unix::fs::OpenOptionsExt,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant, SystemTime},
};

use rustix::fs::OFlags;

use crate::broker::{
    MalformedMessage, Settlement,
    filesystem::{
        name::queue_of,
        options::FilesystemOptions,
        store,
        unacked::{Place, UnackedFolder},
    },
};

/// Messages of one queue that nobody settles, taken in one turn.
const MAILBOX_BATCH: usize = 100;
/// A file with nothing in it may be one that its writer has just opened, for so long.
const EMPTY_FOR: Duration = Duration::from_secs(1);
/// As much as RabbitMQ and Redis allow a message to be.
const LARGEST: u64 = 512 << 20;
/// A folder that was changed so shortly before it was listed may have been changed again at the same time of its clock.
const CLOCK_STEP: Duration = Duration::from_secs(2);
/// Time between two looks for what dead workers have held.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(60);

/// What is to be done in one turn.
#[derive(Default)]
pub(super) struct Turn {
    pub settled: Vec<(Arc<OsString>, Settlement)>,
    /// Queues, and whether what they have is to be held.
    pub queues: Vec<(Arc<str>, bool)>,
    /// How many messages may be taken that are held.
    pub want: usize,
    /// Files that have come.
    pub names: Vec<OsString>,
    /// Whether to look for more.
    pub look: bool,
}

/// What is in a file that was taken.
pub(super) type Payload = Result<Vec<u8>, MalformedMessage>;

/// A message that is ours.
pub(super) struct Taken {
    /// Index into the turn's queues.
    pub queue: usize,
    pub payload: Payload,
    pub name: Arc<OsString>,
}

/// What has become of an attempt to take a file.
enum Attempt {
    Taken(Payload),
    /// Somebody else was faster.
    Gone,
    /// Its writer is not done.
    Busy,
    /// No message, or not to be had: left where it is.
    Odd(String),
}

/// Knows which files wait for us.
pub(super) struct Collector {
    options: Arc<FilesystemOptions>,
    unacked: Arc<UnackedFolder>,
    waiting: HashMap<Arc<str>, BTreeSet<OsString>>,
    busy: Vec<OsString>,
    /// Names of files that we hold: another one of the same name has to wait.
    held: HashSet<Arc<OsString>>,
    /// Files about which something was said already.
    told: HashSet<OsString>,
    /// When the folder was last changed, where nothing can have happened since without changing that.
    listed: Option<SystemTime>,
    recovered: Option<Instant>,
    /// The queue whose turn it is.
    next: usize,
}

impl Collector {
    pub fn new(options: Arc<FilesystemOptions>, unacked: Arc<UnackedFolder>) -> Self {
        Self {
            options,
            unacked,
            waiting: HashMap::new(),
            busy: Vec::new(),
            held: HashSet::new(),
            told: HashSet::new(),
            listed: None,
            recovered: None,
            next: 0,
        }
    }

    /// Whether a file is known that waits in this queue.
    pub fn waits(&self, queue: &str) -> bool {
        self.waiting.get(queue).is_some_and(|names| !names.is_empty())
    }

    /// Settles, looks and takes.
    ///
    /// # Errors
    /// The folder cannot be read any more.
    pub fn run(&mut self, turn: Turn) -> io::Result<Vec<Taken>> {
        for (name, settlement) in &turn.settled {
            self.settle(name, *settlement);
        }
        self.recover();
        self.follow(&turn.queues);
        if turn.look {
            self.look()?;
        }
        turn.names.into_iter().for_each(|name| self.note(name));
        Ok(self.take(&turn.queues, turn.want))
    }

    /// Gives back all that is held; how many messages.
    pub fn give_back(&mut self, held: &[Arc<OsString>]) -> usize {
        held.iter().filter(|name| self.put_back(name, Place::Own)).count()
    }

    fn settle(&mut self, name: &Arc<OsString>, settlement: Settlement) {
        self.held.remove(name);
        if settlement == Settlement::Requeue {
            self.put_back(name, Place::Back);
        } else if let Err(error) = self.unacked.remove(name) {
            tracing::warn!("could not remove the file of an acknowledged message ({}): {error}", name.display());
        }
    }

    fn put_back(&self, name: &OsStr, place: Place) -> bool {
        let given = self.unacked.give_back(name, place);
        if let Err(error) = &given {
            let file = self.unacked.file(name);
            tracing::error!("could not give back a message, which stays in {}: {error}", file.display());
        }
        given.is_ok()
    }

    fn recover(&mut self) {
        if self.recovered.is_some_and(|at| at.elapsed() < RECOVERY_INTERVAL) {
            return;
        }
        self.recovered = Some(Instant::now());
        match self.unacked.recover() {
            0 => {}
            count => tracing::info!("Restored {count} message(s) of a worker that is gone"),
        }
    }

    /// Knows of these queues only; of a new one everything that is there.
    fn follow(&mut self, queues: &[(Arc<str>, bool)]) {
        self.waiting.retain(|known, _| queues.iter().any(|(queue, _)| queue == known));
        for (queue, _) in queues {
            if !self.waiting.contains_key(queue) {
                self.waiting.insert(queue.clone(), BTreeSet::new());
                self.listed = None;
            }
        }
    }

    /// Reads the folder, unless nothing has changed in it.
    fn look(&mut self) -> io::Result<()> {
        for name in std::mem::take(&mut self.busy) {
            self.note(name);
        }
        let folder = &self.options.data_folder_in;
        let changed = fs::metadata(folder)?.modified()?;
        if self.listed == Some(changed) {
            return Ok(());
        }
        let names = store::list(folder, |queue| self.waiting.contains_key(queue))?;
        self.waiting.values_mut().for_each(BTreeSet::clear);
        self.told.retain(|told| names.contains(told));
        let settled = SystemTime::now().duration_since(changed).is_ok_and(|age| age > CLOCK_STEP);
        self.listed = settled.then_some(changed);
        names.into_iter().for_each(|name| self.note(name));
        Ok(())
    }

    fn note(&mut self, name: OsString) {
        if let Some(names) = queue_of(&name).and_then(|queue| self.waiting.get_mut(queue)) {
            names.insert(name);
        }
    }

    /// One of each queue in turn, oldest first (`kombu/utils/scheduling.py:FairCycle`).
    fn take(&mut self, queues: &[(Arc<str>, bool)], want: usize) -> Vec<Taken> {
        let mut room: Vec<usize> =
            queues.iter().map(|(_, hold)| if *hold { usize::MAX } else { MAILBOX_BATCH }).collect();
        let (mut taken, mut want, mut idle) = (Vec::new(), want, 0);
        while idle < queues.len() {
            let index = self.next % queues.len();
            self.next = index + 1;
            idle += 1;
            let (queue, hold) = &queues[index];
            if room[index] == 0 || (*hold && want == 0) {
                continue;
            }
            if let Some((name, payload)) = self.take_next(queue, *hold) {
                taken.push(Taken { queue: index, payload, name });
                room[index] -= 1;
                want -= usize::from(*hold);
                idle = 0;
            }
        }
        taken
    }

    fn take_next(&mut self, queue: &Arc<str>, hold: bool) -> Option<(Arc<OsString>, Payload)> {
        loop {
            let name = Arc::new(self.waiting.get_mut(queue)?.pop_first()?);
            if self.held.contains(&name) {
                self.busy.push(OsString::clone(&name));
                continue;
            }
            match self.attempt(&name, hold) {
                Attempt::Taken(payload) => {
                    if hold {
                        self.held.insert(name.clone());
                    }
                    return Some((name, payload));
                }
                Attempt::Gone => {}
                Attempt::Busy => self.busy.push(OsString::clone(&name)),
                Attempt::Odd(reason) => self.complain(&name, &reason),
            }
        }
    }

    /// Moving or removing the file is what makes it ours: it works for one process only, ours or kombu's.
    fn attempt(&self, name: &OsStr, hold: bool) -> Attempt {
        let path = self.options.data_folder_in.join(name);
        let mut file = match open(&path) {
            Ok(file) => file,
            Err(attempt) => return attempt,
        };
        let claimed = match hold || self.options.store_processed {
            true => fs::rename(&path, self.unacked.file(name)),
            false => fs::remove_file(&path),
        };
        match claimed {
            Err(error) if error.kind() == ErrorKind::NotFound => return Attempt::Gone,
            Err(error) => return Attempt::Odd(format!("it cannot be taken: {error}")),
            Ok(()) => {}
        }
        if self.options.store_processed {
            self.keep_processed(name, hold);
        }
        Attempt::Taken(read(&mut file))
    }

    fn keep_processed(&self, name: &OsStr, hold: bool) {
        let (held, kept) = (self.unacked.file(name), self.options.processed_folder.join(name));
        let stored = fs::hard_link(&held, &kept).or_else(|_| fs::copy(&held, &kept).map(drop));
        if let Err(error) = stored {
            tracing::warn!("could not store a processed message as {}: {error}", kept.display());
        }
        if !hold && let Err(error) = self.unacked.remove(name) {
            tracing::warn!("could not remove {}: {error}", held.display());
        }
    }

    fn complain(&mut self, name: &OsStr, reason: &str) {
        if self.told.insert(name.to_owned()) {
            let path = self.options.data_folder_in.join(name);
            tracing::warn!("{} is left alone: {reason}", path.display());
        }
    }
}

/// Opens what is a whole message, or says why it is none.
fn open(path: &PathBuf) -> Result<File, Attempt> {
    // A pipe must not make us wait for its writer.
    let nonblocking = OFlags::NONBLOCK.bits().cast_signed();
    let file = match OpenOptions::new().read(true).custom_flags(nonblocking).open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let is_link = fs::symlink_metadata(path).is_ok();
            return Err(if is_link { Attempt::Odd("it is a link to nothing".to_owned()) } else { Attempt::Gone });
        }
        Err(error) => return Err(Attempt::Odd(format!("it cannot be opened: {error}"))),
    };
    let metadata = file.metadata().map_err(|error| Attempt::Odd(error.to_string()))?;
    if !metadata.is_file() {
        return Err(Attempt::Odd("it is no file".to_owned()));
    }
    // kombu writes under a lock, which it takes when it has opened the file.
    if matches!(file.try_lock_shared(), Err(TryLockError::WouldBlock)) {
        return Err(Attempt::Busy);
    }
    let age = metadata.modified().ok().and_then(|at| at.elapsed().ok());
    if file.metadata().is_ok_and(|now| now.len() == 0) && age.is_none_or(|age| age < EMPTY_FOR) {
        return Err(Attempt::Busy);
    }
    Ok(file)
}

fn read(file: &mut File) -> Payload {
    let malformed = |reason: String| MalformedMessage { reason, excerpt: String::new() };
    let mut payload = Vec::new();
    match file.metadata() {
        Ok(metadata) if metadata.len() > LARGEST => {
            return Err(malformed(format!("it is larger than {LARGEST} bytes")));
        }
        Ok(metadata) => payload.reserve(metadata.len() as usize),
        Err(_) => {}
    }
    match file.take(LARGEST).read_to_end(&mut payload) {
        Ok(_) => Ok(payload),
        Err(error) => Err(malformed(format!("it cannot be read: {error}"))),
    }
}
