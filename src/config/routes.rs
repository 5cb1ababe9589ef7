//! [`Routes`]: `task_routes`, as far as it is plain data (`celery/app/routes.py`).
//!
//! Routers that are functions or classes run in the app, not here; compiled patterns are not plain data either.

use crate::{
    config::ConfigError,
    serialization::{Map, Value},
};

/// Routers, in order; the first one that knows a task's name decides.
#[derive(Debug, Clone, Default)]
pub struct Routes {
    routers: Vec<MapRoute>,
}

/// One dict of names and globs.
#[derive(Debug, Clone, Default)]
struct MapRoute {
    names: Map,
    globs: Vec<(String, Map)>,
}

impl Routes {
    /// The routes that `task_routes` declares: a dict, or a list of dicts and of `[pattern, route]` pairs.
    ///
    /// # Errors
    /// When it holds something else, such as the class path of a router.
    pub fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let routers = match value {
            Value::Null => Vec::new(),
            Value::List(routers) => routers.iter().map(MapRoute::from_value).collect::<Result<_, _>>()?,
            router => vec![MapRoute::from_value(router)?],
        };
        Ok(Self { routers })
    }

    /// Where a task goes: `queue`, `exchange`, `routing_key`, `priority`, ... None is the default queue.
    pub fn lookup(&self, task: &str) -> Option<&Map> {
        self.routers.iter().find_map(|router| router.lookup(task))
    }
}

impl MapRoute {
    fn from_value(value: &Value) -> Result<Self, ConfigError> {
        let mut router = Self::default();
        match value {
            Value::Map(routes) => {
                for (pattern, route) in routes {
                    router.add(pattern, route)?;
                }
            }
            Value::List(pairs) => {
                for pair in pairs {
                    let [Value::Str(pattern), route] = pair.as_list().unwrap_or_default() else {
                        return Err(refusal("a pair of pattern and route"));
                    };
                    router.add(pattern, route)?;
                }
            }
            _ => return Err(refusal("plain data: routers that are code run in the Python app only")),
        }
        Ok(router)
    }

    fn add(&mut self, pattern: &str, route: &Value) -> Result<(), ConfigError> {
        let route = match route {
            Value::Str(queue) => Map::from_iter([("queue".to_owned(), queue.as_str().into())]),
            Value::Map(route) => route.clone(),
            _ => return Err(refusal("a queue's name or a dict")),
        };
        if pattern.contains('*') {
            self.globs.push((pattern.to_owned(), route));
        } else {
            self.names.insert(pattern.to_owned(), Value::Map(route));
        }
        Ok(())
    }

    fn lookup(&self, task: &str) -> Option<&Map> {
        let named = self.names.get(task).and_then(Value::as_map);
        named.or_else(|| self.globs.iter().find(|(glob, _)| matches(glob, task)).map(|(_, route)| route))
    }
}

fn refusal(expected: &str) -> ConfigError {
    ConfigError::Invalid {
        setting: "task_routes",
        layer: crate::config::Layer::App,
        reason: format!("a route must be {expected}"),
    }
}

/// Python's `fnmatch`: `*`, `?` and `[...]`, over the whole text. Takes time in proportion to the product of the lengths.
pub fn matches(glob: &str, text: &str) -> bool {
    let (glob, text): (Vec<char>, Vec<char>) = (glob.chars().collect(), text.chars().collect());
    let (mut g, mut t) = (0, 0);
    let mut last_star: Option<(usize, usize)> = None;
    while t < text.len() {
        if glob.get(g) == Some(&'*') {
            last_star = Some((g, t));
            g += 1;
        } else if let Some(length) = one(&glob[g..], text[t]) {
            g += length;
            t += 1;
        } else if let Some((star, taken)) = last_star {
            (g, t) = (star + 1, taken + 1);
            last_star = Some((star, taken + 1));
        } else {
            return false;
        }
    }
    glob[g..].iter().all(|c| *c == '*')
}

/// How much of the pattern one character uses up; none when it does not fit.
fn one(glob: &[char], c: char) -> Option<usize> {
    match *glob.first()? {
        '?' => Some(1),
        '[' => class(&glob[1..])
            .map_or((c == '[').then_some(1), |(end, negated, set)| (contains(set, c) != negated).then_some(end + 2)),
        literal => (literal == c).then_some(1),
    }
}

/// The set of `[...]`, whether it is negated, and where its bracket closes; none without one.
fn class(glob: &[char]) -> Option<(usize, bool, &[char])> {
    let negated = glob.first() == Some(&'!');
    let start = usize::from(negated);
    let end = (start + 1..glob.len()).find(|at| glob[*at] == ']')?;
    Some((end, negated, &glob[start..end]))
}

fn contains(set: &[char], c: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        if set.get(at + 1) == Some(&'-') && at + 2 < set.len() {
            if (set[at]..=set[at + 2]).contains(&c) {
                return true;
            }
            at += 3;
        } else {
            if set[at] == c {
                return true;
            }
            at += 1;
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_fnmatch_does() {
        for (glob, text, fits) in [
            ("proj.*", "proj.add", true),
            ("proj.*", "other.add", false),
            ("*.add", "a.b.add", true),
            ("*a*b", "xaxxb", true),
            ("*a*b", "xaxxbc", false),
            ("t[0-9].?", "t7.x", true),
            ("t[!0-9]", "t7", false),
            ("t[!0-9]", "tx", true),
            ("a[b", "a[b", true),
            ("*", "", true),
        ] {
            assert_eq!(matches(glob, text), fits, "{glob} on {text}");
        }
    }

    #[test]
    fn names_win_over_globs_and_routers_are_asked_in_order() {
        let glob = Map::from_iter([("proj.*".to_owned(), "slow".into()), ("proj.add".to_owned(), "fast".into())]);
        let rest = Map::from_iter([("*".to_owned(), Map::from_iter([("priority".to_owned(), 3i64.into())]).into())]);
        let routes = Routes::from_value(&Value::List(vec![glob.into(), rest.into()])).unwrap();
        assert_eq!(routes.lookup("proj.add").unwrap()["queue"], "fast".into());
        assert_eq!(routes.lookup("proj.mul").unwrap()["queue"], "slow".into());
        assert_eq!(routes.lookup("other").unwrap()["priority"], 3i64.into());
    }

    #[test]
    fn code_is_refused() {
        assert!(Routes::from_value(&"proj.routers.Router".into()).is_err());
        assert!(Routes::from_value(&Value::Null).unwrap().lookup("x").is_none());
    }
}
