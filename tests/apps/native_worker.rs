//! A worker with Rust handlers: what a user's own `main` looks like. Used by the demo, the benchmark and the tests.

use std::{
    io::Write,
    path::Path,
    process::ExitCode,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use celery_rs::{
    App, cli,
    protocol::Signature,
    serialization::to_value,
    task::{Context, NativeTask, Retry, TaskError},
};

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

/// Writes its id to `log` when it begins, and ends when there is a file `gate`.
async fn native_hold(cx: Context, log: String, gate: String) -> Result<i64, TaskError> {
    let mut file = std::fs::OpenOptions::new().append(true).open(log)?;
    writeln!(file, "{}", cx.task_id())?;
    while !Path::new(&gate).exists() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    Ok(cx.retries())
}

/// The same, and tries again the first time.
async fn native_hold_and_retry(cx: Context, log: String, gate: String) -> Result<i64, TaskError> {
    let retries = native_hold(cx, log, gate).await?;
    if retries == 0 { Err(Retry::after(Duration::ZERO).into()) } else { Ok(retries) }
}

/// When it began, and when it was to begin at the earliest.
async fn native_when(cx: Context) -> (f64, Option<String>) {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    (now.as_secs_f64(), cx.headers().eta.clone())
}

/// Tries again after so many seconds; the second time, as `native_when`.
async fn native_retry_in(cx: Context, seconds: u64) -> Result<(f64, Option<String>), TaskError> {
    if cx.retries() == 0 {
        return Err(Retry::after(Duration::from_secs(seconds)).into());
    }
    Ok(native_when(cx).await)
}

async fn native_fail(text: String) -> Result<(), TaskError> {
    Err(TaskError::new("ValueError", text))
}

/// Sends a signature that it is given; its result is the id to wait for.
async fn native_send(cx: Context, signature: serde_json::Value) -> Result<String, TaskError> {
    let failed = |error: &dyn std::fmt::Display| TaskError::new("RuntimeError", error.to_string());
    let signature = to_value(&signature).map_err(|error| failed(&error))?;
    let signature = Signature::from_owned(signature).map_err(|error| failed(&error))?;
    Ok(cx.send(signature).await.map_err(|error| failed(&error))?.id)
}

async fn total((numbers,): (Vec<i64>,)) -> i64 {
    numbers.into_iter().sum()
}

fn main() -> ExitCode {
    let app = App::new()
        .task("bench.add", add)
        .with(NativeTask::new("proj.native_add", native_add))
        .with(NativeTask::new("proj.native_hold", native_hold))
        .with(NativeTask::new("proj.native_hold_and_retry", native_hold_and_retry))
        .with(NativeTask::new("proj.native_when", native_when))
        .with(NativeTask::new("proj.native_retry_in", native_retry_in))
        .with(NativeTask::new("proj.native_send", native_send))
        .with(NativeTask::new("proj.native_fail", native_fail));
    cli::main_with(if std::env::var_os("DIFF_NATIVE").is_some() { with_twins(app) } else { app })
}

/// Handlers in the place of some of the Python tasks of `tests/differential/project`.
fn with_twins(app: App) -> App {
    app.task("add", add).task("total", total).with(NativeTask::new("fail_plainly", native_fail))
}
