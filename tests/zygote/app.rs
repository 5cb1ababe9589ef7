//! Finding and loading the app, the manifest, and refusals.

use std::fs;

use crate::parent::{Start, proj, virtualenv};

#[test]
fn the_manifest_has_what_the_app_declares() {
    let parent = proj();
    let manifest = &parent.manifest;
    assert_eq!(manifest.hostname, "w1@box");
    assert_eq!(manifest.backend, "celery.backends.redis.RedisBackend");
    assert!(manifest.relays_results);
    assert_eq!(manifest.consume_from, ["celery"]);
    let annotated = manifest.tasks.iter().find(|task| task.name == "proj.annotated").unwrap();
    assert_eq!(annotated.rate_limit.as_deref(), Some("7/m"));
    assert!(manifest.tasks.iter().any(|task| task.name == "proj.hooked" && task.hooked));
    assert!(manifest.tasks.iter().any(|task| task.name == "proj.add" && !task.hooked));
    assert_eq!(manifest.signals, ["worker_init", "worker_process_init", "worker_process_shutdown"]);
    let settings: serde_json::Value = serde_json::from_slice(&manifest.settings).unwrap();
    assert_eq!(settings["result_expires"], 3600);
    assert_eq!(settings["broker_url"], "redis://localhost:1/0");
    assert_eq!(settings["task_routes"]["proj.add"]["queue"], "sums");
    assert_eq!(parent.journal(), ["worker_init w1@box"]);
}

#[test]
fn options_are_celerys() {
    let arguments = ["-A", "proj", "worker", "-Q", "a,b", "-c", "3", "--max-tasks-per-child", "5", "-l", "info"];
    let start = Start::new(&arguments).variable("CELERY_WORKER_TIME_LIMIT", "9");
    let parent = start.start().unwrap();
    assert_eq!(parent.manifest.consume_from, ["a", "b"]);
    let options: serde_json::Value = serde_json::from_slice(&parent.manifest.options).unwrap();
    assert_eq!(options["concurrency"], 3);
    assert_eq!(options["max_tasks_per_child"], 5);
    assert_eq!(options["time_limit"], 9.0);
    assert_eq!(options["pool"], "prefork");
    assert_eq!(options["loglevel"], 20);
}

#[test]
fn apps_are_found_as_celery_finds_them() {
    for name in ["proj", "proj:app", "proj.app"] {
        let parent = Start::new(&["-A", name, "worker"]).start().unwrap();
        assert_eq!(parent.manifest.app_name, "proj", "-A {name}");
    }
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("pkg")).unwrap();
    fs::write(home.path().join("pkg/__init__.py"), "").unwrap();
    fs::write(home.path().join("pkg/celery.py"), "from celery import Celery\nanything = Celery('inner')\n").unwrap();
    let directory = home.path().to_str().unwrap();
    for arguments in [vec!["-A", "pkg", "worker"], vec!["-A", "pkg.celery", "worker"]] {
        let parent = Start::new(&arguments).directory(home.path()).start().unwrap();
        assert_eq!(parent.manifest.app_name, "inner", "{arguments:?}");
    }
    let parent = Start::new(&["-A", "pkg", "--workdir", directory, "worker"]).start().unwrap();
    assert_eq!(parent.manifest.app_name, "inner", "--workdir");
}

#[test]
fn without_an_app_there_is_the_default_one() {
    let parent = Start::new(&["-b", "redis://elsewhere:7/3", "worker"]).start().unwrap();
    assert_eq!(parent.manifest.app_name, "default");
    let settings: serde_json::Value = serde_json::from_slice(&parent.manifest.settings).unwrap();
    assert_eq!(settings["broker_url"], "redis://elsewhere:7/3");
}

#[test]
fn an_app_that_cannot_be_loaded_is_a_usage_error() {
    let (message, code) = Start::new(&["-A", "nowhere", "worker"]).start().err().unwrap();
    assert_eq!(code, 2);
    assert!(message.contains("Unable to load celery application.\nThe module nowhere was not found."), "{message}");
    let (message, code) = Start::new(&["-A", "proj", "worker", "--no-such-option"]).start().err().unwrap();
    assert_eq!(code, 2);
    assert!(message.contains("--no-such-option"), "{message}");
}

#[test]
fn an_app_that_raises_is_shown_with_its_traceback() {
    let home = tempfile::tempdir().unwrap();
    fs::write(home.path().join("broken.py"), "raise RuntimeError('not today')\n").unwrap();
    let (message, code) = Start::new(&["-A", "broken", "worker"]).directory(home.path()).start().err().unwrap();
    assert_eq!(code, 2);
    assert!(message.contains("RuntimeError: not today"), "{message}");
}

#[test]
fn unknown_queues_are_refused_when_none_may_be_created() {
    let home = tempfile::tempdir().unwrap();
    let source = "from celery import Celery\napp = Celery('strict')\napp.conf.task_create_missing_queues = False\n";
    fs::write(home.path().join("strict.py"), source).unwrap();
    let arguments = ["-A", "strict", "worker", "-Q", "other"];
    let (message, code) = Start::new(&arguments).directory(home.path()).start().err().unwrap();
    assert_eq!(code, 1);
    assert!(message.contains("Trying to select queue subset of"), "{message}");
}

#[test]
fn a_pool_of_the_apps_own_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let source = "from celery import Celery\nfrom celery.concurrency.solo import TaskPool\n\n\nclass Pool(TaskPool):\n    pass\n\n\napp = Celery('pooled')\n";
    fs::write(home.path().join("pooled.py"), source).unwrap();
    let custom = Start::new(&["-A", "pooled", "worker", "-P", "custom"]);
    let (message, code) =
        custom.variable("CELERY_CUSTOM_WORKER_POOL", "pooled:Pool").directory(home.path()).start().err().unwrap();
    assert_eq!(code, 1);
    assert!(
        message.starts_with("celery-rs has no pool 'pooled:Pool': use prefork, threads, solo, gevent"),
        "{message}"
    );
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn an_environment_of_another_python_is_refused_in_one_line() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("bin")).unwrap();
    fs::write(home.path().join("bin/python3"), "").unwrap();
    fs::write(home.path().join("pyvenv.cfg"), "version = 2.7.18\n").unwrap();
    let start = Start::new(&["-A", "proj", "worker"]).variable("VIRTUAL_ENV", home.path().to_str().unwrap());
    let (message, code) = start.start().err().unwrap();
    assert_eq!(code, 1);
    assert!(message.contains("is Python 2.7: use a virtualenv made with Python"), "{message}");
    assert_eq!(message.lines().count(), 1);
}

#[test]
fn the_environment_on_the_path_is_found() {
    let bin = virtualenv().join("bin");
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap());
    let start = Start::new(&["-A", "proj", "worker"]).variable("VIRTUAL_ENV", "").variable("PATH", path);
    let mut parent = start.start().unwrap();
    let report = parent.child().perform("proj.whoami", "[]");
    let document = crate::parent::document(report.stored.as_ref());
    assert_eq!(document["result"][2], virtualenv().to_str().unwrap());
}
