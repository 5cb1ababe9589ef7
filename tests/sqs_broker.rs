//! The SQS transport against moto's server.
#![cfg(feature = "sqs")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use std::{sync::Arc, time::Duration};

use celery_rs::{
    broker::{
        BrokerErrorKind, Connection, Deliveries, Delivery, Transport, contract,
        sqs::{SqsOptions, SqsTransport},
    },
    protocol::{Message, Queue, Route},
    serialization::json,
};
use support::sqs_server::SqsServer;

/// As in the other conformance tests nothing is waited for that is not there.
const PROMPT: &str = r#""wait_time_seconds": 0, "polling_interval": 0.05"#;

fn options(more: &str) -> SqsOptions {
    let text = format!("{{{PROMPT}{more}}}");
    let settings = json::parse(text.as_bytes()).expect("JSON");
    SqsOptions::from_settings(settings.as_map().expect("an object")).expect("good options")
}

fn transport(server: &SqsServer, options: SqsOptions) -> SqsTransport {
    SqsTransport::new(&server.url(), options).expect("a good URL")
}

async fn consuming(transport: &SqsTransport, queue: &Queue) -> (Arc<dyn Connection>, Deliveries) {
    let connection = transport.connect().await.expect("connect");
    let deliveries = connection.deliveries();
    connection.declare(queue).await.expect("declare");
    connection.consume(queue).await.expect("consume");
    (connection, deliveries)
}

async fn one(deliveries: &mut Deliveries) -> Delivery {
    let mut batch = deliveries.recv().await.expect("a delivery");
    assert_eq!(batch.len(), 1);
    batch.remove(0)
}

/// A connection that holds one message of the queue `tasks`.
async fn holding(transport: &SqsTransport) -> (Arc<dyn Connection>, Deliveries, Delivery) {
    let (holder, mut deliveries) = consuming(transport, &Queue::direct("tasks")).await;
    holder.publish(&Route::queue("tasks"), message("held")).await.expect("publish");
    let held = one(&mut deliveries).await;
    (holder, deliveries, held)
}

