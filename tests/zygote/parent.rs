//! A scripted parent: starts the program's zygote, forks children and talks to them frame by frame.

use std::collections::HashMap;
use std::fs;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child as Process, Command, Stdio};
use std::time::Duration;

use bytes::Bytes;
use celery_rs::ipc::socket::{Channel, pair};
use celery_rs::ipc::{FromChild, FromZygote, Job, Manifest, Report, Stored, ToChild, ToZygote, ZygoteOptions, backlog};
use tempfile::TempDir;

const PATIENCE: Duration = Duration::from_secs(60);

/// The virtualenv to test with: `CELERY_RS_TEST_PYTHON` names its interpreter.
pub fn virtualenv() -> PathBuf {
    let python = std::env::var_os("CELERY_RS_TEST_PYTHON").expect("CELERY_RS_TEST_PYTHON names a virtualenv's python");
    Path::new(&python).parent().and_then(Path::parent).expect("an interpreter in a virtualenv").to_owned()
}

/// How to start a zygote.
pub struct Start {
    arguments: Vec<String>,
    variables: HashMap<String, String>,
    directory: PathBuf,
    home: TempDir,
}

impl Start {
    pub fn new(arguments: &[&str]) -> Self {
        let home = tempfile::tempdir().unwrap();
        let journal = home.path().join("journal").display().to_string();
        let virtualenv = virtualenv().display().to_string();
        Self {
            arguments: arguments.iter().map(|text| (*text).to_owned()).collect(),
            variables: HashMap::from([("TEST_JOURNAL".into(), journal), ("VIRTUAL_ENV".into(), virtualenv)]),
            directory: Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/apps"),
            home,
        }
    }

    pub fn variable(mut self, name: &str, value: impl Into<String>) -> Self {
        self.variables.insert(name.into(), value.into());
        self
    }

    pub fn directory(mut self, directory: &Path) -> Self {
        self.directory = directory.to_owned();
        self
    }

    /// Starts it: the parent with its manifest, or the message and the exit code of the refusal.
    pub fn start(self) -> Result<Parent, (String, i32)> {
        let (ours, theirs) = pair().unwrap();
        let mut channel = patient(ours);
        let process = Command::new(env!("CARGO_BIN_EXE_celery-rs"))
            .arg("__zygote")
            .arg(ZygoteOptions { argv: self.arguments, survey: false }.to_json())
            .envs(&self.variables)
            .current_dir(&self.directory)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .spawn()
            .unwrap();
        match channel.receive().unwrap() {
            FromZygote::Manifest(manifest) => Ok(Parent { process, channel, manifest: *manifest, home: self.home }),
            FromZygote::Failed { message, code } => Err((message, code)),
            other => panic!("{other:?} is no beginning"),
        }
    }
}

pub fn proj() -> Parent {
    Start::new(&["-A", "proj", "worker", "-n", "w1@box"]).start().unwrap()
}

pub struct Parent {
    pub process: Process,
    pub channel: Channel,
    pub manifest: Manifest,
    home: TempDir,
}

impl Parent {
    /// A child that is up.
    pub fn child(&mut self) -> Child {
        let mut child = self.fork(0, 1);
        match child.receive() {
            FromChild::Up { pid } => assert_eq!(pid, child.pid),
            other => panic!("{other:?} is not up"),
        }
        child
    }

    pub fn fork(&mut self, index: u32, serial: u32) -> Child {
        let (ours, theirs) = pair().unwrap();
        let backlog = backlog::file().unwrap();
        let passed = [theirs.as_fd(), backlog.as_fd()];
        self.channel.send_with_descriptors(&ToZygote::Fork { index, serial }, &passed).unwrap();
        drop(theirs);
        match self.channel.receive().unwrap() {
            FromZygote::Forked { index: forked, pid } if forked == index => {
                Child { pid, channel: patient(ours), next: 1 }
            }
            other => panic!("{other:?} instead of a child"),
        }
    }

