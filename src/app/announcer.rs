//! [`Announcer`]: whoever hears Unix signals tells the app's receivers of `worker_shutting_down` through it.

use std::sync::{Arc, OnceLock};

use crate::worker::MainSignals;

/// Says that a Unix signal stops the worker. Cheap to clone; says nothing until the worker is assembled, nor without a
/// Python app that listens.
#[derive(Debug, Clone, Default)]
pub struct Announcer {
    signals: Arc<OnceLock<MainSignals>>,
}

impl Announcer {
    /// The signal's name, `Warm` or `Cold`, and the exit code it leads to, as Celery's handlers have them
    /// (`celery/apps/worker.py:_shutdown_handler`).
    pub fn shutting_down(&self, sig: &str, how: &str, exitcode: u8) {
        if let Some(signals) = self.signals.get() {
            signals.shutting_down(sig, how, exitcode);
        }
    }

    /// To be called once.
    pub(super) fn speak_through(&self, signals: MainSignals) {
        let _ = self.signals.set(signals);
    }
}
