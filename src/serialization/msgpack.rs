//! kombu's msgpack: `packb(use_bin_type=True)` and `unpackb(raw=False)`. No extension types in either direction.

use bytes::Bytes;
use rmp::{Marker, encode};

use crate::serialization::{DecodeError, EncodeError, Value};

/// How deep arrays and maps may be nested, as in Python's msgpack.
const MAX_DEPTH: usize = 1000;

/// Reads one msgpack value and nothing after it.
///
/// # Errors
/// `Malformed` for cut or further bytes, extension types, strings that are not UTF-8, and map keys that are neither
/// strings nor bytes (`strict_map_key`); `TooLarge` for nests deeper than Python's.
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    let mut reader = Reader { rest: bytes, depth: 0 };
    let value = reader.value()?;
    if reader.rest.is_empty() { Ok(value) } else { Err(malformed("extra data after the value")) }
}

/// Writes a value in the fewest bytes, as Python's msgpack does.
///
/// # Errors
/// `Unsupported` for what Python's refuses, too: integers beyond 64 bits, lone surrogates, `datetime` and its like.
pub fn to_vec(value: &Value) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::with_capacity(128);
    write(&mut out, value, 0)?;
    Ok(out)
}

struct Reader<'a> {
    rest: &'a [u8],
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Kept small, as its frame is on the stack once for each level.
    fn value(&mut self) -> Result<Value, DecodeError> {
        let marker = Marker::from_u8(self.byte()?);
        match marker {
            Marker::FixArray(_) | Marker::Array16 | Marker::Array32 => self.list(marker),
            Marker::FixMap(_) | Marker::Map16 | Marker::Map32 => self.map(marker),
            scalar => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, marker: Marker) -> Result<Value, DecodeError> {
        match marker {
            Marker::Null => Ok(Value::Null),
            Marker::True => Ok(Value::Bool(true)),
            Marker::False => Ok(Value::Bool(false)),
            Marker::FixStr(_) | Marker::Str8 | Marker::Str16 | Marker::Str32 => self.string(marker),
            Marker::Bin8 | Marker::Bin16 | Marker::Bin32 => {
                let length = self.length(marker)?;
                Ok(Value::Bytes(Bytes::copy_from_slice(self.take(length)?)))
            }
            number => self.number(number),
        }
    }

    fn number(&mut self, marker: Marker) -> Result<Value, DecodeError> {
        Ok(match marker {
            Marker::FixPos(number) => Value::from(number),
            Marker::FixNeg(number) => Value::from(number),
            Marker::U8 => Value::from(self.byte()?),
            Marker::U16 => Value::from(u16::from_be_bytes(self.array()?)),
            Marker::U32 => Value::from(u32::from_be_bytes(self.array()?)),
            Marker::U64 => Value::from(u64::from_be_bytes(self.array()?)),
            Marker::I8 => Value::from(i8::from_be_bytes(self.array()?)),
            Marker::I16 => Value::from(i16::from_be_bytes(self.array()?)),
            Marker::I32 => Value::from(i32::from_be_bytes(self.array()?)),
            Marker::I64 => Value::from(i64::from_be_bytes(self.array()?)),
            Marker::F32 => Value::Float(f32::from_be_bytes(self.array()?).into()),
            Marker::F64 => Value::Float(f64::from_be_bytes(self.array()?)),
            Marker::Reserved => return Err(malformed("byte 0xc1 is never used")),
            _ => return Err(malformed("extension types have no meaning here")),
        })
    }

    fn length(&mut self, marker: Marker) -> Result<usize, DecodeError> {
        Ok(match marker {
            Marker::FixStr(length) | Marker::FixArray(length) | Marker::FixMap(length) => length.into(),
            Marker::Str8 | Marker::Bin8 => self.byte()?.into(),
            Marker::Str16 | Marker::Bin16 | Marker::Array16 | Marker::Map16 => u16::from_be_bytes(self.array()?).into(),
            _ => u32::from_be_bytes(self.array()?) as usize,
        })
    }

    fn string(&mut self, marker: Marker) -> Result<Value, DecodeError> {
        let length = self.length(marker)?;
        match std::str::from_utf8(self.take(length)?) {
            Ok(text) => Ok(Value::Str(text.to_owned())),
            Err(error) => Err(malformed(&format!("a string is not UTF-8: {error}"))),
        }
    }

    fn list(&mut self, marker: Marker) -> Result<Value, DecodeError> {
        let length = self.length(marker)?;
        self.deeper()?;
        let mut items = Vec::with_capacity(length.min(self.rest.len()).min(1024));
        for _ in 0..length {
            items.push(self.value()?);
        }
        self.depth -= 1;
        Ok(Value::List(items))
    }

    fn map(&mut self, marker: Marker) -> Result<Value, DecodeError> {
        let length = self.length(marker)?;
        self.deeper()?;
        let mut pairs = Vec::with_capacity(length.min(self.rest.len()).min(1024));
        for _ in 0..length {
            let key = self.value()?;
            if !matches!(key, Value::Str(_) | Value::Bytes(_)) {
                return Err(malformed("a map key is neither str nor bytes"));
            }
            pairs.push((key, self.value()?));
        }
        self.depth -= 1;
        Ok(Value::from_pairs(pairs))
    }

    fn deeper(&mut self) -> Result<(), DecodeError> {
        if self.depth == MAX_DEPTH {
            return Err(DecodeError::TooLarge { what: "msgpack nesting", limit: MAX_DEPTH });
        }
        self.depth += 1;
        Ok(())
    }

    fn byte(&mut self) -> Result<u8, DecodeError> {
        let [byte] = self.array()?;
        Ok(byte)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let (head, rest) = self.rest.split_first_chunk::<N>().ok_or_else(cut)?;
        self.rest = rest;
        Ok(*head)
    }

    fn take(&mut self, length: usize) -> Result<&'a [u8], DecodeError> {
        let (head, rest) = self.rest.split_at_checked(length).ok_or_else(cut)?;
        self.rest = rest;
        Ok(head)
    }
}

