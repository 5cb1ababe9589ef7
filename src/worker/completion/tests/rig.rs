//! A worker in miniature: takes messages from an outbox, runs native tasks, completes them, until nothing is left.

use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use futures::{FutureExt, future::BoxFuture};

use crate::{
    backend::{ResultBackend, document::Format, memory::MemoryBackend},
    broker::{BrokerError, Publish},
    config::{Layers, Queues, Settings, routes::Routes},
    ipc::Ended,
    producer::{Apply, Producer, ProducerSettings},
    protocol::{Message, ResultMeta, Route, Signature, TaskHeaders, TaskState, time::TimeZone},
    serialization::{AcceptContent, Map, Value, json},
    task::{Arguments, Context, Execution, NativeTask, Registry, Runner, States, TaskOptions},
    worker::completion::{BackendChords, Completion, CompletionSettings, RequestInfo},
};

/// What was published and not yet run.
#[derive(Default)]
pub struct Outbox {
    pub messages: Mutex<VecDeque<(Route, Message)>>,
    /// While set, the broker takes nothing.
    pub is_closed: std::sync::atomic::AtomicBool,
    /// Called before a message is taken.
    pub witness: Mutex<Option<Box<dyn FnMut() + Send>>>,
}

impl Publish for Outbox {
    fn publish(&self, route: Route, message: Message) -> BoxFuture<'_, Result<(), BrokerError>> {
        if self.is_closed.load(std::sync::atomic::Ordering::Relaxed) {
            return async { Err(BrokerError::lost("no broker")) }.boxed();
        }
        if let Some(witness) = &mut *self.witness.lock().unwrap() {
            witness();
        }
        self.messages.lock().unwrap().push_back((route, message));
        async { Ok(()) }.boxed()
    }
}

pub struct Rig {
    pub outbox: Arc<Outbox>,
    pub backend: Arc<MemoryBackend>,
    pub producer: Producer,
    pub completion: Completion,
    pub registry: Registry,
    /// `name(args)` of what has run, in order.
    pub ran: Mutex<Vec<String>>,
}

pub fn producer_settings(app: Map) -> ProducerSettings {
    let settings = Settings::resolve(Layers::new(app, &(), Vec::new())).unwrap();
    let queues = Queues::new(&settings.task, Vec::new());
    let routes = Routes::from_value(&settings.layers.value("task_routes").0).unwrap();
    let zone = TimeZone::parse(None, true).unwrap();
    ProducerSettings {
        oid: "oid".to_owned(),
        origin: "gen1@h".to_owned(),
        ..ProducerSettings::new(&settings.task, queues, routes, zone, "h")
    }
}

impl Rig {
    pub fn new(tasks: Vec<NativeTask>) -> Self {
        let outbox = Arc::new(Outbox::default());
        let backend = Arc::new(MemoryBackend::new(Format::default()));
        let chords = Arc::new(BackendChords(backend.clone()));
        let producer = Producer::new(outbox.clone(), producer_settings(Map::new()), Some(chords), None);
        let settings = CompletionSettings {
            extended: false,
            timezone: TimeZone::parse(None, true).unwrap(),
            accept: AcceptContent::new(["json"]).unwrap(),
            python_backend: false,
        };
        let completion = Completion::new(backend.clone(), producer.clone(), settings, None, None);
        let mut registry = Registry::new();
        tasks.iter().for_each(|task| registry.add_native(task, &TaskOptions::default()));
        Self { outbox, backend, producer, completion, registry, ran: Mutex::default() }
    }

    /// Sends a signature as a client would, runs everything; answers with the id to wait for.
    pub async fn run(&self, signature: &str) -> String {
        let signature = Signature::from_value(&json::parse_str(signature).unwrap()).unwrap();
        let id = self.producer.send(signature, Apply::default()).await.unwrap().id;
        self.drain().await;
        id
    }

    /// Runs everything that waits, and what that sends.
    pub async fn drain(&self) -> Vec<Ended> {
        let mut ends = Vec::new();
        while let Some(message) = self.pop() {
            ends.push(self.execute(message).await);
            assert!(ends.len() < 100, "a workflow without end");
        }
        ends
    }

    pub fn pop(&self) -> Option<Message> {
        self.outbox.messages.lock().unwrap().pop_front().map(|(_, message)| message)
    }

