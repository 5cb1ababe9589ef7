//! [`Owner`]: the task that has the steward's process.

use std::os::fd::OwnedFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until};
use tracing::{error, warn};

use super::link::Link;
use super::queue::Queue;
use super::{Load, Order, StewardError};
use crate::ipc::{Errand, FromSteward};

/// One errand that takes longer than this is told of, and again after each such time.
const SLOW: Duration = Duration::from_secs(10);
/// How often what was left unsaid is told of, while there is any.
const COUNTED: Duration = Duration::from_secs(5);
/// A steward that has lived so long has not died of its start.
const SETTLED: Duration = Duration::from_secs(10);
/// The longest wait between two stewards that die at once.
const LONGEST_WAIT: Duration = Duration::from_secs(30);
/// Nothing is due.
const IDLE: Duration = Duration::from_secs(3600);

/// Has a process forked that serves the socket.
pub(super) type Fork = Box<dyn Fn(OwnedFd) + Send>;

/// See the module's text.
pub(super) struct Owner {
    fork: Fork,
    /// From the handles.
    inbox: mpsc::UnboundedReceiver<Order>,
    queue: Queue,
    load: Arc<Load>,
    link: Option<Link>,
    /// What each further process is to do first: what this one has done that has to last.
    standing: Vec<Errand>,
    /// Whether the process is wanted even without an errand.
    wanted: bool,
    /// When the next process may be asked for.
    not_before: Instant,
    /// Stewards in a row that have died young.
    failures: u32,
    /// When the next word may be said about an errand that takes long, and about what was left unsaid.
    slow_until: Instant,
    count_at: Instant,
    /// Who waits for the end; a steward that was told to leave is not replaced.
    stops: Vec<oneshot::Sender<()>>,
    stopping: bool,
}

impl Owner {
    pub(super) fn new(fork: Fork, inbox: mpsc::UnboundedReceiver<Order>, load: Arc<Load>) -> Self {
        let now = Instant::now();
        Self {
            fork,
            inbox,
            queue: Queue::new(Arc::clone(&load)),
            load,
            link: None,
            standing: Vec::new(),
            wanted: false,
            not_before: now,
            failures: 0,
            slow_until: now,
            count_at: now,
            stops: Vec::new(),
            stopping: false,
        }
    }

    /// Until the steward has left, or nobody has a handle to it any more: then it reads the end of its socket.
    pub(super) async fn run(mut self) {
        loop {
            let now = Instant::now();
            self.look_at_the_clock(now);
            self.have_one(now);
            if let Some(link) = &mut self.link {
                link.write(&mut self.queue, now);
            }
            if self.is_over() {
                break;
            }
            let deadline = self.deadline(now);
            let (link, queue) = (&self.link, &self.queue);
            let readiness = async {
                match link {
                    Some(link) => link.ready(link.wants_to_write(queue)).await,
                    None => std::future::pending().await,
                }
            };
            tokio::select! {
                order = self.inbox.recv() => match order {
                    Some(order) => self.obey(order),
                    None => return,
                },
                () = readiness => self.hear(Instant::now()),
                () = sleep_until(deadline) => {}
            }
        }
        self.queue.clear();
        self.inbox.close();
        for done in self.stops.drain(..) {
            let _ = done.send(());
        }
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Start => self.wanted = true,
            Order::Run(errand, answer) => self.queue.push(errand, answer),
            Order::Keep(errand) => {
                self.standing.retain(|kept| kept.name != errand.name);
                self.standing.push(errand);
            }
            Order::Stop(done) => {
                self.stops.push(done);
                self.stopping = true;
            }
            Order::Kill => {
                self.stopping = true;
                self.queue.clear();
                if let Some(link) = self.link.take() {
                    link.kill();
                }
            }
        }
    }

    /// Has a process forked if one is needed and none is there; tells one that is not needed any more.
    fn have_one(&mut self, now: Instant) {
        if let Some(link) = &mut self.link {
            if self.stopping && self.queue.is_empty() && !link.told_to_leave {
                link.say_farewell();
            }
            return;
        }
        let needed = !self.queue.is_empty() || (self.wanted && !self.stopping);
        if !needed || now < self.not_before {
            return;
        }
        match Link::open(now) {
            Ok((link, theirs)) => {
                self.link = Some(link);
                (self.fork)(theirs);
            }
            Err(error) => {
                error!(target: "celery.worker", "cannot ask for a steward: {error}");
                self.not_before = now + LONGEST_WAIT;
            }
        }
    }

    fn hear(&mut self, now: Instant) {
        let Some(link) = &mut self.link else { return };
        let mut frames = Vec::new();
        let is_open = link.read(&mut frames);
        for frame in frames {
            match frame {
                FromSteward::Up { pid } => link.pid = Some(pid),
                FromSteward::Done { number, answer } => {
                    self.queue.done(number, answer.map_err(StewardError::Raised), now);
                }
            }
        }
        if !is_open {
            self.bury(now);
        }
    }

    fn bury(&mut self, now: Instant) {
        let Some(link) = self.link.take() else { return };
        if link.told_to_leave && self.queue.is_empty() {
            return;
        }
        link.kill();
        self.failures = if now - link.since > SETTLED { 0 } else { self.failures + 1 };
        let wait = Duration::from_secs(u64::from(self.failures.saturating_sub(1))).min(LONGEST_WAIT);
        self.not_before = now + wait;
        warn!(target: "celery.worker", "the steward has died; starting another one");
        self.queue.rewind();
        if !self.stopping {
            self.queue.push_first(&self.standing);
        }
    }

    fn is_over(&self) -> bool {
        self.stopping && self.link.is_none() && self.queue.is_empty()
    }

    fn look_at_the_clock(&mut self, now: Instant) {
        let behind = self.queue.len();
        if let Some((name, since)) = self.queue.current()
            && now >= (since + SLOW).max(self.slow_until)
        {
            let seconds = (now - since).as_secs();
            warn!(target: "celery.worker",
                "the steward has been at {name} for {seconds} s, and {} more wait: receivers of signals hold each other up",
                behind.saturating_sub(1));
            self.slow_until = now + SLOW;
        }
        if self.count_at <= now {
            let unsaid = self.load.unsaid.swap(0, Ordering::Relaxed);
            if unsaid > 0 {
                warn!(target: "celery.worker",
                    "the steward is too slow: {unsaid} signals were not sent in it, since {behind} were waiting already");
            }
            self.count_at = now + COUNTED;
        }
    }

    fn deadline(&self, now: Instant) -> Instant {
        let slow = self.queue.current().map(|(_, since)| (since + SLOW).max(self.slow_until));
        let lacks_one = self.link.is_none() && (self.wanted || !self.queue.is_empty());
        let fork = lacks_one.then_some(self.not_before);
        let count = (!self.queue.is_empty()).then_some(self.count_at);
        slow.into_iter()
            .chain(fork)
            .chain(count)
            .min()
            .map_or(now + IDLE, |due| due.max(now + Duration::from_millis(1)))
    }
}
