//! Beat, from the app's manifest to a [`Beat`]: by itself, or beside a worker (`-B`).

use std::{path::PathBuf, sync::Arc};

use tokio_util::sync::CancellationToken;

use crate::{
    app::{
        App, AppError, Booted, EmbeddedBeat,
        boot::{launch, object},
        quorum::has_quorum_queue,
        transports::write_transports,
    },
    beat::{Beat, BeatPublisher, Entry, Kept, Reckoning, Scheduler, Store, now},
    broker::{Publish, Transport},
    config::{Layers, LogLevel, Queues, Settings, routes::Routes},
    ipc::Manifest,
    pool::prefork::PreforkPool,
    producer::{Producer, ProducerSettings},
    protocol::time::TimeZone,
    serialization::{Map, Value, json},
};

/// Who runs the app's schedule.
pub enum BeatPlan {
    /// This program.
    Ours(Box<BootedBeat>),
    /// Only Celery's own beat can.
    Celerys {
        /// Why, as half a sentence.
        reason: String,
        /// The Python that has loaded the app, if it knows where it is.
        interpreter: Option<PathBuf>,
    },
}

/// A schedule that is ready to run; nothing has connected yet, and its file is not open.
pub struct BootedBeat {
    /// What Celery prints before it begins; empty with `--quiet`.
    pub banner: String,
    /// `-l`.
    pub loglevel: LogLevel,
    /// `-f`.
    pub logfile: Option<String>,
    /// `--pidfile`.
    pub pidfile: Option<PathBuf>,
    /// `--no-color`.
    pub no_color: bool,
    /// The settings.
    pub settings: Settings,
    transports: Vec<Arc<dyn Transport>>,
    producer: ProducerSettings,
    schedule: Schedule,
}

/// What the manifest says of the schedule, once it is read.
pub(super) struct Schedule {
    scheduler: Scheduler,
    filename: String,
    /// `timezone` and `enable_utc`, for the schedule file.
    zone: (Option<String>, bool),
    kept: Option<Kept>,
    sync_every: u64,
}

/// What the manifest says of who runs it.
pub(super) enum Described {
    Ours(Schedule),
    Celerys { reason: String, interpreter: Option<PathBuf> },
}

impl App {
    /// Loads the Python app and reads its schedule; the process that has loaded it ends. `words` is the command line
    /// without the program, for Celery to read there.
    ///
    /// # Errors
    /// Those of Celery's own command line, in its words and with its exit codes; settings that mean nothing.
    pub async fn beat(&self, words: &[String]) -> Result<BeatPlan, AppError> {
        let (zygote, manifest, _) = launch(words, false, false).await?;
        zygote.dismiss().await;
        let schedule = match described(&manifest)? {
            Described::Ours(schedule) => schedule,
            Described::Celerys { reason, interpreter } => return Ok(BeatPlan::Celerys { reason, interpreter }),
        };
        // The environment has been heard where the app was loaded.
        let settings = Settings::resolve(Layers::new(object(&manifest.settings)?, &(), Vec::new()))?;
        let queues = Queues::from_manifest(&settings.task, &json::parse(&manifest.queues)?, &manifest.consume_from)?;
        let transports = match write_transports(&settings.broker) {
            Ok(transports) => transports,
            Err(error) => {
                let interpreter = interpreter(&object(&manifest.beat)?);
                return Ok(BeatPlan::Celerys { reason: error.to_string(), interpreter });
            }
        };
        let options = object(&manifest.options)?;
        let text = |name: &str| options.get(name).and_then(Value::as_str).map(str::to_owned);
        let truth = |name: &str| options.get(name).is_some_and(Value::is_truthy);
        Ok(BeatPlan::Ours(Box::new(BootedBeat {
            banner: manifest.banner.clone(),
            loglevel: options.get("loglevel").and_then(Value::as_i64).map_or(LogLevel::Warning, LogLevel::from_number),
            logfile: text("logfile"),
            pidfile: text("pidfile").map(PathBuf::from),
            no_color: truth("no_color"),
            producer: producer_settings(&settings, queues)?,
            settings,
            transports,
            schedule,
        })))
    }
}

