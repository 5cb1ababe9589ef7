use std::{sync::Arc, time::Duration};

use serde::Deserialize;

use crate::{
    ipc::TaskManifest,
    protocol::{Message, TaskHeaders},
    serialization::{Map, Value, json},
    task::{
        Arguments, Context, Execution, Ignore, NativeTask, Outcome, RateLimit, Registry, Reject, Retry, Runner, State,
        States, TaskError, TaskOptions, blocking, options_from_manifest,
    },
};

#[derive(Deserialize)]
struct Add {
    a: i64,
    #[serde(default = "two")]
    b: i64,
}

fn two() -> i64 {
    2
}

async fn add_named(add: Add) -> i64 {
    add.a + add.b
}

async fn add_tuple((a, b): (i64, i64)) -> i64 {
    a + b
}

async fn add_plain(cx: Context, a: i64, b: Option<i64>) -> String {
    format!("{}:{}", cx.task_id(), a + b.unwrap_or(10))
}

async fn double(x: i64) -> i64 {
    2 * x
}

async fn total(xs: Vec<i64>) -> i64 {
    xs.into_iter().sum()
}

async fn nothing() {}

async fn echo(kwargs: Map) -> Value {
    Value::Map(kwargs)
}

async fn ends(how: String) -> Result<i64, TaskError> {
    match how.as_str() {
        "parse" => Ok("x".parse::<i64>()?),
        "value" => Err(TaskError::new("ValueError", "bad")),
        "key" => Err(TaskError::new("KeyError", "name")),
        "own" => Err(TaskError::in_module("proj.errors", "Odd", "x").with_args(vec![1i64.into(), "y".into()])),
        "retry" => Err(Retry::after(Duration::from_secs(5)).because(TaskError::new("OSError", "down")).into()),
        "ignore" => Err(Ignore.into()),
        "reject" => Err(Reject::requeue("later").into()),
        "panic" => panic!("at the disco"),
        _ => Ok(1),
    }
}

fn crunch((x, y): (f64, f64)) -> f64 {
    x * y
}

fn broken() -> i64 {
    panic!("thread")
}

async fn with_state(prefix: State<String>, name: String) -> String {
    format!("{}{name}", *prefix)
}

fn context(states: States) -> Context {
    Context::new(Execution {
        headers: Arc::new(TaskHeaders { id: "id".into(), task: "tasks.add".into(), ..TaskHeaders::default() }),
        message: Arc::new(Message::default()),
        hostname: "w@h".into(),
        redelivered: false,
        soft_deadline: None,
        hard_deadline: None,
        cancelled: Default::default(),
        producer: None,
        states_sink: None,
        states: Arc::new(states),
    })
}

async fn run(task: &NativeTask, args: &str, kwargs: &str) -> Outcome {
    let (Value::List(args), Value::Map(kwargs)) = (json::parse_str(args).unwrap(), json::parse_str(kwargs).unwrap())
    else {
        panic!("not arguments")
    };
    let Runner::Native(handler) = task.define(TaskOptions::default()).runner else { panic!("not native") };
    let mut states = States::default();
    states.insert("dear ".to_owned());
    handler.call(Arguments { args, kwargs }, context(states)).await
}

fn shown(outcome: Outcome) -> String {
    match outcome {
        Outcome::Success(value) => json::to_string(&value).unwrap(),
        Outcome::Failure(exception) => {
            let args: Vec<String> = exception.exc_message.iter().filter_map(Value::as_str).map(str::to_owned).collect();
            format!("{}: {}", exception.exc_type, args.join(", "))
        }
        other => format!("{other:?}"),
    }
}

