//! Who says `wait` stands in line: the longest waiting is served first, whatever becomes of the others, nobody who
//! comes later takes what somebody stands in line for, nobody hears what another was told, and nobody waits for ever. The code runs on a
//! lane thread, so that requests are on their way while the state changes.

use std::{collections::HashMap, thread, time::UNIX_EPOCH};

use rm_tests::{AtGate, Gate, RawClient, Reply, SEPARATOR, TestHost};
use serde_json::{Value, json};

fn count(count: u64) -> Value {
    json!({ "count": count })
}

fn at_gate(gate: &Gate, name: &str, count: u64) -> Value {
    let mut payload = gate.payload(name);
    payload["count"] = count.into();
    payload
}

/// A client whose requests wait.
fn patient(host: &TestHost) -> RawClient {
    let mut client = host.connect();
    client.hello(&json!({ "wait": true }));
    client
}

/// Returns once so many requests of the type wait.
fn await_waiting(client: &mut RawClient, type_name: &str, count: u64) {
    loop {
        let report = client.ask("srvQueuePrint", Value::Null).ok();
        if report["types"][type_name]["waiting"] == count {
            break;
        }
    }
}

/// Two wait, the first one for more than there is; it is being tried, and stands at the gate.
fn first_of_two_in_trial(host: &TestHost, gate: &Gate) -> (RawClient, AtGate, RawClient) {
    let (mut first, mut second, mut other) = (patient(host), patient(host), host.connect());
    first.tell("takeAtGate", at_gate(gate, "first", 2));
    gate.entered().release();
    await_waiting(&mut other, "takeAtGate", 1);
    second.tell("takeAtGate", at_gate(gate, "second", 1));
    await_waiting(&mut other, "takeAtGate", 2);
    other.ask("put", count(1)).ok();
    let in_trial = gate.entered();
    assert_eq!(in_trial.name, "first");
    (first, in_trial, second)
}

#[test]
fn who_waits_gets_a_turn_when_the_one_before_goes_while_it_is_tried() {
    let host = TestHost::with_fixture("shelf");
    let gate = Gate::new();
    let (first, in_trial, mut second) = first_of_two_in_trial(&host, &gate);
    let from = host.log().len();
    first.reset();
    host.log().wait_from(from, &["disconnected"]);
    in_trial.release();
    let next = gate.entered();
    assert_eq!(next.name, "second");
    next.release();
    assert_eq!(second.reply().number("turn"), 1);
}

#[test]
fn who_waits_gets_a_turn_when_the_one_before_sends_nothing_more_while_it_is_tried() {
    let host = TestHost::with_fixture("shelf");
    let gate = Gate::new();
    let (mut first, in_trial, mut second) = first_of_two_in_trial(&host, &gate);
    // Stands behind the one that is tried, and tells by its end that the host knows.
    first.tell("look", Value::Null);
    first.finish();
    host.log()
        .wait_from(0, &["queued requests went with it", "removed=1"]);
    in_trial.release();
    first.expect_end();
    let next = gate.entered();
    assert_eq!(next.name, "second");
    next.release();
    assert_eq!(second.reply().number("turn"), 1);
}

#[test]
fn while_the_first_in_line_is_tried_no_other_is() {
    let host = TestHost::with_fixture("shelf");
    let gate = Gate::new();
    let (mut first, in_trial, mut second) = first_of_two_in_trial(&host, &gate);
    let mut other = host.connect();
    other.tell_all([("put", count(1)), ("put", count(1))]);
    other.sync();
    assert!(!gate.is_awaited());
    in_trial.release();
    // In vain; then tried anew with what has come since.
    let again = gate.entered();
    assert_eq!(again.name, "first");
    again.release();
    assert_eq!(first.reply().number("turn"), 1);
    let next = gate.entered();
    assert_eq!(next.name, "second");
    // It may be tried between the two, in vain, and again after the last one.
    drop(gate);
    next.release();
    assert_eq!(second.reply().number("turn"), 2);
}

