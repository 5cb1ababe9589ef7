//! [`Saving`]: the state database, written by a process that the zygote forks when the worker ends.

use tokio::sync::oneshot;

use super::status::Status;
use super::supervisor::Supervisor;
use crate::ipc::{SavedState, ToZygote};

/// How far that is.
#[derive(Debug)]
pub(super) enum Saving {
    /// Nothing is to be saved, or that has been done.
    Over,
    /// Nobody has asked yet; somebody will.
    Awaited,
    /// The process writes it, if its number is known, or is about to be forked.
    Written { pid: Option<i32>, done: oneshot::Sender<Result<(), String>> },
}

impl Saving {
    /// Whether the pool need not wait for it: whoever asked may have waited long enough.
    pub(super) fn is_over(&self) -> bool {
        match self {
            Self::Over => true,
            Self::Awaited => false,
            Self::Written { done, .. } => done.is_closed(),
        }
    }
}

impl Supervisor {
    pub(super) fn save(&mut self, state: SavedState, done: oneshot::Sender<Result<(), String>>) {
        self.saving = Saving::Written { pid: None, done };
        let asked = self.zygote.as_ref().is_some_and(|zygote| zygote.send((ToZygote::Save(state), Vec::new())).is_ok());
        if !asked {
            self.saved(Err("the process that would write it has died".to_owned()));
        }
    }

    /// The zygote has forked the process.
    pub(super) fn saving_by(&mut self, by: i32) {
        if let Saving::Written { pid, .. } = &mut self.saving {
            *pid = Some(by);
        }
    }

    /// Whether a process that has ended was that one.
    pub(super) fn saved_by(&mut self, by: i32, status: Status) -> bool {
        let it_was = matches!(self.saving, Saving::Written { pid: Some(pid), .. } if pid == by);
        if it_was {
            self.saved(if status.is_success() { Ok(()) } else { Err(status.text()) });
        }
        it_was
    }

    /// The zygote has gone, and with it the news of whether it was written.
    pub(super) fn saving_is_lost(&mut self) {
        if matches!(self.saving, Saving::Written { .. }) {
            self.saved(Err("the process that would have written it has died".to_owned()));
        }
    }

    fn saved(&mut self, result: Result<(), String>) {
        if let Saving::Written { done, .. } = std::mem::replace(&mut self.saving, Saving::Over) {
            // Whoever asked may not have waited so long.
            let _ = done.send(result);
        }
    }
}
