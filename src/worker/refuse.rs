//! Each refusal's one fate, with the words that teams grep for (`celery/worker/consumer/consumer.py`).

use std::sync::Arc;

use tracing::{error, warn};

use crate::{
    broker::Acker,
    protocol::{Message, TaskHeaders, repr::repr},
    serialization::{DecodeError, Map, Value},
    worker::{
        executions::Executions,
        receive::{Refusal, RefusalReason},
        services::Services,
    },
};

/// Where the log lines come from in Celery.
const TARGET: &str = "celery.worker.consumer.consumer";
/// Characters of a body that are logged.
const BODY_EXCERPT: usize = 1024;

/// Logs and settles; what has to be stored is stored by a task of its own.
pub fn refuse(refusal: Refusal, services: &Arc<Services>, executions: &Executions) {
    let Refusal { reason, message, payload, acker } = refusal;
    match reason {
        RefusalReason::UnknownTask(_) => services.metrics.unregistered.add(),
        _ => services.metrics.refused.add(),
    }
    match reason {
        RefusalReason::Malformed(malformed) => {
            error!(target: TARGET, critical = true, "Can't decode message body: {malformed} [type:None encoding:None headers:{{}}]\n\nbody: {}", malformed.excerpt);
            acker.ack();
        }
        RefusalReason::Undecodable(failure) => {
            let (content_type, encoding) = content(&message);
            let class = match failure {
                DecodeError::ContentDisallowed { .. } => "ContentDisallowed",
                _ => "DecodeError",
            };
            let failure = repr(&Value::Str(failure.to_string()));
            error!(target: TARGET, critical = true,
                "Can't decode message body: {class}({failure}) [type:{content_type} encoding:{encoding} headers:{}]\n\nbody: {}",
                headers(&message), dump_body(&message));
            acker.ack();
        }
        RefusalReason::InvalidTask(reason) => {
            error!(target: TARGET,
                "Received invalid task message: {reason}\nThe message has been ignored and discarded.\n\n\
                 Please ensure your message conforms to the task\nmessage protocol as described here:\n\
                 https://docs.celeryq.dev/en/latest/internals/protocol.html\n\n\
                 The full contents of the message body was:\n{}\n", dump_payload(payload, &message));
            acker.reject(false);
            services.signals.rejected(&message, Some(&reason));
        }
        RefusalReason::UnknownMessage => {
            let (content_type, encoding) = content(&message);
            warn!(target: TARGET,
                "Received and deleted unknown message.  Wrong destination?!?\n\nThe full contents of the message body was: body: {}\n\
                 {{content_type:{content_type} content_encoding:{encoding}\n  delivery_info:{} headers={}}}\n",
                dump_payload(payload, &message), delivery_info(&message), headers(&message));
            acker.reject(false);
            services.signals.rejected(&message, None);
        }
        RefusalReason::UnknownTask(task) => unknown_task(task, message, acker, services, executions),
    }
}

fn unknown_task(task: TaskHeaders, message: Message, acker: Acker, services: &Arc<Services>, executions: &Executions) {
    let name = repr(&Value::from(&*task.task));
    error!(target: TARGET,
        "Received unregistered task of type {name}.\nThe message has been ignored and discarded.\n\n\
         Did you remember to import the module containing this task?\nOr maybe you're using relative imports?\n\n\
         Please see\nhttps://docs.celeryq.dev/en/latest/internals/protocol.html\nfor more information.\n\n\
         The full contents of the message body was:\n{}\n\nThe full contents of the message headers:\n{}\n\n\
         The delivery info for this task is:\n{}\n", dump_body(&message), headers(&message), delivery_info(&message));
    let services = services.clone();
    executions.spawn(async move {
        services.completion.unregistered(&task, &message).await;
        if services.events.task_events() {
            services.events.failed_alone(&task, &format!("NotRegistered({name})"));
        }
        acker.reject(false);
        services.signals.unknown(&message, &task.task, &task.id);
    });
}

fn content(message: &Message) -> (String, String) {
    let word = |text: &Option<String>| repr(&Value::from(text.clone()));
    (word(&message.properties.content_type), word(&message.properties.content_encoding))
}

fn headers(message: &Message) -> String {
    repr(&Value::Map(message.headers.map().clone()))
}

fn delivery_info(message: &Message) -> String {
    let info = &message.properties.delivery_info;
    let fields = [("exchange", &info.exchange), ("routing_key", &info.routing_key)];
    repr(&Value::Map(Map::from_iter(fields.map(|(name, value)| (name.to_owned(), value.as_str().into())))))
}

/// What was found in the body, or else the body itself.
fn dump_payload(payload: Option<Value>, message: &Message) -> String {
    match payload {
        Some(payload) => format!("{} ({}b)", excerpt(repr(&payload)), message.body.len()),
        None => dump_body(message),
    }
}

/// The body as Python shows bytes, cut short, with its length.
fn dump_body(message: &Message) -> String {
    let body = &message.body;
    let shown = repr(&Value::Bytes(body.slice(..body.len().min(BODY_EXCERPT))));
    format!("{} ({}b)", excerpt(shown), body.len())
}

fn excerpt(shown: String) -> String {
    if shown.chars().count() > BODY_EXCERPT {
        shown.chars().take(BODY_EXCERPT - 3).chain("...".chars()).collect()
    } else {
        shown
    }
}
