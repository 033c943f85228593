//! The self-tests of a plugin, run without a host.

use super::plugin::TestPlugin;
use crate::{
    export::Plugin,
    self_test::{Failed, SelfTest},
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
    let mut plugin = TestPlugin::<P>::load(&test.config)
        .map_err(|text| format!("it cannot be loaded with {}: {text}", test.config))?;
    test.run(|example| {
        let payload = example.payload.as_ref();
        let payload = payload.map_or_else(String::new, ToString::to_string);
        let client = plugin.client(1);
        let reply = client.request_text(&example.type_name, payload.as_bytes());
        reply.map_err(|refusal| Failed {
            code: refusal.code().to_owned(),
            message: refusal.message().to_owned(),
        })
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::{
        Answer,
        export::{Examples, Jobbers, Lanes, NoConfig},
        self_test::Expected,
    };

    struct Wrong;

    impl Plugin for Wrong {
        type Config = NoConfig;
        const NAME: &'static str = "wrong";
        const VERSION: &'static str = "0.1.0";

        fn declare(lanes: &mut Lanes<NoConfig>) {
            let nothing = || -> Answer { Ok(()) };
            lanes.stateless(|_| false, Jobbers::new().with("nothing", nothing));
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

    #[test]
    fn what_is_otherwise_than_expected_is_named() {
        let Err(payload) = std::panic::catch_unwind(self_tests::<Wrong>) else {
            panic!("a wrong plugin passed");
        };
        let text = payload.downcast_ref::<String>().unwrap();
        for part in [
            "`it does not`: request 1, `nothing`: expected `left` to be 1, it is not there\n",
            "`its configuration`: it cannot be loaded with {\"seats\":1}: `seats`: ",
        ] {
            assert!(text.contains(part), "{text}");
        }
        assert!(!text.contains("it passes"), "{text}");
    }
}
