//! The pool begins anew (`pool_restart`): a fresh zygote loads the app as it is now, and forks children for all places.
//!
//! The zygote before leaves at once. Its children end what they have begun and leave as well, each making room for one of
//! the new ones. An app that can no longer be loaded changes nothing.

use tokio::time::Instant;
use tracing::{error, info};

use super::child::Serial;
use super::event::Event;
use super::supervisor::Supervisor;
use super::zygote::Zygote;
use crate::pool::PoolError;

/// How far the pool has begun anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Renewal {
    #[default]
    None,
    /// The fresh zygote loads the app.
    Loading,
    /// It has taken over; the one before has not gone yet.
    Leaving,
}

impl Supervisor {
    /// Starts a zygote that is to take over, unless one does already.
    pub(super) fn renew(&mut self) {
        if self.stopping || self.renewal != Renewal::None {
            return;
        }
        self.renewal = Renewal::Loading;
        let (command, events) = (self.options.zygote.clone(), self.events.clone());
        tokio::spawn(async move {
            let launched = Zygote::launch(&command).await;
            let _ = events.send(Event::Renewed(launched.map(|(zygote, _)| Box::new(zygote))));
        });
    }

    /// The fresh zygote has loaded the app, or could not.
    pub(super) fn renewed(&mut self, zygote: Result<Box<Zygote>, PoolError>, now: Instant) {
        self.renewal = Renewal::None;
        let zygote = match zygote {
            Ok(_) if self.stopping => return,
            Ok(zygote) => zygote,
            Err(error) => return error!(target: "celery.concurrency.prefork", "the pool is not restarted: {error}"),
        };
        let standing: Vec<Serial> = self.roster.iter().map(|child| child.serial).collect();
        // Its link ends when nobody can ask any more. Where it has died, the one that follows it has loaded the app anew.
        if self.zygote.take().is_some() {
            self.renewal = Renewal::Leaving;
            self.roster.iter_mut().for_each(|child| child.is_old = true);
            self.employ(*zygote, now);
        }
        info!(target: "celery.concurrency.prefork", "the pool is restarted");
        for serial in standing {
            self.with(serial, |child| child.retire());
            self.leave_if_done(serial, now);
        }
    }

    /// A zygote has gone. Whether it is one that has left its place to another: its children are this process's now.
    pub(super) fn has_left(&mut self, now: Instant) -> bool {
        if self.renewal != Renewal::Leaving {
            return false;
        }
        self.renewal = Renewal::None;
        self.roster.iter_mut().filter(|child| child.is_old).for_each(|child| child.orphaned = true);
        self.wait_for_orphans(now);
        self.bury_unborn(now);
        true
    }
}