impl BootedBeat {
    /// Sends what is due until it is stopped.
    ///
    /// # Errors
    /// When the schedule file cannot be had, or there is no broker for as long as the settings say.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let broker = &self.settings.broker;
        let publisher =
            Arc::new(BeatPublisher::new(self.transports, broker.failover_strategy, broker.connection_max_retries));
        let producer = Producer::new(publisher.clone(), self.producer, None, None);
        let ran = self.schedule.open(producer)?.run(stop).await;
        publisher.close().await;
        Ok(ran?)
    }
}

impl Booted {
    /// Who runs the schedule of a worker with `-B`.
    pub(super) fn described_beat(&self) -> Result<Option<Described>, AppError> {
        self.manifest.as_ref().filter(|manifest| !manifest.beat.is_empty()).map(described).transpose()
    }

    /// The schedule of a worker with `-B`, over the worker's own connection where it is run here.
    ///
    /// # Errors
    /// When its file cannot be had.
    pub(super) fn embedded_beat(
        &self,
        described: Option<Described>,
        publisher: Arc<dyn Publish>,
        pool: Option<&Arc<PreforkPool>>,
    ) -> Result<Option<EmbeddedBeat>, AppError> {
        let (Some(described), Some(pool)) = (described, pool) else { return Ok(None) };
        Ok(Some(match described {
            Described::Ours(schedule) => {
                let settings = producer_settings(&self.settings, self.queues.clone())?;
                EmbeddedBeat::Ours(Box::new(schedule.open(Producer::new(publisher, settings, None, None))?))
            }
            Described::Celerys { reason, .. } => EmbeddedBeat::Celerys { pool: pool.clone(), reason },
        }))
    }
}

impl Schedule {
    fn open(self, producer: Producer) -> Result<Beat, AppError> {
        let Self { mut scheduler, filename, zone, kept, sync_every } = self;
        let store = Store::open(&Store::path(&filename), zone, kept, scheduler.entries_mut())?;
        Ok(Beat::new(scheduler, store, producer, sync_every)?)
    }
}

/// Reads the manifest's part on beat.
fn described(manifest: &Manifest) -> Result<Described, AppError> {
    let map = object(&manifest.beat)?;
    let text = |name: &str| map.get(name).and_then(Value::as_str).map(str::to_owned);
    let number = |name: &str| map.get(name).and_then(Value::as_f64);
    let celerys = |reason| Described::Celerys { reason, interpreter: interpreter(&map) };
    if let Some(reason) = text("python") {
        return Ok(celerys(reason));
    }
    let Ok(zone) = TimeZone::parse(text("timezone").as_deref(), true) else {
        return Ok(celerys("its time zone is not known here".to_owned()));
    };
    let entries = map.get("entries").and_then(Value::as_list).unwrap_or_default();
    let now = now();
    let entries = match entries.iter().map(|entry| Entry::from_value(entry, now)).collect::<Result<Vec<_>, _>>() {
        Ok(entries) => entries,
        Err(error) => return Ok(celerys(error.to_string())),
    };
    let deadline = number("deadline").map(|seconds| (seconds * 1e6) as i64);
    let kept = map.get("kept").filter(|kept| !kept.is_null()).and_then(|kept| json::to_string(kept).ok());
    Ok(Described::Ours(Schedule {
        scheduler: Scheduler::new(entries, Reckoning { zone, deadline }, number("max_interval").unwrap_or(300.0)),
        filename: text("filename").unwrap_or_else(|| "celerybeat-schedule".to_owned()),
        zone: (text("tz"), map.get("utc_enabled").is_none_or(Value::is_truthy)),
        kept: kept.and_then(|kept| serde_json::from_str(&kept).ok()),
        sync_every: number("sync_every").map_or(0, |count| count.max(0.0) as u64),
    }))
}

fn interpreter(map: &Map) -> Option<PathBuf> {
    map.get("interpreter").and_then(Value::as_str).map(PathBuf::from).filter(|path| path.is_file())
}

/// What the entries' options do not say; they have those of their tasks with them.
fn producer_settings(settings: &Settings, queues: Queues) -> Result<ProducerSettings, AppError> {
    let routes = Routes::from_value(&settings.layers.value("task_routes").0)?;
    let zone = TimeZone::parse(settings.timezone.as_deref(), settings.enable_utc)?;
    let hostname = gethostname::gethostname().to_string_lossy().into_owned();
    let delays = has_quorum_queue(&settings.broker.write_urls, &queues);
    let base = ProducerSettings::new(&settings.task, queues, routes, zone, &hostname);
    Ok(ProducerSettings { native_delayed_delivery: delays, ..base })
}
