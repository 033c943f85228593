//! The self-tests of a plugin, run without a host.

use super::plugin::TestPlugin;
use crate::{
    description::LaneDescription,
    export::Plugin,
    self_test::{CameBack, Example, Failed, SelfTest, Tried},
};

/// Runs the self-tests that `P` carries, as the host does before it loads the plugin.
///
/// ```text
/// #[test]
/// fn the_self_tests_pass() {
///     plugin_api::testing::self_tests::<RmPlugin>();
/// }
/// ```
///
/// # Panics
/// One of them fails, or there is none.
pub fn self_tests<P: Plugin>() {
    let tests = P::self_tests();
    assert!(
        !tests.is_empty(),
        "{} carries no self-tests: write `test \"NAME\" {{ … }}` behind the blocks of plugin!",
        P::NAME
    );
    let failures: Vec<String> = tests
        .iter()
        .filter_map(|test| {
            let failure = run::<P>(test).err()?;
            Some(format!("`{}`: {failure}", test.name))
        })
        .collect();
    assert!(
        failures.is_empty(),
        "self-tests of {} failed:\n{}",
        P::NAME,
        failures.join("\n")
    );
}

fn run<P: Plugin>(test: &SelfTest) -> Result<(), String> {
    test.run(|config| TestPlugin::<P>::load(config))
}

impl<P: Plugin> Tried for TestPlugin<P> {
    fn ask(&mut self, example: &Example) -> CameBack {
        let serves = |lane: &&LaneDescription| lane.types().any(|name| name == example.type_name);
        let lane = self.description().lanes.iter().find(serves);
        let inline = lane.is_some_and(|lane| lane.inline);
        let payload = example.payload.as_ref();
        let payload = payload.map_or_else(String::new, ToString::to_string);
        let client = self.client(1);
        let reply = client.request_text(&example.type_name, payload.as_bytes());
        CameBack {
            reply: reply.map_err(|refusal| Failed {
                code: refusal.code().to_owned(),
                message: refusal.message().to_owned(),
            }),
            inline_took: inline.then(|| self.took()),
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Answer,
        export::{Examples, Lanes, NoConfig},
        self_test::Expected,
    };

    struct Wrong;

    impl Plugin for Wrong {
        type Config = NoConfig;
        const NAME: &'static str = "wrong";
        const VERSION: &'static str = "0.1.0";

        fn declare(lanes: &mut Lanes<NoConfig>) {
            let nothing = || -> Answer { Ok(()) };
            lanes.stateless(
                |_| false,
                |jobbers| crate::__jobbers! { jobbers; "nothing" => nothing },
            );
        }

        fn self_tests() -> Vec<SelfTest> {
            let expecting = |answer| {
                let expected = Expected::Answer(answer);
                Examples::new().with("nothing", None, expected)
            };
            vec![
                expecting(json!({})).named("it passes", json!({})),
                expecting(json!({ "left": 1 })).named("it does not", json!({})),
                expecting(json!({})).named("its configuration", json!({ "seats": 1 })),
            ]
        }
    }

    struct Slow;

    impl Plugin for Slow {
        type Config = NoConfig;
        const NAME: &'static str = "slow";
        const VERSION: &'static str = "0.1.0";

        fn declare(lanes: &mut Lanes<NoConfig>) {
            let sleep = || -> Answer {
                std::thread::sleep(std::time::Duration::from_millis(11));
                Ok(())
            };
            lanes.stateless(
                |_| true,
                |jobbers| crate::__jobbers! { jobbers; "inline" => sleep },
            );
            lanes.stateless(
                |_| false,
                |jobbers| crate::__jobbers! { jobbers; "onThread" => sleep },
            );
        }

        fn self_tests() -> Vec<SelfTest> {
            let of = |type_name| {
                let expected = Expected::Answer(json!({}));
                let examples = Examples::new().with(type_name, None, expected);
                examples.named(type_name, json!({}))
            };
            vec![of("inline"), of("onThread")]
        }
    }

    fn failure<P: Plugin>() -> String {
        let Err(payload) = std::panic::catch_unwind(self_tests::<P>) else {
            panic!("a wrong plugin passed");
        };
        payload.downcast_ref::<String>().unwrap().clone()
    }

    #[test]
    fn what_is_otherwise_than_expected_is_named() {
        let text = failure::<Wrong>();
        for part in [
            "`it does not`: request 1, `nothing`: expected `left` to be 1, it is not there\n",
            "`its configuration`: it cannot be made with the test's configuration {\"seats\":1}: `seats`: ",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("it passes"), "{text}");
    }

    #[test]
    fn an_inline_function_that_is_slow_fails_as_it_would_in_a_host() {
        let text = failure::<Slow>();
        assert!(
            text.contains("`inline`: the inline function for `inline` took "),
            "{text}"
        );
        assert!(
            text.contains("ms, at most 10 are allowed: take `inline` away"),
            "{text}"
        );
        assert!(!text.contains("onThread"), "{text}");
    }
}
