//! Messages from publisher to consumer, and what settling them does.

use std::collections::BTreeSet;

use bytes::Bytes;

use crate::{
    broker::{
        Transport,
        contract::peer::{Peer, bodies, body, message, queue},
    },
    protocol::Route,
};

pub(super) async fn a_message_arrives_as_it_was_sent(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 10).await;
    let mut sent = message("");
    sent.body = Bytes::from((0..=255).collect::<Vec<u8>>());
    sent.properties.content_encoding = Some("binary".to_owned());
    peer.connection.publish(&Route::queue(&queue.name), sent.clone()).await.expect("publish");
    let delivery = peer.next().await;
    let got = delivery.message.as_ref().expect("a message");
    assert_eq!(got.body, sent.body);
    for (name, value) in sent.headers.map() {
        assert_eq!(got.headers.get(name), Some(value), "header {name}");
    }
    assert_eq!(got.properties.content_type, sent.properties.content_type);
    assert_eq!(got.properties.content_encoding, sent.properties.content_encoding);
    assert_eq!(got.properties.correlation_id, sent.properties.correlation_id);
    assert_eq!(got.properties.reply_to, sent.properties.reply_to);
    assert_eq!(got.properties.delivery_mode, Some(2));
    assert_eq!(got.properties.priority, Some(0));
    assert_eq!(got.properties.delivery_info.exchange, "");
    assert_eq!(got.properties.delivery_info.routing_key, queue.name);
    assert_eq!(&*delivery.queue, queue.name);
    assert!(!delivery.redelivered);
    delivery.acker.ack();
    peer.close().await;
}

pub(super) async fn messages_come_in_order(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 0).await;
    peer.publish_many(&queue, 20).await;
    let taken = peer.take(20).await;
    assert_eq!(bodies(&taken), (0..20).map(|i| i.to_string()).collect::<Vec<_>>());
    taken.into_iter().for_each(|delivery| delivery.acker.ack());
    peer.close().await;
}

pub(super) async fn acknowledged_messages_are_gone(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 3).await;
    peer.publish_many(&queue, 10).await;
    for _ in 0..10 {
        peer.next().await.acker.ack();
    }
    assert_eq!(peer.close().await, 0);
    assert_eq!(Peer::new(transport).await.purge(&queue).await, 0);
}

pub(super) async fn dropped_messages_are_gone(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 1).await;
    peer.publish_many(&queue, 2).await;
    peer.next().await.acker.reject(false);
    let second = peer.next().await;
    assert_eq!(body(&second), "1");
    second.acker.reject(false);
    assert_eq!(peer.close().await, 0);
    assert_eq!(Peer::new(transport).await.purge(&queue).await, 0);
}

pub(super) async fn requeued_messages_come_back_marked(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 1).await;
    peer.publish(&queue, "again").await;
    let first = peer.next().await;
    assert!(!first.redelivered);
    first.acker.reject(true);
    let second = peer.next().await;
    assert!(second.redelivered);
    assert_eq!(body(&second), "again");
    second.acker.ack();
    peer.close().await;
}

pub(super) async fn prefetch_bounds_what_is_held(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 2).await;
    let other = Peer::new(transport).await;
    other.publish_many(&queue, 5).await;
    let held = peer.take(2).await;
    assert_eq!(other.purge(&queue).await, 3);
    held.into_iter().for_each(|delivery| delivery.acker.ack());
    peer.close().await;
    other.close().await;
}

pub(super) async fn a_raised_prefetch_lets_more_in(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 1).await;
    peer.publish_many(&queue, 4).await;
    let mut held = peer.take(1).await;
    peer.connection.set_prefetch(2);
    peer.connection.set_prefetch(3);
    held.extend(peer.take(2).await);
    assert_eq!(peer.purge(&queue).await, 1);
    held.into_iter().for_each(|delivery| delivery.acker.ack());
    peer.close().await;
}

/// Acks of later messages make room while an earlier one is still held, and never settle that one.
pub(super) async fn settling_frees_the_window_across_holes(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 4).await;
    peer.publish_many(&queue, 30).await;
    let kept = peer.next().await;
    let requeued = peer.next().await;
    for _ in 0..26 {
        peer.next().await.acker.ack();
    }
    requeued.acker.reject(true);
    for _ in 0..3 {
        peer.next().await.acker.ack();
    }
    kept.acker.leave();
    assert_eq!(peer.close().await, 1);
    let mut next = Peer::consuming(transport, &queue, 10).await;
    let back = next.next().await;
    assert_eq!((body(&back).as_str(), back.redelivered), ("0", true));
    back.acker.ack();
    assert_eq!(next.purge(&queue).await, 0);
    next.close().await;
}

pub(super) async fn two_consumers_share_a_queue(transport: &dyn Transport) {
    let queue = queue();
    let mut one = Peer::consuming(transport, &queue, 2).await;
    let mut two = Peer::consuming(transport, &queue, 2).await;
    one.publish_many(&queue, 30).await;
    let mut seen = BTreeSet::new();
    for _ in 0..30 {
        let delivery = tokio::select! { delivery = one.next() => delivery, delivery = two.next() => delivery };
        assert!(seen.insert(body(&delivery)), "{} came twice", body(&delivery));
        delivery.acker.ack();
    }
    assert_eq!(one.close().await + two.close().await, 0);
}

pub(super) async fn concurrent_publishes_all_arrive(transport: &dyn Transport) {
    let queue = queue();
    let peer = Peer::new(transport).await;
    peer.connection.declare(&queue).await.expect("declare");
    let bodies: Vec<String> = (0..300).map(|i| i.to_string()).collect();
    futures::future::join_all(bodies.iter().map(|body| peer.publish(&queue, body))).await;
    assert_eq!(peer.purge(&queue).await, 300);
    peer.close().await;
}
