//! Servers and helpers shared by the integration tests; every test file takes what it needs with `mod support;`.
#![allow(dead_code, reason = "each test binary uses only a part of this")]

pub mod fixtures;
pub mod proxy;
pub mod python;
pub mod rabbitmq;
#[cfg(feature = "redis")]
pub mod redis_client;
pub mod redis_server;
pub mod sentinel;
pub mod sqs_server;
pub mod tls;
