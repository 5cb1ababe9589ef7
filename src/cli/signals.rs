//! What signals mean to the worker, and what it says about them (`celery/apps/worker.py`).
//!
//! [`Shutdowns`] decides and is told nothing but signals; [`listen`] does what it decides. Whoever runs the worker holds
//! the other end: a function that passes a [`Request`] on.

use std::{
    env,
    io::{self, IsTerminal, Write},
    sync::{Arc, Mutex, PoisonError},
};

use tokio::signal::unix::{SignalKind, signal};

use super::exit::{self, Exit};

const HINT: &str = "worker: Hitting Ctrl+C again will initiate cold shutdown, terminating all running tasks!";
const WARM: &str = "worker: Warm shutdown (MainProcess)";
const COLD: &str = "worker: Cold shutdown (MainProcess)";
const COLD_HINT: &str = "worker: Hitting Ctrl+C again will terminate all running tasks!";
const NO_DEBUGGER: &str =
    "USR2: rdb cannot stop the main process, which runs no Python; call rdb.set_trace() in the task";
const WAITING: &str = "Waiting gracefully for cold shutdown to complete...";

/// What is asked of the worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Request {
    /// Finish what runs.
    Warm,
    /// End what runs, after the soft shutdown's time.
    Cold,
    /// End what runs at once.
    Hurried,
}

/// A signal that is listened to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Signal {
    Terminate,
    Interrupt,
    Quit,
    Hangup,
    User1,
    User2,
}

/// What a signal leads to.
#[derive(Debug, Default, PartialEq, Eq)]
struct Reaction {
    say: Vec<String>,
    ask: Option<Request>,
    /// End the process now, whatever still runs.
    at_once: bool,
    announce: Option<Announced>,
    /// Tell what runs.
    cry: bool,
}

/// What Celery's `worker_shutting_down` says of a signal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Announced {
    /// Its name.
    pub(super) sig: &'static str,
    /// `Warm` or `Cold`.
    pub(super) how: &'static str,
    /// Where it leads to, as far as Celery's handler knows.
    pub(super) exit: Exit,
}

/// What INT and QUIT will do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Stage {
    Running,
    /// After an INT, or a TERM: INT is one step ahead only after an INT.
    Interrupted,
    Cold,
    Hurried,
}

/// The worker's way down, as far as signals know.
#[derive(Debug)]
pub(super) struct Shutdowns {
    stage: Stage,
    exit: Option<Exit>,
    restart: bool,
    /// `REMAP_SIGTERM=SIGQUIT`.
    remapped: bool,
}

impl Shutdowns {
    /// `remap` is the value of `REMAP_SIGTERM`; only `SIGQUIT` means something.
    pub(super) fn new(remap: Option<&str>) -> Self {
        Self { stage: Stage::Running, exit: None, restart: false, remapped: remap == Some("SIGQUIT") }
    }

    /// The exit code that the first signal decided; none when there was no signal.
    pub(super) fn exit(&self) -> Option<Exit> {
        self.exit
    }

    /// Whether HUP asked to start again.
    pub(super) fn restart(&self) -> bool {
        self.restart
    }

    fn on(&mut self, signal: Signal) -> Reaction {
        let announce = self.announced(signal);
        let reaction = self.react(signal);
        Reaction { announce: announce.filter(|_| !reaction.at_once), ..reaction }
    }

    fn announced(&self, signal: Signal) -> Option<Announced> {
        let (warm, cold) = (("Warm", exit::OK), ("Cold", exit::FAILURE));
        let (sig, (how, exit)) = match signal {
            Signal::Terminate => ("SIGTERM", if self.remapped { cold } else { warm }),
            Signal::Interrupt if self.stage == Stage::Running => ("SIGINT", ("Warm", exit::FAILURE)),
            Signal::Interrupt => ("SIGINT", cold),
            Signal::Quit => ("SIGQUIT", cold),
            Signal::Hangup | Signal::User1 | Signal::User2 => return None,
        };
        Some(Announced { sig, how, exit })
    }

