//! [`Banner`]: what the worker shows of itself at start (`celery/apps/worker.py`).

use std::fmt::Write;

use crate::config::queues::Queue;

const ART: [&str; 12] = [
    " --------------",
    "--- ***** -----",
    "-- ******* ----",
    "- *** --- * ---",
    "- ** ----------",
    "- ** ----------",
    "- ** ----------",
    "- ** ----------",
    "- *** --- * ---",
    "-- ******* ----",
    "--- ***** -----",
    " --------------",
];
const CYAN: &str = "\x1b[1;36m";
const RESET: &str = "\x1b[0m";

/// The facts of a banner, none of which holds a password.
#[derive(Debug, Clone, Default)]
pub struct Banner {
    /// Node name.
    pub hostname: String,
    /// What follows the `v`.
    pub version: String,
    /// `platform.platform()`.
    pub platform: String,
    /// Local time, to the second.
    pub timestamp: String,
    /// Name and address of the app.
    pub app: String,
    /// Masked URL of the broker.
    pub transport: String,
    /// Masked URL of the result backend.
    pub results: String,
    /// Number of seats.
    pub concurrency: String,
    /// Module of the pool: `prefork`, `thread`, `solo`.
    pub pool: String,
    /// Whether task events are sent.
    pub events: bool,
    /// The queues consumed.
    pub queues: Vec<QueueLine>,
    /// Tasks to list; none lists nothing (above INFO).
    pub tasks: Option<Vec<String>>,
}

/// A line of `[queues]`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct QueueLine {
    /// Queue.
    pub name: String,
    /// Exchange.
    pub exchange: String,
    /// Type of the exchange.
    pub kind: String,
    /// Routing key.
    pub routing_key: String,
}

impl From<&Queue> for QueueLine {
    fn from(queue: &Queue) -> Self {
        Self {
            name: queue.name.clone(),
            exchange: queue.exchange.name.clone(),
            kind: queue.exchange.kind.as_str().to_owned(),
            routing_key: queue.routing_key.clone(),
        }
    }
}

impl Banner {
    /// The whole text, ready to be written to stdout.
    pub fn render(&self, colour: bool) -> String {
        let (cyan, reset) = if colour { (CYAN, RESET) } else { ("", "") };
        let mut out = format!("{cyan} \n{}{reset}{reset}", self.facts());
        if let Some(tasks) = &self.tasks {
            let list: Vec<String> = tasks.iter().map(|task| format!("  . {task}")).collect();
            let _ = write!(out, "\n[tasks]\n{}\n", list.join("\n"));
        }
        out.push_str(reset);
        out.push('\n');
        out
    }

    /// The lines beside the picture, and those below it.
    fn facts(&self) -> String {
        let mut out = String::new();
        for (at, line) in self.lines().iter().enumerate() {
            let art = ART.get(at).copied().unwrap_or("               ");
            let _ = writeln!(out, "{art} {line}");
        }
        out
    }

    fn lines(&self) -> Vec<String> {
        let events = if self.events { "ON" } else { "OFF (enable -E to monitor tasks in this worker)" };
        let mut lines = vec![
            format!("{} v{}", self.hostname, self.version),
            String::new(),
            format!("{} {}", self.platform, self.timestamp),
            String::new(),
            "[config]".to_owned(),
            format!(".> app:         {}", self.app),
            format!(".> transport:   {}", self.transport),
            format!(".> results:     {}", self.results),
            format!(".> concurrency: {} ({})", self.concurrency, self.pool),
            format!(".> task events: {events}"),
            String::new(),
            "[queues]".to_owned(),
        ];
        lines.extend(self.queue_lines());
        lines
    }

    fn queue_lines(&self) -> Vec<String> {
        let mut queues = self.queues.clone();
        queues.sort();
        let line =
            |q: &QueueLine| format!(".> {:<16} exchange={}({}) key={}", q.name, q.exchange, q.kind, q.routing_key);
        if queues.is_empty() { vec![String::new()] } else { queues.iter().map(line).collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(name: &str) -> QueueLine {
        QueueLine { name: name.into(), exchange: name.into(), kind: "direct".into(), routing_key: name.into() }
    }

    #[test]
    fn is_celerys() {
        let banner = Banner {
            hostname: "w1@vm".into(),
            version: "5.7.0 (collider)".into(),
            platform: "Linux-6.1".into(),
            timestamp: "2026-11-21 03:36:13".into(),
            app: "proj:0x7f54".into(),
            transport: "redis://:**@localhost:6379/0".into(),
            results: "disabled://".into(),
            concurrency: "2".into(),
            pool: "prefork".into(),
            events: false,
            queues: vec![queue("b"), queue("a")],
            tasks: Some(vec!["proj.add".into()]),
        };
        let expected = [
            " ",
            " -------------- w1@vm v5.7.0 (collider)",
            "--- ***** ----- ",
            "-- ******* ---- Linux-6.1 2026-11-21 03:36:13",
            "- *** --- * --- ",
            "- ** ---------- [config]",
            "- ** ---------- .> app:         proj:0x7f54",
            "- ** ---------- .> transport:   redis://:**@localhost:6379/0",
            "- ** ---------- .> results:     disabled://",
            "- *** --- * --- .> concurrency: 2 (prefork)",
            "-- ******* ---- .> task events: OFF (enable -E to monitor tasks in this worker)",
            "--- ***** ----- ",
            " -------------- [queues]",
            "                .> a                exchange=a(direct) key=a",
            "                .> b                exchange=b(direct) key=b",
            "",
            "[tasks]",
            "  . proj.add",
            "",
            "",
        ];
        assert_eq!(banner.render(false), expected.join("\n"));
        assert!(banner.render(true).starts_with("\x1b[1;36m \n"));
    }
}
