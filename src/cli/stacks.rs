//! USR1: what runs, with the Python stacks of each child, to stderr (`celery/utils/debug.py:cry`).

use std::{fmt::Write as _, time::Duration};

use crate::app::{Door, Running};

/// How long a child has stderr for itself: it writes at a signal, and nobody hears when it has done so.
const TURN: Duration = Duration::from_millis(50);

/// Writes all of it, child by child.
pub(super) async fn show(door: Door) {
    let running = door.running().await;
    eprintln!("\n{}", of_main(&running));
    for pid in running.children.iter().copied() {
        eprintln!("{}", of_child(&running, pid));
        door.show_stacks(pid);
        tokio::time::sleep(TURN).await;
    }
}

/// This process has no Python stacks; tasks in Rust run here.
fn of_main(running: &Running) -> String {
    let pid = std::process::id();
    let Some(tasks) = &running.tasks else { return format!("MainProcess (pid {pid}): stopping\n{}", rule()) };
    format!("MainProcess (pid {pid}): {} running\n{}{}", tasks.len(), rule(), lines(running, pid.cast_signed()))
}

fn of_child(running: &Running, pid: i32) -> String {
    format!("\npool process {pid}\n{}{}", rule(), lines(running, pid))
}

fn lines(running: &Running, pid: i32) -> String {
    let mut text = String::new();
    for task in running.tasks.iter().flatten().filter(|task| task.pid == pid) {
        // Nothing can go wrong with a string.
        let _ = write!(text, "\n{} for {:.1} s", task.task, task.since.as_secs_f64());
    }
    text
}

fn rule() -> String {
    "=".repeat(49)
}