    pub async fn execute(&self, message: Message) -> Ended {
        let headers = Arc::new(TaskHeaders::from_message(&message).unwrap());
        let definition = self.registry.find(&headers.task).unwrap_or_else(|| panic!("unknown task {}", headers.task));
        let Runner::Native(handler) = &definition.runner else { panic!("not native") };
        let message = Arc::new(message);
        let info = RequestInfo { headers: &headers, message: &message, options: &definition.options, hostname: "w@h" };
        let body = self.completion.body(&info).unwrap();
        self.ran.lock().unwrap().push(format!(
            "{}{}",
            headers.task,
            json::to_string(&Value::List(body.args.clone())).unwrap()
        ));
        let context = Context::new(Execution {
            headers: headers.clone(),
            message: message.clone(),
            hostname: "w@h".into(),
            redelivered: false,
            soft_deadline: None,
            hard_deadline: None,
            cancelled: Default::default(),
            producer: Some(self.producer.clone()),
            states_sink: Some(Arc::new(self.completion.clone())),
            states: Arc::new(States::default()),
        });
        let arguments = Arguments { args: body.args, kwargs: body.kwargs };
        let outcome = handler.call(arguments, context.clone()).await;
        self.completion.finish(&info, body.embed, outcome, context.take_children(), Instant::now()).await
    }

    pub async fn meta(&self, id: &str) -> Option<ResultMeta> {
        let document = self.backend.fetch(id).await.unwrap()?;
        Some(Format::default().decode(&document).unwrap())
    }

    /// `SUCCESS 3`, `FAILURE ValueError('x')`.
    pub async fn state(&self, id: &str) -> String {
        let Some(meta) = self.meta(id).await else { return "PENDING".to_owned() };
        let result = match meta.state {
            TaskState::Success => json::to_string(&meta.result).unwrap(),
            _ => {
                let field =
                    |name: &str| meta.result.as_map().and_then(|map| map.get(name)).cloned().unwrap_or_default();
                let args = field("exc_message");
                let args: Vec<String> = args.as_list().unwrap().iter().map(crate::protocol::repr::repr).collect();
                format!("{}({})", field("exc_type").as_str().unwrap_or_default(), args.join(", "))
            }
        };
        format!("{} {result}", meta.state.as_str())
    }

    pub fn ran(&self) -> Vec<String> {
        std::mem::take(&mut self.ran.lock().unwrap())
    }
}

async fn add((a, b): (i64, i64)) -> i64 {
    a + b
}

async fn xsum(xs: Vec<i64>) -> i64 {
    xs.into_iter().sum()
}

async fn identity(x: Value) -> Value {
    x
}

async fn fail(_: Value) -> Result<(), crate::task::TaskError> {
    Err(crate::task::TaskError::new("ValueError", "boom"))
}

async fn flaky(cx: Context, x: Value) -> Result<Value, crate::task::TaskError> {
    if cx.retries() < 2 {
        let cause = crate::task::TaskError::new("OSError", "down");
        return Err(crate::task::Retry::after(Duration::from_secs(1)).because(cause).into());
    }
    Ok(x)
}

async fn parent(cx: Context) -> Result<String, crate::task::TaskError> {
    let signature = Signature { task: "add".to_owned(), args: vec![1i64.into(), 1i64.into()], ..Signature::default() };
    Ok(cx.send(signature).await?.id)
}

async fn quiet(x: Value) -> Value {
    x
}

/// The tasks that workflows are made of.
pub fn rig() -> Rig {
    Rig::new(vec![
        NativeTask::new("add", add),
        NativeTask::new("xsum", xsum),
        NativeTask::new("identity", identity),
        NativeTask::new("fail", fail),
        NativeTask::new("flaky", flaky),
        NativeTask::new("parent", parent),
        NativeTask::new("quiet", quiet).ignore_result(true),
        NativeTask::new("errback", identity),
    ])
}

/// A plain signature as JSON.
pub fn sig(task: &str, args: &str, options: &str) -> String {
    format!(
        r#"{{"task": "{task}", "args": {args}, "kwargs": {{}}, "options": {options}, "subtask_type": null, "immutable": false}}"#
    )
}

/// The same, immutable.
pub fn si(task: &str, args: &str) -> String {
    sig(task, args, "{}").replace(r#""immutable": false"#, r#""immutable": true"#)
}

pub fn chain(tasks: &[String]) -> String {
    format!(
        r#"{{"task": "celery.chain", "args": [], "kwargs": {{"tasks": [{}]}}, "options": {{}}, "subtask_type": "chain", "immutable": false}}"#,
        tasks.join(", ")
    )
}

pub fn group(tasks: &[String]) -> String {
    format!(
        r#"{{"task": "celery.group", "args": [], "kwargs": {{"tasks": [{}]}}, "options": {{}}, "subtask_type": "group", "immutable": false}}"#,
        tasks.join(", ")
    )
}

pub fn chord(header: &[String], body: &str) -> String {
    format!(
        r#"{{"task": "celery.chord", "args": [], "kwargs": {{"kwargs": {{}}, "header": [{}], "body": {body}}}, "options": {{}}, "subtask_type": "chord", "immutable": false}}"#,
        header.join(", ")
    )
}