    /// Waits for the end of a child: its raw status.
    pub fn reaped(&mut self, child: &Child) -> i32 {
        match self.channel.receive().unwrap() {
            FromZygote::Reaped { pid, status } if pid == child.pid => status,
            other => panic!("{other:?} instead of the end of {}", child.pid),
        }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.home.path().join(name)
    }

    /// What the app has noted so far.
    pub fn journal(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("journal")).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }

    /// Waits until the app has noted this.
    pub fn noted(&self, text: &str) {
        let start = std::time::Instant::now();
        while !self.journal().iter().any(|line| line == text) {
            assert!(start.elapsed() < PATIENCE, "{text} was never noted, only {:?}", self.journal());
            std::thread::yield_now();
        }
    }
}

impl Drop for Parent {
    fn drop(&mut self) {
        let _ = self.channel.send(&ToZygote::Stop);
        let _ = self.process.wait();
    }
}

pub struct Child {
    pub pid: i32,
    pub channel: Channel,
    next: u64,
}

impl Child {
    pub fn receive(&mut self) -> FromChild {
        self.channel.receive().unwrap()
    }

    pub fn tell(&mut self, frame: &ToChild) {
        self.channel.send(frame).unwrap();
    }

    /// Gives it a job: its number.
    pub fn run(&mut self, task: &str, args: &str) -> u64 {
        let number = self.next;
        self.run_job(job(number, task, args))
    }

    pub fn run_job(&mut self, job: Job) -> u64 {
        let number = job.number;
        self.next = number + 1;
        self.tell(&ToChild::Run(job));
        number
    }

    pub fn accepted(&mut self, expected: u64) {
        match self.receive() {
            FromChild::Accepted { number, at } if number == expected => assert!(at > 1.7e9),
            other => panic!("{other:?} instead of the begin of {expected}"),
        }
    }

    pub fn done(&mut self, expected: u64) -> Report {
        match self.receive() {
            FromChild::Done { number, report } if number == expected => report,
            other => panic!("{other:?} instead of the end of {expected}"),
        }
    }

    /// The answer to a job that is run from begin to end.
    pub fn perform(&mut self, task: &str, args: &str) -> Report {
        let number = self.run(task, args);
        self.accepted(number);
        self.done(number)
    }
}

/// A message as Celery's producer makes it.
pub fn job(number: u64, task: &str, args: &str) -> Job {
    let id = format!("id-{number}");
    let headers = format!(
        r#"{{"lang": "py", "task": "{task}", "id": "{id}", "shadow": null, "eta": null, "expires": null, "group": null, "group_index": null, "retries": 0, "timelimit": [null, null], "root_id": "{id}", "parent_id": null, "argsrepr": "()", "kwargsrepr": "{{}}", "origin": "gen1@box", "ignore_result": false, "replaced_task_nesting": 0, "stamped_headers": null, "stamps": {{}}}}"#
    );
    let body = format!(r#"[{args}, {{}}, {{"callbacks": null, "errbacks": null, "chain": null, "chord": null}}]"#);
    Job {
        number,
        task: task.into(),
        headers: headers.into(),
        properties: format!(r#"{{"correlation_id": "{id}", "delivery_mode": 2}}"#).into(),
        body: body.into(),
        content_type: "application/json".into(),
        content_encoding: "utf-8".into(),
        reply_to: Some("reply-queue".into()),
        correlation_id: Some(id.clone()),
        routing_key: "celery".into(),
        priority: Some(0),
        id,
        ..Job::default()
    }
}

/// The stored document, as JSON.
pub fn document(stored: Option<&Stored>) -> serde_json::Value {
    let bytes: &Bytes = &stored.expect("a result to store").document;
    serde_json::from_slice(bytes).unwrap()
}

fn patient(stream: UnixStream) -> Channel {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    Channel::new(stream)
}
