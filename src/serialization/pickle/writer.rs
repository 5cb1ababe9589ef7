//! The writer: protocol 4, as kombu's, without frames and memo, which readers do not need.

use super::{MAX_DEPTH, number, opcode as op, time, unsupported, wide};
use crate::serialization::{
    EncodeError, Map, Value,
    iso::{self, Date, Time},
};

/// Writes a value as a pickle of protocol 4.
///
/// # Errors
/// `Unsupported` for nests that are too deep, and for times that are no times.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, EncodeError> {
    to_vec_of_protocol(value, 4)
}

/// The same with the number of a later protocol, for readers that look at it; nothing of what it adds is used.
///
/// # Errors
/// As [`to_vec`].
pub fn to_vec_of_protocol(value: &Value, protocol: u8) -> Result<Vec<u8>, EncodeError> {
    let mut out = vec![op::PROTO, protocol];
    write(&mut out, value, 0)?;
    out.push(op::STOP);
    Ok(out)
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(unsupported("it is nested too deeply"));
    }
    match value {
        Value::List(items) => {
            out.extend([op::EMPTY_LIST, op::MARK]);
            items.iter().try_for_each(|item| write(out, item, depth + 1))?;
            out.push(op::APPENDS);
        }
        Value::Map(map) => write_map(out, map, depth)?,
        Value::Pairs(pairs) => {
            out.extend([op::EMPTY_DICT, op::MARK]);
            for (key, value) in pairs {
                if matches!(key, Value::List(_) | Value::Map(_) | Value::Pairs(_)) {
                    return Err(unsupported("a list or dict cannot be a key"));
                }
                write(out, key, depth + 1)?;
                write(out, value, depth + 1)?;
            }
            out.push(op::SETITEMS);
        }
        scalar => write_scalar(out, scalar)?,
    }
    Ok(())
}

fn write_map(out: &mut Vec<u8>, map: &Map, depth: usize) -> Result<(), EncodeError> {
    out.extend([op::EMPTY_DICT, op::MARK]);
    for (key, value) in map {
        write_text(out, key.as_bytes());
        write(out, value, depth + 1)?;
    }
    out.push(op::SETITEMS);
    Ok(())
}

fn write_scalar(out: &mut Vec<u8>, value: &Value) -> Result<(), EncodeError> {
    match value {
        Value::Bool(true) => out.push(op::NEWTRUE),
        Value::Bool(false) => out.push(op::NEWFALSE),
        Value::Int(number) => write_int(out, *number),
        Value::BigInt(digits) => {
            let bytes = number::to_le_bytes(digits).map_err(|error| unsupported(error.to_string()))?;
            write_sized(out, op::LONG1, op::LONG4, &bytes);
        }
        Value::Float(number) => {
            out.push(op::BINFLOAT);
            out.extend(number.to_be_bytes());
        }
        Value::Str(text) => write_text(out, text.as_bytes()),
        Value::WideStr(units) => write_text(out, &wide::encode(units)),
        Value::Bytes(bytes) => write_sized(out, op::SHORT_BINBYTES, op::BINBYTES, bytes),
        Value::DateTime(text) => {
            let (date, time) = iso::parse_datetime(text).ok_or_else(|| no_time(text))?;
            let packed = [time::pack_date(date), time::pack_time(time)].concat();
            write_time(out, "datetime", &packed, time.offset);
        }
        Value::Date(text) => {
            let date = Date::parse(text).ok_or_else(|| no_time(text))?;
            write_time(out, "date", &time::pack_date(date), None);
        }
        Value::Time(text) => {
            let time = Time::parse(text).ok_or_else(|| no_time(text))?;
            write_time(out, "time", &time::pack_time(time), time.offset);
        }
        Value::Decimal(text) => write_call(out, "decimal", "Decimal", |out| write_text(out, text.as_bytes())),
        Value::Uuid(uuid) => write_call(out, "uuid", "UUID", |out| write_text(out, uuid.to_string().as_bytes())),
        Value::Null | Value::List(_) | Value::Map(_) | Value::Pairs(_) => out.push(op::NONE),
    }
    Ok(())
}

fn write_int(out: &mut Vec<u8>, number: i64) {
    match i32::try_from(number) {
        Ok(small) => {
            out.push(op::BININT);
            out.extend(small.to_le_bytes());
        }
        Err(_) => write_sized(out, op::LONG1, op::LONG4, &number.to_le_bytes()),
    }
}

fn write_text(out: &mut Vec<u8>, text: &[u8]) {
    write_sized(out, op::SHORT_BINUNICODE, op::BINUNICODE, text);
}

fn write_sized(out: &mut Vec<u8>, short: u8, long: u8, bytes: &[u8]) {
    match (u8::try_from(bytes.len()), u32::try_from(bytes.len())) {
        (Ok(size), _) => out.extend([short, size]),
        (_, Ok(size)) => {
            out.push(long);
            out.extend(size.to_le_bytes());
        }
        _ => {
            out.push(if short == op::SHORT_BINBYTES { op::BINBYTES8 } else { op::BINUNICODE8 });
            out.extend((bytes.len() as u64).to_le_bytes());
        }
    }
    out.extend_from_slice(bytes);
}

/// `module.name(argument)`.
fn write_call(out: &mut Vec<u8>, module: &str, name: &str, write_argument: impl FnOnce(&mut Vec<u8>)) {
    write_global(out, module, name);
    write_argument(out);
    out.extend([op::TUPLE1, op::REDUCE]);
}

fn write_global(out: &mut Vec<u8>, module: &str, name: &str) {
    write_text(out, module.as_bytes());
    write_text(out, name.as_bytes());
    out.push(op::STACK_GLOBAL);
}

fn write_time(out: &mut Vec<u8>, name: &str, packed: &[u8], offset: Option<i64>) {
    write_global(out, "datetime", name);
    write_sized(out, op::SHORT_BINBYTES, op::BINBYTES, packed);
    match offset {
        None => out.push(op::TUPLE1),
        Some(offset) => {
            write_zone(out, offset);
            out.push(op::TUPLE2);
        }
    }
    out.push(op::REDUCE);
}

/// `datetime.timezone(datetime.timedelta(days, seconds, microseconds))`.
fn write_zone(out: &mut Vec<u8>, offset: i64) {
    const DAY: i64 = 86_400_000_000;
    write_call(out, "datetime", "timezone", |out| {
        write_global(out, "datetime", "timedelta");
        let within = offset.rem_euclid(DAY);
        [offset.div_euclid(DAY), within / 1_000_000, within % 1_000_000].iter().for_each(|part| write_int(out, *part));
        out.extend([op::TUPLE3, op::REDUCE]);
    });
}

fn no_time(text: &str) -> EncodeError {
    unsupported(format!("{text:?} is no ISO 8601 time"))
}
