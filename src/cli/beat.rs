//! `celery-rs beat`: the app's schedule without a worker.
//!
//! What the options mean is Celery's business, which reads them where the app is loaded; here they are only known.

use std::{
    env,
    io::{self, Write},
    os::unix::process::CommandExt,
    path::PathBuf,
    process::Command,
};

use clap::{ArgAction, Args, builder::BoolishValueParser};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

use super::{
    args::GlobalOptions,
    exit::{self, Exit},
    logging::{self, Format, Layout, LogOptions},
    pidfile::{Pidfile, PidfileError},
};
use crate::app::{App, AppError, BeatPlan, BootedBeat};

/// Options of `beat`. Each also reads `CELERY_BEAT_<OPTION>`.
#[derive(Args)]
#[command(next_help_heading = "Beat Options")]
pub(super) struct BeatOptions {
    /// Start beat as a background process
    #[arg(long, env = "CELERY_BEAT_DETACH", value_parser = BoolishValueParser::new())]
    detach: bool,
    /// Path of the schedule file, to which .json is added; celerybeat-schedule if nobody says anything
    #[arg(short, long, value_name = "TEXT")]
    schedule: Option<String>,
    /// Class path of the scheduler
    #[arg(short = 'S', long, value_name = "TEXT")]
    scheduler: Option<String>,
    /// Most seconds between two looks at the schedule
    #[arg(long, value_name = "INTEGER")]
    max_interval: Option<String>,
    /// Answer `celery inspect ping`
    #[arg(long)]
    enable_remote_control: bool,
    /// Do not
    #[arg(long)]
    no_enable_remote_control: bool,
    /// Node name for remote control
    #[arg(short = 'n', long, value_name = "TEXT")]
    hostname: Option<String>,
    /// DEBUG, INFO, WARNING, ERROR, CRITICAL or FATAL
    #[arg(short, long, value_name = "LEVEL")]
    loglevel: Option<String>,
    /// Log destination; defaults to stderr
    #[arg(short = 'f', long, value_name = "PATH", help_heading = "Daemonization Options")]
    logfile: Option<String>,
    /// PID file path; defaults to no PID file
    #[arg(long, value_name = "PATH", help_heading = "Daemonization Options")]
    pidfile: Option<String>,
    /// User to run as
    #[arg(long, value_name = "USER", env = "CELERY_BEAT_UID", help_heading = "Daemonization Options")]
    uid: Option<String>,
    /// Group to run as
    #[arg(long, value_name = "GROUP", env = "CELERY_BEAT_GID", help_heading = "Daemonization Options")]
    gid: Option<String>,
    /// Mask of new files; without --detach it does nothing, as in Celery
    #[arg(long, value_name = "MASK", help_heading = "Daemonization Options")]
    umask: Option<String>,
    /// Python executable for --detach; does nothing without it
    #[arg(long, value_name = "PATH", help_heading = "Daemonization Options")]
    executable: Option<String>,
    /// Settings as namespace.key=value, or .key=value for worker.key
    #[arg(value_name = "KEY=VALUE", action = ArgAction::Append)]
    overrides: Vec<String>,
}

/// What is left to say when there is no beat, or none any more.
struct Failure(String, Exit);

impl From<AppError> for Failure {
    fn from(error: AppError) -> Self {
        Self(error.to_string(), Exit(u8::try_from(error.exit_code()).unwrap_or(exit::FAILURE.0)))
    }
}

/// Runs beat until it is told to stop.
pub(super) fn run(app: &App, global: &GlobalOptions, options: &BeatOptions, words: &[String]) -> Exit {
    let exit = start(app, global, options, words).unwrap_or_else(|Failure(message, exit)| {
        logging::flush();
        eprintln!("{message}");
        exit
    });
    logging::flush();
    exit
}

