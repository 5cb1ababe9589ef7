//! The stack machine that a pickle is a program for (`pickle.py:_Unpickler`).

use std::collections::HashMap;

use bytes::Bytes;

use super::{
    MAX_GROWTH, MAX_WEIGHT,
    graph::{Graph, Id, Node},
    malformed, number, opcode as op, reduce, wide,
};
use crate::serialization::{DecodeError, Value};

/// The highest protocol there is.
const HIGHEST_PROTOCOL: u8 = 5;

pub(super) struct Machine<'a> {
    rest: &'a [u8],
    limit: usize,
    graph: Graph,
    stack: Vec<Id>,
    marks: Vec<usize>,
    memo: HashMap<usize, Id>,
}

impl<'a> Machine<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        let limit = MAX_WEIGHT.max(bytes.len().saturating_mul(MAX_GROWTH));
        Self { rest: bytes, limit, graph: Graph::default(), stack: Vec::new(), marks: Vec::new(), memo: HashMap::new() }
    }

    pub(super) fn run(mut self) -> Result<Value, DecodeError> {
        loop {
            let [code] = self.array()?;
            if code == op::STOP {
                let top = self.pop()?;
                return self.graph.value(top, self.limit);
            }
            self.step(code)?;
        }
    }

    fn step(&mut self, code: u8) -> Result<(), DecodeError> {
        match code {
            op::PROTO => self.protocol(),
            op::FRAME => self.array::<8>().map(drop),
            op::MARK => {
                self.marks.push(self.stack.len());
                Ok(())
            }
            op::POP => self.pop().map(drop),
            op::POP_MARK => self.pop_to_mark().map(drop),
            op::EMPTY_LIST | op::LIST | op::EMPTY_TUPLE | op::TUPLE | op::EMPTY_DICT | op::DICT => self.container(code),
            op::TUPLE1 | op::TUPLE2 | op::TUPLE3 => self.short_tuple(usize::from(code - op::TUPLE1) + 1),
            op::APPEND | op::APPENDS => self.append(code == op::APPEND),
            op::SETITEM | op::SETITEMS => self.set_items(code == op::SETITEM),
            op::BINPUT | op::LONG_BINPUT | op::MEMOIZE => self.put(code),
            op::BINGET | op::LONG_BINGET => self.get(code),
            op::GLOBAL | op::STACK_GLOBAL => self.global(code),
            op::REDUCE => self.reduce(),
            op::NEWOBJ => self.new_object(),
            op::BUILD => self.build(),
            scalar => self.scalar(scalar),
        }
    }

    fn scalar(&mut self, code: u8) -> Result<(), DecodeError> {
        let value = match code {
            op::NONE => Value::Null,
            op::NEWTRUE => Value::Bool(true),
            op::NEWFALSE => Value::Bool(false),
            op::BININT => Value::from(i32::from_le_bytes(self.array()?)),
            op::BININT1 => Value::from(u8::from_le_bytes(self.array()?)),
            op::BININT2 => Value::from(u16::from_le_bytes(self.array()?)),
            op::BINFLOAT => Value::Float(f64::from_be_bytes(self.array()?)),
            op::LONG1 | op::LONG4 => {
                let size = if code == op::LONG1 { self.size::<1>()? } else { self.size::<4>()? };
                number::from_le_bytes(self.take(size)?)?
            }
            op::SHORT_BINUNICODE | op::BINUNICODE | op::BINUNICODE8 => {
                let size = self.size_of(code, op::SHORT_BINUNICODE, op::BINUNICODE)?;
                wide::decode(self.take(size)?).ok_or_else(|| malformed("a string is not UTF-8"))?
            }
            op::SHORT_BINBYTES | op::BINBYTES | op::BINBYTES8 => {
                let size = self.size_of(code, op::SHORT_BINBYTES, op::BINBYTES)?;
                Value::Bytes(Bytes::copy_from_slice(self.take(size)?))
            }
            other => return Err(malformed(format!("opcode {:?} is not plain data", char::from(other)))),
        };
        self.push(Node::Plain(value));
        Ok(())
    }

    fn protocol(&mut self) -> Result<(), DecodeError> {
        match self.array()? {
            [..=HIGHEST_PROTOCOL] => Ok(()),
            [other] => Err(malformed(format!("unsupported pickle protocol: {other}"))),
        }
    }

    fn container(&mut self, code: u8) -> Result<(), DecodeError> {
        let node = match code {
            op::EMPTY_LIST | op::EMPTY_TUPLE => Node::List(Vec::new()),
            op::EMPTY_DICT => Node::Dict(Vec::new()),
            op::DICT => Node::Dict(pairs(&self.pop_to_mark()?)?),
            _ => Node::List(self.pop_to_mark()?),
        };
        self.push(node);
        Ok(())
    }

    fn short_tuple(&mut self, length: usize) -> Result<(), DecodeError> {
        let at = self.stack.len().checked_sub(length).ok_or_else(underflow)?;
        let items = self.stack.split_off(at);
        self.push(Node::List(items));
        Ok(())
    }

    fn append(&mut self, one: bool) -> Result<(), DecodeError> {
        let new = if one { vec![self.pop()?] } else { self.pop_to_mark()? };
        match self.top_mut()? {
            Node::List(items) => items.extend(new),
            _ => return Err(malformed("something that is no list is appended to")),
        }
        Ok(())
    }

    fn set_items(&mut self, one: bool) -> Result<(), DecodeError> {
        let new = if one {
            let value = self.pop()?;
            vec![self.pop()?, value]
        } else {
            self.pop_to_mark()?
        };
        let new = pairs(&new)?;
        match self.top_mut()? {
            Node::Dict(entries) => entries.extend(new),
            _ => return Err(malformed("an item is set on something that is no dict")),
        }
        Ok(())
    }

    fn put(&mut self, code: u8) -> Result<(), DecodeError> {
        let place = match code {
            op::MEMOIZE => self.memo.len(),
            op::BINPUT => self.size::<1>()?,
            _ => self.size::<4>()?,
        };
        self.memo.insert(place, self.top()?);
        Ok(())
    }

    fn get(&mut self, code: u8) -> Result<(), DecodeError> {
        let place = if code == op::BINGET { self.size::<1>()? } else { self.size::<4>()? };
        let id = self.memo.get(&place).ok_or_else(|| malformed(format!("nothing is memoized at {place}")))?;
        self.stack.push(*id);
        Ok(())
    }

    fn global(&mut self, code: u8) -> Result<(), DecodeError> {
        let (module, name) = if code == op::GLOBAL {
            (self.line()?, self.line()?)
        } else {
            let (name, module) = (self.pop()?, self.pop()?);
            let text =
                |id| self.graph.text(id).map(str::to_owned).ok_or_else(|| malformed("a global's name is no string"));
            (text(module)?, text(name)?)
        };
        self.push(Node::Global(module, name));
        Ok(())
    }

    fn reduce(&mut self) -> Result<(), DecodeError> {
        let (args, callable) = (self.pop()?, self.pop()?);
        let made = reduce::call(&mut self.graph, callable, args)?;
        self.stack.push(made);
        Ok(())
    }

    fn new_object(&mut self) -> Result<(), DecodeError> {
        let (args, class) = (self.pop()?, self.pop()?);
        let made = reduce::new_object(&mut self.graph, class, args)?;
        self.stack.push(made);
        Ok(())
    }

    fn build(&mut self) -> Result<(), DecodeError> {
        let state = self.pop()?;
        reduce::build(&mut self.graph, self.stack.last().copied().ok_or_else(underflow)?, state)
    }

    fn push(&mut self, node: Node) {
        let id = self.graph.add(node);
        self.stack.push(id);
    }

    /// The stack above the last mark is all that may be popped.
    fn pop(&mut self) -> Result<Id, DecodeError> {
        let floor = self.marks.last().copied().unwrap_or_default();
        if self.stack.len() <= floor {
            return Err(underflow());
        }
        self.stack.pop().ok_or_else(underflow)
    }

    fn pop_to_mark(&mut self) -> Result<Vec<Id>, DecodeError> {
        let mark = self.marks.pop().ok_or_else(|| malformed("no mark on the stack"))?;
        Ok(self.stack.split_off(mark.min(self.stack.len())))
    }

    fn top(&self) -> Result<Id, DecodeError> {
        self.stack.last().copied().ok_or_else(underflow)
    }

    fn top_mut(&mut self) -> Result<&mut Node, DecodeError> {
        let top = self.top()?;
        Ok(self.graph.node_mut(top))
    }

    fn size_of(&mut self, code: u8, short: u8, long: u8) -> Result<usize, DecodeError> {
        if code == short {
            return self.size::<1>();
        }
        if code == long { self.size::<4>() } else { self.size::<8>() }
    }

    /// A little-endian number of so many bytes.
    fn size<const N: usize>(&mut self) -> Result<usize, DecodeError> {
        let size = self.array::<N>()?.iter().rev().fold(0u64, |size, &byte| size << 8 | u64::from(byte));
        usize::try_from(size).map_err(|_| cut())
    }

    fn line(&mut self) -> Result<String, DecodeError> {
        let end = memchr::memchr(b'\n', self.rest).ok_or_else(cut)?;
        let line = self.take(end)?;
        self.rest = &self.rest[1..];
        std::str::from_utf8(line).map(str::to_owned).map_err(|_| malformed("a global's name is not UTF-8"))
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

fn pairs(items: &[Id]) -> Result<Vec<(Id, Id)>, DecodeError> {
    let (pairs, []) = items.as_chunks::<2>() else {
        return Err(malformed("odd number of items for a dict"));
    };
    Ok(pairs.iter().map(|[key, value]| (*key, *value)).collect())
}

fn underflow() -> DecodeError {
    malformed("the stack is empty")
}

fn cut() -> DecodeError {
    malformed("the data ends too early")
}
