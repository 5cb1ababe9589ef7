//! [`TimeZone`]: `timezone` and `enable_utc` of the configuration (`celery/app/base.py:timezone`).

use chrono::{DateTime, Offset, TimeZone as _, Utc};

use crate::protocol::ProtocolError;

/// The app's time zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum TimeZone {
    /// UTC, the default.
    #[default]
    Utc,
    /// A zone of the IANA database, which is compiled in.
    Named(chrono_tz::Tz),
    /// The system's own, for `enable_utc = False` without a name.
    Local,
}

impl TimeZone {
    /// The zone that the two settings mean; an empty name counts as none.
    ///
    /// # Errors
    /// `UnknownTimeZone` for a name that is not in the IANA database.
    pub fn parse(name: Option<&str>, enable_utc: bool) -> Result<Self, ProtocolError> {
        match name.filter(|name| !name.is_empty()) {
            None if enable_utc => Ok(Self::Utc),
            None => Ok(Self::Local),
            Some("UTC" | "utc") => Ok(Self::Utc),
            Some(name) => name.parse().map(Self::Named).map_err(|_| ProtocolError::UnknownTimeZone(name.to_owned())),
        }
    }

    /// Whether this is UTC itself (`uses_utc_timezone`).
    pub fn is_utc(&self) -> bool {
        matches!(self, Self::Utc | Self::Named(chrono_tz::Tz::UTC))
    }

    /// The offset from UTC at an instant, in seconds.
    pub fn offset_at(&self, micros: i64) -> i64 {
        let at: DateTime<Utc> = DateTime::from_timestamp_micros(micros).unwrap_or_default();
        let seconds = match self {
            Self::Utc => 0,
            Self::Named(zone) => zone.offset_from_utc_datetime(&at.naive_utc()).fix().local_minus_utc(),
            Self::Local => chrono::Local.offset_from_utc_datetime(&at.naive_utc()).local_minus_utc(),
        };
        seconds.into()
    }
}