fn start(app: &App, global: &GlobalOptions, options: &BeatOptions, words: &[String]) -> Result<Exit, Failure> {
    if let Some(reason) = refused(options) {
        return Err(Failure(format!("Error: {reason}"), exit::USAGE));
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| failure(format!("the runtime cannot be started: {error}")))?;
    let ran = runtime.block_on(work(app, global, words));
    runtime.shutdown_background();
    match ran? {
        None => Ok(exit::OK),
        Some((reason, interpreter)) => Err(hand_over(&reason, interpreter, words)),
    }
}

/// None once it has run; else why it is Celery's, and the Python that has loaded the app.
async fn work(
    app: &App,
    global: &GlobalOptions,
    words: &[String],
) -> Result<Option<(String, Option<PathBuf>)>, Failure> {
    let booted = match app.beat(words).await? {
        BeatPlan::Ours(booted) => booted,
        BeatPlan::Celerys { reason, interpreter } => return Ok(Some((reason, interpreter))),
    };
    // Celery has gone there itself where it has loaded the app.
    if let Some(directory) = &global.workdir {
        env::set_current_dir(directory).map_err(|error| failure(format!("--workdir {directory}: {error}")))?;
    }
    let _pidfile = booted.pidfile.as_deref().map(Pidfile::create).transpose().map_err(|error| {
        let held = matches!(error, PidfileError::Held { .. });
        Failure(error.to_string(), if held { exit::CANNOT_CREATE } else { exit::FAILURE })
    })?;
    show(&booted.banner);
    set_up_logging(&booted)?;
    for line in booted.settings.refusals() {
        tracing::warn!("{line}");
    }
    let stop = stopped_by_signals().map_err(|error| failure(format!("signals cannot be handled: {error}")))?;
    booted.run(stop).await?;
    Ok(None)
}

/// TERM and INT, as Celery's beat has it; a second one ends it at once.
fn stopped_by_signals() -> io::Result<CancellationToken> {
    let stop = CancellationToken::new();
    for kind in [SignalKind::terminate(), SignalKind::interrupt()] {
        let (mut stream, stop) = (signal(kind)?, stop.clone());
        tokio::spawn(async move {
            while stream.recv().await.is_some() {
                if stop.is_cancelled() {
                    exit::at_once(exit::FAILURE);
                }
                stop.cancel();
            }
        });
    }
    Ok(stop)
}

fn set_up_logging(booted: &BootedBeat) -> Result<(), Failure> {
    let worker = &booted.settings.worker;
    let format = Format::parse(&worker.log_format, worker.log_datefmt.as_deref());
    let options = LogOptions {
        level: booted.loglevel,
        file: booted.logfile.as_ref().map(PathBuf::from),
        layout: Layout::Lines(format.map_err(|error| failure(error.to_string()))?),
        colour: if booted.no_color { Some(false) } else { worker.log_color },
        has_beat: false,
    };
    logging::install(options).map_err(|error| failure(format!("the log file cannot be opened: {error}")))
}

fn show(banner: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(banner.as_bytes());
    let _ = stdout.flush();
}

/// Becomes Celery's own beat; returns only with a reason why not.
fn hand_over(reason: &str, interpreter: Option<PathBuf>, words: &[String]) -> Failure {
    let Some(interpreter) = interpreter else {
        return failure(format!("celery-rs cannot run this schedule, since {reason}: run `celery beat`"));
    };
    eprintln!("celery-rs: Celery's own beat runs this schedule, since {reason}");
    let error = Command::new(&interpreter).args(["-m", "celery"]).args(words).exec();
    failure(format!("{} cannot be started: {error}", interpreter.display()))
}

fn refused(options: &BeatOptions) -> Option<&'static str> {
    let refusals = [
        (options.detach, "--detach is not supported: let systemd, a container or nohup put beat in the background"),
        (options.uid.is_some(), "--uid is not supported: start beat as that user"),
        (options.gid.is_some(), "--gid is not supported: start beat with that group"),
    ];
    refusals.into_iter().find(|(given, _)| *given).map(|(_, reason)| reason)
}

fn failure(message: String) -> Failure {
    Failure(message, exit::FAILURE)
}
