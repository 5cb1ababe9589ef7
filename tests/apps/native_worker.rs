//! A worker with Rust handlers: what a user's own `main` looks like. Used by the demo, the benchmark and the tests.

use std::process::ExitCode;

use celery_rs::{App, cli, task::NativeTask};

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

async fn add((x, y): (i64, Option<i64>)) -> i64 {
    x + y.unwrap_or(1)
}

#[derive(serde::Deserialize)]
struct Sum {
    x: i64,
    #[serde(default = "one")]
    y: i64,
}

fn one() -> i64 {
    1
}

/// Takes its arguments by position, by keyword, or both.
async fn native_add(sum: Sum) -> i64 {
    sum.x + sum.y
}

fn main() -> ExitCode {
    let app = App::new().task("bench.add", add).with(NativeTask::new("proj.native_add", native_add));
    cli::main_with(app)
}