#[tokio::test]
async fn arguments_meet_parameters_as_in_python() {
    let named = NativeTask::new("tasks.add", add_named);
    let tuple = NativeTask::new("tasks.add", add_tuple);
    let both = NativeTask::new("tasks.add", add_tuple).parameters(&["a", "b"]);
    let plain = NativeTask::new("tasks.add", add_plain).parameters(&["a", "b"]);
    let rows: &[(&NativeTask, &str, &str, &str)] = &[
        (&named, "[1, 5]", "{}", "6"),
        (&named, "[1]", r#"{"b": 3}"#, "4"),
        (&named, "[]", r#"{"b": 3, "a": 4}"#, "7"),
        (&named, "[1]", "{}", "3"),
        (&named, "[]", "{}", "TypeError: add() missing 1 required positional argument: 'a'"),
        (&named, "[1]", r#"{"a": 1}"#, "TypeError: add() got multiple values for argument 'a'"),
        (&named, "[1]", r#"{"z": 1}"#, "TypeError: add() got an unexpected keyword argument 'z'"),
        (&named, "[1, 2, 3]", "{}", "TypeError: add() takes 2 positional arguments but 3 were given"),
        (&tuple, "[1, 5]", "{}", "6"),
        (&tuple, "[1, 5]", r#"{"a": 1}"#, "TypeError: add() got an unexpected keyword argument 'a'"),
        (&both, "[1]", r#"{"b": 3}"#, "4"),
        (&both, "[]", r#"{"b": 3}"#, "TypeError: add() missing 1 required positional argument: 'a'"),
        (&both, "[]", "{}", "TypeError: add() missing 2 required positional arguments: 'a' and 'b'"),
        (&both, "[1]", "{}", "TypeError: add() missing 1 required positional argument: 'b'"),
        (&plain, "[1, 5]", "{}", "\"id:6\""),
        (&plain, "[1]", "{}", "\"id:11\""),
        (&plain, "[1]", r#"{"b": 3}"#, "\"id:4\""),
    ];
    for (task, args, kwargs, expected) in rows {
        assert_eq!(&shown(run(task, args, kwargs).await), expected, "{args} {kwargs}");
    }
}

#[tokio::test]
async fn single_arguments_may_be_of_any_shape() {
    let rows: &[(NativeTask, &str, &str, &str)] = &[
        (NativeTask::new("t.double", double), "[4]", "{}", "8"),
        (NativeTask::new("t.double", double).parameters(&["x"]), "[]", r#"{"x": 5}"#, "10"),
        (
            NativeTask::new("t.double", double),
            "[]",
            "{}",
            "TypeError: double() missing 1 required positional argument: '0'",
        ),
        (
            NativeTask::new("t.double", double),
            "[1, 2]",
            "{}",
            "TypeError: double() takes 1 positional argument but 2 were given",
        ),
        (NativeTask::new("t.total", total), "[[1, 2, 3]]", "{}", "6"),
        (NativeTask::new("t.nothing", nothing), "[]", "{}", "null"),
        (
            NativeTask::new("t.nothing", nothing),
            "[1]",
            "{}",
            "TypeError: nothing() takes 0 positional arguments but 1 was given",
        ),
        (NativeTask::new("t.echo", echo), "[]", r#"{"a": 1}"#, r#"{"a": 1}"#),
        (NativeTask::new("t.echo", echo), r#"[{"b": 1}]"#, "{}", r#"{"b": 1}"#),
        (NativeTask::new("t.greet", with_state), r#"["you"]"#, "{}", "\"dear you\""),
        (NativeTask::new("t.crunch", blocking(crunch)), "[2, 1.5]", "{}", "3.0"),
    ];
    for (task, args, kwargs, expected) in rows {
        assert_eq!(&shown(run(task, args, kwargs).await), expected, "{} {args} {kwargs}", task.name());
    }
}

#[tokio::test]
async fn a_wrong_value_is_told_with_its_parameter() {
    let text = shown(run(&NativeTask::new("t.add", add_named), r#"[1, "x"]"#, "{}").await);
    assert!(text.starts_with("TypeError: add() argument 'b': "), "{text}");
}

async fn exception(how: &str) -> crate::protocol::ExceptionInfo {
    let args = json::to_string(&Value::List(vec![how.into()])).unwrap();
    match run(&NativeTask::new("tasks.ends", ends), &args, "{}").await {
        Outcome::Failure(exception) => exception,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn errors_become_exceptions_that_python_can_rebuild() {
    let rows = [
        ("parse", "builtins", "ValueError", "ValueError: invalid digit found in string\n"),
        ("value", "builtins", "ValueError", "ValueError: bad\n"),
        ("key", "builtins", "KeyError", "KeyError: 'name'\n"),
        ("own", "proj.errors", "Odd", "proj.errors.Odd: (1, 'y')\n"),
        ("panic", "builtins", "RuntimeError", "RuntimeError: panic: at the disco\n"),
    ];
    for (how, module, exc_type, last_line) in rows {
        let exception = exception(how).await;
        assert_eq!((exception.exc_module.as_str(), exception.exc_type.as_str()), (module, exc_type), "{how}");
        let traceback = exception.traceback.unwrap();
        assert!(
            traceback.starts_with("Traceback (most recent call last):\n  File \"src/task/tests.rs\", line "),
            "{traceback}"
        );
        assert!(traceback.contains(", in tasks.ends\n"), "{traceback}");
        assert!(traceback.ends_with(last_line), "{traceback}");
    }
}

#[tokio::test]
async fn other_ends_are_no_failures() {
    let task = NativeTask::new("tasks.ends", ends);
    assert_eq!(run(&task, r#"["ignore"]"#, "{}").await, Outcome::Ignore);
    assert_eq!(run(&task, r#"["reject"]"#, "{}").await, Outcome::Reject { requeue: true, reason: "later".to_owned() });
    let Outcome::Retry { cause: Some(cause), eta: Some(_), max_retries: None } = run(&task, r#"["retry"]"#, "{}").await
    else {
        panic!("no retry")
    };
    assert_eq!(cause.exc_type, "OSError");
}

#[tokio::test]
async fn a_panic_on_a_thread_is_a_failure_too() {
    let Outcome::Failure(exception) = run(&NativeTask::new("t.broken", blocking(broken)), "[]", "{}").await else {
        panic!("no failure")
    };
    assert_eq!(exception.exc_message, ["panic: thread".into()]);
    assert!(exception.traceback.unwrap().contains("src/task/tests.rs"));
}

#[test]
fn a_native_task_keeps_what_the_decorator_said() {
    let manifest = TaskManifest {
        name: "tasks.add".to_owned(),
        acks_late: true,
        rate_limit: Some("10/m".to_owned()),
        time_limit: Some(30.0),
        max_retries: Some(7),
        default_retry_delay: 2.5,
        publish_options: br#"{"queue": "slow"}"#.to_vec().into(),
        hooked: true,
        ..TaskManifest::default()
    };
    let mut registry = Registry::new();
    registry.add_python("tasks.add", options_from_manifest(&manifest).unwrap());
    assert!(!registry.is_native("tasks.add"));
    let native = NativeTask::new("tasks.add", add_named).time_limit(Duration::from_secs(5));
    registry.add_native(&native, &TaskOptions::default());
    registry.add_python("tasks.add", TaskOptions::default());
    let options = &registry.find("tasks.add").unwrap().options;
    assert!(registry.is_native("tasks.add"));
    assert!(options.acks_late && !options.hooked);
    assert_eq!(options.rate_limit, Some(RateLimit { per_second: 10.0 / 60.0 }));
    assert_eq!(options.time_limit, Some(Duration::from_secs(5)));
    assert_eq!((options.max_retries, options.default_retry_delay), (Some(7), Duration::from_millis(2500)));
    assert_eq!(options.exec_options()["queue"], "slow".into());
    assert_eq!(registry.find("tasks.sub").map(|_| ()), None);
}

#[test]
fn missing_state_is_known_before_a_task_runs() {
    let task = NativeTask::new("t.greet", with_state);
    assert_eq!(task.lacking(&States::default()), Some("alloc::string::String"));
    let mut states = States::default();
    states.insert(String::new());
    assert_eq!(task.lacking(&states), None);
}
