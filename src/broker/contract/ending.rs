//! Cancelling, stopping and closing: nothing is lost and nothing is taken that nobody will run.

use crate::{
    broker::{
        BrokerErrorKind, Transport,
        contract::peer::{Peer, bodies, body, message, queue},
    },
    protocol::Route,
};

pub(super) async fn cancelled_queues_rest(transport: &dyn Transport) {
    let (resting, working) = (queue(), queue());
    let mut peer = Peer::consuming(transport, &resting, 0).await;
    peer.connection.declare(&working).await.expect("declare");
    peer.connection.consume(&working).await.expect("consume");
    peer.publish(&resting, "before").await;
    let held = peer.next().await;
    peer.connection.cancel(&resting.name).await.expect("cancel");
    peer.publish(&resting, "after").await;
    peer.publish(&working, "work").await;
    let delivery = peer.next().await;
    assert_eq!((body(&delivery).as_str(), &*delivery.queue), ("work", working.name.as_str()));
    assert_eq!(peer.purge(&resting).await, 1);
    held.acker.ack();
    delivery.acker.ack();
    assert_eq!(peer.close().await, 0);
}

pub(super) async fn consuming_stops_but_settling_works(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 0).await;
    peer.publish(&queue, "running").await;
    let running = peer.next().await;
    peer.connection.stop_consuming().await.expect("stop");
    peer.publish(&queue, "waits").await;
    running.acker.ack();
    assert_eq!(peer.purge(&queue).await, 1);
    assert_eq!(peer.close().await, 0);
}

pub(super) async fn what_is_held_comes_back(transport: &dyn Transport) {
    let queue = queue();
    let mut first = Peer::consuming(transport, &queue, 0).await;
    first.publish_many(&queue, 3).await;
    let mut held = first.take(3).await;
    held.remove(1).acker.ack();
    assert_eq!(first.close().await, 2);
    // Settling on a connection that is gone must change nothing.
    held.into_iter().for_each(|delivery| delivery.acker.ack());
    let mut second = Peer::consuming(transport, &queue, 0).await;
    let mut back = second.take(2).await;
    back.sort_by_key(body);
    assert_eq!(
        back.iter().map(|d| (body(d), d.redelivered)).collect::<Vec<_>>(),
        [("0".to_owned(), true), ("2".to_owned(), true)]
    );
    back.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(second.close().await, 0);
}

pub(super) async fn acknowledgements_are_sent_before_closing(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 0).await;
    peer.publish_many(&queue, 50).await;
    peer.take(50).await.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(peer.close().await, 0);
    let next = Peer::new(transport).await;
    next.publish(&queue, "only").await;
    assert_eq!(next.purge(&queue).await, 1);
    next.close().await;
}

pub(super) async fn a_closed_connection_says_so(transport: &dyn Transport) {
    let queue = queue();
    let mut peer = Peer::consuming(transport, &queue, 0).await;
    peer.close().await;
    peer.connection.closed().await;
    assert!(peer.ends().await);
    let lost = peer.connection.publish(&Route::queue(&queue.name), message("x")).await.expect_err("closed");
    assert_eq!(lost.kind(), BrokerErrorKind::ConnectionLost);
    let lost = peer.connection.declare(&queue).await.expect_err("closed");
    assert_eq!(lost.kind(), BrokerErrorKind::ConnectionLost);
    assert_eq!(peer.close().await, 0);
}

pub(super) async fn an_abandoned_one_leaves_what_it_holds(transport: &dyn Transport) {
    let queue = queue();
    let mut first = Peer::consuming(transport, &queue, 0).await;
    first.publish_many(&queue, 2).await;
    let (done, left) = (first.next().await, first.next().await);
    // As long as others hold the connection, it is not dropped.
    first.connection.abandon().await;
    first.connection.closed().await;
    assert!(first.ends().await);
    left.acker.leave();
    let mut second = Peer::consuming(transport, &queue, 0).await;
    done.acker.ack();
    let expected: &[&str] = if second.connection.tags_survive() { &["1"] } else { &["0", "1"] };
    let mut back = second.take(expected.len()).await;
    back.sort_by_key(body);
    assert_eq!(bodies(&back), expected);
    assert!(back.iter().all(|delivery| delivery.redelivered));
    back.into_iter().for_each(|delivery| delivery.acker.ack());
    assert_eq!(second.close().await, 0);
    let last = Peer::new(transport).await;
    assert_eq!(last.purge(&queue).await, 0);
    last.close().await;
}
