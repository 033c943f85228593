//! A new version migrates what the one before it has stored, as the last step before it serves: whole, or not at all.

use std::{
    net::SocketAddr,
    sync::atomic::{AtomicBool, Ordering},
    thread,
};

use rm_tests::{Disk, Gate, RawClient, SERVES, TestHost, fixture};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Entries that are there before each migration.
const ENTRIES: u64 = 300;
const IN_FLIGHT: u64 = 16;

const OLD: &str = "schema = 1\n";
const NEW: &str = "schema = 2\n";

/// With the old version serving, and all entries there.
fn start(flags: &[&str], disk: Option<&Disk>) -> TestHost {
    let plan = TestHost::plan()
        .library("migrating", &fixture("migrating"))
        .file("migrating.toml", OLD)
        .flags(flags);
    let plan = match disk {
        Some(disk) => plan.disk(disk),
        None => plan,
    };
    let host = plan.start();
    expect_all(&host, 1);
    host
}

/// Each entry is there in the form of this schema, and as it was. What was answered, as [`press`] tells it.
#[track_caller]
fn expect_all(host: &TestHost, schema: u64) -> Vec<(u64, u64)> {
    let mut client = host.connect();
    let mut answers = Vec::new();
    let asked = (0..ENTRIES).map(|key| ("askEntry", json!({ "key": key })));
    client.tell_all(asked);
    for (reply, key) in client.replies(ENTRIES as usize).into_iter().zip(0..) {
        let text = format!("entry {key}");
        let entry = match schema {
            1 => json!(text),
            _ => json!({ "was": text }),
        };
        answers.push((reply.number("schema"), reply.number("asked")));
        let found = reply.ok();
        assert_eq!(
            (&found["schema"], &found["entry"]),
            (&json!(schema), &entry)
        );
    }
    answers
}

/// Asks without a pause until it is enough; what the schema was in each answer, and the place of each request in line.
fn press(address: SocketAddr, enough: &AtomicBool) -> Vec<(u64, u64)> {
    let mut client = RawClient::connect(address);
    let mut answers = Vec::new();
    let tell = |client: &mut RawClient| {
        client.tell_all((0..IN_FLIGHT).map(|nth| ("askEntry", json!({ "key": nth * 17 }))))
    };
    let mut told = tell(&mut client);
    while !enough.load(Ordering::Relaxed) {
        let next = tell(&mut client);
        take(&mut client, &told, &mut answers);
        told = next;
    }
    take(&mut client, &told, &mut answers);
    client.sync();
    answers
}

fn take(client: &mut RawClient, told: &[String], answers: &mut Vec<(u64, u64)>) {
    for (reply, index) in client.replies(told.len()).iter().zip(told) {
        assert_eq!(&reply.query_index, index);
        answers.push((reply.number("schema"), reply.number("asked")));
    }
}

/// Has the host do something while clients always have requests in flight. Each request is answered once, and no client
/// meets an older schema after a newer one. The schemas that were met.
#[track_caller]
fn under_load(host: &TestHost, migrate: impl FnOnce() -> Vec<(u64, u64)>) -> Vec<u64> {
    struct Enough<'a>(&'a AtomicBool);
    impl Drop for Enough<'_> {
        fn drop(&mut self) {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    let enough = AtomicBool::new(false);
    let before = host
        .connect()
        .ask("askEntry", json!({ "key": 0 }))
        .number("asked");
    let address = host.address();
    let answers = thread::scope(|scope| {
        let clients = [(); 4].map(|()| scope.spawn(|| press(address, &enough)));
        let all_come_to_their_end = Enough(&enough);
        let looked_at = migrate();
        drop(all_come_to_their_end);
        let answers = clients.map(|client| client.join().expect("each request is answered"));
        answers.into_iter().chain([looked_at]).collect::<Vec<_>>()
    });
    for answers in &answers {
        assert!(answers.is_sorted());
    }
    let mut all = answers.concat();
    all.sort_unstable_by_key(|(_, asked)| *asked);
    let asked: Vec<u64> = all.iter().map(|(_, asked)| *asked).collect();
    let each_once = Vec::from_iter(before + 1..=before + asked.len() as u64);
    assert!(asked == each_once, "lost or run twice");
    assert!(
        all.is_sorted(),
        "no job of the old version behind one of the new"
    );
    let mut schemas: Vec<u64> = all.iter().map(|(schema, _)| *schema).collect();
    schemas.dedup();
    schemas
}

#[track_caller]
fn expect_serving(host: &TestHost, schema: u64, said: &[&str]) {
    let seen = host.connect().plugin("migrating");
    assert_eq!(seen["lanes"][0]["states"][0]["schema"], schema, "{seen}");
    let error = seen["error"].as_str().unwrap_or_default();
    for word in said {
        assert!(error.contains(word), "{word}: {error}");
    }
    expect_all(host, schema);
}

