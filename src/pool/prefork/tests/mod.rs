//! The pool against real processes that are told what to do.

mod double;

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tokio::sync::oneshot;

use super::{PreforkOptions, PreforkPool};
use crate::ipc::{Ended, Job, Manifest, PoolKind, SavedState};
use crate::pool::{Accepted, Finished, Pool, PoolError, Progress, Run, TimeLimits};

struct Bench {
    pool: Arc<PreforkPool>,
    manifest: Manifest,
    last: u64,
}

fn options(concurrency: usize) -> PreforkOptions {
    let options = PreforkOptions::new(double::command(""), PoolKind::Prefork, concurrency);
    PreforkOptions { proc_alive_timeout: Duration::from_secs(60), ..options }
}

async fn bench(options: PreforkOptions) -> Bench {
    let (pool, manifest) = PreforkPool::start(options).await.unwrap();
    Bench { pool, manifest, last: 0 }
}

impl Bench {
    fn submit(&mut self, body: &str) -> Run {
        self.submit_with(body, TimeLimits::default())
    }

    fn submit_with(&mut self, body: &str, limits: TimeLimits) -> Run {
        self.last += 1;
        let body = Bytes::copy_from_slice(body.as_bytes());
        let job = Job { number: self.last, task: "proj.add".into(), body, ..Job::default() };
        self.pool.submit(job, limits)
    }

    /// Makes jobs known as short, so that they are sent ahead.
    async fn warm_up(&mut self) {
        for _ in 0..2 {
            success(self.submit("").finished).await;
        }
    }
}

