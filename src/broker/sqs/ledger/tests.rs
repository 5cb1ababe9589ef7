use aws_sdk_sqs::{Client, Config, config::BehaviorVersion};

use super::*;

fn queue() -> Arc<SqsQueue> {
    let config = Config::builder().behavior_version(BehaviorVersion::latest()).build();
    Arc::new(SqsQueue::new("tasks".into(), "https://sqs/1/tasks".to_owned(), Client::from_conf(config), None))
}

fn receipt(queue: &Arc<SqsQueue>, id: u128, handle: &str) -> Receipt {
    Receipt {
        queue: queue.clone(),
        handle: handle.to_owned(),
        id: Some(Uuid::from_u128(id)),
        task: "proj.add".to_owned(),
        received: 1,
        visibility: Duration::from_secs(30),
        since: Instant::now(),
    }
}

fn drained(ledger: &Ledger) -> Vec<Ended> {
    ledger.drain(10, &HashSet::new())
}

fn ack(ledger: &Ledger, number: u64) {
    ledger.settle(Tag::Number(number), Settlement::Ack);
}

#[tokio::test]
async fn what_comes_again_is_no_other_message() {
    let (ledger, queue) = (Ledger::default(), queue());
    let connection = ledger.begin();
    let number = ledger.hold(connection, receipt(&queue, 1, "first")).unwrap();
    assert_eq!(ledger.hold(connection, receipt(&queue, 1, "second")), None);
    assert_eq!(ledger.own(connection), 1);
    ack(&ledger, number);
    assert_eq!(ledger.hold(connection, receipt(&queue, 1, "third")), None);
    let ended = drained(&ledger);
    assert_eq!((ended.len(), ended[0].receipt.handle.as_str()), (1, "third"));
    assert_eq!(ledger.hold(connection, receipt(&queue, 1, "fourth")), None);
    ledger.done(ended);
    let ended = drained(&ledger);
    assert_eq!(ended[0].receipt.handle, "fourth");
    ledger.done(ended);
    assert!(ledger.hold(connection, receipt(&queue, 1, "fifth")).is_some());
}

#[tokio::test]
async fn what_is_put_back_gives_way_to_what_came_meanwhile() {
    let (ledger, queue) = (Ledger::default(), queue());
    let connection = ledger.begin();
    let number = ledger.hold(connection, receipt(&queue, 1, "first")).unwrap();
    ledger.release(number);
    let ended = drained(&ledger);
    let again = ledger.hold(connection, receipt(&queue, 1, "second"));
    assert!(again.is_some_and(|again| again != number));
    ledger.put_back(ended);
    assert_eq!((drained(&ledger).len(), ledger.unsettled()), (0, 0));
    ack(&ledger, again.unwrap());
    ledger.put_back(drained(&ledger));
    assert!(drained(&ledger).is_empty() && ledger.next_attempt(&HashSet::new()).is_some());
    ledger.hurry();
    assert_eq!(drained(&ledger)[0].receipt.handle, "second");
}

#[tokio::test]
async fn nothing_is_given_back_while_it_is_extended() {
    let (ledger, queue) = (Ledger::default(), queue());
    let connection = ledger.begin();
    let number = ledger.hold(connection, receipt(&queue, 1, "first")).unwrap();
    assert_eq!(ledger.begin_extending(&[number]).len(), 1);
    ledger.stop(connection);
    ledger.leave(Tag::Number(number));
    assert!(drained(&ledger).is_empty());
    assert!(!ledger.extended(number, "first", Extension::Later));
    assert_eq!(drained(&ledger)[0].end, End::Released);
}

#[tokio::test]
async fn the_failure_of_an_old_receipt_says_nothing_of_a_new_one() {
    let (ledger, queue) = (Ledger::default(), queue());
    let connection = ledger.begin();
    let number = ledger.hold(connection, Receipt { visibility: Duration::ZERO, ..receipt(&queue, 1, "old") }).unwrap();
    ledger.begin_extending(&[number]);
    ledger.hold(connection, receipt(&queue, 1, "new"));
    ledger.extended(number, "old", Extension::Lapsed);
    assert_eq!(ledger.begin_extending(&[number])[0].1.handle, "new");
    ledger.extended(number, "new", Extension::For(Duration::ZERO));
    assert_eq!(ledger.due().len(), 1);
    ledger.extended(number, "new", Extension::Lapsed);
    assert!(ledger.due().is_empty());
}
