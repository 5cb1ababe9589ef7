//! [`EngineOptions`] and [`Parameters`]: what `create_engine` and a driver's `connect` are told, as far as it means something
//! to a client with two connections. What does not and would be missed is refused by its name.

use std::time::Duration;

use crate::{
    backend::{
        BackendError,
        database::url::{DatabaseUrl, unusable},
    },
    serialization::{Map, Value},
};

/// Options of `create_engine` that change nothing here: how SQLAlchemy logs, pools, compiles and caches. Connections are
/// fewer than any pool's, tried before they are trusted, and a write is one transaction that needs no stricter isolation.
const WITHOUT_EFFECT: [&str; 25] = [
    "echo",
    "echo_pool",
    "encoding",
    "enable_from_linting",
    "future",
    "hide_parameters",
    "implicit_returning",
    "insertmanyvalues_page_size",
    "isolation_level",
    "label_length",
    "logging_name",
    "max_identifier_length",
    "max_overflow",
    "pool_logging_name",
    "pool_pre_ping",
    "pool_reset_on_return",
    "pool_size",
    "pool_timeout",
    "pool_use_lifo",
    "poolclass",
    "query_cache_size",
    "skip_autocommit_rollback",
    "use_insertmanyvalues",
    "use_native_unicode",
    "executemany_mode",
];

/// `database_engine_options`.
#[derive(Debug, Clone, Default, PartialEq)]
pub(super) struct EngineOptions {
    /// `pool_recycle`: how old a connection may become; none is for ever.
    pub(super) recycle: Option<Duration>,
    connect_args: Map,
}

impl EngineOptions {
    /// # Errors
    /// [`BackendError::Unusable`] with the name of an option that would be missed.
    pub(super) fn from_map(map: &Map) -> Result<Self, BackendError> {
        let mut options = Self::default();
        for (name, value) in map {
            match (name.as_str(), value) {
                // SQLAlchemy takes -1 for ever.
                ("pool_recycle", value) => {
                    options.recycle = value.as_f64().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
                }
                ("connect_args", Value::Map(args)) => options.connect_args = args.clone(),
                ("connect_args", Value::Null) => {}
                (name, _) if WITHOUT_EFFECT.contains(&name) => {}
                (name, _) => {
                    return Err(unusable(format_args!("database_engine_options: {name} is not supported")));
                }
            }
        }
        Ok(options)
    }
}

/// What a driver is told when it connects: the URL's query, under `connect_args`. Each is taken once.
pub(super) struct Parameters(Vec<(String, Value)>);

impl Parameters {
    pub(super) fn of(url: &DatabaseUrl, options: &EngineOptions) -> Self {
        let from_url = url.query.iter().map(|(name, value)| (name.clone(), Value::from(value.as_str())));
        let from_args = options.connect_args.iter().map(|(name, value)| (name.clone(), value.clone()));
        Self(from_url.chain(from_args).collect())
    }

    /// The last one of this name.
    pub(super) fn value(&mut self, name: &str) -> Option<Value> {
        let taken: Vec<_> = self.0.extract_if(.., |(key, _)| key == name).map(|(_, value)| value).collect();
        taken.into_iter().next_back().filter(|value| !value.is_null())
    }

    /// As text, numbers too.
    pub(super) fn text(&mut self, name: &str) -> Option<String> {
        match self.value(name)? {
            Value::Str(text) => Some(text),
            other => Some(crate::protocol::repr::repr(&other)),
        }
    }

    /// `true`, `1`, ... as SQLAlchemy's `asbool` has it.
    pub(super) fn truth(&mut self, name: &str) -> Option<bool> {
        Some(match self.value(name)? {
            Value::Str(text) => matches!(text.to_ascii_lowercase().as_str(), "true" | "yes" | "on" | "y" | "t" | "1"),
            other => other.is_truthy(),
        })
    }

    /// # Errors
    /// For what is no number of seconds.
    pub(super) fn seconds(&mut self, name: &str) -> Result<Option<Duration>, BackendError> {
        let Some(text) = self.text(name) else { return Ok(None) };
        let seconds = text.parse().ok().and_then(|seconds| Duration::try_from_secs_f64(seconds).ok());
        seconds.map(Some).ok_or_else(|| unusable(format_args!("its parameter {name} is no number of seconds")))
    }

    /// Leaves out what changes nothing.
    pub(super) fn ignore(&mut self, names: &[&str]) {
        self.0.retain(|(name, _)| !names.contains(&name.as_str()));
    }

    /// # Errors
    /// With the name of what nobody has taken.
    pub(super) fn finish(self) -> Result<(), BackendError> {
        match self.0.first() {
            None => Ok(()),
            Some((name, _)) => Err(unusable(format_args!("its parameter {name} is not supported"))),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::serialization::map;

    #[test]
    fn what_would_be_missed_is_refused_by_name() {
        let celerys = map([("pool_pre_ping", true.into()), ("pool_recycle", 3600.into()), ("echo", true.into())]);
        assert_eq!(EngineOptions::from_map(&celerys).unwrap().recycle, Some(Duration::from_secs(3600)));
        let forever = map([("pool_recycle", (-1).into())]);
        assert_eq!(EngineOptions::from_map(&forever).unwrap().recycle, None);
        let error = EngineOptions::from_map(&map([("execution_options", Map::new().into())])).unwrap_err();
        let told = "result_backend cannot be used: database_engine_options: execution_options is not supported";
        assert_eq!(error, BackendError::Unusable(told.to_owned()));
    }

    #[test]
    fn arguments_go_before_the_url() {
        let url = DatabaseUrl::parse("sqlite:///x?timeout=3&uri=true&strange=1").unwrap();
        let args = map([("connect_args", map([("timeout", 0.5.into())]).into())]);
        let mut parameters = Parameters::of(&url, &EngineOptions::from_map(&args).unwrap());
        assert_eq!(parameters.seconds("timeout").unwrap(), Some(Duration::from_millis(500)));
        assert_eq!((parameters.truth("uri"), parameters.truth("timeout")), (Some(true), None));
        let error = parameters.finish().unwrap_err().to_string();
        assert!(error.ends_with("its parameter strange is not supported"), "{error}");
    }
}