/// All behind a job that blocks, so that they reach the lane's thread together.
#[test]
fn a_newcomer_does_not_overtake_who_is_set_aside_just_before_it() {
    let host = TestHost::with_fixture("shelf");
    for _ in 0..20 {
        let (gate, mut blocking, mut client) = (Gate::new(), host.connect(), patient(&host));
        blocking.tell("stopAtShelf", gate.payload(""));
        let entered = gate.entered();
        let ask = |index: u32, type_name: &str, wait: bool| {
            format!(
                r#"{{"type":"{type_name}","queryIndex":{index},"payload":{{"count":1}},"meta":{{"wait":{wait}}}}}{SEPARATOR}"#
            )
        };
        let asked = [
            ask(11, "take", true),
            ask(12, "put", false),
            ask(13, "take", false),
            ask(14, "take", true),
            ask(15, "put", false),
        ];
        client.send_bytes(asked.concat().as_bytes());
        client.sync();
        entered.release();
        let turns: HashMap<String, Option<u64>> = client
            .replies(5)
            .into_iter()
            .map(|reply| (reply.query_index.clone(), reply.result["turn"].as_u64()))
            .collect();
        let (first, newcomer, second) = (turns["11"], turns["13"], turns["14"]);
        assert!(first.is_some() && first < second, "{turns:?}");
        assert_eq!(newcomer, None, "it took what others stood in line for");
    }
}

/// The numbers of SplitMix64.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (mixed ^ (mixed >> 31)) % bound
    }
}

