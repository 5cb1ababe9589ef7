use super::rig::{chain, chord, group, rig, si, sig};

#[tokio::test]
async fn a_chain_hands_its_results_on() {
    let rig = rig();
    let id = rig.run(&chain(&[sig("add", "[1, 2]", "{}"), sig("add", "[10]", "{}"), si("add", "[5, 5]")])).await;
    assert_eq!(rig.ran(), ["add[1, 2]", "add[3, 10]", "add[5, 5]"]);
    assert_eq!(rig.state(&id).await, "SUCCESS 10");
}

#[tokio::test]
async fn a_chain_tells_its_children_parents_and_root() {
    let rig = rig();
    let last = rig
        .run(&chain(&[sig("add", "[1, 2]", r#"{"task_id": "first"}"#), sig("add", "[10]", r#"{"task_id": "last"}"#)]))
        .await;
    assert_eq!(last, "last");
    let first = rig.meta("first").await.unwrap();
    let children = crate::serialization::json::to_string(&crate::serialization::Value::List(first.children.unwrap()));
    assert_eq!(children.unwrap(), r#"[[["last", null], null]]"#);
    assert_eq!(rig.meta("last").await.unwrap().parent_id.as_deref(), Some("first"));
}

#[tokio::test]
async fn callbacks_are_sent_alone_or_together() {
    let rig = rig();
    let link = format!(r#"{{"link": [{}]}}"#, sig("add", "[10]", r#"{"task_id": "one"}"#));
    rig.run(&sig("add", "[1, 2]", &link)).await;
    assert_eq!(rig.state("one").await, "SUCCESS 13");
    let many = [
        sig("add", "[20]", r#"{"task_id": "two"}"#),
        group(&[sig("add", "[30]", r#"{"task_id": "three"}"#)]),
        si("add", "[7, 7]"),
        chain(&[sig("add", "[1]", "{}"), sig("add", "[1]", r#"{"task_id": "four"}"#)]),
    ];
    rig.ran();
    rig.run(&sig("add", "[1, 2]", &format!(r#"{{"link": [{}]}}"#, many.join(", ")))).await;
    assert_eq!(rig.state("two").await, "SUCCESS 23");
    assert_eq!(rig.state("three").await, "SUCCESS 33");
    assert_eq!(rig.state("four").await, "SUCCESS 5");
    assert!(rig.ran().contains(&"add[7, 7]".to_owned()));
}

#[tokio::test]
async fn a_group_runs_all_of_its_members() {
    let rig = rig();
    rig.run(&group(&[
        sig("add", "[1, 1]", r#"{"task_id": "a"}"#),
        group(&[sig("add", "[2, 2]", r#"{"task_id": "b"}"#), sig("add", "[3, 3]", r#"{"task_id": "c"}"#)]),
    ]))
    .await;
    for (id, state) in [("a", "SUCCESS 2"), ("b", "SUCCESS 4"), ("c", "SUCCESS 6")] {
        assert_eq!(rig.state(id).await, state, "{id}");
    }
}

#[tokio::test]
async fn a_chord_gives_its_body_the_results_in_order() {
    let rig = rig();
    let header = [sig("add", "[1, 1]", "{}"), sig("add", "[2, 2]", "{}"), sig("add", "[3, 3]", "{}")];
    let id = rig.run(&chord(&header, &sig("identity", "[]", "{}"))).await;
    assert_eq!(rig.state(&id).await, "SUCCESS [2, 4, 6]");
    // A header's results are kept whether or not the parts' own are.
    let quiet = [sig("quiet", "[1]", "{}"), sig("quiet", "[2]", "{}")];
    let id = rig.run(&chord(&quiet, &sig("xsum", "[]", "{}"))).await;
    assert_eq!(rig.state(&id).await, "SUCCESS 3");
}

#[tokio::test]
async fn an_empty_header_sends_the_body() {
    let rig = rig();
    let id = rig.run(&chord(&[], &sig("xsum", "[]", "{}"))).await;
    assert_eq!(rig.state(&id).await, "SUCCESS 0");
}

#[tokio::test]
async fn a_group_in_a_chain_becomes_a_chord() {
    let rig = rig();
    let id = rig
        .run(&chain(&[
            sig("add", "[1, 1]", "{}"),
            group(&[sig("add", "[10]", "{}"), sig("add", "[20]", "{}")]),
            sig("xsum", "[]", "{}"),
            sig("add", "[100]", "{}"),
        ]))
        .await;
    assert_eq!(rig.state(&id).await, "SUCCESS 134");
    assert_eq!(rig.ran(), ["add[1, 1]", "add[2, 10]", "add[2, 20]", "xsum[[12, 22]]", "add[34, 100]"]);
}

#[tokio::test]
async fn a_chord_of_chains_waits_for_the_last_links() {
    let rig = rig();
    let header = [chain(&[sig("add", "[1, 1]", "{}"), sig("add", "[1]", "{}")]), sig("add", "[2, 2]", "{}")];
    let body = chain(&[sig("xsum", "[]", "{}"), sig("add", "[1000]", "{}")]);
    let id = rig.run(&chord(&header, &body)).await;
    assert_eq!(rig.state(&id).await, "SUCCESS 1007");
}

#[tokio::test]
async fn a_chord_in_a_chord_counts_for_its_body() {
    let rig = rig();
    let inner = chord(&[sig("add", "[1, 1]", "{}"), sig("add", "[2, 2]", "{}")], &sig("xsum", "[]", "{}"));
    let id = rig.run(&chord(&[inner, sig("add", "[5, 5]", "{}")], &sig("identity", "[]", "{}"))).await;
    assert_eq!(rig.state(&id).await, "SUCCESS [6, 10]");
}

#[tokio::test]
async fn workflows_may_hang_on_callbacks() {
    let rig = rig();
    let body = sig("xsum", "[]", r#"{"task_id": "sum"}"#);
    let link = chord(&[sig("add", "[1]", "{}"), sig("add", "[2]", "{}")], &body);
    rig.run(&sig("add", "[1, 1]", &format!(r#"{{"link": [{link}]}}"#))).await;
    assert_eq!(rig.state("sum").await, "SUCCESS 7");
}

#[tokio::test]
async fn a_handler_sends_children() {
    let rig = rig();
    let id = rig.run(&sig("parent", "[]", "{}")).await;
    let meta = rig.meta(&id).await.unwrap();
    let child = meta.result.as_str().unwrap();
    assert_eq!(rig.state(child).await, "SUCCESS 2");
    assert_eq!(rig.meta(child).await.unwrap().parent_id.as_deref(), Some(id.as_str()));
    assert_eq!(meta.children.unwrap().len(), 1);
}
