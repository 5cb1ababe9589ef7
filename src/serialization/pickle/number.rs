//! Integers of any size, as two's complement.

use num_bigint::BigInt;

use super::malformed;
use crate::serialization::{DecodeError, Value};

/// Bytes of an integer with as many digits as Python likes to show.
const MAX_BYTES: usize = 1800;

pub(super) fn from_le_bytes(bytes: &[u8]) -> Result<Value, DecodeError> {
    if bytes.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge { what: "integer in a pickle", limit: MAX_BYTES });
    }
    let number = BigInt::from_signed_bytes_le(bytes);
    Ok(i64::try_from(&number).map_or_else(|_| Value::BigInt(number.to_string().into()), Value::Int))
}

/// The bytes of a [`Value::BigInt`]'s digits.
pub(super) fn to_le_bytes(digits: &str) -> Result<Vec<u8>, DecodeError> {
    let number: BigInt = digits.parse().map_err(|_| malformed("digits that are no integer"))?;
    Ok(number.to_signed_bytes_le())
}
