//! The state in a pickled document, read without unpickling: its other fields may hold any Python object.

/// Opcodes of the two forms that `pickle.dumps(dict)` takes, protocols 2 and 4.
mod opcode {
    pub(super) const PROTO: u8 = 0x80;
    pub(super) const FRAME: u8 = 0x95;
    pub(super) const EMPTY_DICT: u8 = b'}';
    pub(super) const MARK: u8 = b'(';
    pub(super) const MEMOIZE: u8 = 0x94;
    pub(super) const BINPUT: u8 = b'q';
    pub(super) const LONG_BINPUT: u8 = b'r';
    pub(super) const SHORT_BINUNICODE: u8 = 0x8c;
    pub(super) const BINUNICODE: u8 = b'X';
}

/// The value of `status`, if that is the first key of a pickled dict, as in all of Celery's documents.
pub(super) fn of_pickle(bytes: &[u8]) -> Option<&str> {
    let mut rest = Reader(bytes);
    rest.expect(opcode::PROTO)?;
    rest.take(1)?;
    if rest.next_is(opcode::FRAME) {
        rest.take(9)?;
    }
    rest.expect(opcode::EMPTY_DICT)?;
    rest.skip_memo()?;
    rest.expect(opcode::MARK)?;
    if rest.text()? != "status" {
        return None;
    }
    rest.text()
}

struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    fn next_is(&self, opcode: u8) -> bool {
        self.0.first() == Some(&opcode)
    }

    fn expect(&mut self, opcode: u8) -> Option<()> {
        (self.take(1)? == [opcode]).then_some(())
    }

    fn skip_memo(&mut self) -> Option<()> {
        match *self.0.first()? {
            opcode::MEMOIZE => self.take(1).map(|_| ()),
            opcode::BINPUT => self.take(2).map(|_| ()),
            opcode::LONG_BINPUT => self.take(5).map(|_| ()),
            _ => Some(()),
        }
    }

    fn text(&mut self) -> Option<&'a str> {
        let length = match self.take(1)? {
            [opcode::SHORT_BINUNICODE] => usize::from(self.take(1)?[0]),
            [opcode::BINUNICODE] => u32::from_le_bytes(self.take(4)?.try_into().ok()?) as usize,
            _ => return None,
        };
        let text = std::str::from_utf8(self.take(length)?).ok()?;
        self.skip_memo()?;
        Some(text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `pickle.dumps({'status': 'RETRY', 'result': ValueError('x')}, 4)`
    const PROTOCOL_4: &[u8] = b"\x80\x04\x95A\x00\x00\x00\x00\x00\x00\x00}\x94(\x8c\x06status\x94\x8c\x05RETRY\x94\x8c\x06result\x94\x8c\x08builtins\x94\x8c\nValueError\x94\x93\x94\x8c\x01x\x94\x85\x94R\x94u.";
    /// `pickle.dumps({'status': 'SUCCESS', 'result': 1}, 2)`
    const PROTOCOL_2: &[u8] =
        b"\x80\x02}q\x00(X\x06\x00\x00\x00statusq\x01X\x07\x00\x00\x00SUCCESSq\x02X\x06\x00\x00\x00resultq\x03K\x01u.";

    #[test]
    fn finds_the_state() {
        assert_eq!(of_pickle(PROTOCOL_4), Some("RETRY"));
        assert_eq!(of_pickle(PROTOCOL_2), Some("SUCCESS"));
    }

    #[test]
    fn cut_and_foreign_bytes_have_none() {
        for end in 0..30 {
            assert_eq!(of_pickle(&PROTOCOL_4[..end]), None);
        }
        assert_eq!(of_pickle(b"{\"status\": \"SUCCESS\"}"), None);
        assert_eq!(of_pickle(b"\x80\x04}\x94(\x8c\x06result\x94K\x01u."), None);
    }
}
