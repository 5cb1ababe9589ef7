//! Calls that a pickle asks for: the few that make plain data are done here, by hand; all others are refused.

use bytes::Bytes;
use num_bigint::BigInt;
use uuid::Uuid;

use super::{
    graph::{Graph, Id, Node},
    malformed, time,
};
use crate::serialization::{DecodeError, Value, decimal, iso};

/// `callable(*args)`.
pub(super) fn call(graph: &mut Graph, callable: Id, args: Id) -> Result<Id, DecodeError> {
    let (module, name) = global(graph, callable)?;
    let args = graph.items(args).ok_or_else(|| malformed("arguments that are no tuple"))?.to_vec();
    // Celery's signatures are dicts that go through this function; the dict is all there is to them.
    if (module.as_str(), name.as_str()) == ("celery.canvas", "signature") {
        return args.first().copied().ok_or_else(|| malformed("a signature without its dict"));
    }
    let made = made(graph, &module, &name, &args)?;
    let made = made.ok_or_else(|| malformed(format!("{module}.{name} with arguments that it does not take")))?;
    Ok(graph.add(made))
}

fn made(graph: &Graph, module: &str, name: &str, args: &[Id]) -> Result<Option<Node>, DecodeError> {
    Ok(match (module, name) {
        ("datetime", "datetime") => datetime(graph, args),
        ("datetime", "date") => date(graph, args),
        ("datetime", "time") => clock(graph, args),
        ("datetime", "timedelta") => delta(graph, args),
        ("datetime", "timezone") => zone(graph, args),
        ("decimal" | "_decimal", "Decimal") => decimal(graph, args),
        ("uuid", "UUID") => uuid(graph, args),
        ("_codecs", "encode") => encoded(graph, args),
        ("__builtin__" | "builtins", "bytes") if args.is_empty() => Some(Node::Plain(Value::Bytes(Bytes::new()))),
        _ => return Err(refused(module, name)),
    })
}

/// `class.__new__(class, *args)`.
pub(super) fn new_object(graph: &mut Graph, class: Id, args: Id) -> Result<Id, DecodeError> {
    let (module, name) = global(graph, class)?;
    let bare = graph.items(args).is_some_and(<[Id]>::is_empty);
    if bare && (module.as_str(), name.as_str()) == ("uuid", "UUID") {
        return Ok(graph.add(Node::EmptyUuid));
    }
    Err(refused(&module, &name))
}

/// Gives a new object its state.
pub(super) fn build(graph: &mut Graph, object: Id, state: Id) -> Result<(), DecodeError> {
    let Node::EmptyUuid = graph.node(object) else {
        return Err(malformed("state for something that has none"));
    };
    let uuid = uuid_state(graph, state).ok_or_else(|| malformed("a UUID with a state that is none"))?;
    *graph.node_mut(object) = Node::Plain(Value::Uuid(uuid));
    Ok(())
}

fn global(graph: &Graph, id: Id) -> Result<(String, String), DecodeError> {
    match graph.node(id) {
        Node::Global(module, name) => Ok((module.clone(), name.clone())),
        _ => Err(malformed("something that is no global is called")),
    }
}

fn refused(module: &str, name: &str) -> DecodeError {
    malformed(format!("{module}.{name} is not plain data; only a Python task can take it"))
}

fn datetime(graph: &Graph, args: &[Id]) -> Option<Node> {
    let (date, mut time) = time::datetime(&graph.bytes(*args.first()?)?)?;
    time.offset = offset(graph, args)?;
    Some(Node::Plain(Value::DateTime(iso::format_datetime(date, time).into())))
}

fn date(graph: &Graph, args: &[Id]) -> Option<Node> {
    let [packed] = args else { return None };
    Some(Node::Plain(Value::Date(time::date(&graph.bytes(*packed)?)?.to_string().into())))
}

fn clock(graph: &Graph, args: &[Id]) -> Option<Node> {
    let mut time = time::time(&graph.bytes(*args.first()?)?)?;
    time.offset = offset(graph, args)?;
    Some(Node::Plain(Value::Time(time.to_string().into())))
}

/// The time zone after the packed bytes: none is fine, one that is no fixed offset is not.
fn offset(graph: &Graph, args: &[Id]) -> Option<Option<i64>> {
    match args {
        [_] => Some(None),
        [_, zone] => match graph.node(*zone) {
            Node::Zone(offset) => Some(Some(*offset)),
            _ => None,
        },
        _ => None,
    }
}

fn delta(graph: &Graph, args: &[Id]) -> Option<Node> {
    let mut micros = 0i64;
    for (&part, unit) in args.iter().zip([86_400_000_000, 1_000_000, 1]) {
        micros = micros.checked_add(graph.int(part)?.checked_mul(unit)?)?;
    }
    Some(Node::Delta(micros))
}

/// Python's UTC is `timezone(timedelta(0))`; a name has no place in `isoformat()`.
fn zone(graph: &Graph, args: &[Id]) -> Option<Node> {
    match graph.node(*args.first()?) {
        Node::Delta(micros) if micros.abs() < 86_400_000_000 => Some(Node::Zone(*micros)),
        _ => None,
    }
}

fn decimal(graph: &Graph, args: &[Id]) -> Option<Node> {
    let [text] = args else { return None };
    Some(Node::Plain(Value::Decimal(decimal::canonical(graph.text(*text)?)?.into())))
}

fn uuid(graph: &Graph, args: &[Id]) -> Option<Node> {
    let [text] = args else { return None };
    Some(Node::Plain(Value::Uuid(Uuid::parse_str(graph.text(*text)?).ok()?)))
}

fn uuid_state(graph: &Graph, state: Id) -> Option<Uuid> {
    let Node::Dict(entries) = graph.node(state) else { return None };
    let (_, number) = entries.iter().find(|(key, _)| graph.text(*key) == Some("int"))?;
    let number = match graph.node(*number) {
        Node::Plain(Value::Int(number)) => u128::try_from(*number).ok()?,
        Node::Plain(Value::BigInt(digits)) => u128::try_from(digits.parse::<BigInt>().ok()?).ok()?,
        _ => return None,
    };
    Some(Uuid::from_u128(number))
}

/// Protocol 2 writes bytes as `_codecs.encode(text, 'latin1')`.
fn encoded(graph: &Graph, args: &[Id]) -> Option<Node> {
    let [text, codec] = args else { return None };
    if graph.text(*codec)? != "latin1" {
        return None;
    }
    let bytes: Result<Vec<u8>, _> = graph.text(*text)?.chars().map(|char| u8::try_from(u32::from(char))).collect();
    Some(Node::Plain(Value::Bytes(bytes.ok()?.into())))
}
