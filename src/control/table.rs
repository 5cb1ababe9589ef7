//! Every command: its name, what else it is called, what it takes, who carries it out (`celery/worker/control.py`).

use futures::future::BoxFuture;

use crate::{
    control::{
        CommandError, Node,
        arguments::{Arguments, Signature},
        event, hello, inspect, pool, queue, report, revoke, settings, stats, task,
    },
    serialization::Value,
};

type Carried<'a> = BoxFuture<'a, Result<Value, CommandError>>;

/// One command.
pub struct Row {
    /// As it is sent.
    pub name: &'static str,
    /// What older clients send.
    alias: Option<&'static str>,
    /// What it takes.
    pub signature: Signature,
    /// What it does.
    pub handler: for<'a> fn(&'a Node, Arguments) -> Carried<'a>,
}

/// The command of this name or alias.
pub fn find(name: &str) -> Option<&'static Row> {
    ROWS.iter().find(|row| row.name == name || row.alias == Some(name))
}

macro_rules! rows {
    ($($name:ident $(($alias:ident))? [$($required:ident)*] [$($optional:ident)*] $others:ident => $handler:path;)*) => {
        &[$(Row {
            name: stringify!($name),
            alias: rows!(@alias $($alias)?),
            signature: Signature {
                required: &[$(stringify!($required)),*],
                optional: &[$(stringify!($optional)),*],
                ignores_others: rows!(@others $others),
            },
            handler: |node, arguments| Box::pin($handler(node, arguments)),
        }),*]
    };
    (@alias) => { None };
    (@alias $alias:ident) => { Some(stringify!($alias)) };
    (@others more) => { true };
    (@others only) => { false };
}

/// Name, alias, required and optional arguments, whether others are ignored.
const ROWS: &[Row] = rows! {
    ping [] [] more => inspect::ping;
    clock [] [] more => inspect::clock;
    active (dump_active) [] [safe] more => inspect::active;
    reserved (dump_reserved) [] [] more => inspect::reserved;
    scheduled (dump_schedule) [] [] more => inspect::scheduled;
    revoked (dump_revoked) [] [] more => inspect::revoked;
    query_task [ids] [] more => inspect::query_task;
    registered (dump_tasks) [] [taskinfoitems builtins] more => task::registered;
    stats [] [] more => stats::stats;
    conf (dump_conf) [] [with_defaults] more => settings::conf;
    report [] [] only => report::report;
    active_queues [] [] only => queue::active_queues;
    hello [from_node] [revoked] more => hello::hello;
    memsample [] [] more => report::memsample;
    memdump [] [samples] more => report::memdump;
    objgraph [] [num max_depth type] only => report::objgraph;
    revoke [task_id] [terminate signal] more => revoke::revoke;
    terminate [signal task_id] [] more => revoke::terminate;
    revoke_by_stamped_headers [headers] [terminate signal] more => revoke::revoke_by_stamped_headers;
    rate_limit [task_name rate_limit] [] more => task::rate_limit;
    time_limit [] [task_name hard soft] more => task::time_limit;
    enable_events [] [] only => event::enable_events;
    disable_events [] [] only => event::disable_events;
    heartbeat [] [] only => event::heartbeat;
    election [id topic] [action] more => event::election;
    pool_grow [] [n] more => pool::grow;
    pool_shrink [] [n] more => pool::shrink;
    pool_restart [] [modules reload reloader] more => pool::restart;
    autoscale [] [max min] only => pool::autoscale;
    add_consumer [queue] [exchange exchange_type routing_key] more => queue::add_consumer;
    cancel_consumer [queue] [] more => queue::cancel_consumer;
    shutdown [] [msg] more => event::shutdown;
};
