//! Beat's schedules beside Celery's own classes: what a crontab means, when an entry is due, what is sent in a whole day.

mod support;

use celery_rs::{
    beat::{Crontab, Entry, Reckoning, Schedule, Scheduler, Tick},
    protocol::time::TimeZone,
    serialization::{Map, Value, json},
};

/// Other cases with another number, the same with the same.
const SEED: &str = "20261125";

/// One list for each case.
fn celerys(kind: &str, count: &str) -> Vec<Vec<Value>> {
    let seed = std::env::var("CELERY_RS_SEED").unwrap_or_else(|_| SEED.to_owned());
    let lines = support::python::run(include_str!("beat/reference.py"), &[kind, &seed, count]);
    lines.lines().map(|line| json::parse_str(line).unwrap().as_list().unwrap().to_vec()).collect()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn reckoning(zone: &Value, deadline: Option<i64>) -> Reckoning {
    Reckoning {
        zone: TimeZone::parse(Some(text(zone)), true).unwrap(),
        deadline: deadline.map(|seconds| seconds * 1_000_000),
    }
}

#[test]
fn crontab_fields_mean_what_they_mean_to_celery() {
    let cases = celerys("grammar", "4000");
    assert_eq!(cases.len(), 4000);
    let names = ["minute", "hour", "day_of_week", "day_of_month", "month_of_year"];
    let mut refused = 0;
    for case in &cases {
        let [name, written, numbers] = &case[..] else { panic!("{case:?}") };
        let fields: Map = [(text(name).to_owned(), written.clone())].into_iter().collect();
        let ours = Crontab::from_map(&fields).ok().map(|crontab| {
            let at = names.iter().position(|known| *known == text(name)).unwrap();
            crontab.fields()[at].numbers().into_iter().map(i64::from).collect::<Vec<_>>()
        });
        let theirs = numbers.as_list().map(|numbers| numbers.iter().map(|n| n.as_i64().unwrap()).collect::<Vec<_>>());
        refused += usize::from(theirs.is_none());
        assert_eq!(ours, theirs, "{name:?} {written:?}");
    }
    assert!((400..2000).contains(&refused), "{refused} of the texts were none");
}

#[test]
fn entries_are_due_when_celery_says_so() {
    let cases = celerys("due", "6000");
    assert_eq!(cases.len(), 6000);
    let mut due = 0;
    for case in &cases {
        let [zone, schedule, last, now, deadline, is_due, next] = &case[..] else { panic!("{case:?}") };
        let schedule = Schedule::from_value(schedule).unwrap();
        let found = schedule.is_due(last.as_i64().unwrap(), now.as_i64().unwrap(), &reckoning(zone, deadline.as_i64()));
        let ours = found.ok().map(|due| (due.is_due, due.next));
        let theirs = is_due.as_bool().zip(next.as_f64());
        due += usize::from(theirs.is_some_and(|(due, _)| due));
        assert_eq!(ours, theirs, "{case:?}");
    }
    assert!((1000..5000).contains(&due), "{due} of the entries were due");
}

#[test]
fn a_day_on_which_the_clock_changes_is_sent_as_celery_sends_it() {
    for case in celerys("days", "0") {
        let [zone, start, entries, sent] = &case[..] else { panic!("{case:?}") };
        let start = start.as_i64().unwrap();
        let entry = |(name, schedule): (&String, &Value)| Entry {
            name: name.clone(),
            task: "proj.task".to_owned(),
            schedule: Schedule::from_value(schedule).unwrap(),
            args: Vec::new(),
            kwargs: Map::new(),
            options: Map::new(),
            last_run_at: start,
            total_run_count: 0,
            kept: true,
        };
        let entries: Vec<Entry> = entries.as_map().unwrap().iter().map(entry).collect();
        assert_eq!(entries.len(), 50);
        let mut scheduler = Scheduler::new(entries, reckoning(zone, None), 300.0);
        let (mut clock, mut ours) = (start, Vec::new());
        while clock < start + 86_400_000_000 {
            match scheduler.tick(clock) {
                Tick::Send(occurrence) => {
                    ours.push((clock, scheduler.entry(&occurrence).name.clone()));
                    scheduler.sent(occurrence, clock);
                }
                Tick::Wait(seconds) => clock += ((seconds * 1e6).ceil() as i64).max(10_000),
            }
        }
        let pair = |sent: &Value| {
            let sent = sent.as_list().unwrap();
            (sent[1].as_i64().unwrap(), text(&sent[0]).to_owned())
        };
        let mut theirs: Vec<_> = sent.as_list().unwrap().iter().map(pair).collect();
        // Entries that are due at the same moment are sent in whatever order their addresses have.
        ours.sort();
        theirs.sort();
        assert!(theirs.len() > 500, "{} were sent", theirs.len());
        let first = ours.iter().zip(&theirs).find(|(ours, theirs)| ours != theirs);
        assert!(ours == theirs, "{zone:?}: {} and {} were sent; {first:?}", ours.len(), theirs.len());
    }
}
