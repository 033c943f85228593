//! A host that is killed at any moment, again and again: what it answered stays true, and what is asked again under its id
//! is not done twice.
//!
//! `RM_TEST_KILLS=2000` makes it more rounds. The moments come from a seed, which is printed, and taken from `RM_TEST_SEED`;
//! what the host does at those moments is up to the machine.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::mpsc::{self, Receiver, Sender},
    thread,
    time::{Duration, SystemTime},
};

use rm_tests::{RawClient, TestHost};
use rustix::process::Signal;
use serde_json::{Value, json};

/// Rounds of each test here, unless `RM_TEST_KILLS` says otherwise.
const KILLS: usize = 40;

/// A host is killed at most this long after what it was waited for, in microseconds.
const MOMENT_US_MAX: u64 = 7_000;

/// And it is waited for at most so many answers, in every second round; in the others for none, so that some are killed before they
/// have answered anything.
const ANSWERS_MAX: u64 = 20;

/// When the host is killed, round by round.
struct Moments {
    random: u64,
    /// Answers that were waited for, in all rounds.
    answers: usize,
}

impl Moments {
    fn new() -> Self {
        let seed = from_environment("RM_TEST_SEED").unwrap_or_else(|| {
            let since_1970 = SystemTime::UNIX_EPOCH.elapsed().expect("it is later");
            since_1970.subsec_nanos().into()
        });
        #[expect(clippy::print_stderr, reason = "a test's output is for its reader")]
        {
            eprintln!("RM_TEST_SEED={seed}");
        }
        Self {
            random: seed | 1,
            answers: 0,
        }
    }

    fn number(&mut self) -> u64 {
        // An xorshift: any numbers that look nothing like each other.
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        self.random
    }

    /// Waits for the next moment. How fast a busy machine comes to it makes no difference to what the host has done by then.
    fn wait_for_next(&mut self, round: usize, answered: &Receiver<()>) {
        let answers = (self.number() % ANSWERS_MAX + 1) * (round % 2) as u64;
        for _ in 0..answers {
            answered
                .recv()
                .expect("buyers buy until the host is killed");
            self.answers += 1;
        }
        thread::sleep(Duration::from_micros(self.number() % MOMENT_US_MAX));
    }
}

fn from_environment(name: &str) -> Option<u64> {
    let text = std::env::var(name).ok()?;
    let number = text.parse();
    Some(number.unwrap_or_else(|_| panic!("{name} is a whole number, and not {text}")))
}

fn kills() -> usize {
    from_environment("RM_TEST_KILLS").map_or(KILLS, |kills| kills.try_into().expect("fewer"))
}

#[test]
fn however_often_the_host_is_killed_no_ticket_is_sold_twice() {
    let (kills, mut moments) = (kills(), Moments::new());
    let mut plan = plan();
    let mut sold = BTreeSet::new();
    for round in 0..kills {
        let host = plan.start();
        let (answer, answered) = mpsc::channel();
        let buyers: Vec<_> = (0..3)
            .map(|_| {
                let (mut client, answer) = (host.connect(), answer.clone());
                thread::spawn(move || buy_until_the_end(&mut client, &answer))
            })
            .collect();
        moments.wait_for_next(round, &answered);
        host.signal(Signal::KILL);
        for buyer in buyers {
            for ticket in buyer.join().expect("buyers do not fail") {
                assert!(
                    sold.insert(ticket),
                    "{ticket} was sold twice, the second time in round {round}"
                );
            }
        }
        plan = host.wait_and_plan().1.flags(&FLAGS);
    }
    let (sold, least) = (sold.len(), moments.answers);
    assert!(
        sold >= least && least > 0,
        "{sold} were sold, {least} were seen to be"
    );
}

#[test]
fn however_often_the_host_is_killed_what_is_asked_again_under_its_id_is_done_once() {
    let (kills, mut moments) = (kills(), Moments::new());
    let mut plan = plan();
    let mut buyers: Vec<Buyer> = (0..3).map(|_| Buyer::default()).collect();
    for round in 0..kills {
        let host = plan.start();
        let (answer, answered) = mpsc::channel();
        let buying: Vec<_> = (buyers.drain(..))
            .map(|mut buyer| {
                let (mut client, answer) = (host.connect(), answer.clone());
                thread::spawn(move || {
                    buyer.buy_until_the_end(&mut client, &answer);
                    buyer
                })
            })
            .collect();
        moments.wait_for_next(round, &answered);
        host.signal(Signal::KILL);
        let bought = buying.into_iter().map(|buyer| buyer.join());
        buyers.extend(bought.map(|buyer| buyer.expect("buyers do not fail")));
        plan = host.wait_and_plan().1.flags(&FLAGS);
    }
    let host = plan.start();
    for buyer in &mut buyers {
        buyer.ask_all_again(&host);
    }
    let asked: u64 = buyers.iter().map(|buyer| buyer.highest).sum();
    let mut sold = BTreeSet::new();
    for ticket in buyers.iter().flat_map(|buyer| buyer.bought.values()) {
        assert!(sold.insert(*ticket), "{ticket} was sold twice");
    }
    assert_eq!(sold.len() as u64, asked, "each request has its ticket");
    let seen = moments.answers;
    assert!(seen > 0, "nothing was answered before a host was killed");
    let left = host.connect().ask("getTickets", Value::Null).number("left");
    assert_eq!(left, SEATS - asked - 1, "and no other ticket was sold");
}

