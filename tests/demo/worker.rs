//! The demo's worker: the whole `celery-rs` command line, and one task in Rust.

use std::process::ExitCode;

use celery_rs::{App, cli};
use serde::Serialize;

#[derive(Serialize)]
struct Answer {
    value: usize,
    by: &'static str,
    pid: u32,
}

async fn primes((below,): (u64,)) -> Answer {
    let value = (2..below).filter(|&n| is_prime(n)).count();
    Answer { value, by: "Rust handler, in the worker", pid: std::process::id() }
}

fn is_prime(n: u64) -> bool {
    (2..).take_while(|d| d * d <= n).all(|d| !n.is_multiple_of(d))
}

fn main() -> ExitCode {
    cli::main_with(App::new().task("demo.primes", primes))
}
