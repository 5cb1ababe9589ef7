//! [`LogLevel`]: the levels of Python's `logging`.

/// A level, lowest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default)]
pub enum LogLevel {
    /// 10.
    Debug,
    /// 20.
    Info,
    /// 30; what the worker starts with.
    #[default]
    Warning,
    /// 40.
    Error,
    /// 50, also called FATAL.
    Critical,
}

impl LogLevel {
    /// A level by the names that `-l` takes, in any case.
    pub fn parse(name: &str) -> Option<Self> {
        Some(match name.to_ascii_uppercase().as_str() {
            "DEBUG" => LogLevel::Debug,
            "INFO" => LogLevel::Info,
            "WARNING" | "WARN" => LogLevel::Warning,
            "ERROR" => LogLevel::Error,
            "CRITICAL" | "FATAL" => LogLevel::Critical,
            _ => return None,
        })
    }

    /// The level of a number of Python's, or the next one above it.
    pub fn from_number(number: i64) -> Self {
        match number {
            ..=10 => LogLevel::Debug,
            11..=20 => LogLevel::Info,
            21..=30 => LogLevel::Warning,
            31..=40 => LogLevel::Error,
            _ => LogLevel::Critical,
        }
    }

    /// `levelname`, as Python writes it.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warning => "WARNING",
            LogLevel::Error => "ERROR",
            LogLevel::Critical => "CRITICAL",
        }
    }

    /// `levelno`, as Python counts.
    pub fn number(self) -> u8 {
        match self {
            LogLevel::Debug => 10,
            LogLevel::Info => 20,
            LogLevel::Warning => 30,
            LogLevel::Error => 40,
            LogLevel::Critical => 50,
        }
    }
}