    fn react(&mut self, signal: Signal) -> Reaction {
        match signal {
            Signal::Terminate if self.remapped => self.colder(true),
            Signal::Terminate => self.warm(exit::OK),
            Signal::Interrupt if self.stage == Stage::Running => self.interrupt(),
            Signal::Interrupt => self.colder(false),
            Signal::Quit => self.colder(true),
            Signal::Hangup => self.hang_up(),
            Signal::User1 => Reaction { cry: true, ..Reaction::default() },
            Signal::User2 => Reaction { say: vec![NO_DEBUGGER.to_owned()], ..Reaction::default() },
        }
    }

    fn warm(&mut self, exit: Exit) -> Reaction {
        self.exit.get_or_insert(exit);
        let ask = (self.stage < Stage::Cold).then_some(Request::Warm);
        Reaction { say: vec![WARM.to_owned()], ask, ..Reaction::default() }
    }

    fn interrupt(&mut self) -> Reaction {
        self.stage = Stage::Interrupted;
        let mut reaction = self.warm(exit::FAILURE);
        reaction.say.insert(0, HINT.to_owned());
        reaction
    }

    /// QUIT announces the cold shutdown; the second INT does not.
    fn colder(&mut self, announce: bool) -> Reaction {
        self.exit.get_or_insert(exit::OK);
        let (stage, said, announce, ask) = match self.stage {
            Stage::Running | Stage::Interrupted => (Stage::Cold, COLD_HINT, announce, Request::Cold),
            Stage::Cold => (Stage::Hurried, WAITING, true, Request::Hurried),
            Stage::Hurried => return Reaction { at_once: true, ..Reaction::default() },
        };
        self.stage = stage;
        let mut say = vec![said.to_owned()];
        say.extend(announce.then(|| COLD.to_owned()));
        Reaction { say, ask: Some(ask), ..Reaction::default() }
    }

    fn hang_up(&mut self) -> Reaction {
        self.restart = true;
        self.exit.get_or_insert(exit::OK);
        let line = format!("Restarting celery worker ({})", env::args().collect::<Vec<_>>().join(" "));
        let ask = (self.stage < Stage::Cold).then_some(Request::Warm);
        Reaction { say: vec![line], ask, ..Reaction::default() }
    }
}

/// Who is told what a signal leads to.
pub(super) trait Listener: Clone + Send + 'static {
    /// What it asks of the worker.
    fn ask(&self, request: Request);
    /// What Celery's handler says of it.
    fn announce(&self, announced: Announced);
    /// Somebody wants to know what runs.
    fn cry(&self);
    /// The worker will start again in this process.
    fn restarting(&self);
}

/// Listens until the process ends. Needs a tokio runtime.
///
/// # Errors
/// When a handler cannot be installed.
pub(super) fn listen(shutdowns: Arc<Mutex<Shutdowns>>, listener: impl Listener) -> io::Result<()> {
    let mut signals = vec![
        (SignalKind::terminate(), Signal::Terminate),
        (SignalKind::interrupt(), Signal::Interrupt),
        (SignalKind::quit(), Signal::Quit),
        (SignalKind::user_defined1(), Signal::User1),
        (SignalKind::user_defined2(), Signal::User2),
    ];
    // A closed terminal window must not restart the worker into the background.
    if !io::stdout().is_terminal() {
        signals.push((SignalKind::hangup(), Signal::Hangup));
    }
    for (kind, name) in signals {
        let mut stream = signal(kind)?;
        let (shutdowns, listener) = (Arc::clone(&shutdowns), listener.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                let reaction = shutdowns.lock().unwrap_or_else(PoisonError::into_inner).on(name);
                if name == Signal::Hangup {
                    listener.restarting();
                }
                obey(reaction, &listener);
            }
        });
    }
    Ok(())
}

fn obey(reaction: Reaction, listener: &impl Listener) {
    if reaction.at_once {
        exit::at_once(exit::FAILURE);
    }
    reaction.say.iter().for_each(|line| say(line));
    if let Some(announced) = reaction.announce {
        listener.announce(announced);
    }
    if let Some(request) = reaction.ask {
        listener.ask(request);
    }
    if reaction.cry {
        listener.cry();
    }
}

