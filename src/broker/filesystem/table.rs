//! [`Tables`]: which queues are bound to an exchange, one file each in the control folder
//! (`kombu/transport/filesystem.py:Channel.get_table`, `_queue_bind`, `_delete`).
//!
//! They are read and changed in place under a lock, as kombu does; a file that replaced another would escape the locks.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, ErrorKind, Read, Seek, Write},
    path::{Path, PathBuf},
};

use crate::{
    broker::{BrokerError, filesystem::name, topic},
    protocol::{Exchange, ExchangeType},
    serialization::{Value, json},
};

/// What Windows takes for devices, which kombu refuses everywhere.
const RESERVED: [&str; 4] = ["CON", "PRN", "AUX", "NUL"];

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Binding {
    pub routing_key: String,
    /// A regular expression, of topic exchanges only.
    pub pattern: String,
    pub queue: String,
}

impl Binding {
    /// The row of a queue bound to this exchange.
    pub fn new(exchange: &Exchange, routing_key: &str, queue: &str) -> Self {
        let pattern = if exchange.kind == ExchangeType::Topic { topic::pattern(routing_key) } else { String::new() };
        Self { routing_key: routing_key.to_owned(), pattern, queue: queue.to_owned() }
    }

    /// Whether a topic exchange sends a message with this key here. Who bound the queue to another kind of exchange left no
    /// pattern, which matches everything.
    pub fn matches(&self, routing_key: &str) -> bool {
        self.pattern.is_empty() || topic::matches(&self.routing_key, routing_key)
    }
}

/// The control folder.
#[derive(Debug, Clone)]
pub(super) struct Tables {
    folder: PathBuf,
}

impl Tables {
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// What is bound to an exchange; nothing where nobody has ever bound anything.
    pub fn read(&self, exchange: &str) -> Result<Vec<Binding>, BrokerError> {
        let path = self.path(exchange)?;
        let read = || {
            let mut file = File::open(&path)?;
            file.lock_shared()?;
            rows(&mut file)
        };
        match read() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
            rows => rows.map_err(|error| unreadable(&path, &error)),
        }
    }

    /// Adds a row, if it is not there.
    pub fn bind(&self, exchange: &str, binding: &Binding) -> Result<(), BrokerError> {
        let path = self.path(exchange)?;
        self.bind_in(&path, binding).map_err(|error| unreadable(&path, &error))
    }

    /// Removes a row, if it is there.
    pub fn unbind(&self, exchange: &str, binding: &Binding) -> Result<(), BrokerError> {
        let path = self.path(exchange)?;
        let change = || {
            let mut file = OpenOptions::new().read(true).write(true).open(&path)?;
            file.lock()?;
            let mut bindings = rows(&mut file)?;
            let Some(place) = bindings.iter().position(|known| known == binding) else { return Ok(()) };
            bindings.remove(place);
            overwrite(&mut file, &bindings)
        };
        match change() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            done => done.map_err(|error| unreadable(&path, &error)),
        }
    }

    fn bind_in(&self, path: &Path, binding: &Binding) -> io::Result<()> {
        match fs::create_dir(&self.folder) {
            Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
            _ => {}
        }
        loop {
            match OpenOptions::new().read(true).write(true).open(path) {
                Ok(mut file) => return add(&mut file, binding),
                Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
                Err(_) => {}
            }
            match self.create(path, binding) {
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                done => return done,
            }
        }
    }

    /// Makes a table with its first row in it: nobody ever sees it empty, which kombu cannot read.
    fn create(&self, path: &Path, binding: &Binding) -> io::Result<()> {
        let aside = self.folder.join(name::hidden("new"));
        fs::write(&aside, text(std::slice::from_ref(binding))?)?;
        let linked = fs::hard_link(&aside, path);
        let _ = fs::remove_file(&aside);
        match linked {
            // A file system without links.
            Err(error) if error.kind() == ErrorKind::PermissionDenied || error.kind() == ErrorKind::Unsupported => {
                let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
                file.lock()?;
                overwrite(&mut file, std::slice::from_ref(binding))
            }
            done => done,
        }
    }

    fn path(&self, exchange: &str) -> Result<PathBuf, BrokerError> {
        if !is_valid(exchange) {
            return Err(BrokerError::refused(format!("Invalid exchange name: '{exchange}'")));
        }
        Ok(self.folder.join(format!("{exchange}.exchange")))
    }
}

fn add(file: &mut File, binding: &Binding) -> io::Result<()> {
    file.lock()?;
    let mut bindings = rows(file)?;
    if bindings.contains(binding) {
        return Ok(());
    }
    bindings.insert(0, binding.clone());
    overwrite(file, &bindings)
}

fn overwrite(file: &mut File, bindings: &[Binding]) -> io::Result<()> {
    let text = text(bindings)?;
    file.rewind()?;
    file.write_all(text.as_bytes())?;
    file.set_len(text.len() as u64)
}

fn text(bindings: &[Binding]) -> io::Result<String> {
    let row = |row: &Binding| {
        Value::List([&row.routing_key, &row.pattern, &row.queue].map(|text| text.as_str().into()).to_vec())
    };
    json::to_string(&Value::List(bindings.iter().map(row).collect())).map_err(io::Error::other)
}

