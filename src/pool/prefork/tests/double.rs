//! A zygote and its children without Python: this test binary, started again.
//!
//! The zygote starts a process per `Fork`, so that children can be killed. A job's body says what the child does with it.

use std::collections::VecDeque;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio, exit};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, Sender};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;

use nix::sys::signal::{Signal, kill, raise};
use nix::unistd::Pid;

use crate::ipc::socket::{Channel, from_stdin};
use crate::ipc::{Ended, FromChild, FromZygote, Job, Manifest, Report, SavedState, Stored, ToChild, ToZygote};
use crate::pool::prefork::ZygoteCommand;

const ROLE: &str = "CELERY_RS_TEST_ROLE";
/// What the zygote or its children do wrong: `unloadable`, `stillborn`, `mute`, `stubborn`.
const FLAW: &str = "CELERY_RS_TEST_FLAW";

pub(super) fn command(flaw: &str) -> ZygoteCommand {
    ZygoteCommand {
        program: std::env::current_exe().unwrap(),
        args: arguments().map(Into::into).to_vec(),
        env: vec![(ROLE.into(), "zygote".into()), (FLAW.into(), flaw.into())],
    }
}

fn arguments() -> [&'static str; 3] {
    ["pool::prefork::tests::double::role", "--exact", "--nocapture"]
}

/// Not a test, but how the binary is told to be something else.
#[test]
fn role() {
    match std::env::var(ROLE).as_deref() {
        Ok("zygote") => zygote(),
        Ok("child") => child(),
        _ => {}
    }
}

fn zygote() {
    let mut channel = Channel::new(from_stdin().unwrap());
    let reports = channel.stream().try_clone().unwrap();
    let reports = Arc::new(Mutex::new(Channel::new(reports)));
    if std::env::var(FLAW).as_deref() == Ok("unloadable") {
        let message = "Unable to load celery application.".into();
        reports.lock().unwrap().send(&FromZygote::Failed { message, code: 2 }).unwrap();
        exit(2);
    }
    let pid = i32::try_from(std::process::id()).unwrap();
    let manifest = Manifest { pid, ..Manifest::default() };
    reports.lock().unwrap().send(&FromZygote::Manifest(Box::new(manifest))).unwrap();
    loop {
        match channel.receive() {
            Ok(ToZygote::Fork { index, .. }) => {
                fork(index, channel.descriptor().unwrap(), &reports);
                // These children write at once.
                drop(channel.descriptor());
            }
            Ok(ToZygote::Save(state)) => save(&state, &reports),
            Ok(ToZygote::Stop | ToZygote::ForkSteward | ToZygote::ForkBeat) | Err(_) => exit(0),
        }
    }
}

/// As if a process had ended with the clock as its exit code.
fn save(state: &SavedState, reports: &Mutex<Channel>) {
    let status = i32::try_from(state.clock).unwrap() << 8;
    let mut reports = reports.lock().unwrap();
    reports.send(&FromZygote::Saving { pid: i32::MAX }).unwrap();
    reports.send(&FromZygote::Reaped { pid: i32::MAX, status }).unwrap();
}

fn fork(index: u32, socket: OwnedFd, reports: &Arc<Mutex<Channel>>) {
    let shell = match std::env::var(FLAW).as_deref() {
        Ok("stubborn") => "trap '' TERM; exec \"$0\" \"$@\"",
        Ok("stillborn") => "exit 3",
        Ok("mute") => "exec sleep 1000",
        _ => "exec \"$0\" \"$@\"",
    };
    let mut command = Command::new("sh");
    command.arg("-c").arg(shell).arg(std::env::current_exe().unwrap()).args(arguments());
    command.env(ROLE, "child").stdin(Stdio::from(socket)).stdout(Stdio::null());
    let mut child = command.spawn().unwrap();
    drop(command);
    let pid = i32::try_from(child.id()).unwrap();
    let reports = Arc::clone(reports);
    reports.lock().unwrap().send(&FromZygote::Forked { index, pid }).unwrap();
    thread::spawn(move || {
        let status = child.wait().unwrap().into_raw();
        let _ = reports.lock().unwrap().send(&FromZygote::Reaped { pid, status });
    });
}

#[derive(Default)]
struct Inbox {
    jobs: Mutex<(VecDeque<Job>, bool)>,
    changed: Condvar,
    running: AtomicU64,
}

