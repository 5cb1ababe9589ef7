//! [`App::boot`]: loads the app and settles its settings, before anything connects.

#[cfg(feature = "python")]
use std::ffi::OsString;
use std::{collections::HashMap, sync::Arc, time::Duration};

use crate::{
    app::{Announcer, App, AppError, Door, credentials::AppCredentials, scale, serializers},
    config::{ConfigError, Layers, PYTHONS, Queues, Refusal, Settings, Strings, WorkerArgs, keys},
    ipc::Manifest,
    pool::prefork::{Zygote, ZygoteCommand},
    serialization::{Map, Value, json},
    task::{Registry, TaskOptions},
    worker::{AutoscaleRange, RevokedLimits},
};

/// The hidden subcommand that makes this program a zygote.
pub const ZYGOTE_COMMAND: &str = "__zygote";

/// Names for the banner.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// Name and address of the app: `proj:0x7f...`.
    pub app: String,
    /// What follows the `v`: `5.7.0 (collider)`.
    pub version: String,
    /// `platform.platform()`.
    pub platform: String,
}

/// A loaded app with settled settings; nothing has connected yet.
pub struct Booted {
    /// The settings.
    pub settings: Settings,
    /// The queues, with `-Q`, `-X` and `worker_direct` applied.
    pub queues: Queues,
    /// Names for the banner.
    pub about: About,
    /// Every task, native and Python, sorted.
    pub tasks: Vec<String>,
    /// User and group that the app runs as, where there is one: `--uid` and `--gid`, by Celery's rules.
    pub user: Option<(u32, u32)>,
    /// How those that hear Unix signals tell the app of them.
    pub announcer: Announcer,
    /// What they and a service manager may ask of the worker.
    pub door: Door,
    /// Who logs in to Redis by the app's own classes.
    pub(super) credentials: AppCredentials,
    pub(super) registry: Arc<Registry>,
    pub(super) manifest: Option<Manifest>,
    pub(super) app: App,
    pub(super) args: WorkerArgs,
    pub(super) resolved: Resolved,
    pub(super) revokes: RevokedLimits,
    /// `--autoscale`.
    pub(super) autoscale: Option<AutoscaleRange>,
    pub(super) zygote: Option<(Zygote, ZygoteCommand)>,
}

/// The worker's options as Celery has resolved them from command line, environment and settings (`Manifest.options`).
#[derive(Debug, Default)]
pub(super) struct Resolved(Map);

impl Resolved {
    pub(super) fn number(&self, name: &str) -> Option<f64> {
        self.0.get(name).and_then(Value::as_f64)
    }

    fn user(&self) -> Option<(u32, u32)> {
        let id = |name| self.0.get(name).and_then(Value::as_i64).and_then(|id| u32::try_from(id).ok());
        Some((id("uid")?, id("gid")?))
    }

    pub(super) fn text(&self, name: &str) -> Option<&str> {
        self.0.get(name).and_then(Value::as_str)
    }

    pub(super) fn list(&self, name: &str) -> Option<&[Value]> {
        self.0.get(name).and_then(Value::as_list)
    }

    pub(super) fn truth(&self, name: &str) -> Option<bool> {
        self.0.get(name).filter(|value| !value.is_null()).map(Value::is_truthy)
    }
}

impl App {
    /// Loads the Python app that `args` names, if any, and settles the settings. `words` is the command line without the
    /// program, for Celery to read in the process that loads the app.
    ///
    /// # Errors
    /// Those of Celery's own command line, in its words and with its exit codes; settings that mean nothing.
    pub async fn boot(self, args: WorkerArgs, words: &[String], environment: &dyn Strings) -> Result<Booted, AppError> {
        let loaded = self.load(args, words, false).await?;
        let mut faults = Vec::new();
        let booted = loaded.settle(environment, &mut faults)?;
        faults.into_iter().next().map_or(Ok(booted), Err)
    }

