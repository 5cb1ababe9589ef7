//! Settings of tasks: messages, queues, execution.

use super::key::{Fallback, Key, Kind};

pub(super) const ROWS: &[Key] = &[
    Key::new("task_acks_late", Kind::Bool, Fallback::Bool(false), "Acknowledge after the execution")
        .old("CELERY_ACKS_LATE"),
    Key::new(
        "task_acks_on_failure_or_timeout",
        Kind::Bool,
        Fallback::Bool(true),
        "With late acks: acknowledge failures and timeouts too",
    )
    .old("CELERY_ACKS_ON_FAILURE_OR_TIMEOUT"),
    Key::new(
        "task_acks_on_failure",
        Kind::Bool,
        Fallback::None,
        "With late acks: acknowledge failures; unset is `task_acks_on_failure_or_timeout`",
    )
    .old("CELERY_ACKS_ON_FAILURE"),
    Key::new(
        "task_acks_on_timeout",
        Kind::Bool,
        Fallback::None,
        "With late acks: acknowledge timeouts; unset is `task_acks_on_failure_or_timeout`",
    )
    .old("CELERY_ACKS_ON_TIMEOUT"),
    Key::new("task_always_eager", Kind::Bool, Fallback::Bool(false), "Calls run at once, in the caller")
        .old("CELERY_ALWAYS_EAGER")
        .child(),
    Key::new("task_annotations", Kind::Any, Fallback::None, "Attributes to change on tasks")
        .old("CELERY_ANNOTATIONS")
        .child(),
    Key::new("task_compression", Kind::Str, Fallback::None, "Compression of messages sent")
        .old("CELERY_MESSAGE_COMPRESSION"),
    Key::new(
        "task_create_missing_queues",
        Kind::Bool,
        Fallback::Bool(true),
        "Whether queues that nobody defined are made up",
    )
    .old("CELERY_CREATE_MISSING_QUEUES"),
    Key::new(
        "task_create_missing_queue_type",
        Kind::Str,
        Fallback::Str("classic"),
        "`classic` or `quorum`, for queues made up",
    )
    .old("CELERY_CREATE_MISSING_QUEUE_TYPE"),
    Key::new(
        "task_create_missing_queue_exchange_type",
        Kind::Str,
        Fallback::None,
        "Exchange type of queues made up; unset is direct",
    )
    .old("CELERY_CREATE_MISSING_QUEUE_EXCHANGE_TYPE"),
    Key::new(
        "task_inherit_parent_priority",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether subtasks have their parent's priority",
    )
    .old("CELERY_INHERIT_PARENT_PRIORITY")
    .child(),
    Key::new("task_default_delivery_mode", Kind::Any, Fallback::Int(2), "1 transient, 2 persistent")
        .old("CELERY_DEFAULT_DELIVERY_MODE"),
    Key::new("task_default_queue", Kind::Str, Fallback::Str("celery"), "Queue of tasks without a route")
        .old("CELERY_DEFAULT_QUEUE"),
    Key::new(
        "task_default_queue_type",
        Kind::Str,
        Fallback::Str("classic"),
        "`classic` or `quorum`, for the default queue",
    )
    .old("CELERY_DEFAULT_QUEUE_TYPE"),
    Key::new(
        "task_default_exchange",
        Kind::Str,
        Fallback::None,
        "Exchange of queues without one; unset is the default queue's name",
    )
    .old("CELERY_DEFAULT_EXCHANGE"),
    Key::new("task_default_exchange_type", Kind::Str, Fallback::Str("direct"), "Type of that exchange")
        .old("CELERY_DEFAULT_EXCHANGE_TYPE"),
    Key::new(
        "task_default_routing_key",
        Kind::Str,
        Fallback::None,
        "Routing key of queues without one; unset is the default queue's name",
    )
    .old("CELERY_DEFAULT_ROUTING_KEY"),
    Key::new("task_default_rate_limit", Kind::Any, Fallback::None, "Rate limit of tasks without one")
        .old("CELERY_DEFAULT_RATE_LIMIT"),
    Key::new("task_default_priority", Kind::Any, Fallback::None, "Priority of tasks without one")
        .old("CELERY_DEFAULT_PRIORITY"),
    Key::new("task_eager_propagates", Kind::Bool, Fallback::Bool(false), "Whether eager calls raise")
        .old("CELERY_EAGER_PROPAGATES_EXCEPTIONS")
        .child(),
    Key::new("task_ignore_result", Kind::Bool, Fallback::Bool(false), "Whether tasks store no result")
        .old("CELERY_IGNORE_RESULT"),
    Key::new("task_store_eager_result", Kind::Bool, Fallback::Bool(false), "Whether eager calls store their result")
        .old("CELERY_STORE_EAGER_RESULT")
        .child(),
    Key::new("task_protocol", Kind::Int, Fallback::Int(2), "Protocol of messages sent: 1 or 2")
        .old("CELERY_TASK_PROTOCOL"),
    Key::new("task_publish_retry", Kind::Bool, Fallback::Bool(true), "Whether publishing is tried again")
        .old("CELERY_TASK_PUBLISH_RETRY"),
    Key::new(
        "task_publish_retry_policy",
        Kind::Dict,
        Fallback::Dict(&[
            ("max_retries", Fallback::Int(3)),
            ("interval_start", Fallback::Int(0)),
            ("interval_max", Fallback::Int(1)),
            ("interval_step", Fallback::Float(0.2)),
        ]),
        "How publishing is tried again",
    )
    .old("CELERY_TASK_PUBLISH_RETRY_POLICY"),
    Key::new("task_queues", Kind::Dict, Fallback::None, "Queues to consume").old("CELERY_QUEUES"),
    Key::new("task_queue_max_priority", Kind::Int, Fallback::None, "`x-max-priority` of all queues")
        .old("CELERY_QUEUE_MAX_PRIORITY"),
    Key::new(
        "task_reject_on_worker_lost",
        Kind::Bool,
        Fallback::None,
        "With late acks: requeue the task of a lost child",
    )
    .old("CELERY_REJECT_ON_WORKER_LOST"),
    Key::new(
        "task_retry_on_worker_lost",
        Kind::Bool,
        Fallback::Bool(false),
        "Publish a retry of the task of a lost child",
    )
    .old("CELERY_RETRY_ON_WORKER_LOST"),
    Key::new(
        "task_remote_tracebacks",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether clients see tracebacks of the worker",
    )
    .old("CELERY_REMOTE_TRACEBACKS")
    .child(),
    Key::new("task_repr_maxlevels", Kind::Int, Fallback::Int(3), "Depth of argsrepr and kwargsrepr")
        .old("CELERY_REPR_MAXLEVELS")
        .child(),
    Key::new("task_routes", Kind::Any, Fallback::None, "Where tasks are sent").old("CELERY_ROUTES"),
    Key::new("task_send_sent_event", Kind::Bool, Fallback::Bool(false), "Whether publishing sends task-sent")
        .old("CELERY_SEND_TASK_SENT_EVENT"),
    Key::new("task_serializer", Kind::Str, Fallback::Str("json"), "Serializer of messages sent")
        .old("CELERY_TASK_SERIALIZER"),
    Key::new("task_soft_time_limit", Kind::Float, Fallback::None, "Soft time limit, seconds")
        .old("CELERYD_TASK_SOFT_TIME_LIMIT")
        .flag("--soft-time-limit"),
    Key::new("task_time_limit", Kind::Float, Fallback::None, "Hard time limit, seconds")
        .old("CELERYD_TASK_TIME_LIMIT")
        .flag("--time-limit"),
    Key::new(
        "task_store_errors_even_if_ignored",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether failures are stored where results are ignored",
    )
    .old("CELERY_STORE_ERRORS_EVEN_IF_IGNORED"),
    Key::new("task_track_started", Kind::Bool, Fallback::Bool(false), "Whether STARTED is stored")
        .old("CELERY_TRACK_STARTED"),
    Key::new(
        "task_allow_error_cb_on_chord_header",
        Kind::Bool,
        Fallback::Bool(false),
        "Whether errbacks of a chord go to its header too",
    )
    .old("CELERY_ALLOW_ERROR_CB_ON_CHORD_HEADER")
    .child(),
];
