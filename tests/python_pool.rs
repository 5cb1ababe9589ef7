//! The pool with real Python children: Celery's tasks, limits and ends.
//!
//! Needs a Python with celery: `CELERY_RS_TEST_PYTHON`, else the active one.
#![cfg(feature = "python")]

use std::collections::HashMap;
use std::fs::File;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use celery_rs::ipc::{Ended, Job, PoolKind, Report, ZygoteOptions};
use celery_rs::pool::prefork::{PreforkOptions, PreforkPool, ZygoteCommand};
use celery_rs::pool::{Accepted, Finished, Pool, Progress, Run, TimeLimits};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

const NO_LIMITS: TimeLimits = TimeLimits { soft: None, hard: None };

struct Bench {
    pool: Arc<PreforkPool>,
    last: u64,
    files: TempDir,
}

fn zygote(pool: &str) -> ZygoteCommand {
    let argv = ["-A", "proj", "worker", "-P", pool, "-c", "2"].map(str::to_owned).to_vec();
    let apps = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/apps");
    let mut env = HashMap::from([("PYTHONPATH", apps.to_owned())]);
    if let Ok(python) = std::env::var("CELERY_RS_TEST_PYTHON") {
        env.insert("CELERY_RS_PYTHON", python);
    }
    ZygoteCommand {
        program: env!("CARGO_BIN_EXE_celery-rs").into(),
        args: vec!["__zygote".into(), ZygoteOptions { argv, survey: false }.to_json().into()],
        env: env.into_iter().map(|(name, value)| (name.into(), value.into())).collect(),
    }
}

async fn bench_of(pool: &str, kind: PoolKind) -> Bench {
    let options =
        PreforkOptions { proc_alive_timeout: Duration::from_secs(60), ..PreforkOptions::new(zygote(pool), kind, 2) };
    let (pool, manifest) = PreforkPool::start(options).await.unwrap();
    assert!(manifest.tasks.iter().any(|task| task.name == "proj.add"));
    Bench { pool, last: 0, files: tempfile::tempdir().unwrap() }
}

async fn bench() -> Bench {
    bench_of("prefork", PoolKind::Prefork).await
}

impl Bench {
    fn submit(&mut self, task: &str, args: &str, limits: TimeLimits) -> Run {
        self.last += 1;
        let id = format!("{:08}-0000-4000-8000-000000000000", self.last);
        let headers = format!(
            r#"{{"lang": "py", "task": "{task}", "id": "{id}", "root_id": "{id}", "parent_id": null, "group": null,
                "eta": null, "expires": null, "retries": 0, "timelimit": [null, null], "origin": "test@here"}}"#
        );
        let body = format!(r#"[{args}, {{}}, {{"callbacks": null, "errbacks": null, "chain": null, "chord": null}}]"#);
        self.pool.submit(
            Job {
                number: self.last,
                task: task.into(),
                properties: format!(r#"{{"correlation_id": "{id}"}}"#).into(),
                correlation_id: Some(id.clone()),
                id,
                headers: headers.into(),
                body: body.into(),
                content_type: "application/json".into(),
                content_encoding: "utf-8".into(),
                routing_key: "celery".into(),
                ..Job::default()
            },
            limits,
        )
    }

    fn add(&mut self) -> Run {
        self.submit("proj.add", "[1, 2]", NO_LIMITS)
    }

    /// A task that runs until the file is there.
    fn wait(&mut self, file: &str, limits: TimeLimits) -> Run {
        let args = format!("[{:?}]", self.file(file));
        self.submit("proj.wait", &args, limits)
    }

    fn file(&self, name: &str) -> PathBuf {
        self.files.path().join(name)
    }

    fn create(&self, name: &str) {
        File::create(self.file(name)).unwrap();
    }
}

async fn accepted(run: &mut Run) -> Accepted {
    (&mut run.accepted).await.unwrap()
}

async fn report(run: Run) -> Report {
    match run.finished.await.unwrap() {
        Finished::Reported(report) => report,
        other => panic!("{other:?}"),
    }
}

