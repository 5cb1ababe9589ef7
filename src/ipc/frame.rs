//! The frames: what the parent, the zygote and the children say to each other.
//!
//! Each is one length-prefixed msgpack value; see [`codec`](super::codec).

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::ipc::{DaemonOptions, Manifest, SavedState};

/// One task execution, as the child needs it. The body is never decoded by the parent.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Job {
    /// The parent's number for it; echoed in every answer. Unique over the life of the worker.
    pub number: u64,
    /// The registered name.
    pub task: String,
    /// The task id.
    pub id: String,
    /// All headers as kombu's JSON text, protocol 1 already lifted to 2.
    pub headers: Bytes,
    /// The message's properties as kombu's JSON text.
    pub properties: Bytes,
    /// The serialized body, compression and all.
    pub body: Bytes,
    /// MIME type of the body.
    pub content_type: String,
    /// `utf-8` or `binary`.
    pub content_encoding: String,
    /// `reply_to` property.
    pub reply_to: Option<String>,
    /// `correlation_id` property.
    pub correlation_id: Option<String>,
    /// `delivery_info` of the request: exchange, routing key, priority, redelivered.
    pub exchange: String,
    /// Routing key it was published with.
    pub routing_key: String,
    /// Priority property.
    pub priority: Option<i64>,
    /// Whether the broker says that someone had it before.
    pub redelivered: bool,
    /// The hard time limit in seconds, where the child sees to it (gevent); elsewhere the parent does.
    pub time_limit: Option<f64>,
}

/// A result that the child's tracer encoded and that the parent is to store.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stored {
    /// Whose.
    pub task_id: String,
    /// The state it holds.
    pub state: String,
    /// The document, encoded by Celery.
    pub document: Bytes,
    /// For `rpc://`.
    pub reply_to: Option<String>,
    /// For `rpc://`.
    pub correlation_id: Option<String>,
}

/// How an execution ended, as the child's tracer saw it (`celery/app/trace.py`, `celery/worker/request.py`).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Ended {
    /// It returned; `repr` is `saferepr` of the result.
    Success {
        /// `saferepr(result)`, at most 1024 characters.
        repr: String,
    },
    /// It had succeeded before: a duplicate that was not run, or one whose child was lost after the success was stored.
    AlreadySucceeded {
        /// `saferepr` of the stored result; none where nobody has read it.
        repr: Option<String>,
    },
    /// It raised.
    Failure {
        /// `repr` of the exception, for events and logs.
        exception: String,
        /// Text of the traceback.
        traceback: String,
        /// Whether the main process is to treat it as a failure to acknowledge (`acks_on_failure`).
        is_timeout: bool,
    },
    /// It asked to be tried again; the retry is already published.
    Retry {
        /// `repr` of the cause.
        exception: String,
        /// Text of the traceback.
        traceback: String,
    },
    /// It raised `Ignore`.
    Ignored,
    /// It raised `Reject`.
    Rejected {
        /// Back to the queue?
        requeue: bool,
        /// `repr` of the exception.
        exception: String,
        /// Text of the traceback.
        traceback: String,
        /// Whether this Celery also records a FAILURE for it when it is not requeued (5.7); the child has done so (see
        /// [`Report::stored`]), the `task-failed` event is the parent's.
        stores_failure: bool,
    },
    /// `MemoryError`, which Celery raises again in its main process. The child has recorded the failure.
    OutOfMemory {
        /// `repr` of the exception.
        exception: String,
        /// Text of the traceback.
        traceback: String,
    },
    /// `SystemExit` or `KeyboardInterrupt`: the child leaves after this, and the job counts as lost with it (5.7).
    Exits {
        /// `exitcode 3`, `KeyboardInterrupt`.
        exit: String,
    },
    /// The body could not be decoded in the child; nothing was run and nothing is stored.
    Undecodable {
        /// `repr` of the exception.
        exception: String,
        /// Whether the content type is not accepted here (`ContentDisallowed`: rejected), rather than malformed (acked).
        disallowed: bool,
    },
    /// The tracer itself failed. The child has recorded the failure as Celery's main process does; what is left is the
    /// event and the log line.
    Internal {
        /// What happened.
        exception: String,
        /// Text of the traceback.
        traceback: String,
    },
}

/// The end of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// How it ended.
    pub ended: Ended,
    /// Seconds, as Celery measures them.
    pub runtime: f64,
    /// What is still to be stored before the message may be acked late; none when the child stored it by itself.
    pub stored: Option<Stored>,
    /// Resident memory of the child after the task, in KiB; 0 when not asked for.
    pub rss_kib: u64,
}

