//! Runs of the simulator, each as whoever runs it by hand starts it.

use std::process::{Command, Output};

fn simulator(flags: &[&str]) -> Output {
    let program = env!("CARGO_BIN_EXE_rm-sim");
    let ran = Command::new(program).args(flags).output();
    ran.expect("the simulator can be started")
}

#[track_caller]
fn expect_success(ran: &Output) -> String {
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert!(ran.status.success(), "{said}");
    said
}

#[test]
fn two_thousand_seeds_break_no_promise_and_have_seen_everything() {
    let ran = simulator(&["--seeds", "1..2001", "--steps", "400"]);
    let said = expect_success(&ran);
    assert!(said.starts_with("2000 seeds, 800000 steps"), "{said}");
}

#[test]
fn a_seed_tells_the_same_story_to_the_letter() {
    for seed in ["3", "35"] {
        let story = || {
            let ran = simulator(&["--seeds", seed, "--story"]);
            let said = expect_success(&ran);
            let (story, _) = said.rsplit_once("1 seeds").expect("it is told how many");
            story.to_owned()
        };
        let first = story();
        assert!(first.lines().count() > 500, "{first}");
        assert_eq!(first, story());
    }
}

#[test]
fn each_planted_fault_is_found() {
    let ran = simulator(&["--seeds", "1..2001", "--steps", "400", "--planted"]);
    let said = expect_success(&ran);
    let found = said.lines().filter(|line| line.contains(": found after "));
    assert!(found.count() >= 25, "{said}");
}

#[test]
fn a_failing_seed_is_made_short_and_tells_how_to_see_it() {
    let ran = simulator(&[
        "--seeds",
        "1..101",
        "--steps",
        "1000",
        "--fault",
        "ReplyBeforeDisk",
    ]);
    let said = String::from_utf8_lossy(&ran.stdout).into_owned();
    assert_eq!(ran.status.code(), Some(1), "{said}");
    let (_, way) = said
        .split_once("its story: rm-sim ")
        .expect("the way is told");
    let mut flags: Vec<&str> = way.split_whitespace().collect();
    let steps = flags
        .iter()
        .position(|flag| *flag == "--steps")
        .expect("how many is told");
    assert!(
        flags[steps + 1].parse::<u64>().expect("a number") < 1_000,
        "{said}"
    );
    flags.extend(["--fault", "ReplyBeforeDisk"]);
    let again = simulator(&flags);
    assert_eq!(again.status.code(), Some(1), "it fails again");
    let story = String::from_utf8_lossy(&again.stdout).into_owned();
    assert!(story.contains("a host starts"), "{story}");
}