    /// With `survey`, only to look at the app.
    pub(super) async fn load(self, args: WorkerArgs, words: &[String], survey: bool) -> Result<Loaded, AppError> {
        let wants_python = args.app.is_some() || self.tasks().next().is_none();
        let zygote = if wants_python { Some(launch(words, args.json_log, survey).await?) } else { None };
        let (zygote, manifest) = zygote.map(|(zygote, manifest, command)| ((zygote, command), manifest)).unzip();
        Ok(Loaded { app: self, args, manifest, zygote })
    }
}

/// An app whose settings nobody has looked at.
pub(super) struct Loaded {
    pub(super) app: App,
    pub(super) args: WorkerArgs,
    /// None without a Python app.
    pub(super) manifest: Option<Manifest>,
    pub(super) zygote: Option<(Zygote, ZygoteCommand)>,
}

impl Loaded {
    /// Settles the settings. What keeps a worker from starting is added to `faults`, and something harmless stands in its
    /// place.
    ///
    /// # Errors
    /// Settings that mean nothing: without them there is nothing else to be said.
    pub(super) fn settle(self, environment: &dyn Strings, faults: &mut Vec<AppError>) -> Result<Booted, AppError> {
        let Self { app, args, manifest, zygote } = self;
        let said =
            manifest.as_ref().map(|manifest: &Manifest| object(&manifest.settings)).transpose()?.unwrap_or_default();
        let mut settings = Settings::resolve(Layers::new(said, environment, args.settings()))?;
        if let Some(manifest) = &manifest {
            serializers::settle(&mut settings, &manifest.serializers);
        }
        let resolved = manifest.as_ref().map(|manifest| object(&manifest.options)).transpose()?.unwrap_or_default();
        let resolved = Resolved(resolved);
        let autoscale = kept(scale::range(&resolved, manifest.is_some(), &args, environment), faults).flatten();
        kept(native_only(&settings, manifest.as_ref()), faults);
        let queues = kept(select_queues(&settings, manifest.as_ref(), &args), faults);
        let queues = queues.unwrap_or_else(|| Queues::new(&settings.task, Vec::new()));
        let python = manifest.as_ref().map_or(&[][..], |manifest| &manifest.tasks);
        let registry = app.registry(python, &TaskOptions::from_settings(&settings.task)).map_err(AppError::from);
        let registry = Arc::new(kept(registry, faults).unwrap_or_default());
        Ok(Booted {
            user: resolved.user(),
            settings,
            queues,
            about: about(manifest.as_ref()),
            tasks: registry.names().into_iter().map(str::to_owned).collect(),
            announcer: Announcer::default(),
            door: Door::default(),
            credentials: AppCredentials::default(),
            registry,
            manifest,
            app,
            args,
            resolved,
            revokes: kept(revokes(environment).map_err(AppError::from), faults).unwrap_or_default(),
            autoscale,
            zygote,
        })
    }
}

/// None for a fault, which is noted.
fn kept<T>(made: Result<T, AppError>, faults: &mut Vec<AppError>) -> Option<T> {
    made.map_err(|fault| faults.push(fault)).ok()
}

/// What Python does for a worker that has Python.
fn native_only(settings: &Settings, manifest: Option<&Manifest>) -> Result<(), AppError> {
    if manifest.is_none() && settings.worker.state_db.is_some() {
        let line = "--statedb is a file that Python reads and writes, and there is no Python app";
        return Err(AppError::refused(line, "leave it out"));
    }
    Ok(())
}

/// Has Celery print what its `report` command says of the app. `words` is the command line without the program.
///
/// # Errors
/// As with [`App::boot`].
pub async fn report(words: &[String]) -> Result<(), AppError> {
    match launch(words, false, false).await {
        // It has done that instead of loading a worker.
        Err(error) if error.exit_code() != 0 => Err(error),
        _ => Ok(()),
    }
}