/// Parent → child.
#[expect(clippy::large_enum_variant, reason = "nearly all are jobs, and a box would cost each an allocation")]
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToChild {
    /// Run it, after those already given.
    Run(Job),
    /// Give back those of these jobs that have not begun.
    Recall(Vec<u64>),
    /// The answer to [`FromChild::Store`]: empty text when it is safe, else the error's.
    StoreDone(u64, String),
    /// Signal yourself, if it is this job that runs: who asks from outside may hit the next one.
    Signal {
        /// Which.
        number: u64,
        /// With what.
        signum: i32,
        /// All of the process group, if the child leads one.
        group: bool,
    },
    /// `SoftTimeLimitExceeded` in this job, if it is this job that runs: what a `SIGUSR1` does, without its race.
    SoftTimeLimit(u64),
    /// Kill the greenlet of this job, if it runs or as soon as it does.
    Kill(u64),
    /// So many greenlets may run jobs from now on.
    Seats(u32),
    /// The worker is stopping and no more jobs will come: the greenlet pool is told, and what runs goes on.
    Close,
    /// Finish what has begun (greenlets that still run are given up), run the shutdown hooks, exit with 0. Keep the socket open until then: a child that reads
    /// the end of it kills itself.
    Stop,
    /// The same for one that is replaced because it has done its share of tasks or has outgrown its memory; the exit code
    /// is billiard's `EX_RECYCLE`.
    Recycle,
}

/// [`ToChild::Run`] of a job that its owner keeps; the same bytes.
#[derive(Debug, Clone, Copy, Serialize)]
pub enum ToChildRef<'a> {
    /// As there.
    Run(&'a Job),
}

/// Child → parent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromChild {
    /// Initialised (`worker_process_init` has run) and ready for jobs.
    Up {
        /// Its process id.
        pid: i32,
    },
    /// The job has begun. Written before the task's code runs, so that a job without it has surely not begun.
    Accepted {
        /// Which.
        number: u64,
        /// Wall clock, seconds since the epoch.
        at: f64,
    },
    /// Store this now; the child waits for [`ToChild::StoreDone`].
    Store {
        /// Which job asks.
        number: u64,
        /// What.
        stored: Stored,
    },
    /// The job has ended.
    Done {
        /// Which.
        number: u64,
        /// How.
        report: Report,
    },
    /// The greenlet of the job was killed; that is its end.
    Killed(u64),
    /// The hub has interrupted the job at [`Job::time_limit`]; that is its end.
    TimedOut(u64),
    /// These had not begun and never will here.
    Recalled(Vec<u64>),
    /// The job runs, and the child is about to signal itself because of it. For one that runs no more there is no answer
    /// but its end.
    Signalled(u64),
    /// Initialisation failed; the child exits.
    Failed(String),
}

/// Parent → zygote. A `Fork` carries the child's end of a socket pair along with it, and the file of its
/// [backlog](crate::ipc::backlog); a `ForkSteward` and a `ForkBeat` the other's end of one.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum ToZygote {
    /// Fork a child that serves the passed socket.
    Fork {
        /// Place in the pool, from 0; reused by replacements (`billiard.current_process().index`).
        index: u32,
        /// The N of `ForkPoolWorker-N`; grows with each replacement.
        serial: u32,
    },
    /// Fork a steward that serves the passed socket. There is no answer but the steward's own.
    ForkSteward,
    /// Fork a process for Celery's own beat, which ends with the passed socket. There is no answer.
    ForkBeat,
    /// Write this to the state database, in a process of its own; answered by [`FromZygote::Saving`].
    Save(SavedState),
    /// Exit.
    Stop,
}

/// Zygote → parent.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum FromZygote {
    /// The app is loaded.
    Manifest(Box<Manifest>),
    /// The app could not be loaded: what to print, and the exit code Celery gives.
    Failed {
        /// Text for stderr, as Celery prints it.
        message: String,
        /// 2 for usage errors, 1 otherwise.
        code: i32,
    },
    /// The app is loaded, and what was asked for is a daemon of it: the zygote leaves.
    Detach(Box<DaemonOptions>),
    /// The answer to a `Fork`.
    Forked {
        /// Place in the pool.
        index: u32,
        /// Its process id.
        pid: i32,
    },
    /// The answer to a `Save`: it is being written by this process, whose end is told as a child's.
    Saving {
        /// Its process id.
        pid: i32,
    },
    /// A child has ended; `status` is waitpid's.
    Reaped {
        /// Which.
        pid: i32,
        /// Raw wait status.
        status: i32,
    },
}
