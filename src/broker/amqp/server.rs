//! [`Server`]: who answers, read from `connection.start`. lapin keeps that to itself, so it is read off the wire.

use std::sync::{Arc, OnceLock};

/// A frame larger than this is not waited for.
const FRAME_LIMIT: usize = 64 * 1024;
/// More mechanisms are not listened to.
const MOST_MECHANISMS: usize = 32;

/// What the server says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) product: String,
    pub(super) version: String,
    /// The SASL mechanisms that it offers, in its order.
    pub(super) mechanisms: Vec<String>,
}

impl Server {
    /// Whether it has said which mechanisms it offers, and this is none of them.
    pub(super) fn lacks(&self, mechanism: &str) -> bool {
        !self.mechanisms.is_empty() && !self.mechanisms.iter().any(|offered| offered == mechanism)
    }

    /// Whether `basic.qos` has to say `global` for the window to be the channel's: RabbitMQ since 3.3 took the word for
    /// something else, and 4.0 no longer has shared windows.
    pub(super) fn wants_global_qos(&self) -> bool {
        let mut parts = self.version.split('.').map(|part| part.parse::<u32>().unwrap_or(0));
        let version = (parts.next().unwrap_or(0), parts.next().unwrap_or(0));
        self.product == "RabbitMQ" && ((3, 3)..(4, 0)).contains(&version)
    }
}

/// Reads along until `connection.start` has gone by.
pub(super) struct Sniffer {
    seen: Vec<u8>,
    /// Read by whoever dialled.
    found: Arc<OnceLock<Server>>,
}

impl Sniffer {
    pub(super) fn new(found: Arc<OnceLock<Server>>) -> Self {
        Self { seen: Vec::new(), found }
    }

    /// Takes what was read; true when it has seen enough.
    pub(super) fn feed(&mut self, bytes: &[u8]) -> bool {
        self.seen.extend_from_slice(bytes);
        let Some(size) = frame_size(&self.seen) else { return self.seen.len() > FRAME_LIMIT };
        if size > FRAME_LIMIT {
            return true;
        }
        let Some(frame) = self.seen.get(7..7 + size) else { return false };
        let _ = self.found.set(server_of(frame).unwrap_or_default());
        true
    }
}

/// The payload size from a frame's header: type, channel, size.
fn frame_size(bytes: &[u8]) -> Option<usize> {
    let size = bytes.get(3..7)?;
    Some(u32::from_be_bytes(size.try_into().ok()?) as usize)
}

/// `connection.start`: class 10, method 10, two version octets, the server's properties, its mechanisms with spaces between.
fn server_of(payload: &[u8]) -> Option<Server> {
    let mut rest = payload.strip_prefix(&[0, 10, 0, 10])?.get(2..)?;
    let length = take_u32(&mut rest)?;
    let mut table = take(&mut rest, length)?;
    let mut server = Server::default();
    while !table.is_empty() {
        let name_length = take(&mut table, 1)?[0] as usize;
        let name = take(&mut table, name_length)?;
        let kind = take(&mut table, 1)?[0];
        let value = take_value(&mut table, kind)?;
        match (name, kind) {
            (b"product", b'S') => server.product = String::from_utf8_lossy(value).into_owned(),
            (b"version", b'S') => server.version = String::from_utf8_lossy(value).into_owned(),
            _ => {}
        }
    }
    let length = take_u32(&mut rest)?;
    let mechanisms = String::from_utf8_lossy(take(&mut rest, length)?);
    let names = mechanisms.split_whitespace().filter(|name| is_mechanism(name));
    server.mechanisms = names.take(MOST_MECHANISMS).map(str::to_owned).collect();
    Some(server)
}

/// SASL's names are so short and plain (RFC 4422). They are shown in an error.
fn is_mechanism(name: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_uppercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
    name.len() <= 20 && name.bytes().all(plain)
}

fn take_value<'b>(bytes: &mut &'b [u8], kind: u8) -> Option<&'b [u8]> {
    let length = match kind {
        b'S' | b'F' | b'A' | b'x' => take_u32(bytes)?,
        b't' | b'b' | b'B' => 1,
        b's' | b'U' | b'u' => 2,
        b'I' | b'i' | b'f' => 4,
        b'L' | b'l' | b'd' | b'T' => 8,
        b'D' => 5,
        b'V' => 0,
        _ => return None,
    };
    take(bytes, length)
}

fn take_u32(bytes: &mut &[u8]) -> Option<usize> {
    Some(u32::from_be_bytes(take(bytes, 4)?.try_into().ok()?) as usize)
}

fn take<'b>(bytes: &mut &'b [u8], length: usize) -> Option<&'b [u8]> {
    let (head, tail) = bytes.split_at_checked(length)?;
    *bytes = tail;
    Some(head)
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, OnceLock};

    use super::{Server, Sniffer};

    fn frame(entries: &[(&str, u8, &[u8])]) -> Vec<u8> {
        let mut table = Vec::new();
        for (name, kind, value) in entries {
            table.push(name.len() as u8);
            table.extend(name.bytes());
            table.push(*kind);
            if matches!(kind, b'S' | b'F') {
                table.extend((value.len() as u32).to_be_bytes());
            }
            table.extend(*value);
        }
        let mut payload = vec![0, 10, 0, 10, 0, 9];
        for part in [&table[..], b"AMQPLAIN PLAIN", b"en_US"] {
            payload.extend((part.len() as u32).to_be_bytes());
            payload.extend(part);
        }
        let mut frame = vec![1, 0, 0];
        frame.extend((payload.len() as u32).to_be_bytes());
        frame.extend(payload);
        frame.push(0xCE);
        frame
    }

    #[test]
    fn the_server_is_read_byte_by_byte() {
        let found = Arc::new(OnceLock::new());
        let mut sniffer = Sniffer::new(found.clone());
        let nested: &[u8] = b"\x05basict\x01";
        let bytes =
            frame(&[("capabilities", b'F', nested), ("product", b'S', b"RabbitMQ"), ("version", b'S', b"3.10.8")]);
        let done = bytes.iter().position(|byte| sniffer.feed(&[*byte]));
        assert_eq!(done, Some(bytes.len() - 2));
        let mechanisms = vec!["AMQPLAIN".to_owned(), "PLAIN".to_owned()];
        let server = Server { product: "RabbitMQ".to_owned(), version: "3.10.8".to_owned(), mechanisms };
        assert_eq!(found.get(), Some(&server));
        assert!(server.lacks("EXTERNAL") && !server.lacks("PLAIN") && !Server::default().lacks("PLAIN"));
    }

    #[test]
    fn rubbish_is_nobody() {
        let found = Arc::new(OnceLock::new());
        assert!(Sniffer::new(found.clone()).feed(&frame(&[("x", b'?', b"")])));
        assert_eq!(found.get(), Some(&Server::default()));
        assert!(Sniffer::new(Arc::default()).feed(&[1, 0, 0, 255, 255, 255, 255]));
    }

    #[test]
    fn global_by_version() {
        let table = [
            ("RabbitMQ", "3.2.4", false),
            ("RabbitMQ", "3.3.0", true),
            ("RabbitMQ", "3.10.8", true),
            ("RabbitMQ", "3.13.0-rc.1", true),
            ("RabbitMQ", "4.0.2", false),
            ("RabbitMQ", "", false),
            ("LavinMQ", "3.9", false),
        ];
        for (product, version, global) in table {
            let server = Server { product: product.to_owned(), version: version.to_owned(), ..Server::default() };
            assert_eq!(server.wants_global_qos(), global, "{product} {version}");
        }
    }
}