async fn result(run: Run) -> String {
    match report(run).await.ended {
        Ended::Success { repr } => repr,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn tasks_run_and_their_results_come_back() {
    let mut bench = bench().await;
    let mut run = bench.add();
    let pid = accepted(&mut run).await.pid;
    let report = report(run).await;
    assert_eq!(report.ended, Ended::Success { repr: "3".into() });
    let stored = report.stored.unwrap();
    assert_eq!(stored.state, "SUCCESS");
    assert!(String::from_utf8_lossy(&stored.document).contains(r#""result": 3"#));
    assert!(bench.pool.pids().contains(&pid));
}

#[tokio::test]
async fn short_tasks_do_not_wait_behind_a_long_one() {
    let mut bench = bench().await;
    for _ in 0..20 {
        result(bench.add()).await;
    }
    let mut long = bench.wait("end", NO_LIMITS);
    let short: Vec<Run> = (0..200).map(|_| bench.add()).collect();
    for run in short {
        assert_eq!(result(run).await, "3");
    }
    assert!(long.finished.try_recv().is_err());
    bench.create("end");
    assert_eq!(result(long).await, "'over'");
}

/// A child that runs short tasks writes about several of them at once. Its death takes nothing of that along: what ended has
/// ended, what was running is lost, what had not begun runs elsewhere, and nothing runs twice.
#[tokio::test]
async fn a_death_takes_only_the_running_task_along() {
    const TASKS: usize = 60;
    let mut bench = bench().await;
    let path = bench.file("signed");
    let sign = |text: usize, dies: bool| format!("[{path:?}, \"{text}\", {dies}]");
    for text in 0..20 {
        let run = bench.submit("proj.sign", &sign(text, false), NO_LIMITS);
        report(run).await;
    }
    let dies = |n: usize| n % 20 == 13;
    let runs: Vec<Run> = (0..TASKS).map(|n| bench.submit("proj.sign", &sign(100 + n, dies(n)), NO_LIMITS)).collect();
    for (n, run) in runs.into_iter().enumerate() {
        match run.finished.await.unwrap() {
            Finished::Reported(report) => assert!(!dies(n) && matches!(report.ended, Ended::Success { .. }), "{n}"),
            Finished::WorkerLost { exit } => assert!(dies(n) && exit == "exitcode 7", "{n}: {exit}"),
            other => panic!("{n}: {other:?}"),
        }
    }
    let mut signed: Vec<usize> =
        std::fs::read_to_string(&path).unwrap().lines().filter_map(|line| line.parse().ok()).collect();
    signed.sort_unstable();
    let expected: Vec<usize> = (0..20).chain(100..100 + TASKS).collect();
    assert_eq!(signed, expected);
}

#[tokio::test]
async fn a_soft_limit_is_an_exception_in_the_task() {
    let mut bench = bench().await;
    // A child that has run something has nothing to load any more before it can be interrupted.
    for _ in 0..2 {
        assert_eq!(result(bench.add()).await, "3");
    }
    let soft = Some(Duration::from_secs(1));
    let mut run = bench.submit("proj.soft", r#"["/nowhere"]"#, TimeLimits { soft, hard: None });
    assert!(matches!(run.progress.recv().await, Some(Progress::SoftTimeLimit(limit)) if Some(limit) == soft));
    assert_eq!(result(run).await, "'soft limit'");
}

#[tokio::test]
async fn a_hard_limit_ends_the_child() {
    let mut bench = bench().await;
    let hard = Some(Duration::from_millis(100));
    let mut run = bench.wait("never", TimeLimits { soft: None, hard });
    let pid = accepted(&mut run).await.pid;
    assert!(matches!(run.finished.await.unwrap(), Finished::TimeLimit(limit) if Some(limit) == hard));
    let others: Vec<Run> = (0..10).map(|_| bench.add()).collect();
    for run in others {
        assert_eq!(result(run).await, "3");
    }
    while bench.pool.pids().contains(&pid) {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_terminated_task_is_not_a_lost_one() {
    let mut bench = bench().await;
    let (mut terminated, mut lost) = (bench.wait("never", NO_LIMITS), bench.wait("never", NO_LIMITS));
    accepted(&mut terminated).await;
    let lost_pid = accepted(&mut lost).await.pid;
    bench.pool.terminate(1, Signal::SIGTERM as i32);
    kill(Pid::from_raw(lost_pid), Signal::SIGKILL).unwrap();
    assert!(matches!(terminated.finished.await.unwrap(), Finished::Terminated { signum: 15 }));
    assert!(matches!(lost.finished.await.unwrap(), Finished::WorkerLost { exit } if exit == "signal 9 (SIGKILL)"));
    assert_eq!(result(bench.add()).await, "3");
}

#[tokio::test]
async fn a_warm_stop_lets_tasks_end() {
    let mut bench = bench().await;
    let mut run = bench.wait("end", NO_LIMITS);
    accepted(&mut run).await;
    let mut stopped = bench.pool.stop(None);
    assert!(stopped.try_recv().is_err());
    bench.create("end");
    assert_eq!(result(run).await, "'over'");
    stopped.await.unwrap();
}

#[tokio::test]
async fn threads_share_a_child() {
    let mut bench = bench_of("threads", PoolKind::Threads).await;
    let (mut one, mut two) = (bench.wait("end", NO_LIMITS), bench.wait("end", NO_LIMITS));
    assert_eq!(accepted(&mut one).await.pid, accepted(&mut two).await.pid);
    bench.create("end");
    assert_eq!(result(one).await, "'over'");
    assert_eq!(result(two).await, "'over'");
}
