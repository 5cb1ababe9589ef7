//! A connection of the crate's own Redis transport, and what tests do with it.

use std::{sync::Arc, time::Duration};

use celery_rs::broker::{
    Connection, Deliveries, Delivery, Transport,
    redis::{RedisOptions, RedisTransport},
};

use super::redis_server::RedisServer;

/// To database 0 of the server.
pub async fn connect(server: &RedisServer, options: RedisOptions) -> Arc<dyn Connection> {
    let transport = RedisTransport::new(&server.url(0), options).expect("a good URL");
    transport.connect().await.expect("a connection")
}

/// Waits for so many, and has them.
pub async fn take(deliveries: &mut Deliveries, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.extend(deliveries.recv().await.expect("the stream goes on"));
    }
    taken
}

/// Waits for a fact about the server.
pub async fn until(what: &str, fact: impl Fn() -> bool) {
    let patience = async {
        while !fact() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(90), patience).await.unwrap_or_else(|_| panic!("never: {what}"));
}
