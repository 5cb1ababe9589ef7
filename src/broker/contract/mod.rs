//! The conformance suite: what every transport must do, whatever broker is behind it.
//!
//! [`run`] takes a transport to an empty (or at least idle) broker and panics with the names of the cases that failed.
//! It makes queues of unique names and leaves them there.

mod ending;
mod flow;
mod peer;
mod routing;

use std::{panic::AssertUnwindSafe, time::Duration};

use futures::{FutureExt, future::LocalBoxFuture};

use crate::broker::Transport;

/// How long one case may take before it counts as stuck.
const CASE_LIMIT: Duration = Duration::from_secs(120);

type Case = (&'static str, for<'a> fn(&'a dyn Transport) -> LocalBoxFuture<'a, ()>);

macro_rules! cases {
    ($($room:ident :: $name:ident),* $(,)?) => {
        &[$((stringify!($name), |transport| $room::$name(transport).boxed_local())),*]
    };
}

const CASES: &[Case] = cases![
    flow::a_message_arrives_as_it_was_sent,
    flow::messages_come_in_order,
    flow::acknowledged_messages_are_gone,
    flow::dropped_messages_are_gone,
    flow::requeued_messages_come_back_marked,
    flow::prefetch_bounds_what_is_held,
    flow::a_raised_prefetch_lets_more_in,
    flow::settling_frees_the_window_across_holes,
    flow::two_consumers_share_a_queue,
    flow::concurrent_publishes_all_arrive,
    routing::declarations_are_idempotent,
    routing::a_conflicting_declaration_is_refused,
    routing::direct_exchanges_compare_keys,
    routing::topic_exchanges_match_patterns,
    routing::fanout_reaches_every_subscriber,
    routing::subscriptions_are_outside_the_window,
    routing::a_route_declares_its_queue,
    routing::purge_counts,
    ending::cancelled_queues_rest,
    ending::consuming_stops_but_settling_works,
    ending::what_is_held_comes_back,
    ending::acknowledgements_are_sent_before_closing,
    ending::a_closed_connection_says_so,
    ending::an_abandoned_one_leaves_what_it_holds,
];

/// Runs every case, one after the other.
pub async fn run(transport: &dyn Transport) {
    let mut failed = Vec::new();
    for (name, case) in CASES {
        let outcome = tokio::time::timeout(CASE_LIMIT, AssertUnwindSafe(case(transport)).catch_unwind()).await;
        match outcome {
            Ok(Ok(())) => {}
            Ok(Err(_)) => failed.push((*name).to_owned()),
            Err(_) => failed.push(format!("{name} (stuck)")),
        }
    }
    assert!(failed.is_empty(), "{}: {} of {} cases failed: {failed:?}", transport.uri(), failed.len(), CASES.len());
}