impl Booted {
    /// How many tasks may run at a time, as the banner tells it.
    pub fn concurrency_line(&self) -> String {
        match self.autoscale {
            Some(range) => format!("{{min={}, max={}}}", range.min, range.max),
            None => self.settings.worker.concurrency.seats(&self.settings.worker.pool).to_string(),
        }
    }

    /// What the app wants of Celery's main process and this worker does not do; it starts nevertheless.
    pub fn refusals(&self) -> Vec<Refusal> {
        let mut refusals = self.settings.refusals();
        refusals.extend(serializers::refusals(&self.settings));
        if let Some(manifest) = &self.manifest {
            refusals.extend(objects(manifest));
            refusals.extend(own_requests(manifest));
            refusals.extend(own_logging(manifest));
        }
        refusals
    }

    /// Node name.
    pub fn hostname(&self) -> &str {
        self.manifest.as_ref().map_or(&self.args.hostname, |manifest| &manifest.hostname)
    }

    /// Options of known tasks that hold for what is sent to them.
    pub(super) fn exec_options(&self) -> HashMap<Box<str>, Map> {
        let options = self.registry.iter().map(|task| (Box::from(&*task.name), task.options.exec_options()));
        options.filter(|(_, options)| !options.is_empty()).collect()
    }
}

/// `CELERY_WORKER_REVOKES_MAX` and `CELERY_WORKER_REVOKE_EXPIRES`, which are no settings.
fn revokes(environment: &dyn Strings) -> Result<RevokedLimits, ConfigError> {
    let mut limits = RevokedLimits::default();
    let invalid = |name, expected| ConfigError::Environment { name, expected };
    if let Some(max) = environment.string(REVOKES_MAX) {
        limits.max = max.trim().parse().map_err(|_| invalid(REVOKES_MAX, "int"))?;
    }
    if let Some(expires) = environment.string(REVOKE_EXPIRES) {
        let seconds = expires.trim().parse().ok().filter(|seconds: &f64| *seconds >= 0.0);
        let seconds = seconds.ok_or(invalid(REVOKE_EXPIRES, "float"))?;
        // Longer than any clock runs is for ever.
        limits.expires = Duration::try_from_secs_f64(seconds).unwrap_or_default();
    }
    Ok(limits)
}

/// Tells the children of `--log-format`, which a variable of ours may contradict.
#[cfg(feature = "python")]
fn log_format(json: bool) -> Vec<(OsString, OsString)> {
    let is_told = json || std::env::var_os(LOG_FORMAT).is_some();
    let format = if json { "json" } else { "celery" };
    is_told.then(|| (LOG_FORMAT.into(), format.into())).into_iter().collect()
}

#[cfg(feature = "python")]
pub(super) async fn launch(
    words: &[String],
    json_log: bool,
    survey: bool,
) -> Result<(Zygote, Manifest, ZygoteCommand), AppError> {
    let program =
        std::env::current_exe().map_err(|error| AppError::unsupported(format!("cannot find this program: {error}")))?;
    let options = crate::ipc::ZygoteOptions { argv: crate::config::celerys_words(words), survey };
    let command = ZygoteCommand {
        program,
        args: vec![ZYGOTE_COMMAND.into(), options.to_json().into()],
        env: if survey { vec![(DETACH.into(), "".into())] } else { log_format(json_log) },
    };
    let (zygote, manifest) = Zygote::launch(&command).await?;
    Ok((zygote, manifest, command))
}

#[cfg(not(feature = "python"))]
pub(super) async fn launch(_: &[String], _: bool, _: bool) -> Result<(Zygote, Manifest, ZygoteCommand), AppError> {
    Err(AppError::refused(
        "this celery-rs was built without the feature 'python': it runs native tasks only",
        "build it with that feature",
    ))
}

fn about(manifest: Option<&Manifest>) -> About {
    manifest.map_or_else(About::default, |manifest| About {
        app: manifest.app_repr.clone(),
        version: manifest.celery_banner.clone(),
        platform: manifest.platform.clone(),
    })
}

