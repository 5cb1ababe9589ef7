//! How fast the Redis transport takes and settles; run with `--release -- --ignored --nocapture`.
#![cfg(feature = "redis")]
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "a test says what it expects")]

mod support;

use std::{sync::Arc, time::Instant};

use celery_rs::{
    broker::{
        Connection, Transport,
        redis::{RedisOptions, RedisTransport},
    },
    protocol::{Headers, Message, Properties, Queue, Route},
    serialization::{Value, json},
};
use support::redis_server::RedisServer;

const COUNT: usize = 50_000;

fn message() -> Message {
    let headers = r#"{"lang": "py", "task": "proj.add", "id": "5a53b2b0-6f1b-4f0c-9d3b-0a4f5b1c2d3e", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "5a53b2b0-6f1b-4f0c-9d3b-0a4f5b1c2d3e", "parent_id": null, "argsrepr": "(1, 2)", "kwargsrepr": "{}", "origin": "gen29415@vm", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {}}"#;
    let Ok(Value::Map(map)) = json::parse(headers.as_bytes()) else { panic!("headers") };
    Message {
        headers: Headers::new(map),
        properties: Properties {
            content_type: Some("application/json".to_owned()),
            content_encoding: Some("utf-8".to_owned()),
            correlation_id: Some("5a53b2b0-6f1b-4f0c-9d3b-0a4f5b1c2d3e".to_owned()),
            reply_to: Some("523f".to_owned()),
            delivery_mode: Some(2),
            ..Properties::default()
        },
        body: r#"[[1, 2], {}, {"callbacks": null, "errbacks": null, "chain": null, "chord": null}]"#.into(),
    }
}

async fn fill(connection: &Arc<dyn Connection>) {
    let mut publishers = tokio::task::JoinSet::new();
    for _ in 0..100 {
        let connection = connection.clone();
        publishers.spawn(async move {
            for _ in 0..COUNT / 100 {
                connection.publish(&Route::queue("celery"), message()).await.expect("publish");
            }
        });
    }
    publishers.join_all().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "a measurement"]
async fn fifty_thousand_messages() {
    let server = RedisServer::start();
    let transport = RedisTransport::new(&server.url(0), RedisOptions::default()).expect("a good URL");
    for prefetch in [8, 64, 256] {
        let connection = transport.connect().await.expect("connect");
        let begun = Instant::now();
        fill(&connection).await;
        println!("publish: {:.0}/s", COUNT as f64 / begun.elapsed().as_secs_f64());
        let mut deliveries = connection.deliveries();
        connection.set_prefetch(prefetch);
        server.cli(&["CONFIG", "RESETSTAT"]);
        let begun = Instant::now();
        connection.consume(&Queue::direct("celery")).await.expect("consume");
        let mut taken = 0;
        while taken < COUNT {
            for delivery in deliveries.recv().await.expect("deliveries") {
                assert!(delivery.message.is_ok());
                taken += 1;
                delivery.acker.ack();
            }
        }
        let rate = COUNT as f64 / begun.elapsed().as_secs_f64();
        connection.close().await.expect("close");
        let stats = server.cli(&["INFO", "commandstats"]);
        let trips = stats.lines().find(|line| line.starts_with("cmdstat_evalsha")).unwrap_or_default();
        println!("prefetch {prefetch}: {rate:.0}/s; {trips}");
    }
}
