//! `celery-rs worker`: from what was typed to an exit code.

use std::{
    env,
    io::{self, IsTerminal, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::Command,
    sync::{Arc, Mutex, PoisonError},
    thread,
};

use tokio::sync::watch;

use super::{
    args::{GlobalOptions, WorkerOptions},
    banner::{Banner, QueueLine},
    convert, detach,
    environment::ProcessEnvironment,
    exit::{self, Exit},
    listener::Listener,
    logging::{self, Format, Layout, LogOptions},
    notify,
    pidfile::{Pidfile, PidfileError},
    privileges, refused,
    signals::{self, Shutdowns},
    usage::UsageError,
    workdir,
};
use crate::{
    app::{App, AppError, Booted, DaemonOptions, Door, StopReason},
    config::{LogLevel, Strings, WorkerArgs, nodename, url},
};

/// A failure to start, already in the words for the user.
enum Failure {
    Usage(UsageError),
    Said(String, Exit),
    /// None: this process is to start a daemon and leave.
    Detach(Box<DaemonOptions>),
}

/// Runs a worker until it is told to stop.
pub(super) fn run(app: App, global: GlobalOptions, options: &WorkerOptions, words: &[String], program: &str) -> Exit {
    let directory = env::current_dir().unwrap_or_else(|_| ".".into());
    let ended = start(app, global, options, words, &directory).or_else(|failure| match failure {
        Failure::Usage(error) => Ok(error.exit(program)),
        Failure::Said(message, exit) => Err((message, exit)),
        Failure::Detach(daemon) => detach::start(&daemon, words, &directory),
    });
    let exit = ended.unwrap_or_else(|(message, exit)| {
        logging::flush();
        if !message.is_empty() {
            eprintln!("{message}");
        }
        exit
    });
    logging::flush();
    exit
}

/// `directory` is where this process was started.
fn start(
    app: App,
    global: GlobalOptions,
    options: &WorkerOptions,
    words: &[String],
    directory: &Path,
) -> Result<Exit, Failure> {
    let args = convert::worker_args(global, options).map_err(Failure::Usage)?;
    if let Some(reason) = refused::refused(options) {
        return Err(Failure::Usage(UsageError::worker(reason)));
    }
    let words = &workdir::enter(args.workdir.as_deref(), words).map_err(Failure::Usage)?;
    if args.app.is_none() && app.tasks().next().is_some() {
        without_celery(options, &args.hostname)?;
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(threads(&app)).enable_all().build();
    let runtime = runtime.map_err(|error| failure(format!("the runtime cannot be started: {error}")))?;
    let shutdowns = Arc::new(Mutex::new(Shutdowns::new(env::var("REMAP_SIGTERM").ok().as_deref())));
    let exit = runtime.block_on(work(app, &args, options.beat, words, Arc::clone(&shutdowns)));
    runtime.shutdown_background();
    let restart = shutdowns.lock().unwrap_or_else(PoisonError::into_inner).restart();
    if restart && exit.is_ok() { Err(failure(exec_again(directory))) } else { exit }
}

/// What Celery's own command line does for a Python app: a daemon, another user.
fn without_celery(options: &WorkerOptions, hostname: &str) -> Result<(), Failure> {
    if options.detach {
        return Err(Failure::Detach(Box::new(DaemonOptions {
            hostname: hostname.to_owned(),
            logfile: options.logfile.clone(),
            pidfile: options.pidfile.clone(),
            uid: options.uid.clone(),
            gid: options.gid.clone(),
            umask: options.umask.clone(),
            executable: options.executable.clone(),
        })));
    }
    privileges::drop_to(options.uid.as_deref(), options.gid.as_deref()).map_err(failure)
}

/// Threads of the worker itself. Where no task runs on them the children need the processors more, and threads that have
/// little to do mostly wake each other: half as many do.
fn threads(app: &App) -> usize {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    if app.tasks().next().is_some() { processors } else { processors.div_ceil(2) }
}

async fn work(
    app: App,
    args: &WorkerArgs,
    beat: bool,
    words: &[String],
    shutdowns: Arc<Mutex<Shutdowns>>,
) -> Result<Exit, Failure> {
    let booted = app.boot(args.clone(), words, &ProcessEnvironment).await.map_err(|error| boot_failure(&error))?;
    if beat && booted.about.app.is_empty() {
        return Err(Failure::Usage(UsageError::worker(refused::BEAT_NEEDS_PYTHON)));
    }
    if let Some((user, group)) = booted.user {
        privileges::drop_to(Some(&user.to_string()), Some(&group.to_string())).map_err(failure)?;
    }
    set_up_logging(args, beat, &booted)?;
    check_privileges(&booted)?;
    let _pidfile = pidfile(args, &booted)?;
    if args.purge {
        purge(&booted).await?;
    }
    if !args.quiet {
        show_banner(args, &booted);
    }
    for line in booted.refusals() {
        tracing::warn!("{line}");
    }
    let (ask, asked) = watch::channel(None);
    let listener = Listener::new(ask, &booted);
    signals::listen(Arc::clone(&shutdowns), listener)
        .map_err(|error| failure(format!("signals cannot be handled: {error}")))?;
    tokio::spawn(notify::accompany(booted.door.clone()));
    tokio::spawn(notify_stop(booted.door.clone(), Arc::clone(&shutdowns)));
    // In a task: what `block_on` itself awaits is woken on a thread of its own each time.
    let ran =
        tokio::spawn(booted.run(asked)).await.map_err(|error| failure(format!("the worker broke off: {error}")))?;
    let reason = ran.map_err(|error| boot_failure(&error))?;
    let signalled = shutdowns.lock().unwrap_or_else(PoisonError::into_inner).exit();
    Ok(exit_of(&reason, signalled))
}

async fn notify_stop(door: Door, shutdowns: Arc<Mutex<Shutdowns>>) {
    door.stopping().await;
    if !shutdowns.lock().unwrap_or_else(PoisonError::into_inner).restart() {
        notify::stopping();
    }
}

/// Without a signal it was remote control that asked, which is no failure.
fn exit_of(reason: &StopReason, signalled: Option<Exit>) -> Exit {
    match reason {
        StopReason::Asked(_) => signalled.unwrap_or(exit::OK),
        StopReason::Broker(error) | StopReason::Pool(error) => {
            tracing::error!(target: "celery.worker", critical = true, "Unrecoverable error: {error}");
            signalled.unwrap_or(exit::FAILURE)
        }
    }
}

fn set_up_logging(args: &WorkerArgs, beat: bool, booted: &Booted) -> Result<(), Failure> {
    let worker = &booted.settings.worker;
    let format = Format::parse(&worker.log_format, worker.log_datefmt.as_deref());
    let format = format.map_err(|error| failure(error.to_string()))?;
    let unknown = refused::unknown_fields(&format).filter(|_| !args.json_log);
    let file = args.logfile.as_deref().or(worker.logfile.as_deref());
    let options = LogOptions {
        level: args.loglevel,
        file: file.map(|path| nodename::node_format(path, &args.hostname, 0).into()),
        layout: if args.json_log { Layout::Json } else { Layout::Lines(format) },
        colour: if args.no_color { Some(false) } else { worker.log_color },
        has_beat: beat,
    };
    logging::install(options).map_err(|error| failure(format!("the log file cannot be opened: {error}")))?;
    if let Some(refusal) = unknown {
        tracing::warn!("{}", refusal.line);
    }
    Ok(())
}

/// With a Python app, Celery itself has checked in the process that loads it.
fn check_privileges(booted: &Booted) -> Result<(), Failure> {
    if !booted.about.app.is_empty() {
        return Ok(());
    }
    let forced = ProcessEnvironment.string("C_FORCE_ROOT").is_some();
    match privileges::check(&booted.settings.accept_content, forced) {
        privileges::Verdict::Fine => Ok(()),
        privileges::Verdict::Warn(line) => {
            tracing::warn!(target: "celery.platforms", "{line}");
            Ok(())
        }
        privileges::Verdict::Refuse(message) => Err(failure(message)),
    }
}

fn pidfile(args: &WorkerArgs, booted: &Booted) -> Result<Option<Pidfile>, Failure> {
    let configured = || booted.settings.worker.pidfile.as_deref().map(|path| expanded(path, args));
    let Some(path) = args.pidfile.clone().or_else(configured) else { return Ok(None) };
    Pidfile::create(&path).map(Some).map_err(|error| {
        let exit = if matches!(error, PidfileError::Held { .. }) { exit::CANNOT_CREATE } else { exit::FAILURE };
        Failure::Said(error.to_string(), exit)
    })
}

fn expanded(path: &str, args: &WorkerArgs) -> PathBuf {
    nodename::node_format(path, &args.hostname, 0).into()
}

async fn purge(booted: &Booted) -> Result<(), Failure> {
    let count = booted.purge().await.map_err(|error| boot_failure(&error))?;
    if count > 0 {
        let noun = if count == 1 { "message" } else { "messages" };
        let mut stdout = io::stdout().lock();
        let _ = writeln!(stdout, "purge: Erased {count} {noun} from the queue.\n").and_then(|()| stdout.flush());
    }
    Ok(())
}

fn show_banner(args: &WorkerArgs, booted: &Booted) {
    let colour = !args.no_color && args.logfile.is_none() && io::stderr().is_terminal();
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(banner(args, booted).render(colour).as_bytes());
    let _ = stdout.flush();
}

fn banner(args: &WorkerArgs, booted: &Booted) -> Banner {
    let settings = &booted.settings;
    let queue = |queue: &_| QueueLine::from(queue);
    Banner {
        hostname: args.hostname.clone(),
        version: booted.about.version.clone(),
        platform: booted.about.platform.clone(),
        timestamp: chrono::Local::now().format("%Y-%m-%d %H:%M:%S").to_string(),
        app: booted.about.app.clone(),
        transport: url::broker_uri(&settings.broker.write_urls.join(";")),
        results: url::backend_uri(settings.result.backend.as_deref()),
        concurrency: booted.concurrency_line(),
        pool: settings.worker.pool.module().to_owned(),
        events: settings.worker.send_task_events,
        queues: booted.queues.consume_from().map(queue).collect(),
        tasks: task_list(args.loglevel, &booted.tasks),
    }
}

/// Built-in tasks are listed at DEBUG only, others at INFO too.
fn task_list(level: LogLevel, tasks: &[String]) -> Option<Vec<String>> {
    let builtin = |task: &String| task.starts_with("celery.");
    match level {
        LogLevel::Debug => Some(tasks.to_vec()),
        LogLevel::Info => Some(tasks.iter().filter(|task| !builtin(task)).cloned().collect()),
        _ => None,
    }
}

fn boot_failure(error: &AppError) -> Failure {
    if let Some(daemon) = error.daemon() {
        return Failure::Detach(Box::new(daemon.clone()));
    }
    Failure::Said(error.to_string(), Exit(u8::try_from(error.exit_code()).unwrap_or(exit::FAILURE.0)))
}

fn failure(message: String) -> Failure {
    Failure::Said(message, exit::FAILURE)
}

/// Replaces this process by a new one of the same command line, where it was started; returns only with a reason why not.
fn exec_again(directory: &Path) -> String {
    logging::flush();
    let program = env::current_exe().unwrap_or_else(|_| "celery-rs".into());
    let error = Command::new(program).args(env::args_os().skip(1)).current_dir(directory).exec();
    format!("the worker cannot be started again: {error}")
}
