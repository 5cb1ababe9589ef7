//! The task events, with their fields in Celery's order (`celery/worker/request.py`, `strategy.py`).

use crate::{
    event::EventDispatcher,
    protocol::TaskHeaders,
    serialization::{Map, Value},
};

impl EventDispatcher {
    /// `task-received`; the times are worded by the caller, in the app's time zone.
    pub fn received(&self, headers: &TaskHeaders, eta: Option<String>, expires: Option<String>) {
        let mut fields = uuid(headers);
        fields.insert("name".to_owned(), headers.display_name().into());
        fields.insert("args".to_owned(), headers.argsrepr.clone().into());
        fields.insert("kwargs".to_owned(), headers.kwargsrepr.clone().into());
        fields.insert("root_id".to_owned(), headers.root_id.clone().into());
        fields.insert("parent_id".to_owned(), headers.parent_id.clone().into());
        fields.insert("retries".to_owned(), headers.retries.into());
        fields.insert("eta".to_owned(), eta.into());
        fields.insert("expires".to_owned(), expires.into());
        self.task("task-received", fields);
    }

    /// `task-started`.
    pub fn started(&self, headers: &TaskHeaders) {
        self.task("task-started", uuid(headers));
    }

    /// `task-succeeded`; no runtime for a task that had succeeded before, and no result if nobody has read it.
    pub fn succeeded(&self, headers: &TaskHeaders, result: Option<&str>, runtime: Option<f64>) {
        let mut fields = uuid(headers);
        fields.insert("result".to_owned(), result.into());
        fields.insert("runtime".to_owned(), runtime.into());
        self.task("task-succeeded", fields);
    }

    /// `task-failed`.
    pub fn failed(&self, headers: &TaskHeaders, exception: &str, traceback: Option<&str>) {
        self.task("task-failed", raised(headers, exception, traceback));
    }

    /// `task-failed` as Celery words it for a task nobody knows: without a traceback field.
    pub fn failed_alone(&self, headers: &TaskHeaders, exception: &str) {
        let mut fields = uuid(headers);
        fields.insert("exception".to_owned(), exception.into());
        self.task("task-failed", fields);
    }

    /// `task-retried`.
    pub fn retried(&self, headers: &TaskHeaders, exception: &str, traceback: Option<&str>) {
        self.task("task-retried", raised(headers, exception, traceback));
    }

    /// `task-revoked`; `signum` as Celery words it: null, a number or a text; `expired` as well: null, where it might have.
    pub fn revoked(&self, headers: &TaskHeaders, terminated: bool, signum: Value, expired: Option<bool>) {
        let mut fields = uuid(headers);
        fields.insert("terminated".to_owned(), terminated.into());
        fields.insert("signum".to_owned(), signum);
        fields.insert("expired".to_owned(), expired.into());
        self.task("task-revoked", fields);
    }

    /// `task-rejected`.
    pub fn rejected(&self, headers: &TaskHeaders, requeue: bool) {
        let mut fields = uuid(headers);
        fields.insert("requeue".to_owned(), requeue.into());
        self.task("task-rejected", fields);
    }

    /// An event that Celery's own request has worded in Python. Only those of requests are known.
    pub fn of_python(&self, kind: &str, fields: Map) {
        const KINDS: [&str; 6] =
            ["task-failed", "task-succeeded", "task-retried", "task-rejected", "task-revoked", "task-cancelled"];
        if let Some(kind) = KINDS.into_iter().find(|known| *known == kind) {
            self.task(kind, fields);
        }
    }

    /// `task-cancelled`.
    pub fn cancelled(&self, headers: &TaskHeaders) {
        self.task("task-cancelled", uuid(headers));
    }
}

fn uuid(headers: &TaskHeaders) -> Map {
    let mut fields = Map::with_capacity(9);
    fields.insert("uuid".to_owned(), Value::Str(headers.id.to_string()));
    fields
}

fn raised(headers: &TaskHeaders, exception: &str, traceback: Option<&str>) -> Map {
    let mut fields = uuid(headers);
    fields.insert("exception".to_owned(), exception.into());
    fields.insert("traceback".to_owned(), traceback.into());
    fields
}