fn child() {
    let channel = Channel::new(from_stdin().unwrap());
    let out = Arc::new(Mutex::new(Channel::new(channel.stream().try_clone().unwrap())));
    let pid = i32::try_from(std::process::id()).unwrap();
    send(&out, &FromChild::Up { pid });
    let inbox = Arc::new(Inbox::default());
    let (answer, answers) = std::sync::mpsc::channel();
    let (reader_inbox, reader_out) = (Arc::clone(&inbox), Arc::clone(&out));
    thread::spawn(move || read(channel, &reader_inbox, &reader_out, &answer));
    work(&inbox, &out, &answers);
}

fn send(out: &Mutex<Channel>, frame: &FromChild) {
    if out.lock().unwrap().send(frame).is_err() {
        exit(0);
    }
}

fn read(mut channel: Channel, inbox: &Inbox, out: &Mutex<Channel>, answer: &Sender<String>) {
    loop {
        let frame = channel.receive().unwrap_or_else(|_| exit(0));
        let mut jobs = inbox.jobs.lock().unwrap();
        match frame {
            ToChild::Run(job) => jobs.0.push_back(job),
            ToChild::Stop | ToChild::Recycle => jobs.1 = true,
            ToChild::Kill(_) | ToChild::Seats(_) | ToChild::Close => {}
            ToChild::StoreDone(_, error) => answer.send(error).unwrap(),
            ToChild::Signal { number, signum, .. } => {
                if inbox.running.load(Ordering::Acquire) == number {
                    send(out, &FromChild::Signalled(number));
                    kill(Pid::this(), Signal::try_from(signum).unwrap()).unwrap();
                }
            }
            ToChild::SoftTimeLimit(_) => raise(Signal::SIGUSR1).unwrap(),
            ToChild::Recall(numbers) => {
                let (back, kept) = jobs.0.drain(..).partition(|job: &Job| numbers.contains(&job.number));
                jobs.0 = kept;
                let back: VecDeque<Job> = back;
                send(out, &FromChild::Recalled(back.iter().map(|job| job.number).collect()));
            }
        }
        inbox.changed.notify_all();
    }
}

fn work(inbox: &Inbox, out: &Mutex<Channel>, answers: &Receiver<String>) {
    loop {
        let mut jobs =
            inbox.changed.wait_while(inbox.jobs.lock().unwrap(), |jobs| jobs.0.is_empty() && !jobs.1).unwrap();
        let Some(job) = jobs.0.pop_front() else {
            exit(0);
        };
        let behind = jobs.0.len();
        inbox.running.store(job.number, Ordering::Release);
        // Under the lock, so that a job is either recalled or accepted.
        send(out, &FromChild::Accepted { number: job.number, at: 1.0 });
        drop(jobs);
        run(&job, inbox, behind, out, answers);
    }
}

/// Bodies: ``, `ask` (store something, wait for the answer), `kill N`, `exit N`, `leave` (report an exit, and stay), `grow`
/// (report much memory), `swell` (use much, after the report).
fn run(job: &Job, inbox: &Inbox, behind: usize, out: &Mutex<Channel>, answers: &Receiver<String>) {
    let body = std::str::from_utf8(&job.body).unwrap();
    let (verb, operand) = body.split_once(' ').unwrap_or((body, "0"));
    let operand: i32 = operand.parse().unwrap();
    let mut repr = behind.to_string();
    match verb {
        "ask" => {
            send(out, &FromChild::Store { number: job.number, stored: Stored::default() });
            repr = answers.recv().unwrap();
        }
        "kill" => {
            raise(Signal::try_from(operand).unwrap()).unwrap();
        }
        "exit" => exit(operand),
        _ => {}
    }
    inbox.running.store(0, Ordering::Release);
    let rss_kib = if verb == "grow" { 1 << 30 } else { 1 };
    let ended = if verb == "leave" { Ended::Exits { exit: "exitcode 3".into() } } else { Ended::Success { repr } };
    let report = Report { ended, runtime: 0.000_01, stored: None, rss_kib };
    send(out, &FromChild::Done { number: job.number, report });
    if verb == "swell" {
        std::mem::forget(vec![1_u8; 100 << 20]);
    }
    if verb == "leave" {
        loop {
            thread::park();
        }
    }
}