const SEATS: u64 = 100_000_000;

const FLAGS: [&str; 2] = ["--settle", "10ms"];

fn plan() -> rm_tests::HostPlan {
    TestHost::plan()
        .plugin("tickets")
        .file("tickets.toml", format!("seats = {SEATS}\n"))
        .flags(&FLAGS)
}

/// Buys with several requests in flight, and returns what was answered whole.
fn buy_until_the_end(client: &mut RawClient, answered: &Sender<()>) -> Vec<u64> {
    let mut bought = Vec::new();
    for _ in 0..8 {
        if client.try_tell("getTickets", &Value::Null).is_err() {
            return bought;
        }
    }
    while let Some(reply) = client.try_reply() {
        bought.push(ticket(&reply.result));
        // Nobody waits for it in every round.
        let _ = answered.send(());
        if client.try_tell("getTickets", &Value::Null).is_err() {
            break;
        }
    }
    while let Some(reply) = client.try_reply() {
        bought.push(ticket(&reply.result));
    }
    bought
}

/// Who asks again, after each loss of its connection, for what was not answered.
#[derive(Default)]
struct Buyer {
    session: Option<String>,
    /// The highest id that was asked under.
    highest: u64,
    /// By id.
    bought: BTreeMap<u64, u64>,
    /// The ids that the requests under way bear, by `queryIndex`.
    under_way: BTreeMap<String, u64>,
}

impl Buyer {
    fn buy_until_the_end(&mut self, client: &mut RawClient, answered: &Sender<()>) {
        if !self.say_hello(client) {
            return;
        }
        let unanswered = (1..=self.highest).filter(|id| !self.bought.contains_key(id));
        // And one that was answered: the answer must be the same.
        let known = self.bought.keys().next_back().copied();
        for id in unanswered.chain(known).collect::<Vec<u64>>() {
            self.ask(client, id);
        }
        for _ in 0..8 {
            self.highest += 1;
            self.ask(client, self.highest);
        }
        while let Some(reply) = client.try_reply() {
            self.answered(&reply.query_index, &reply.result);
            let _ = answered.send(());
            self.highest += 1;
            self.ask(client, self.highest);
        }
    }

    fn ask_all_again(&mut self, host: &TestHost) {
        let mut client = host.connect();
        assert!(self.say_hello(&mut client));
        for id in 1..=self.highest {
            self.ask(&mut client, id);
            let reply = client.reply();
            self.answered(&reply.query_index, &reply.result);
        }
    }

    /// Says whether the host was there.
    fn say_hello(&mut self, client: &mut RawClient) -> bool {
        self.under_way.clear();
        let payload = match &self.session {
            None => json!({ "v": 1 }),
            Some(session) => json!({ "v": 1, "session": session }),
        };
        if client.try_tell("rm.hello", &payload).is_err() {
            return false;
        }
        let Some(reply) = client.try_reply() else {
            return false;
        };
        let session = reply.ok()["session"].as_str().map(str::to_owned);
        assert!(self.session.is_none() || self.session == session);
        self.session = session;
        true
    }

    fn ask(&mut self, client: &mut RawClient, id: u64) {
        // Where the host is gone, it is asked again of the next.
        if let Ok(index) = client.try_tell_with(&json!({ "id": id }), "getTickets", &Value::Null) {
            self.under_way.insert(index, id);
        }
    }

    fn answered(&mut self, index: &str, result: &Value) {
        let id = self.under_way.remove(index).expect("it was asked");
        let ticket = ticket(result);
        let before = self.bought.insert(id, ticket);
        assert!(
            before.is_none_or(|before| before == ticket),
            "{id}: {before:?}, then {ticket}"
        );
    }
}

fn ticket(result: &Value) -> u64 {
    result["tickets"][0].as_u64().expect("a number was sold")
}