fn write(out: &mut Vec<u8>, value: &Value, depth: usize) -> Result<(), EncodeError> {
    if depth > MAX_DEPTH {
        return Err(unsupported("it is nested too deeply"));
    }
    match value {
        Value::Null => encode::write_nil(out).map_err(failed),
        Value::Bool(flag) => encode::write_bool(out, *flag).map_err(failed),
        Value::Int(number) => encode::write_sint(out, *number).map(drop).map_err(failed),
        Value::BigInt(digits) => match digits.parse() {
            Ok(number) => encode::write_uint(out, number).map(drop).map_err(failed),
            Err(_) => Err(unsupported("an integer is beyond 64 bits")),
        },
        Value::Float(number) => encode::write_f64(out, *number).map_err(failed),
        Value::Str(text) => encode::write_str(out, text).map_err(failed),
        Value::Bytes(bytes) => encode::write_bin(out, bytes).map_err(failed),
        Value::List(items) => {
            encode::write_array_len(out, length(items.len())?).map_err(failed)?;
            items.iter().try_for_each(|item| write(out, item, depth + 1))
        }
        Value::Map(map) => {
            encode::write_map_len(out, length(map.len())?).map_err(failed)?;
            map.iter().try_for_each(|(key, value)| {
                encode::write_str(out, key).map_err(failed)?;
                write(out, value, depth + 1)
            })
        }
        Value::Pairs(pairs) => {
            encode::write_map_len(out, length(pairs.len())?).map_err(failed)?;
            pairs.iter().try_for_each(|(key, value)| {
                write(out, key, depth + 1)?;
                write(out, value, depth + 1)
            })
        }
        Value::WideStr(_) => Err(unsupported("a string has lone surrogates")),
        Value::DateTime(_) | Value::Date(_) | Value::Time(_) | Value::Decimal(_) | Value::Uuid(_) => {
            Err(unsupported("no datetime, date, time, Decimal or UUID"))
        }
    }
}

fn failed(error: impl ToString) -> EncodeError {
    unsupported(&error.to_string())
}

fn length(count: usize) -> Result<u32, EncodeError> {
    u32::try_from(count).map_err(|_| unsupported("more than 2**32 - 1 elements"))
}

fn cut() -> DecodeError {
    malformed("the data ends in the middle of a value")
}

fn malformed(reason: &str) -> DecodeError {
    DecodeError::Malformed { format: "msgpack", reason: reason.to_owned() }
}

fn unsupported(reason: &str) -> EncodeError {
    EncodeError::Unsupported { format: "msgpack", reason: reason.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::json;

    #[test]
    fn values_go_both_ways() {
        let text = r#"[null, true, 0, -1, 127, 128, -33, 65536, -2147483649, 9223372036854775807, 18446744073709551615, 1.5,
            "x", {"a": [], "b": {}}]"#;
        let value = json::parse_str(text).unwrap();
        assert_eq!(parse(&to_vec(&value).unwrap()).unwrap(), value);
        for size in [0, 31, 32, 255, 256, 65535, 65536] {
            for value in [Value::Str("x".repeat(size)), Value::Bytes(vec![0; size].into()), Value::from(vec![1; size])]
            {
                assert_eq!(parse(&to_vec(&value).unwrap()).unwrap(), value);
            }
        }
    }

    #[test]
    fn bytes_are_those_of_pythons_msgpack() {
        let value = json::parse_str(r#"[1, -1, 200, -200, "a", {"k": null}]"#).unwrap();
        let expected = b"\x96\x01\xff\xcc\xc8\xd1\xff\x38\xa1a\x81\xa1k\xc0";
        assert_eq!(to_vec(&value).unwrap(), expected);
    }

    #[test]
    fn refusals() {
        let table: &[&[u8]] = &[
            b"",
            b"\xc1",
            b"\x01\x01",
            b"\x92\x01",
            b"\xd4\x01\x00",
            b"\xa1\xff",
            b"\x81\x01\x01",
            b"\xdd\xff\xff\xff\xff",
            b"\xdf\xff\xff\xff\xff\xa0",
            b"\xc6\xff\xff\xff\xff",
            b"\xcf\x00",
        ];
        for bytes in table {
            assert!(parse(bytes).is_err(), "{bytes:?}");
        }
        assert!(parse(&[0x91; 100_000]).is_err());
        assert!(parse(&[0x81, 0xa0].repeat(5000)).is_err());
        assert_eq!(parse(b"\x81\xc4\x01k\x01").unwrap(), Value::Pairs(vec![(Value::Bytes("k".into()), Value::Int(1))]));
        for value in [
            Value::BigInt("18446744073709551616".into()),
            Value::Date("2026-11-20".into()),
            Value::WideStr([0xd800].into()),
        ] {
            assert!(to_vec(&value).is_err());
        }
    }
}