#[test]
fn a_migration_under_load_succeeds_loses_nothing_and_survives_a_kill() {
    let host = start(&[], None);
    let schemas = under_load(&host, || {
        host.configure("migrating", NEW, SERVES);
        expect_all(&host, 2)
    });
    assert_eq!(schemas, [1, 2]);
    expect_serving(&host, 2, &[]);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.start();
    expect_serving(&host, 2, &[]);
    // The older version cannot read it any more.
    host.configure(
        "migrating",
        OLD,
        &["ERROR", "refused", "schema 1", "schema 2"],
    );
    expect_serving(&host, 2, &["`entries`", "schema 1", "schema 2"]);
}

#[test]
fn a_migration_under_load_that_fails_or_panics_leaves_the_old_version_on_the_old_state() {
    let host = start(&[], None);
    for (halfway, said) in [
        ("fail", "nobody knows what entry 150 was"),
        ("panic", "panicked: entry 150 is out of the question"),
    ] {
        let toml = format!("schema = 2\nhalfway = \"{halfway}\"\n");
        let schemas = under_load(&host, || {
            host.configure("migrating", &toml, &["ERROR", "refused", said, "goes on"]);
            expect_all(&host, 1)
        });
        assert_eq!(schemas, [1]);
        let place = ["`entries`", "the entry of 150", "from schema 1 to 2", said];
        expect_serving(&host, 1, &place);
    }
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    let host = plan.file("migrating.toml", OLD).start();
    expect_serving(&host, 1, &[]);
    host.configure("migrating", NEW, SERVES);
    expect_serving(&host, 2, &[]);
}

#[test]
fn a_migration_under_load_that_hangs_is_given_up_and_its_late_end_changes_nothing() {
    let host = start(&["--migration-timeout", "1s"], None);
    let gate = Gate::new();
    let toml = format!(
        "schema = 2\nhalfway = \"hang\"\ngate = {}\n",
        gate.payload("")["gate"]
    );
    let schemas = under_load(&host, || {
        host.configure(
            "migrating",
            &toml,
            &["ERROR", "refused", "--migration-timeout"],
        );
        let hanging = gate.entered();
        let before = expect_all(&host, 1);
        let from = host.log().len();
        hanging.release();
        host.said_of(from, "migrating", &["has come to an end"]);
        [before, expect_all(&host, 1)].concat()
    });
    assert_eq!(schemas, [1]);
    expect_serving(&host, 1, &["--migration-timeout"]);
    host.configure("migrating", NEW, SERVES);
    expect_serving(&host, 2, &[]);
}

#[test]
fn a_rollback_to_an_older_schema_is_refused_and_the_newer_version_serves_on() {
    let host = start(&[], None);
    host.configure("migrating", NEW, SERVES);
    let from = host.log().len();
    let payload = json!({ "name": "migrating", "do": "rollback" });
    host.operate().ask("rm.plugin", payload).ok();
    let said = [
        "`entries`",
        "has schema 1",
        "stored has schema 2",
        "newer version",
    ];
    host.said_of(
        from,
        "migrating",
        &["ERROR", "refused", said[0], said[1], said[2]],
    );
    expect_serving(&host, 2, &said);
}

#[test]
fn a_migration_that_the_disk_did_not_take_is_made_again() {
    let disk = Disk::new();
    let host = start(&[], Some(&disk));
    disk.begin("full");
    let from = host.log().len();
    host.configure("migrating", NEW, SERVES);
    host.log().wait_from(from, &["the state cannot be kept"]);
    disk.end("full");
    host.log()
        .wait_from(from, &["the state has been read back"]);
    expect_serving(&host, 2, &[]);
    host.signal(Signal::KILL);
    let (_, plan) = host.wait_and_plan();
    expect_serving(&plan.start(), 2, &[]);
}

#[test]
fn a_job_that_changes_more_than_can_be_kept_is_refused_and_others_go_on() {
    let host = start(&[], None);
    // However slow the machine is, it is not the time that the job is refused for.
    host.configure(
        "migrating",
        &format!("{OLD}[host]\ntime_limit = \"0\"\n"),
        SERVES,
    );
    let mut client = host.connect();
    let fill = |count| json!({ "size": 8 * 1024 * 1024, "count": count });
    let refused = client.ask("fill", fill(9));
    let told = refused.refused("jobber_error");
    assert!(told.contains("67108864 bytes"), "{told}");
    client.ask("fill", fill(1)).ok();
    expect_serving(&host, 1, &[]);
    assert_eq!(
        host.log().lines_with(&["the state cannot be kept"]),
        [""; 0]
    );
    client.ask("ping", Value::Null).ok();
}
