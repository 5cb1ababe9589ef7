//! Framing: a length (u32, little-endian) and that many bytes of msgpack.
//!
//! Only bytes here; who reads and writes them is in [`socket`](super::socket) and upstairs. The [`Decoder`] trusts no
//! length: memory is taken for what has arrived, never for what a prefix announces.

use std::io::{self, Read};

use bytes::{Buf, BytesMut};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::ipc::IpcError;

/// The largest frame, in bytes without its length prefix: 1 GiB. A task's body has to fit into one.
pub const MAX_FRAME: usize = 1 << 30;

const PREFIX: usize = 4;
const READ_SIZE: usize = 64 * 1024;
/// What a blocking read makes room for while nothing longer is announced: that room is zeroed each time.
const SHORT_READ: usize = 8 * 1024;

/// Appends one frame to `buffer`; on an error `buffer` is as it was.
pub fn encode(frame: &impl Serialize, buffer: &mut Vec<u8>) -> Result<(), IpcError> {
    let start = buffer.len();
    buffer.extend_from_slice(&[0; PREFIX]);
    match serialize(frame, buffer, start + PREFIX) {
        Ok(length) => {
            buffer[start..start + PREFIX].copy_from_slice(&length.to_le_bytes());
            Ok(())
        }
        Err(error) => {
            buffer.truncate(start);
            Err(error)
        }
    }
}

fn serialize(frame: &impl Serialize, buffer: &mut Vec<u8>, start: usize) -> Result<u32, IpcError> {
    rmp_serde::encode::write(buffer, frame).map_err(|error| IpcError::Malformed(error.to_string()))?;
    let length = buffer.len() - start;
    if length > MAX_FRAME {
        return Err(IpcError::TooLarge(length as u64));
    }
    u32::try_from(length).map_err(|_| IpcError::TooLarge(length as u64))
}

/// Takes bytes as they come and gives frames when they are whole.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: BytesMut,
}

impl Decoder {
    /// Nothing read yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Appends what was read elsewhere.
    pub fn feed(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Where to read into, with room for at least one read; for `try_read_buf` and the like.
    pub fn space(&mut self) -> &mut BytesMut {
        self.buffer.reserve(READ_SIZE);
        &mut self.buffer
    }

    /// Reads once; 0 means that the other end has closed.
    pub fn read_from(&mut self, source: &mut impl Read) -> io::Result<usize> {
        let before = self.buffer.len();
        self.buffer.resize(before + self.missing().clamp(SHORT_READ, READ_SIZE), 0);
        let read = source.read(&mut self.buffer[before..]);
        self.buffer.truncate(before + *read.as_ref().unwrap_or(&0));
        read
    }

    /// The next frame, if it has wholly arrived.
    pub fn frame<T: DeserializeOwned>(&mut self) -> Result<Option<T>, IpcError> {
        let Some(length) = self.announced()? else {
            return Ok(None);
        };
        let Some(body) = self.buffer.get(PREFIX..PREFIX + length) else {
            return Ok(None);
        };
        let frame = rmp_serde::from_slice(body).map_err(|error| IpcError::Malformed(error.to_string()))?;
        self.buffer.advance(PREFIX + length);
        Ok(Some(frame))
    }

    /// Whether nothing is left over; at the end of a stream, what is left over is a frame cut short.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Bytes of the frame that has begun to arrive.
    fn missing(&self) -> usize {
        let length = self.announced().ok().flatten().unwrap_or(0);
        (PREFIX + length).saturating_sub(self.buffer.len())
    }

    fn announced(&self) -> Result<Option<usize>, IpcError> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let length = u32::from_le_bytes(*prefix) as usize;
        if length > MAX_FRAME {
            return Err(IpcError::TooLarge(length as u64));
        }
        Ok(Some(length))
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::ipc::{FromChild, Job, ToChild, ToChildRef};

    fn run(number: u64, body: &[u8]) -> ToChild {
        let body = Bytes::copy_from_slice(body);
        ToChild::Run(Job { number, body, ..Job::default() })
    }

    fn number_and_body(frame: ToChild) -> (u64, Bytes) {
        match frame {
            ToChild::Run(job) => (job.number, job.body),
            other => panic!("{other:?} is no job"),
        }
    }

    #[test]
    fn frames_survive_any_cut() {
        let mut bytes = Vec::new();
        encode(&run(1, b"one"), &mut bytes).unwrap();
        encode(&run(2, &[0xff; 300]), &mut bytes).unwrap();
        for cut in 0..bytes.len() {
            let mut decoder = Decoder::new();
            let mut seen = Vec::new();
            for part in [&bytes[..cut], &bytes[cut..]] {
                decoder.feed(part);
                while let Some(frame) = decoder.frame::<ToChild>().unwrap() {
                    seen.push(number_and_body(frame));
                }
            }
            assert_eq!(seen, [(1, Bytes::from_static(b"one")), (2, Bytes::from(vec![0xff; 300]))]);
            assert!(decoder.is_empty());
        }
    }

    #[test]
    fn a_borrowed_job_is_the_same_frame() {
        let job = Job { number: 5, task: "proj.add".into(), priority: Some(3), ..Job::default() };
        let (mut borrowed, mut owned) = (Vec::new(), Vec::new());
        encode(&ToChildRef::Run(&job), &mut borrowed).unwrap();
        encode(&ToChild::Run(job), &mut owned).unwrap();
        assert_eq!(borrowed, owned);
    }

    #[test]
    fn bodies_travel_as_binary() {
        let mut bytes = Vec::new();
        encode(&run(1, &[0xfe; 1000]), &mut bytes).unwrap();
        assert!(bytes.len() < 1100, "{} bytes for a body of 1000", bytes.len());
    }

    #[test]
    fn an_announcement_takes_no_memory() {
        let mut decoder = Decoder::new();
        decoder.feed(&(MAX_FRAME as u32).to_le_bytes());
        assert!(decoder.frame::<FromChild>().unwrap().is_none());
        assert!(decoder.buffer.capacity() < 1024);
    }

    #[test]
    fn an_oversized_announcement_is_refused() {
        let mut decoder = Decoder::new();
        decoder.feed(&u32::MAX.to_le_bytes());
        assert!(matches!(decoder.frame::<FromChild>(), Err(IpcError::TooLarge(_))));
    }

    #[test]
    fn rubbish_is_refused() {
        let mut decoder = Decoder::new();
        decoder.feed(&[3, 0, 0, 0, 0xc1, 0xc1, 0xc1]);
        assert!(matches!(decoder.frame::<FromChild>(), Err(IpcError::Malformed(_))));
    }

    #[test]
    fn a_blocking_source_is_read_to_its_end() {
        let mut bytes = Vec::new();
        encode(&FromChild::Recalled(vec![7, 8]), &mut bytes).unwrap();
        let mut source = bytes.as_slice();
        let mut decoder = Decoder::new();
        assert_eq!(decoder.read_from(&mut source).unwrap(), bytes.len());
        assert_eq!(decoder.read_from(&mut source).unwrap(), 0);
        assert!(matches!(decoder.frame().unwrap(), Some(FromChild::Recalled(numbers)) if numbers == [7, 8]));
    }
}