fn message(body: &'static str) -> Message {
    Message { body: body.as_bytes().into(), ..Message::default() }
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_what_every_transport_must() {
    let server = SqsServer::start();
    contract::run(&transport(&server, options(""))).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_does_so_with_a_prefix_and_without_base64() {
    let server = SqsServer::start();
    contract::run(&transport(&server, options(r#", "queue_name_prefix": "app.", "sqs_base64_encoding": false"#))).await;
    let names = server.boto("print(*[url.split('/')[-1][:13] for url in sqs.list_queues()['QueueUrls']][:1])");
    assert_eq!(names, "app-contract-");
}

/// Without the extension the second connection would have it after eight seconds.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_held_stays_hidden_until_nobody_holds_it() {
    let server = SqsServer::start();
    let ours = transport(&server, options(r#", "visibility_timeout": 8"#));
    let (holder, _deliveries, held) = holding(&ours).await;
    holder.stop_consuming().await.expect("stop");
    let theirs = transport(&server, options(""));
    let (other, mut others) = consuming(&theirs, &Queue::direct("tasks")).await;
    let early = tokio::time::timeout(Duration::from_secs(18), others.recv()).await;
    assert!(early.is_err(), "it was handed out again: {early:?}");
    drop(held);
    assert_eq!(holder.close().await.expect("close"), 1);
    let back = one(&mut others).await;
    assert!(back.redelivered);
    back.acker.ack();
    assert_eq!(other.close().await.expect("close"), 0);
}

/// Six requests each time.
#[tokio::test(flavor = "multi_thread")]
async fn many_that_are_held_stay_hidden() {
    let server = SqsServer::start();
    let queue = Queue::direct("tasks");
    let ours = transport(&server, options(r#", "visibility_timeout": 8"#));
    let (holder, mut deliveries) = consuming(&ours, &queue).await;
    for _ in 0..60 {
        holder.publish(&Route::queue("tasks"), message("held")).await.expect("publish");
    }
    let mut held = Vec::new();
    while held.len() < 60 {
        held.extend(deliveries.recv().await.expect("deliveries"));
    }
    // Its own connection would know what comes again, and keep quiet.
    holder.stop_consuming().await.expect("stop");
    let theirs = transport(&server, options(""));
    let (other, mut others) = consuming(&theirs, &queue).await;
    let early = tokio::time::timeout(Duration::from_secs(18), others.recv()).await;
    assert!(early.is_err(), "one was handed out again: {early:?}");
    assert_eq!(other.close().await.expect("close"), 0);
    held.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(holder.close().await.expect("close"), 0);
    assert_eq!(server.messages("tasks"), "0");
}

/// What comes back while it is still held is not another delivery; it is acknowledged by the receipt that is good now.
#[tokio::test(flavor = "multi_thread")]
async fn an_outage_longer_than_the_visibility_timeout_repeats_nothing() {
    let server = SqsServer::start();
    let ours = transport(&server, options(r#", "visibility_timeout": 1"#));
    let (holder, mut deliveries, held) = holding(&ours).await;
    server.freeze();
    tokio::time::sleep(Duration::from_secs(3)).await;
    server.thaw();
    let again = tokio::time::timeout(Duration::from_secs(3), deliveries.recv()).await;
    assert!(again.is_err(), "it was delivered twice: {again:?}");
    held.acker.ack();
    assert_eq!(holder.close().await.expect("close"), 0);
    assert_eq!(server.messages("tasks"), "0");
}

/// The only attempt fails after five seconds.
#[tokio::test(flavor = "multi_thread")]
async fn what_could_not_be_settled_is_tried_again() {
    let server = SqsServer::start();
    let once = r#", "client-config": {"read_timeout": 1, "retries": {"total_max_attempts": 1}}"#;
    let ours = transport(&server, options(once));
    let (holder, _deliveries, held) = holding(&ours).await;
    holder.stop_consuming().await.expect("stop");
    server.freeze();
    held.acker.ack();
    tokio::time::sleep(Duration::from_secs(7)).await;
    server.thaw();
    assert_eq!(holder.close().await.expect("close"), 0);
    assert_eq!(server.messages("tasks"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_ended_is_settled_without_a_connection() {
    let server = SqsServer::start();
    let queue = Queue::direct("tasks");
    let ours = transport(&server, options(r#", "visibility_timeout": 3600"#));
    let (lost, mut deliveries) = consuming(&ours, &queue).await;
    lost.publish(&Route::queue("tasks"), message("acknowledged")).await.expect("publish");
    let done = one(&mut deliveries).await;
    lost.publish(&Route::queue("tasks"), message("left")).await.expect("publish");
    let left = one(&mut deliveries).await;
    lost.abandon().await;
    done.acker.ack();
    drop(left);
    let theirs = transport(&server, options(""));
    let (other, mut others) = consuming(&theirs, &queue).await;
    let back = one(&mut others).await;
    assert_eq!(&back.message.as_ref().expect("a message").body[..], b"left");
    back.acker.ack();
    other.close().await.expect("close");
    assert_eq!(server.messages("tasks"), "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn queues_are_made_with_what_the_options_say() {
    let server = SqsServer::start();
    let more =
        r#", "visibility_timeout": 77, "sqs-creation-attributes": {"DelaySeconds": "1"}, "queue_tags": {"Team": "x"}"#;
    let ours = transport(&server, options(more));
    let connection = ours.connect().await.expect("connect");
    for name in ["plain", "ordered.fifo"] {
        connection.declare(&Queue::direct(name)).await.expect("declare");
    }
    let told = server.boto(
        "for name in ['plain', 'ordered.fifo']:\n\
        \x20   url = sqs.get_queue_url(QueueName=name)['QueueUrl']\n\
        \x20   has = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=['All'])['Attributes']\n\
        \x20   tags = sqs.list_queue_tags(QueueUrl=url)['Tags']\n\
        \x20   print(has['VisibilityTimeout'], has['DelaySeconds'], has.get('FifoQueue'), tags)",
    );
    assert_eq!(told, "77 1 None {'Team': 'x'}\n77 1 true {'Team': 'x'}");
    connection.close().await.expect("close");
}

/// The order of a group is that of sending, and the next of it waits until the one before is settled.
#[tokio::test(flavor = "multi_thread")]
async fn fifo_queues_keep_their_order() {
    let server = SqsServer::start();
    let queue = Queue::direct("ordered.fifo");
    let ours = transport(&server, options(""));
    let (connection, mut deliveries) = consuming(&ours, &queue).await;
    connection.set_prefetch(1);
    for body in ["a", "b", "b"] {
        connection.publish(&Route::queue("ordered.fifo"), message(body)).await.expect("publish");
    }
    for body in ["a", "b", "b"] {
        let delivery = one(&mut deliveries).await;
        assert_eq!(&delivery.message.as_ref().expect("a message").body[..], body.as_bytes());
        delivery.acker.ack();
    }
    assert_eq!(connection.close().await.expect("close"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn only_predefined_queues_are_used_where_there_are_any() {
    let server = SqsServer::start();
    let url = server.boto("print(sqs.create_queue(QueueName='known')['QueueUrl'])");
    let predefined = format!(
        r#", "predefined_queues": {{"known": {{"url": "{url}", "access_key_id": "a", "secret_access_key": "b"}}}}"#
    );
    let ours = transport(&server, options(&predefined));
    let (connection, mut deliveries) = consuming(&ours, &Queue::direct("known")).await;
    connection.publish(&Route::queue("known"), message("x")).await.expect("publish");
    one(&mut deliveries).await.acker.ack();
    let error = connection.declare(&Queue::direct("other")).await.expect_err("not among them");
    assert_eq!(error.kind(), BrokerErrorKind::Refused);
    assert_eq!(error.to_string(), "Queue with name 'other' must be defined in 'predefined_queues'.");
    connection.close().await.expect("close");
    assert_eq!(server.boto("print(len(sqs.list_queues()['QueueUrls']))"), "1");
}

/// With a redrive policy SQS itself takes rejected messages away; without one they would come back for ever.
#[tokio::test(flavor = "multi_thread")]
async fn rejected_messages_are_deleted_unless_sqs_takes_care() {
    let server = SqsServer::start();
    server.boto(
        "import json\n\
         dead = sqs.create_queue(QueueName='dead')['QueueUrl']\n\
         arn = sqs.get_queue_attributes(QueueUrl=dead, AttributeNames=['QueueArn'])['Attributes']['QueueArn']\n\
         policy = json.dumps({'deadLetterTargetArn': arn, 'maxReceiveCount': 2})\n\
         sqs.create_queue(QueueName='careful', Attributes={'RedrivePolicy': policy, 'VisibilityTimeout': '1'})",
    );
    let ours = transport(&server, options(r#", "visibility_timeout": 1"#));
    let (connection, mut deliveries) = consuming(&ours, &Queue::direct("careful")).await;
    for name in ["careful", "plain"] {
        connection.declare(&Queue::direct(name)).await.expect("declare");
        connection.publish(&Route::queue(name), message("x")).await.expect("publish");
    }
    for redelivered in [false, true] {
        let delivery = one(&mut deliveries).await;
        assert_eq!(delivery.redelivered, redelivered);
        delivery.acker.reject(false);
    }
    connection.consume(&Queue::direct("plain")).await.expect("consume");
    let plain = one(&mut deliveries).await;
    assert_eq!(&*plain.queue, "plain");
    plain.acker.reject(false);
    connection.close().await.expect("close");
    server.boto(
        "import time\n\
         url = sqs.get_queue_url(QueueName='careful')['QueueUrl']\n\
         dead = sqs.get_queue_url(QueueName='dead')['QueueUrl']\n\
         deadline = time.monotonic() + 20\n\
         while 'Messages' not in sqs.receive_message(QueueUrl=dead, VisibilityTimeout=0):\n\
        \x20   assert time.monotonic() < deadline\n\
        \x20   assert 'Messages' not in sqs.receive_message(QueueUrl=url, WaitTimeSeconds=1)",
    );
    assert_eq!((server.messages("plain"), server.messages("dead")), ("0".to_owned(), "1".to_owned()));
}

#[tokio::test]
async fn a_server_that_is_not_there_is_a_lost_connection() {
    let options = SqsOptions { attempts: 1, ..options("") };
    let transport = SqsTransport::new("sqs://key:secret@127.0.0.1:1", options).expect("a good URL");
    let error = transport.connect().await.err().expect("nobody listens");
    assert_eq!(error.kind(), BrokerErrorKind::ConnectionLost);
    assert!(!error.to_string().contains("secret"), "{error}");
    assert_eq!(transport.uri(), "sqs://key:**@127.0.0.1:1//");
}