/// Clients ask for one to three while another one fills the shelf at its own pace; at the end there is enough for
/// all. Those who were served, were so in the order in which they had asked.
fn expect_served_in_order_of_arrival(host: &TestHost, seed: u64) {
    let mut random = Random(seed);
    let asked: Vec<(usize, u64, bool)> = (0..150)
        .map(|_| {
            let client = usize::try_from(random.below(8)).expect("less than 8");
            (client, 1 + random.below(3), random.below(5) > 0)
        })
        .collect();
    let demand = asked.iter().map(|(_, count, _)| count).sum::<u64>();
    let mut clients: Vec<RawClient> = (0..8)
        .map(|_| {
            let mut client = host.connect();
            client.hello(&json!({}));
            client
        })
        .collect();
    let mut filling = host.connect();
    let mut arrivals: Vec<HashMap<String, usize>> = vec![HashMap::new(); clients.len()];
    let mut replies: Vec<Vec<Reply>> = vec![Vec::new(); clients.len()];
    thread::scope(|scope| {
        scope.spawn(move || {
            let mut put = 0;
            while put < demand {
                let more = 1 + random.below(3);
                filling.ask("put", count(more)).ok();
                put += more;
            }
        });
        for (arrival, (client, wanted, waits)) in asked.iter().enumerate() {
            let meta = json!({ "wait": waits });
            let index = clients[*client].tell_with(&meta, "take", &count(*wanted));
            arrivals[*client].insert(index, arrival);
            // Only then the next one's. Replies to what was asked before may come first.
            clients[*client].send(r#"{"type":"ping","queryIndex":0}"#);
            loop {
                let reply = clients[*client].reply();
                if reply.type_name == "ping" {
                    break;
                }
                replies[*client].push(reply);
            }
        }
    });
    let mut served = Vec::new();
    for ((client, mut arrivals), mut replies) in clients.iter_mut().zip(arrivals).zip(replies) {
        replies.extend(client.replies(arrivals.len() - replies.len()));
        for reply in replies {
            let arrival = arrivals.remove(&reply.query_index);
            let arrival = arrival.unwrap_or_else(|| panic!("answered twice: {}", reply.text));
            match reply.code() {
                None => served.push((reply.number("turn"), arrival)),
                Some(code) => {
                    assert_eq!(code, "too_few", "seed {seed}");
                    assert!(!asked[arrival].2, "seed {seed}: it was to wait");
                }
            }
        }
    }
    served.sort_unstable();
    let order: Vec<usize> = served.iter().map(|(_, arrival)| *arrival).collect();
    assert!(
        order.is_sorted(),
        "seed {seed}: served in the order {order:?}"
    );
}

#[test]
fn the_longest_waiting_is_served_first_while_the_state_changes() {
    let since = UNIX_EPOCH.elapsed().expect("it is later than 1970");
    let new_seed = u64::from(since.subsec_nanos());
    // Those that always run, and one that never ran before.
    for seed in [1, 2, 3, 4, new_seed] {
        let host = TestHost::with_fixture("shelf");
        expect_served_in_order_of_arrival(&host, seed);
    }
}

#[test]
fn a_not_yet_with_a_code_that_is_no_word_or_the_hosts_is_an_error_for_who_waits_too() {
    let host = TestHost::with_fixture("shelf");
    let (mut hasty, mut patient) = (host.connect(), patient(&host));
    for code in ["Not A Word", "", "busy", "expired", "jobber_error"] {
        for client in [&mut hasty, &mut patient] {
            let told = json!({ "code": code, "text": "later" });
            client.ask("beTold", told).refused("jobber_error");
        }
    }
    let report = hasty.ask("srvQueuePrint", Value::Null);
    assert_eq!(report.number("length"), 0);
}

#[test]
fn who_waits_and_then_gets_such_a_code_waits_no_more() {
    let host = TestHost::with_fixture("shelf");
    let (mut first, mut second, mut other) = (patient(&host), patient(&host), host.connect());
    for client in [&mut first, &mut second] {
        let told = json!({ "code": "later", "later": "timeout", "text": "later" });
        client.tell("beTold", told);
        client.sync();
    }
    await_waiting(&mut other, "beTold", 2);
    other.ask("put", count(1)).ok();
    first.reply().refused("jobber_error");
    second.reply().refused("jobber_error");
}

#[test]
fn what_one_who_waits_was_told_is_not_shown_to_others() {
    let host = TestHost::with_fixture("shelf");
    let (mut first, mut other) = (patient(&host), host.connect());
    let told = |text: &str| json!({ "code": "later", "text": text });
    first.tell("beTold", told("the first one's secret"));
    await_waiting(&mut other, "beTold", 1);
    let said = other.ask("beTold", told("its own")).refused("later");
    assert!(said.contains("`wait`"), "{said}");
    assert!(!said.contains("secret"), "{said}");
}

#[test]
fn the_longest_waiting_of_a_state_is_served_first_whatever_its_type() {
    let host = TestHost::with_fixture("shelf");
    let (mut busy, mut rare, mut other) = (patient(&host), patient(&host), host.connect());
    busy.tell("take", count(1));
    await_waiting(&mut other, "take", 1);
    rare.tell("takeToo", count(1));
    await_waiting(&mut other, "takeToo", 1);
    // There is always somebody in the line that was there first.
    for turn in 1..=5 {
        busy.tell("take", count(1));
        await_waiting(&mut other, "take", 2);
        other.ask("put", count(1)).ok();
        let served = if turn == 2 { &mut rare } else { &mut busy };
        assert_eq!(served.reply().number("turn"), turn);
        if turn == 2 {
            other.ask("put", count(1)).ok();
            assert_eq!(busy.reply().number("turn"), 3);
            break;
        }
    }
}

#[test]
fn who_times_out_while_it_is_tried_leaves_the_line_to_the_next() {
    let host = TestHost::plan()
        .fixture("shelf")
        .file("shelf.toml", "[host]\ntime_limit = \"1s\"\n")
        .start();
    let gate = Gate::new();
    let (mut first, in_trial, mut second) = first_of_two_in_trial(&host, &gate);
    first.reply().refused("timeout");
    let next = gate.entered();
    assert_eq!(next.name, "second");
    next.release();
    assert_eq!(second.reply().number("turn"), 1);
    drop(in_trial);
}

/// What an `expired` says of one that stood in line.
fn waited(reply: &Reply) -> (String, String, u64) {
    assert_eq!(reply.code(), Some("expired"), "{}", reply.text);
    let last = &reply.result["last"];
    let text = |key: &str| last[key].as_str().expect("a text").to_owned();
    // In milliseconds, of a test that takes less than a minute.
    assert!(reply.number("waited_ms") < 60_000, "{}", reply.text);
    (text("code"), text("err"), reply.number("place"))
}

#[test]
fn who_waited_in_vain_is_told_for_what_for_how_long_and_in_which_place() {
    let host = TestHost::with_fixture("shelf");
    let (mut first, mut second) = (patient(&host), patient(&host));
    first.tell_with(&json!({ "deadline_ms": 3_000 }), "take", &count(3));
    first.sync();
    second.tell_with(&json!({ "deadline_ms": 500 }), "take", &count(1));
    let second = second.reply();
    let (code, said, place) = waited(&second);
    assert_eq!((&*code, place), ("too_few", 2));
    // It was never its turn, and what others were told is theirs.
    assert!(said.contains("others stood before it"), "{said}");
    let (code, said, place) = waited(&first.reply());
    assert_eq!(
        (&*code, &*said, place),
        ("too_few", "the shelf has too few", 1)
    );
    // One that never waited has nothing of that.
    let (gate, mut other) = (Gate::new(), patient(&host));
    other.tell("stopAtShelf", gate.payload(""));
    let stopped = gate.entered();
    other.tell_with(&json!({ "deadline_ms": 40 }), "take", &count(1));
    let expired = other.reply();
    assert_eq!(expired.code(), Some("expired"));
    assert_eq!(expired.result.get("last"), None, "{}", expired.text);
    stopped.release();
}

#[test]
fn who_waits_and_is_being_tried_when_its_deadline_passes_is_told_the_same() {
    let host = TestHost::with_fixture("shelf");
    let (gate, mut first) = (Gate::new(), patient(&host));
    let (mut clock, mut other) = (patient(&host), host.connect());
    // All until the trial has to fit in.
    let meta = json!({ "deadline_ms": 3_000 });
    first.tell_with(&meta, "takeAtGate", &at_gate(&gate, "first", 1));
    gate.entered().release();
    await_waiting(&mut other, "takeAtGate", 1);
    clock.tell_with(&meta, "take", &count(9));
    await_waiting(&mut other, "take", 1);
    other.tell("put", count(1));
    let in_trial = gate.entered();
    clock.reply().refused("expired");
    in_trial.release();
    let (code, said, place) = waited(&first.reply());
    assert_eq!(
        (&*code, &*said, place),
        ("too_few", "the shelf has too few", 1)
    );
    // Nothing of it counts.
    assert_eq!(other.reply().number("lies"), 1);
    assert_eq!(other.ask("look", Value::Null).number("lies"), 1);
}

#[test]
fn that_a_wait_ended_in_vain_is_not_kept_for_a_repeated_id() {
    let host = TestHost::with_fixture("shelf");
    let mut client = patient(&host);
    // Long enough to be run once and set aside, on a busy machine too.
    client.tell_with(&json!({ "id": 1, "deadline_ms": 500 }), "take", &count(1));
    waited(&client.reply());
    client.ask("put", count(1)).ok();
    client.tell_with(&json!({ "id": 1 }), "take", &count(1));
    assert_eq!(client.reply().number("turn"), 1);
}

#[test]
fn who_waits_for_what_never_comes_holds_up_the_others_for_no_longer_than_is_allowed() {
    let host = TestHost::plan()
        .fixture("shelf")
        .flags(&["--wait-max", "500ms"])
        .start();
    let (mut first, mut never, mut other) = (patient(&host), patient(&host), host.connect());
    other.ask("put", count(3)).ok();
    let year_ms = 365 * 24 * 3_600 * 1_000_u64;
    never.tell_with(&json!({ "deadline_ms": year_ms }), "take", &count(1_000));
    first.tell_with(&json!({ "deadline_ms": 0 }), "take", &count(4));
    let expired = never.reply();
    waited(&expired);
    assert!(expired.sentence().contains("as long as this host lets"));
    let expired = first.reply();
    waited(&expired);
    assert!(expired.sentence().contains("500 ms"), "{}", expired.text);
    assert_eq!(other.ask("take", count(1)).number("turn"), 1);
}

/// They stand in the lane's queue; that the first of them is to wait is known only once it was run.
#[test]
fn others_have_their_turn_while_a_long_queue_is_refused() {
    const ASKED: usize = 50_000;
    let host = TestHost::with_fixture("shelf");
    let (mut client, mut other) = (host.connect(), host.connect());
    client.hello(&json!({}));
    let mut seen_on_the_way = false;
    for _ in 0..20 {
        let gate = Gate::new();
        client.tell("stopAtShelf", gate.payload(""));
        let stopped = gate.entered();
        client.tell_with(
            &json!({ "wait": true, "deadline_ms": 60_000 }),
            "take",
            &count(1),
        );
        client.tell_all((0..ASKED).map(|_| ("take", count(1))));
        client.sync();
        stopped.release();
        loop {
            let length = other.ask("srvQueuePrint", Value::Null).number("length");
            seen_on_the_way |= (2..ASKED as u64 - 5_000).contains(&length);
            if length == 1 {
                break;
            }
        }
        other.ask("put", count(1)).ok();
        let replies = client.replies(ASKED + 2);
        let refused = replies.iter().filter(|of| of.code() == Some("too_few"));
        assert_eq!(refused.count(), ASKED);
        if seen_on_the_way {
            break;
        }
    }
    assert!(seen_on_the_way, "all were refused at once, each time");
}
