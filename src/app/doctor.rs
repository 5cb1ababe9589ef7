//! [`Diagnosis`]: what a worker of an app would do in Rust, what through Python and what not at all, found out by the code
//! that starts one.

use std::sync::Arc;

use crate::{
    app::{
        App, AppError, Booted,
        beat::Described,
        plan::{Plan, Results},
    },
    broker::Publish,
    config::{BrokerSettings, Pool, Refusal, Settings, Strings, WorkerArgs, url, url::ConnectionUrl},
    ipc::PoolKind,
    worker::Wires,
};

/// What is told of an app.
#[derive(Debug, Default)]
pub struct Diagnosis {
    /// Celery's and Python's versions; none without a Python app.
    pub versions: Option<(String, String)>,
    /// The settings; none where they mean nothing.
    pub settings: Option<Settings>,
    /// What the worker's own process does.
    pub native: Vec<Fact>,
    /// What it leaves to Python.
    pub python: Vec<Fact>,
    /// What is not heeded, or not everywhere; a worker starts nevertheless, and logs the same lines.
    pub not_honoured: Vec<Refusal>,
    /// What keeps a worker from starting, in the order in which it looks: it says the first.
    pub refused: Vec<Refusal>,
}

/// One thing that a worker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fact {
    /// What it is about, in one word: `broker`, `tasks`, ...
    pub subject: &'static str,
    /// How it is done. Never holds a password.
    pub text: String,
}

impl App {
    /// Loads the app as a worker does, tells what one would do, and runs none. `words` is the command line of that worker,
    /// without the program. Needs a Tokio runtime.
    ///
    /// # Errors
    /// When the app cannot be loaded: in Celery's words.
    pub async fn examine(
        self,
        args: WorkerArgs,
        words: &[String],
        environment: &dyn Strings,
    ) -> Result<Diagnosis, AppError> {
        let mut loaded = self.load(args, words, true).await?;
        if let Some((zygote, _)) = loaded.zygote.take() {
            zygote.dismiss().await;
        }
        let mut diagnosis = Diagnosis::default();
        if let Some(manifest) = &mut loaded.manifest {
            diagnosis.versions = Some((manifest.celery_version.clone(), manifest.python_version.clone()));
            let refusals = manifest.refusals.drain(..).map(|(line, way_out)| Refusal::new(line, way_out));
            diagnosis.refused.extend(refusals);
        }
        let mut faults = Vec::new();
        match loaded.settle(environment, &mut faults) {
            Ok(booted) => diagnosis.tell(&booted, faults),
            Err(fault) => diagnosis.refuse(&fault),
        }
        Ok(diagnosis)
    }
}

impl Diagnosis {
    fn tell(&mut self, booted: &Booted, faults: Vec<AppError>) {
        let publisher: Arc<dyn Publish> = Wires::default().publisher();
        let Plan { brokers, quorum_queues, options, results, producer, gossip, beat } = booted.plan(&publisher);
        faults.iter().for_each(|fault| self.refuse(fault));
        if self.accepts(brokers).is_some() {
            self.in_rust("broker", broker(&booted.settings.broker));
            if let Some(class) = credential_provider(&booted.settings.broker) {
                self.in_python("credentials", format!("of the broker: {class}"));
            }
        }
        self.accepts(quorum_queues);
        self.accepts(options);
        match self.accepts(results) {
            Some(Results::Ours(backend)) => self.in_rust("results", backend.uri()),
            Some(Results::Pythons(reason)) => self.in_python("results", reason.to_string()),
            None => {}
        }
        self.accepts(producer);
        self.accepts(gossip);
        match self.accepts(beat).flatten() {
            Some(Described::Ours(_)) => self.in_rust("beat", "the schedule of the app".to_owned()),
            Some(Described::Celerys { reason, .. }) => {
                self.in_python("beat", format!("Celery's own, in a process beside the worker, since {reason}"));
            }
            None => {}
        }
        if booted.remote_control() {
            self.in_rust("control", "celery inspect, celery control, Flower".to_owned());
        }
        self.tell_of_tasks(booted);
        self.tell_of_the_app(booted);
        self.not_honoured = booted.refusals();
        self.settings = Some(booted.settings.clone());
    }

    fn tell_of_tasks(&mut self, booted: &Booted) {
        let (native, python): (Vec<_>, Vec<_>) =
            booted.registry.iter().map(|task| &*task.name).partition(|name| booted.registry.is_native(name));
        if !native.is_empty() {
            self.in_rust("tasks", listed(native));
        }
        if !python.is_empty() {
            let seats = booted.concurrency_line();
            let place = match booted.pool_kind() {
                _ if matches!(booted.settings.worker.pool, Pool::Custom(_)) => "in a pool that is not here".to_owned(),
                PoolKind::Prefork => format!("in {seats} forked children"),
                PoolKind::Threads => format!("in one child with {seats} threads"),
                PoolKind::Solo => "in one child, one at a time".to_owned(),
                PoolKind::Gevent | PoolKind::Eventlet => format!("in one child with {seats} greenlets"),
            };
            self.in_python("tasks", format!("{place}: {}", listed(python)));
        }
    }

    /// What of Celery's main process the app has taken for itself: the steward runs it.
    fn tell_of_the_app(&mut self, booted: &Booted) {
        let Some(manifest) = &booted.manifest else { return };
        let lists = [
            ("boot steps", manifest.bootsteps.iter().map(String::as_str).collect::<Vec<_>>()),
            ("commands", manifest.control_commands.iter().map(String::as_str).collect()),
            ("signals", manifest.signals.iter().map(String::as_str).collect()),
            ("serializers", manifest.serializers.keys().map(String::as_str).collect()),
        ];
        for (subject, names) in lists {
            if !names.is_empty() {
                self.in_python(subject, names.join(", "));
            }
        }
    }

    fn in_rust(&mut self, subject: &'static str, text: String) {
        self.native.push(Fact { subject, text });
    }

    fn in_python(&mut self, subject: &'static str, text: String) {
        self.python.push(Fact { subject, text });
    }

    fn accepts<T>(&mut self, part: Result<T, AppError>) -> Option<T> {
        part.map_err(|fault| self.refuse(&fault)).ok()
    }

    /// Once, for two parts may need the same setting.
    fn refuse(&mut self, fault: &AppError) {
        let refusal = fault.to_refusal();
        if !self.refused.contains(&refusal) {
            self.refused.push(refusal);
        }
    }
}

/// Where the worker consumes, and where it publishes if that is elsewhere.
fn broker(settings: &BrokerSettings) -> String {
    let uri = |urls: &[String]| url::broker_uri(&urls.join(";"));
    let read = uri(&settings.read_urls);
    if settings.has_two() { format!("{read} to read, {} to write", uri(&settings.write_urls)) } else { read }
}

/// The class that knows user and password, by its path.
fn credential_provider(settings: &BrokerSettings) -> Option<String> {
    let urls = settings.read_urls.iter().chain(&settings.write_urls).filter_map(|url| ConnectionUrl::parse(url).ok());
    let named = urls.flat_map(|url| url.query).find(|(name, _)| name == "credential_provider");
    named.map(|(_, class)| class)
}

/// Those of the app by name, and how many there are of Celery's.
fn listed(names: Vec<&str>) -> String {
    let (builtin, own): (Vec<&str>, Vec<&str>) = names.into_iter().partition(|name| name.starts_with("celery."));
    let mut parts: Vec<String> = own.into_iter().map(str::to_owned).collect();
    parts.sort_unstable();
    if !builtin.is_empty() {
        parts.push(format!("{} of Celery's own", builtin.len()));
    }
    parts.join(", ")
}
