//! The schedule file, the heap, and the crontab's words; when entries are due is compared with Celery's own classes in
//! `tests/beat.rs`.

use super::*;
use crate::{protocol::time::parse_iso, serialization::json};

fn entry(text: &str, now: i64) -> Entry {
    Entry::from_value(&json::parse_str(text).unwrap(), now).unwrap()
}

fn every(name: &str, seconds: i64, now: i64) -> Entry {
    let schedule = format!(r#"{{"every": {}, "relative": false}}"#, seconds * 1_000_000);
    let rest = r#""task": "t", "args": [], "kwargs": {}, "options": {}, "kept": true"#;
    entry(&format!(r#"{{"name": "{name}", "schedule": {schedule}, {rest}}}"#), now)
}

fn at(text: &str) -> i64 {
    parse_iso(text).unwrap().micros()
}

#[test]
fn what_is_no_crontab_is_told_in_celerys_words() {
    for (text, error) in [
        ("* * 30 2 *", "Invalid crontab: day_of_month '30' never occurs in month_of_year '2'."),
        ("60 * * * *", "Invalid end range: 60 > 59."),
        ("* * 0 * *", "Invalid beginning range: 0 < 1."),
        ("*/ * * * *", "empty filter"),
        ("1,,2 * * * *", "empty part"),
        ("-1 * * * *", "negative numbers not supported"),
        ("* * * * someday", "Invalid weekday literal 'someday'."),
        ("* * * *", "expected five fields, got 4"),
    ] {
        assert_eq!(Crontab::parse(text).unwrap_err().to_string(), error, "{text}");
    }
    let number = json::parse_str(r#"{"minute": [61]}"#).unwrap();
    let error = Crontab::from_map(number.as_map().unwrap()).unwrap_err().to_string();
    assert_eq!(error, "Invalid crontab pattern.  Valid range is 0-59. '61' was found.");
}

#[test]
fn entries_take_their_turns() {
    let now = at("2026-03-01T00:00:00");
    let mut scheduler = Scheduler::new(vec![every("a", 30, now), every("b", 20, now)], Reckoning::default(), 300.0);
    let mut sent = Vec::new();
    let mut clock = now;
    while clock < now + 61_000_000 {
        match scheduler.tick(clock) {
            Tick::Send(occurrence) => {
                sent.push((scheduler.entry(&occurrence).name.clone(), (clock - now) / 1_000_000));
                scheduler.sent(occurrence, clock);
            }
            Tick::Wait(seconds) => clock += ((seconds * 1e6).ceil() as i64).max(1000),
        }
    }
    let expected = [("b", 20), ("a", 30), ("b", 40), ("a", 60), ("b", 60)];
    assert_eq!(sent, expected.map(|(name, second)| (name.to_owned(), second)));
    assert_eq!(scheduler.entries()[1].total_run_count, 3);
}

#[test]
fn nothing_to_do_is_looked_at_again_in_a_while() {
    assert_eq!(Scheduler::new(Vec::new(), Reckoning::default(), 5.0).tick(0), Tick::Wait(5.0));
}

#[test]
fn the_schedule_file_is_kept_and_locked() {
    let directory = tempfile::tempdir().unwrap();
    let path = Store::path(&directory.path().join("celerybeat-schedule").to_string_lossy());
    assert!(path.ends_with("celerybeat-schedule.json"));
    let utc = || (None, true);
    let mut entries = vec![every("a", 30, 7), Entry { kept: false, ..every("b", 30, 7) }];
    let mut store = Store::open(&path, utc(), None, &mut entries).unwrap();
    (entries[0].last_run_at, entries[0].total_run_count) = (1_772_323_200_000_001, 4);
    store.sync(&entries).unwrap();
    store.sync(&entries).unwrap();
    let refused = Store::open(&path, utc(), None, &mut entries).unwrap_err();
    assert!(matches!(refused, BeatError::Held { .. }), "{refused}");
    drop(store);
    let mut again = vec![every("a", 10, 9), Entry { kept: false, ..every("b", 10, 9) }, every("c", 10, 9)];
    drop(Store::open(&path, utc(), None, &mut again).unwrap());
    let runs: Vec<_> = again.iter().map(|entry| (entry.last_run_at, entry.total_run_count)).collect();
    assert_eq!(runs, [(1_772_323_200_000_001, 4), (9, 0), (9, 0)]);
    let mut elsewhere = vec![every("a", 10, 9)];
    drop(Store::open(&path, (Some("Europe/Vienna".to_owned()), true), None, &mut elsewhere).unwrap());
    assert_eq!(elsewhere[0].last_run_at, 1_772_323_200_000_001, "a zone where there was none is no change to Celery");
    drop(Store::open(&path, (None, false), None, &mut again[2..]).unwrap());
    assert_eq!(again[2].last_run_at, 9);
}

#[test]
fn a_file_that_makes_no_sense_is_begun_anew() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.json");
    for text in ["{", "[1, 2]", "\u{1}", r#"{"tz": null, "utc_enabled": true, "entries": {"a": {"last_run_at": 1}}}"#] {
        std::fs::write(&path, text).unwrap();
        let mut entries = vec![every("a", 30, 7)];
        let mut store = Store::open(&path, (None, true), None, &mut entries).unwrap();
        assert_eq!(entries[0].last_run_at, 7, "{text}");
        store.sync(&entries).unwrap();
    }
}

#[test]
fn what_celerys_beat_has_kept_is_taken_over_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("s.json");
    let run = Run { last_run_at: "2026-03-01T01:00:00+01:00".to_owned(), total_run_count: 2 };
    let kept = Kept { tz: None, utc_enabled: true, entries: [("a".to_owned(), run)].into_iter().collect() };
    let mut entries = vec![every("a", 30, 7)];
    let mut store = Store::open(&path, (None, true), Some(kept.clone()), &mut entries).unwrap();
    assert_eq!((entries[0].last_run_at, entries[0].total_run_count), (at("2026-03-01T00:00:00"), 2));
    entries[0].last_run_at = 8;
    store.sync(&entries).unwrap();
    drop(store);
    drop(Store::open(&path, (None, true), Some(kept), &mut entries).unwrap());
    assert_eq!(entries[0].last_run_at, 8);
}
