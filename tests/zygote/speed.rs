//! How fast one child is. Measures and prints; claims nothing about time.

use std::time::Instant;

use celery_rs::ipc::{Ended, FromChild};

use crate::parent::proj;

const IN_FLIGHT: u64 = 32;

#[test]
fn many_jobs_in_flight_all_come_back() {
    let total: u64 = std::env::var("CELERY_RS_TEST_JOBS").ok().and_then(|text| text.parse().ok()).unwrap_or(500);
    let mut parent = proj();
    let mut child = parent.child();
    let start = Instant::now();
    for _ in 0..IN_FLIGHT.min(total) {
        child.run("proj.add", "[1, 2]");
    }
    let (mut accepted, mut done, mut sent) = (0, 0, IN_FLIGHT.min(total));
    while done < total {
        match child.receive() {
            FromChild::Accepted { number, .. } => {
                accepted += 1;
                assert_eq!(number, accepted);
            }
            FromChild::Done { number, report } => {
                done += 1;
                assert_eq!((number, report.ended), (accepted, Ended::Success { repr: "3".into() }));
                if sent < total {
                    child.run("proj.add", "[1, 2]");
                    sent += 1;
                }
            }
            other => panic!("{other:?}"),
        }
    }
    let elapsed = start.elapsed();
    println!("{total} tasks in {elapsed:?}: {:.1} us each", elapsed.as_secs_f64() * 1e6 / total as f64);
}
