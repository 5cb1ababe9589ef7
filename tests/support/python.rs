//! Python with Celery and kombu in it, as the other side: `CELERY_RS_TEST_PYTHON`, or `python3`.

use std::process::{Command, Output};

/// The interpreter that has Celery.
pub fn interpreter() -> String {
    std::env::var("CELERY_RS_TEST_PYTHON").unwrap_or_else(|_| "python3".to_owned())
}

/// Runs a script and returns what it printed, trimmed; panics with its traceback if it fails.
pub fn run(script: &str, arguments: &[&str]) -> String {
    let Output { status, stdout, stderr } =
        Command::new(interpreter()).arg("-c").arg(script).args(arguments).output().expect("Python runs");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "the script failed (does CELERY_RS_TEST_PYTHON have Celery?): {stderr}");
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}

/// [`run`], without keeping the runtime from its other work.
pub async fn run_async(script: &'static str, arguments: &[&str]) -> String {
    let arguments: Vec<String> = arguments.iter().map(|a| (*a).to_owned()).collect();
    let running =
        tokio::task::spawn_blocking(move || run(script, &arguments.iter().map(String::as_str).collect::<Vec<_>>()));
    running.await.expect("the script ends")
}

/// [`run`], with something to read on its standard input.
pub fn run_with_input(script: &str, input: &str) -> String {
    use std::io::{Seek, Write};
    let mut file = tempfile::tempfile().expect("a temporary file");
    file.write_all(input.as_bytes()).and_then(|()| file.rewind()).expect("the input is written");
    let Output { status, stdout, stderr } =
        Command::new(interpreter()).arg("-c").arg(script).stdin(file).output().expect("Python runs");
    let stderr = String::from_utf8_lossy(&stderr);
    assert!(status.success(), "the script failed (does CELERY_RS_TEST_PYTHON have Celery?): {stderr}");
    String::from_utf8_lossy(&stdout).trim_end().to_owned()
}
