//! Servers and helpers shared by the integration tests; every test file takes what it needs with `mod support;`.
#![allow(dead_code, reason = "each test binary uses only a part of this")]

pub mod fixtures;
pub mod python;
pub mod rabbitmq;
pub mod redis_server;
pub mod sentinel;
pub mod tls;
