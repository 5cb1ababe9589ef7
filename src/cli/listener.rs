//! Who hears what Unix signals lead to: the worker, the app's receivers, and whoever reads stderr.

use tokio::sync::watch;

use super::{
    notify,
    signals::{self, Request},
    stacks,
};
use crate::app::{Announcer, Booted, Door, Shutdown};

/// Passes on what signals lead to.
#[derive(Clone)]
pub(super) struct Listener {
    /// Read by the worker.
    ask: watch::Sender<Option<Shutdown>>,
    announcer: Announcer,
    door: Door,
}

impl Listener {
    pub(super) fn new(ask: watch::Sender<Option<Shutdown>>, booted: &Booted) -> Self {
        Self { ask, announcer: booted.announcer.clone(), door: booted.door.clone() }
    }
}

impl signals::Listener for Listener {
    /// A later word counts only if it is more urgent.
    fn ask(&self, request: Request) {
        let request = Some(shutdown(request));
        self.ask.send_if_modified(|asked| {
            let more = request > *asked;
            *asked = request.max(*asked);
            more
        });
    }

    fn announce(&self, announced: signals::Announced) {
        self.announcer.shutting_down(announced.sig, announced.how, announced.exit.0);
    }

    fn cry(&self) {
        tokio::spawn(stacks::show(self.door.clone()));
    }

    fn restarting(&self) {
        notify::reloading();
    }
}

fn shutdown(request: Request) -> Shutdown {
    match request {
        Request::Warm => Shutdown::Warm,
        Request::Cold => Shutdown::Cold,
        Request::Hurried => Shutdown::Hurried,
    }
}