async fn success(finished: oneshot::Receiver<Finished>) -> String {
    match finished.await.unwrap() {
        Finished::Reported(report) => match report.ended {
            Ended::Success { repr } => repr,
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
}

/// Waits until the job asks; it runs until the answer is given.
async fn question(run: &mut Run) -> oneshot::Sender<Result<(), String>> {
    match run.progress.recv().await.unwrap() {
        Progress::Store(_, answer) => answer,
        other => panic!("{other:?}"),
    }
}

async fn accepted(run: &mut Run) -> Accepted {
    (&mut run.accepted).await.unwrap()
}

#[tokio::test]
async fn jobs_go_to_idle_seats() {
    let mut bench = bench(options(2)).await;
    let (mut first, mut second, mut third) = (bench.submit("ask"), bench.submit("ask"), bench.submit("ask"));
    let one = question(&mut first).await;
    let two = question(&mut second).await;
    let (first_pid, second_pid) = (accepted(&mut first).await.pid, accepted(&mut second).await.pid);
    assert_ne!(first_pid, second_pid);
    assert!(third.accepted.try_recv().is_err());
    two.send(Err("the answer".into())).unwrap();
    assert_eq!(success(second.finished).await, "the answer");
    let three = question(&mut third).await;
    assert_eq!(accepted(&mut third).await.pid, second_pid);
    drop(three);
    assert_eq!(success(third.finished).await, "nobody is left to store the result");
    one.send(Ok(())).unwrap();
    assert_eq!(success(first.finished).await, "");
    let mut pids = bench.pool.pids();
    pids.sort_unstable();
    let mut seen = [first_pid, second_pid];
    seen.sort_unstable();
    assert_eq!(pids, seen);
}

#[tokio::test]
async fn threads_are_seats_of_one_child() {
    let mut bench = bench(PreforkOptions { kind: PoolKind::Threads, ..options(3) }).await;
    assert_eq!(bench.pool.size(), 3);
    let pids = [bench.submit(""), bench.submit("")].map(|mut run| async move { accepted(&mut run).await.pid });
    let pids = futures::future::join_all(pids).await;
    assert_eq!(pids[0], pids[1]);
}

#[tokio::test]
async fn short_jobs_are_sent_ahead() {
    let mut bench = bench(options(1)).await;
    bench.warm_up().await;
    let runs: Vec<Run> = (0..64).map(|_| bench.submit("")).collect();
    let mut behind = 0;
    for run in runs {
        behind = behind.max(success(run.finished).await.parse::<usize>().unwrap());
    }
    assert!(behind > 0, "no job waited in the child");
}

#[tokio::test]
async fn no_job_waits_behind_a_long_one() {
    let mut bench = bench(options(2)).await;
    bench.warm_up().await;
    let mut long = bench.submit("ask");
    let others: Vec<Run> = (0..100).map(|_| bench.submit("")).collect();
    for run in others {
        success(run.finished).await;
    }
    let answer = question(&mut long).await;
    assert!(long.finished.try_recv().is_err());
    drop(answer);
    success(long.finished).await;
}

#[tokio::test]
async fn a_dead_child_loses_what_it_had_begun_and_nothing_else() {
    let mut bench = bench(options(1)).await;
    bench.warm_up().await;
    let before: Vec<Run> = (0..10).map(|_| bench.submit("")).collect();
    let killed = bench.submit("kill 9");
    let between: Vec<Run> = (0..10).map(|_| bench.submit("")).collect();
    let left = bench.submit("exit 1");
    let after: Vec<Run> = (0..10).map(|_| bench.submit("")).collect();
    for run in before.into_iter().chain(between).chain(after) {
        success(run.finished).await;
    }
    assert!(matches!(killed.finished.await.unwrap(), Finished::WorkerLost { exit } if exit == "signal 9 (SIGKILL)"));
    assert!(matches!(left.finished.await.unwrap(), Finished::WorkerLost { exit } if exit == "exitcode 1"));
}

/// It may take long to end: its successor gets what it will never begin.
#[tokio::test]
async fn a_child_that_leaves_keeps_nothing_back() {
    let mut bench = bench(options(1)).await;
    bench.warm_up().await;
    let before: Vec<Run> = (0..10).map(|_| bench.submit("")).collect();
    let left = bench.submit("leave");
    let after: Vec<Run> = (0..10).map(|_| bench.submit("")).collect();
    for run in before.into_iter().chain(after) {
        success(run.finished).await;
    }
    let Finished::Reported(report) = left.finished.await.unwrap() else { panic!("nothing was reported") };
    assert!(matches!(report.ended, Ended::Exits { .. }));
}

#[tokio::test]
async fn children_outlive_their_zygote_and_are_replaced() {
    let mut bench = bench(options(1)).await;
    let mut survivor = bench.submit("ask");
    let answer = question(&mut survivor).await;
    let zygote = Pid::from_raw(bench.manifest.pid);
    kill(zygote, Signal::SIGKILL).unwrap();
    while kill(zygote, None).is_ok() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    answer.send(Ok(())).unwrap();
    success(survivor.finished).await;
    let lost = bench.submit("kill 9");
    let next = bench.submit("");
    let ended = lost.finished.await.unwrap();
    assert!(matches!(&ended, Finished::WorkerLost { exit } if exit == "signal 9 (SIGKILL)"), "{ended:?}");
    success(next.finished).await;
}

#[tokio::test]
async fn a_soft_limit_signals_the_child() {
    let mut bench = bench(options(1)).await;
    let soft = Some(Duration::from_secs(1));
    let mut run = bench.submit_with("ask", TimeLimits { soft, hard: None });
    let _answer = question(&mut run).await;
    assert!(matches!(run.progress.recv().await, Some(Progress::SoftTimeLimit(limit)) if Some(limit) == soft));
    // Without a handler the signal is the child's end.
    assert!(matches!(run.finished.await.unwrap(), Finished::WorkerLost { exit } if exit == "signal 10 (SIGUSR1)"));
}

#[tokio::test]
async fn a_hard_limit_kills_even_a_stubborn_child_and_only_its_job() {
    let mut bench = bench(PreforkOptions { zygote: double::command("stubborn"), ..options(1) }).await;
    bench.warm_up().await;
    let hard = Some(Duration::from_millis(30));
    let mut long = bench.submit_with("ask", TimeLimits { soft: None, hard });
    let behind: Vec<Run> = (0..5).map(|_| bench.submit("")).collect();
    let pid = accepted(&mut long).await.pid;
    assert!(matches!(long.finished.await.unwrap(), Finished::TimeLimit(limit) if Some(limit) == hard));
    for mut run in behind {
        assert_ne!(accepted(&mut run).await.pid, pid);
        success(run.finished).await;
    }
}

#[tokio::test]
async fn terminate_kills_what_runs_and_what_will() {
    let mut bench = bench(options(1)).await;
    let mut running = bench.submit("ask");
    let running_number = bench.last;
    let _answer = question(&mut running).await;
    let mut pending = bench.submit("ask");
    bench.pool.terminate(bench.last, 9);
    bench.pool.terminate(running_number, 15);
    assert!(matches!(running.finished.await.unwrap(), Finished::Terminated { signum: 15 }));
    accepted(&mut pending).await;
    assert!(matches!(pending.finished.await.unwrap(), Finished::Terminated { signum: 9 }));
    bench.pool.terminate(running_number, 15);
    success(bench.submit("").finished).await;
}

#[tokio::test]
async fn children_are_recycled_after_so_many_tasks() {
    // Neither of which is a crash.
    let mut bench = bench(PreforkOptions { max_tasks_per_child: Some(2), max_restarts: 1, ..options(1) }).await;
    let mut pids = Vec::new();
    for _ in 0..5 {
        let mut run = bench.submit("");
        pids.push(accepted(&mut run).await.pid);
        success(run.finished).await;
    }
    assert_eq!(pids[0], pids[1]);
    assert_ne!(pids[1], pids[2]);
    assert_eq!(pids[2], pids[3]);
    assert_ne!(pids[3], pids[4]);
}

#[tokio::test]
async fn children_are_recycled_when_they_have_grown() {
    let mut bench = bench(PreforkOptions { max_memory_per_child: Some(1000), ..options(1) }).await;
    let (mut grown, mut next) = (bench.submit("grow"), bench.submit(""));
    let pid = accepted(&mut grown).await.pid;
    success(grown.finished).await;
    assert_ne!(accepted(&mut next).await.pid, pid);
}

#[tokio::test]
async fn children_are_recycled_when_they_grow_while_idle() {
    let idle_weighing = Duration::from_millis(20);
    let mut bench = bench(PreforkOptions { max_memory_per_child: Some(60_000), idle_weighing, ..options(1) }).await;
    let mut swollen = bench.submit("swell");
    let pid = accepted(&mut swollen).await.pid;
    success(swollen.finished).await;
    while bench.pool.pids() == [pid] {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    success(bench.submit("").finished).await;
}

/// The processes that a zygote has started and that live.
fn children_of(bench: &Bench) -> Vec<i32> {
    let pid = bench.manifest.pid;
    let tasks = std::fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let children = tasks.filter_map(|task| std::fs::read_to_string(task.unwrap().path().join("children")).ok());
    children.flat_map(|pids| pids.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<i32>>()).collect()
}

async fn there_are_children(bench: &Bench, count: usize) -> Vec<i32> {
    loop {
        let children = children_of(bench);
        if children.len() == count {
            return children;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn a_spare_stands_by_and_takes_over() {
    let mut bench = bench(PreforkOptions { max_tasks_per_child: Some(1), ..options(1) }).await;
    let mut first = bench.submit("ask");
    let answer = question(&mut first).await;
    let old = accepted(&mut first).await.pid;
    let spare = there_are_children(&bench, 2).await.into_iter().find(|pid| *pid != old).unwrap();
    assert_eq!((bench.pool.size(), bench.pool.pids()), (1, vec![old]));
    let mut second = bench.submit("ask");
    assert!(second.accepted.try_recv().is_err());
    answer.send(Ok(())).unwrap();
    success(first.finished).await;
    assert_eq!(accepted(&mut second).await.pid, spare);
    drop(question(&mut second).await);
    success(second.finished).await;
}

#[tokio::test]
async fn spares_go_with_the_pool_and_with_their_places() {
    let mut bench = bench(PreforkOptions { max_tasks_per_child: Some(1), ..options(2) }).await;
    let (mut first, mut second) = (bench.submit("ask"), bench.submit("ask"));
    let answers = [question(&mut first).await, question(&mut second).await];
    there_are_children(&bench, 4).await;
    bench.pool.resize(-1);
    // A spare without a place leaves at once, the child that it was for when it is done.
    there_are_children(&bench, 3).await;
    let stopped = bench.pool.stop(None);
    there_are_children(&bench, 2).await;
    answers.into_iter().for_each(|answer| answer.send(Ok(())).unwrap());
    success(first.finished).await;
    success(second.finished).await;
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_pool_may_begin_with_nobody() {
    let mut bench = bench(options(0)).await;
    let waits = bench.submit("");
    assert_eq!(bench.pool.size(), 0);
    bench.pool.resize(1);
    success(waits.finished).await;
}

#[tokio::test]
async fn state_is_saved_before_the_end() {
    let mut bench = bench(PreforkOptions { keeps_state: true, ..options(1) }).await;
    success(bench.submit("").finished).await;
    let mut stopped = bench.pool.stop(None);
    there_are_children(&bench, 0).await;
    assert!(stopped.try_recv().is_err());
    let state = |clock| SavedState { revoked: vec![("a".into(), 1.0)], clock };
    // The zygote says so as exit code.
    assert_eq!(bench.pool.save(state(3)).await.unwrap().unwrap_err(), "exitcode 3");
    stopped.await.unwrap();
}

#[tokio::test]
async fn a_stop_waits_for_the_begun_and_withdraws_the_rest() {
    let mut bench = bench(options(1)).await;
    let (mut begun, waiting) = (bench.submit("ask"), bench.submit(""));
    let answer = question(&mut begun).await;
    let mut stopped = bench.pool.stop(None);
    assert!(matches!(waiting.finished.await.unwrap(), Finished::Withdrawn));
    assert!(stopped.try_recv().is_err());
    answer.send(Ok(())).unwrap();
    success(begun.finished).await;
    stopped.await.unwrap();
    assert!(matches!(bench.submit("").finished.await.unwrap(), Finished::Withdrawn));
    assert!(kill(Pid::from_raw(bench.manifest.pid), None).is_err());
    bench.pool.stop(None).await.unwrap();
}

#[tokio::test]
async fn a_stop_does_not_wait_for_children_that_never_come_up() {
    let options = PreforkOptions { zygote: double::command("mute"), ..options(2) };
    let mut bench = bench(PreforkOptions { proc_alive_timeout: Duration::from_millis(20), ..options }).await;
    let waiting = bench.submit("");
    bench.pool.stop(None).await.unwrap();
    assert!(matches!(waiting.finished.await.unwrap(), Finished::Withdrawn));
}

#[tokio::test]
async fn a_second_stop_may_be_shorter() {
    let mut bench = bench(options(1)).await;
    let mut begun = bench.submit("ask");
    let _answer = question(&mut begun).await;
    let warm = bench.pool.stop(None);
    let cold = bench.pool.stop(Some(Duration::ZERO));
    assert!(matches!(begun.finished.await.unwrap(), Finished::WorkerLost { exit } if exit == "signal 15 (SIGTERM)"));
    cold.await.unwrap();
    warm.await.unwrap();
}

#[tokio::test]
async fn a_pool_grows_and_shrinks_by_idle_children() {
    let mut bench = bench(options(1)).await;
    let mut first = bench.submit("ask");
    let one = question(&mut first).await;
    bench.pool.resize(1);
    let mut second = bench.submit("ask");
    let two = question(&mut second).await;
    assert_eq!(bench.pool.size(), 2);
    // Both are busy: the one that goes ends its job before.
    bench.pool.resize(-1);
    one.send(Ok(())).unwrap();
    success(first.finished).await;
    two.send(Ok(())).unwrap();
    success(second.finished).await;
    success(bench.submit("").finished).await;
    there_are_children(&bench, 1).await;
    assert_eq!(bench.pool.size(), 1);
}

#[tokio::test]
async fn an_app_that_cannot_be_loaded_is_told_in_its_words() {
    let options = PreforkOptions { zygote: double::command("unloadable"), ..options(1) };
    let error = PreforkPool::start(options).await.unwrap_err();
    assert!(
        matches!(error, PoolError::App { ref message, code: 2 } if message == "Unable to load celery application.")
    );
}

#[tokio::test]
async fn children_that_cannot_start_end_the_pool() {
    let mut bench = bench(PreforkOptions { zygote: double::command("stillborn"), ..options(2) }).await;
    let error = bench.pool.failed().await;
    assert!(error.to_string().ends_with("Could not start worker processes"), "{error}");
    assert!(matches!(bench.submit("").finished.await.unwrap(), Finished::Withdrawn));
}

#[tokio::test]
async fn a_dropped_run_is_withdrawn() {
    let mut bench = bench(options(1)).await;
    let mut first = bench.submit("ask");
    let answer = question(&mut first).await;
    drop(bench.submit("kill 9"));
    let last = bench.submit("");
    drop(answer);
    success(first.finished).await;
    success(last.finished).await;
}

#[tokio::test]
async fn what_is_withdrawn_before_it_began_never_runs() {
    // One child with two seats that works off one job after the other: the second job is with it, and has not begun.
    let mut bench = bench(PreforkOptions { kind: PoolKind::Threads, ..options(2) }).await;
    let mut begun = bench.submit("ask");
    let answer = question(&mut begun).await;
    let mut in_the_child = bench.submit("kill 9");
    let mut waiting = bench.submit("kill 9");
    (1..=3).for_each(|number| bench.pool.withdraw(number));
    for run in [&mut in_the_child, &mut waiting] {
        assert!(matches!((&mut run.finished).await.unwrap(), Finished::Withdrawn));
        assert!(run.accepted.try_recv().is_err());
    }
    answer.send(Ok(())).unwrap();
    success(begun.finished).await;
    success(bench.submit("").finished).await;
}

#[tokio::test]
async fn what_is_withdrawn_from_a_child_that_dies_goes_nowhere_else() {
    let mut bench = bench(PreforkOptions { kind: PoolKind::Threads, ..options(2) }).await;
    let mut begun = bench.submit("ask");
    let _answer = question(&mut begun).await;
    let pid = Pid::from_raw(accepted(&mut begun).await.pid);
    kill(pid, Signal::SIGSTOP).unwrap();
    let behind = bench.submit("kill 9");
    bench.pool.withdraw(bench.last);
    let stays = bench.submit("");
    kill(pid, Signal::SIGKILL).unwrap();
    assert!(matches!(behind.finished.await.unwrap(), Finished::Withdrawn));
    assert!(matches!(begun.finished.await.unwrap(), Finished::WorkerLost { .. }));
    success(stays.finished).await;
}