/// An empty file is a table that somebody is about to write.
fn rows(file: &mut File) -> io::Result<Vec<Binding>> {
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    if text.is_empty() {
        return Ok(Vec::new());
    }
    let invalid = || io::Error::new(ErrorKind::InvalidData, "it is no table of bindings");
    let table = json::parse(&text).map_err(|_| invalid())?;
    table.as_list().and_then(|rows| rows.iter().map(row).collect()).ok_or_else(invalid)
}

fn row(value: &Value) -> Option<Binding> {
    let text = |value: &Value| if value.is_null() { Some(String::new()) } else { value.as_str().map(str::to_owned) };
    let [routing_key, pattern, queue] = value.as_list()? else { return None };
    Some(Binding { routing_key: text(routing_key)?, pattern: text(pattern)?, queue: text(queue)? })
}

/// `Channel._is_valid_exchange_name` of kombu.
fn is_valid(exchange: &str) -> bool {
    let ordinary = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-');
    let only_dots = !exchange.is_empty() && exchange.bytes().all(|b| b == b'.');
    exchange.bytes().all(ordinary) && !only_dots && !is_reserved(exchange)
}

fn is_reserved(exchange: &str) -> bool {
    let stem = exchange.split('.').next().unwrap_or_default().to_ascii_uppercase();
    let numbered = |name| stem.strip_prefix(name).is_some_and(|rest: &str| matches!(rest.as_bytes(), [b'1'..=b'9']));
    RESERVED.contains(&stem.as_str()) || numbered("COM") || numbered("LPT")
}

fn unreadable(path: &Path, error: &io::Error) -> BrokerError {
    BrokerError::refused(format!("Cannot open {}: {error}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tables() -> (tempfile::TempDir, Tables) {
        let directory = tempfile::tempdir().expect("a directory");
        let tables = Tables::new(directory.path().join("control"));
        (directory, tables)
    }

    fn exchange(kind: ExchangeType) -> Exchange {
        Exchange::new("ex", kind)
    }

    #[test]
    fn tables_are_kombus_to_the_byte() {
        let (_directory, tables) = tables();
        assert_eq!(tables.read("ex").unwrap(), []);
        let one = Binding::new(&exchange(ExchangeType::Topic), "a.#", "qué");
        let two = Binding::new(&exchange(ExchangeType::Direct), "rk", "two");
        for binding in [&one, &two, &one] {
            tables.bind("ex", binding).unwrap();
        }
        let file = tables.folder.join("ex.exchange");
        assert_eq!(fs::read_to_string(&file).unwrap(), r#"[["rk", "", "two"], ["a.#", "^a\\..*?$", "qu\u00e9"]]"#);
        assert_eq!(tables.read("ex").unwrap(), [two.clone(), one.clone()]);
        tables.unbind("ex", &one).unwrap();
        tables.unbind("ex", &one).unwrap();
        assert_eq!(fs::read_to_string(&file).unwrap(), r#"[["rk", "", "two"]]"#);
        tables.unbind("none", &one).unwrap();
        assert_eq!(fs::read_dir(&tables.folder).unwrap().count(), 1);
    }

    #[test]
    fn bindings_of_many_are_all_there() {
        let (_directory, tables) = tables();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let tables = &tables;
                scope.spawn(move || {
                    for i in 0..20 {
                        tables
                            .bind("ex", &Binding::new(&exchange(ExchangeType::Fanout), "", &format!("{thread}.{i}")))
                            .unwrap();
                    }
                });
            }
        });
        assert_eq!(tables.read("ex").unwrap().len(), 160);
    }

    #[test]
    fn what_is_no_table_is_refused() {
        let (_directory, tables) = tables();
        fs::create_dir(&tables.folder).unwrap();
        let binding = Binding::new(&exchange(ExchangeType::Direct), "rk", "q");
        for text in ["[", "{}", "[1]", r#"[["a", "b"]]"#, r#"[["a", "b", 3]]"#] {
            fs::write(tables.folder.join("ex.exchange"), text).unwrap();
            let error = tables.read("ex").unwrap_err().to_string();
            assert!(error.contains("ex.exchange: it is no table"), "{error}");
            assert!(tables.bind("ex", &binding).is_err());
            assert_eq!(fs::read_to_string(tables.folder.join("ex.exchange")).unwrap(), text);
        }
        fs::write(tables.folder.join("ex.exchange"), "").unwrap();
        assert_eq!(tables.read("ex").unwrap(), []);
        tables.bind("ex", &binding).unwrap();
        assert_eq!(tables.read("ex").unwrap(), [binding]);
    }

    #[test]
    fn names_are_those_that_kombu_allows() {
        for name in ["", "celery", "reply.celery.pidbox", "a-b_c.9", "CONS", "COM0", "xCON"] {
            assert!(is_valid(name), "{name}");
        }
        for name in ["..", ".", "a/b", "a b", "é", "con", "NUL.x", "com1", "LPT9.a", "a\n", "a\0"] {
            assert!(!is_valid(name), "{name}");
        }
    }

    #[test]
    fn topics_match_by_their_keys() {
        let topic = Binding::new(&exchange(ExchangeType::Topic), "worker.#", "q");
        assert!(topic.matches("worker.online") && !topic.matches("task.sent"));
        assert!(Binding::new(&exchange(ExchangeType::Direct), "worker.#", "q").matches("task.sent"));
    }
}