/// To stdout, and never an error: a message for people must not stop a shutdown.
fn say(line: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(format!("\n{line}\n").as_bytes());
    let _ = stdout.flush();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(remap: Option<&str>, signals: &[Signal]) -> (Shutdowns, Reaction) {
        let mut shutdowns = Shutdowns::new(remap);
        let mut last = Reaction::default();
        for signal in signals {
            last = shutdowns.on(*signal);
        }
        (shutdowns, last)
    }

    use Signal::{Hangup, Interrupt, Quit, Terminate};

    #[test]
    fn signals_ask_and_say_what_celerys_do() {
        for (signals, ask, say, exit) in [
            (&[Terminate][..], Some(Request::Warm), &[WARM][..], exit::OK),
            (&[Terminate, Terminate], Some(Request::Warm), &[WARM], exit::OK),
            (&[Interrupt], Some(Request::Warm), &[HINT, WARM], exit::FAILURE),
            (&[Interrupt, Interrupt], Some(Request::Cold), &[COLD_HINT], exit::FAILURE),
            (&[Interrupt, Interrupt, Interrupt], Some(Request::Hurried), &[WAITING, COLD], exit::FAILURE),
            (&[Quit], Some(Request::Cold), &[COLD_HINT, COLD], exit::OK),
            (&[Terminate, Quit], Some(Request::Cold), &[COLD_HINT, COLD], exit::OK),
            (&[Quit, Terminate], None, &[WARM], exit::OK),
            (&[Quit, Interrupt], Some(Request::Hurried), &[WAITING, COLD], exit::OK),
        ] {
            let (shutdowns, reaction) = after(None, signals);
            assert_eq!((reaction.ask, reaction.say), (ask, say.iter().map(|s| s.to_string()).collect()), "{signals:?}");
            assert_eq!(shutdowns.exit(), Some(exit), "{signals:?}");
        }
    }

    #[test]
    fn what_is_announced_is_what_celerys_handlers_say() {
        for (remap, signals, sig, how, exit) in [
            (None, &[Terminate][..], "SIGTERM", "Warm", exit::OK),
            (Some("SIGQUIT"), &[Terminate], "SIGTERM", "Cold", exit::FAILURE),
            (None, &[Interrupt], "SIGINT", "Warm", exit::FAILURE),
            (None, &[Interrupt, Interrupt], "SIGINT", "Cold", exit::FAILURE),
            (None, &[Quit], "SIGQUIT", "Cold", exit::FAILURE),
        ] {
            assert_eq!(after(remap, signals).1.announce, Some(Announced { sig, how, exit }), "{signals:?}");
        }
        assert_eq!(after(None, &[Hangup]).1.announce, None);
        assert_eq!(after(None, &[Quit, Quit, Quit]).1.announce, None, "nobody hears a process that ends");
    }

    #[test]
    fn the_last_straw_ends_the_process() {
        assert!(after(None, &[Quit, Quit, Quit]).1.at_once);
        assert!(!after(None, &[Quit, Quit]).1.at_once);
    }

    #[test]
    fn term_can_be_remapped() {
        assert_eq!(after(Some("SIGQUIT"), &[Terminate]).1.ask, Some(Request::Cold));
        assert_eq!(after(Some("SIGKILL"), &[Terminate]).1.ask, Some(Request::Warm));
    }

    #[test]
    fn user_signals_stop_nothing() {
        for signal in [Signal::User1, Signal::User2] {
            let (shutdowns, reaction) = after(None, &[signal]);
            assert_eq!((shutdowns.exit(), reaction.ask, reaction.at_once), (None, None, false));
            assert_eq!(
                (reaction.cry, reaction.say.len()),
                if signal == Signal::User1 { (true, 0) } else { (false, 1) }
            );
        }
    }

    #[test]
    fn hangup_restarts() {
        let (shutdowns, reaction) = after(None, &[Hangup]);
        assert!(shutdowns.restart());
        assert_eq!(reaction.ask, Some(Request::Warm));
        let (shutdowns, reaction) = after(None, &[Quit, Hangup]);
        assert!(shutdowns.restart());
        assert_eq!(reaction.ask, None, "a cold stop does not become warm again");
    }
}
