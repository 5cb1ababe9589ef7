//! Pickles of plain data, protocols 2 to 5. Nothing is imported and nothing is called.
//!
//! Not Python's pickle: of all that a pickle can name, only what makes `datetime`, `date`, `time`, `Decimal`, `UUID`,
//! `bytes`, and Celery's own signatures is understood; every other name refuses the whole pickle.

mod graph;
mod machine;
mod number;
mod opcode;
mod reduce;
#[cfg(test)]
mod tests;
mod time;
mod wide;
mod writer;

pub use writer::{to_vec, to_vec_of_protocol};

use crate::serialization::{DecodeError, EncodeError, Value};

/// How deep lists and dicts may be nested.
const MAX_DEPTH: usize = 500;

/// Bytes that a value may come to once everything shared in the pickle is written out, unless the pickle itself is large.
const MAX_WEIGHT: usize = 128 << 20;

/// How many times its own size a large pickle may come to.
const MAX_GROWTH: usize = 32;

/// Reads one pickle; what follows its end is ignored, as Python does.
///
/// # Errors
/// `Malformed` for protocols 0 and 1 opcodes, for names that are not understood, and for everything broken; `TooLarge`
/// for nests and shared structures that grow without bounds.
pub fn parse(bytes: &[u8]) -> Result<Value, DecodeError> {
    machine::Machine::new(bytes).run()
}

fn malformed(reason: impl Into<String>) -> DecodeError {
    DecodeError::Malformed { format: "pickle", reason: reason.into() }
}

fn unsupported(reason: impl Into<String>) -> EncodeError {
    EncodeError::Unsupported { format: "pickle", reason: reason.into() }
}
