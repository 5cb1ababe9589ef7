//! A child's life: what has begun, what is given back, limits, and its ends.

use std::fs;
use std::io::Read;

use celery_rs::ipc::{Ended, FromChild, FromZygote, IpcError, ToChild};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::parent::{Child, Start, document, proj};

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(child.pid), signal).unwrap();
}

#[test]
fn a_child_is_what_billiards_processes_are() {
    let mut parent = proj();
    let mut child = parent.fork(4, 9);
    assert!(matches!(child.receive(), FromChild::Up { .. }));
    let report = child.perform("proj.whoami", "[]");
    let result = document(report.stored.as_ref())["result"].clone();
    assert_eq!((&result[0], &result[1]), (&"ForkPoolWorker-9".into(), &4.into()));
    assert!(result[3][0].as_str().unwrap().ends_with("/bin/celery"), "{result}");
    assert_eq!(result[3][1], "-A");
}

#[test]
fn stop_lets_the_child_finish_and_run_its_hooks() {
    let mut parent = proj();
    let mut child = parent.child();
    let gate = parent.path("gate");
    let number = child.run("proj.wait", &format!(r#"["{}"]"#, gate.display()));
    child.accepted(number);
    child.tell(&ToChild::Stop);
    parent.noted("waiting");
    fs::write(gate, "").unwrap();
    assert_eq!(child.done(number).ended, Ended::Success { repr: "'over'".into() });
    assert_eq!(parent.reaped(&child), 0);
    assert_eq!(parent.journal()[1..], ["worker_process_init", "waiting", "worker_process_shutdown 0"]);
}

#[test]
fn one_that_is_replaced_leaves_with_billiards_code() {
    let mut parent = proj();
    let mut child = parent.child();
    child.perform("proj.noted", r#"["once"]"#);
    child.tell(&ToChild::Recycle);
    assert_eq!(parent.reaped(&child), 0x9b << 8);
    assert_eq!(parent.journal()[1..], ["worker_process_init", "once", "worker_process_shutdown 155"]);
}

#[test]
fn a_kill_loses_the_one_that_has_begun_and_no_other() {
    let mut parent = proj();
    let mut child = parent.child();
    let first = child.run("proj.noted", r#"["first"]"#);
    let second = child.run("proj.wait", r#"["/nonexistent"]"#);
    let _third = child.run("proj.noted", r#"["third"]"#);
    child.accepted(first);
    child.done(first);
    child.accepted(second);
    parent.noted("waiting");
    signal(&child, Signal::SIGKILL);
    assert_eq!(parent.reaped(&child), Signal::SIGKILL as i32);
    assert!(matches!(child.channel.receive::<FromChild>(), Err(IpcError::Closed)));
    assert!(!parent.journal().contains(&"third".to_owned()));
}

#[test]
fn what_has_not_begun_is_given_back_while_a_task_runs() {
    let mut parent = proj();
    let mut child = parent.child();
    let gate = parent.path("gate");
    let running = child.run("proj.wait", &format!(r#"["{}"]"#, gate.display()));
    let (second, third) = (child.run("proj.noted", r#"["second"]"#), child.run("proj.noted", r#"["third"]"#));
    child.accepted(running);
    child.tell(&ToChild::Recall(vec![running, second]));
    assert!(matches!(child.receive(), FromChild::Recalled(numbers) if numbers == [second]));
    fs::write(gate, "").unwrap();
    child.done(running);
    child.accepted(third);
    child.done(third);
    assert!(!parent.journal().contains(&"second".to_owned()));
}

#[test]
fn a_task_that_exits_takes_its_child_along() {
    let mut parent = proj();
    let mut child = parent.child();
    let is_loss =
        !parent.manifest.celery_version.starts_with("5.5") && !parent.manifest.celery_version.starts_with("5.6");
    let number = child.run("proj.leave", "[3]");
    child.accepted(number);
    let ended = child.done(number).ended;
    assert_eq!(ended == Ended::Exits { exit: "exitcode 3".into() }, is_loss, "{ended:?}");
    assert_eq!(parent.reaped(&child), 3 << 8);
    assert!(matches!(child.channel.receive::<FromChild>(), Err(IpcError::Closed)));
    assert!(parent.journal().contains(&"worker_process_shutdown 3".to_owned()));
}

#[test]
fn termination_unwinds_the_task() {
    let mut parent = proj();
    let mut child = parent.child();
    let number = child.run("proj.wait", r#"["/nonexistent"]"#);
    child.accepted(number);
    parent.noted("waiting");
    signal(&child, Signal::SIGTERM);
    assert_eq!(parent.reaped(&child), 15 << 8);
}

#[test]
fn a_signal_is_for_its_job_only() {
    let mut parent = proj();
    let mut child = parent.child();
    let signum = Signal::SIGTERM as i32;
    let first = child.run("proj.add", "[1, 1]");
    child.accepted(first);
    child.done(first);
    child.tell(&ToChild::Signal { number: first, signum, group: false });
    assert_eq!(child.perform("proj.add", "[1, 2]").ended, Ended::Success { repr: "3".into() });
    let number = child.run("proj.wait", r#"["/nonexistent"]"#);
    child.accepted(number);
    parent.noted("waiting");
    child.tell(&ToChild::Signal { number, signum, group: true });
    assert!(matches!(child.receive(), FromChild::Signalled(signalled) if signalled == number));
    assert_eq!(parent.reaped(&child), 15 << 8);
}

#[test]
fn an_answer_that_nobody_waits_for_any_more_is_not_the_next_one() {
    let mut parent = proj();
    let mut child = parent.child();
    let number = child.run("proj.hooked", "[]");
    child.accepted(number);
    assert!(matches!(child.receive(), FromChild::Store { stored, .. } if stored.state == "SUCCESS"));
    child.tell(&ToChild::SoftTimeLimit(number));
    assert!(matches!(child.receive(), FromChild::Store { stored, .. } if stored.state == "FAILURE"));
    child.tell(&ToChild::StoreDone(number, "too late".into()));
    child.tell(&ToChild::StoreDone(number, String::new()));
    let ended = child.done(number).ended;
    assert!(format!("{ended:?}").contains("SoftTimeLimitExceeded"), "{ended:?}");
    assert!(!format!("{ended:?}").contains("too late"), "{ended:?}");
}

#[test]
fn soft_limits_by_signal_and_by_frame() {
    let mut parent = proj();
    let mut child = parent.child();
    for by_frame in [false, true] {
        let number = child.run("proj.soft", r#"["/nonexistent"]"#);
        child.accepted(number);
        while parent.journal().iter().filter(|line| *line == "softly").count() < 1 + usize::from(by_frame) {
            std::thread::yield_now();
        }
        match by_frame {
            true => child.tell(&ToChild::SoftTimeLimit(number)),
            false => signal(&child, Signal::SIGUSR1),
        }
        assert_eq!(child.done(number).ended, Ended::Success { repr: "'soft limit'".into() });
    }
}

#[test]
fn a_late_soft_limit_harms_nobody() {
    let mut parent = proj();
    let mut child = parent.child();
    signal(&child, Signal::SIGUSR1);
    let first = child.run("proj.add", "[1, 1]");
    child.accepted(first);
    child.done(first);
    child.tell(&ToChild::SoftTimeLimit(first));
    signal(&child, Signal::SIGUSR1);
    assert_eq!(child.perform("proj.add", "[1, 2]").ended, Ended::Success { repr: "3".into() });
}

#[test]
fn children_and_zygote_leave_with_their_parent() {
    let mut parent = proj();
    let mut child = parent.child();
    let number = child.run("proj.wait", r#"["/nonexistent"]"#);
    child.accepted(number);
    let pid = child.pid;
    drop(child);
    match parent.channel.receive().unwrap() {
        FromZygote::Reaped { pid: reaped, status } => assert_eq!((reaped, status), (pid, Signal::SIGKILL as i32)),
        other => panic!("{other:?} instead of the end of {pid}"),
    }
    parent.channel.stream().shutdown(std::net::Shutdown::Both).unwrap();
    assert!(parent.process.wait().unwrap().success());
}

#[test]
fn an_initializer_that_fails_says_so() {
    let mut parent = Start::new(&["-A", "proj", "worker"]).variable("TEST_FAIL_INIT", "1").start().unwrap();
    let mut child = parent.fork(0, 1);
    assert!(matches!(child.receive(), FromChild::Failed(_)));
    assert_eq!(parent.reaped(&child), 3 << 8);
    let mut rest = String::new();
    assert_eq!((&mut child.channel.stream()).read_to_string(&mut rest).unwrap(), 0);
}

#[test]
fn threads_have_several_seats_in_one_process() {
    let mut parent = Start::new(&["-A", "proj", "worker", "-P", "threads", "-c", "2"]).start().unwrap();
    let mut child = parent.child();
    let gate = parent.path("gate");
    let blocked = child.run("proj.wait", &format!(r#"["{}"]"#, gate.display()));
    child.accepted(blocked);
    let report = child.perform("proj.whoami", "[]");
    assert_eq!(document(report.stored.as_ref())["result"][0], "MainProcess");
    fs::write(gate, "").unwrap();
    child.done(blocked);
    child.tell(&ToChild::Stop);
    assert_eq!(parent.reaped(&child), 0);
}

#[test]
fn the_answer_to_a_thread_wakes_no_other_in_its_place() {
    let mut parent = Start::new(&["-A", "proj", "worker", "-P", "threads", "-c", "4"]).start().unwrap();
    let mut child = parent.child();
    // Whoever was woken by mistake did not always get there first.
    for _ in 0..200 {
        let number = child.run("proj.hooked", "[]");
        child.accepted(number);
        assert!(matches!(child.receive(), FromChild::Store { number: asked, .. } if asked == number));
        child.tell(&ToChild::StoreDone(number, String::new()));
        child.done(number);
    }
}

#[test]
fn solo_is_the_main_process() {
    let mut parent = Start::new(&["-A", "proj", "worker", "-P", "solo"]).start().unwrap();
    let mut child = parent.child();
    let report = child.perform("proj.whoami", "[]");
    assert_eq!(document(report.stored.as_ref())["result"][0], "MainProcess");
    assert!(parent.journal().contains(&"worker_process_init".to_owned()));
}

#[test]
fn results_for_rpc_name_their_addressee() {
    let mut parent = Start::new(&["-A", "proj", "worker"]).variable("TEST_BACKEND", "rpc://").start().unwrap();
    assert!(parent.manifest.relays_results);
    let report = parent.child().perform("proj.add", "[1, 1]");
    let stored = report.stored.as_ref().unwrap();
    assert_eq!(stored.reply_to.as_deref(), Some("reply-queue"));
    assert_eq!(stored.correlation_id.as_deref(), Some("id-1"));
    assert_eq!(document(Some(stored))["result"], 2);
}
