//! The handle, with a scripted steward at the other end of its socket.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::sync::mpsc::{Receiver, channel};
use std::thread;

use super::*;
use crate::ipc::socket::Channel;
use crate::ipc::{FromSteward, ToSteward};

/// A handle, and the steward's ends of the sockets that it has asked for.
fn steward() -> (Steward, Receiver<OwnedFd>) {
    let (sender, forked) = channel();
    (Steward::new(move |socket| drop(sender.send(socket))), forked)
}

fn errand(name: &str) -> Errand {
    Errand { name: name.to_owned(), ..Errand::default() }
}

/// Does `count` errands, answers with their names, and then is as good as dead.
fn do_some(socket: OwnedFd, count: usize) -> Vec<String> {
    let mut channel = Channel::new(UnixStream::from(socket));
    channel.send(&FromSteward::Up { pid: 0 }).unwrap();
    let mut done = Vec::new();
    while done.len() < count {
        match channel.receive().unwrap() {
            ToSteward::Run { number, errand } => {
                let answer = Ok(Bytes::from(errand.name.clone()));
                channel.send(&FromSteward::Done { number, answer }).unwrap();
                done.push(errand.name);
            }
            ToSteward::Stop => panic!("told to leave before all was said"),
        }
    }
    done
}

#[tokio::test]
async fn it_is_forked_for_the_first_errand_and_keeps_their_order() {
    let (steward, forked) = steward();
    tokio::task::yield_now().await;
    assert!(forked.try_recv().is_err(), "nobody has asked for it");
    steward.tell(errand("one"));
    steward.tell(errand("two"));
    let other_end = thread::spawn(move || do_some(forked.recv().unwrap(), 3));
    assert_eq!(steward.call(errand("three")).await.unwrap(), "three");
    assert_eq!(other_end.join().unwrap(), ["one", "two", "three"]);
}

#[tokio::test]
async fn it_hears_everything_before_it_leaves() {
    let (steward, forked) = steward();
    steward.start();
    for number in 0..500 {
        steward.tell(errand(&number.to_string()));
    }
    let other_end = thread::spawn(move || {
        let mut channel = Channel::new(UnixStream::from(forked.recv().unwrap()));
        for heard in 0.. {
            match channel.receive().unwrap() {
                ToSteward::Run { number, .. } => {
                    channel.send(&FromSteward::Done { number, answer: Ok(Bytes::new()) }).unwrap();
                }
                ToSteward::Stop => return heard,
            }
        }
        unreachable!("a steward is told to leave")
    });
    steward.stop().await;
    assert_eq!(other_end.join().unwrap(), 500);
    assert_eq!(steward.call(errand("late")).await, Err(StewardError::Stopped));
}

#[tokio::test]
async fn another_one_does_what_a_dead_one_has_not_done() {
    let (steward, forked) = steward();
    let names = ["done", "deadly", "next"];
    names.iter().for_each(|name| steward.tell(errand(name)));
    let call = tokio::spawn({
        let steward = steward.clone();
        async move { steward.call(errand("call")).await }
    });
    let other_end = thread::spawn(move || {
        do_some(forked.recv().unwrap(), 1);
        do_some(forked.recv().unwrap(), 2)
    });
    assert_eq!(call.await.unwrap().unwrap(), "call");
    assert_eq!(other_end.join().unwrap(), ["next", "call"], "a notice that kills is not said again");
}

#[tokio::test(start_paused = true)]
async fn a_deadly_call_is_given_up() {
    let (steward, forked) = steward();
    let other_end = thread::spawn(move || {
        let mut stewards = 0;
        while let Ok(socket) = forked.recv() {
            let frame: ToSteward = Channel::new(UnixStream::from(socket)).receive().unwrap();
            assert!(matches!(frame, ToSteward::Run { number: 1, .. }));
            stewards += 1;
        }
        stewards
    });
    assert_eq!(steward.call(errand("deadly")).await, Err(StewardError::Died));
    steward.stop().await;
    drop(steward);
    assert_eq!(other_end.join().unwrap(), 3);
}

#[tokio::test]
async fn what_raises_says_so() {
    let (steward, forked) = steward();
    let other_end = thread::spawn(move || {
        let mut channel = Channel::new(UnixStream::from(forked.recv().unwrap()));
        let ToSteward::Run { number, .. } = channel.receive().unwrap() else { panic!("no errand") };
        channel.send(&FromSteward::Done { number, answer: Err("ValueError('x')".to_owned()) }).unwrap();
    });
    let answer = steward.call(errand("any")).await;
    assert_eq!(answer, Err(StewardError::Raised("ValueError('x')".to_owned())));
    other_end.join().unwrap();
}

#[tokio::test]
async fn too_much_for_a_slow_one_is_left_unsaid() {
    let (steward, forked) = steward();
    for _ in 0..MOST_NOTICES + 7 {
        steward.tell(errand("notice"));
    }
    assert_eq!(steward.load.unsaid.load(Ordering::Relaxed), 7);
    let call = tokio::spawn({
        let steward = steward.clone();
        async move { steward.call(errand("call")).await }
    });
    let other_end = thread::spawn(move || do_some(forked.recv().unwrap(), MOST_NOTICES + 1).len());
    assert!(call.await.unwrap().is_ok(), "an answer is never left out");
    assert_eq!(other_end.join().unwrap(), MOST_NOTICES + 1);
    assert_eq!(steward.load.notices.load(Ordering::Relaxed), 0);
    assert_eq!(steward.load.bytes.load(Ordering::Relaxed), 0);
}