/// Who only looks starts no daemon.
#[cfg(feature = "python")]
const DETACH: &str = "CELERY_WORKER_DETACH";
#[cfg(feature = "python")]
const LOG_FORMAT: &str = "CELERY_WORKER_LOG_FORMAT";
const REVOKES_MAX: &str = "CELERY_WORKER_REVOKES_MAX";
const REVOKE_EXPIRES: &str = "CELERY_WORKER_REVOKE_EXPIRES";

/// Who shapes the log of the children, and not the lines of this process.
fn own_logging(manifest: &Manifest) -> Option<Refusal> {
    let shapes = |name: &&str| manifest.signals.iter().any(|signal| signal == name);
    let signals: Vec<&str> = ["setup_logging", "after_setup_logger"].into_iter().filter(shapes).collect();
    (!signals.is_empty()).then(|| {
        let line = format!(
            "receivers of {} shape the log of the children: the lines of the worker's own process keep worker_log_format, \
             or --log-format json, and go to -f or stderr",
            signals.join(" and ")
        );
        Refusal::new(line, "set worker_log_format, or --log-format json, to what the receivers make")
    })
}

/// Classes of requests, which work with Celery's consumer and pool.
fn own_requests(manifest: &Manifest) -> impl Iterator<Item = Refusal> {
    let tasks = manifest.tasks.iter().filter(|task| !task.custom_request.is_empty());
    tasks.map(|task| {
        let request = &task.custom_request;
        let line = format!("task {}: {request} is used by celery-rs only for ends that no child has seen", task.name);
        Refusal::new(line, format!("use the task's hooks or signals, or {PYTHONS}"))
    })
}

/// Settings of this process that are set to Python objects, or have some in them.
fn objects(manifest: &Manifest) -> impl Iterator<Item = Refusal> {
    let is_ours = |name: &str| {
        let setting = name.split('.').next().unwrap_or(name);
        keys::find(setting).is_some_and(|key| key.reader == keys::Reader::Worker)
    };
    manifest.opaque_settings.iter().filter(move |name| is_ours(name)).map(|name| {
        let line = format!(
            "setting {name} is a Python object: Python heeds it in the children, the worker's own process does not"
        );
        Refusal::new(line, format!("write it as plain data, or {PYTHONS}"))
    })
}

fn select_queues(settings: &Settings, manifest: Option<&Manifest>, args: &WorkerArgs) -> Result<Queues, AppError> {
    if let Some(manifest) = manifest {
        let declared = json::parse(&manifest.queues)?;
        return Ok(Queues::from_manifest(&settings.task, &declared, &manifest.consume_from)?);
    }
    let mut queues = Queues::new(&settings.task, Vec::new());
    queues.select(&args.queues)?;
    queues.deselect(&args.exclude_queues);
    if settings.worker.direct {
        queues.add_direct(&args.hostname);
    }
    Ok(queues)
}

pub(super) fn object(text: &[u8]) -> Result<Map, AppError> {
    match json::parse(text)? {
        Value::Map(map) => Ok(map),
        _ => Ok(Map::new()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn revokes_are_limited_by_the_environment() {
        let read = |name: &str, text: &str| revokes(&HashMap::from([(name.to_owned(), text.to_owned())]));
        assert_eq!(revokes(&()).unwrap(), RevokedLimits::default());
        assert_eq!(read(REVOKES_MAX, "7").unwrap().max, 7);
        assert_eq!(read(REVOKE_EXPIRES, "0.5").unwrap().expires, Duration::from_millis(500));
        assert_eq!(read(REVOKE_EXPIRES, "inf").unwrap().expires, Duration::ZERO);
        for (name, text) in
            [(REVOKES_MAX, "many"), (REVOKES_MAX, "-1"), (REVOKE_EXPIRES, "soon"), (REVOKE_EXPIRES, "-1")]
        {
            let error = read(name, text).unwrap_err().to_string();
            assert!(error.starts_with(&format!("Invalid value for {name}: expected ")), "{error}");
        }
    }
}
