//! A plugin that offers what no host takes is not loaded by the testing kit either.

use plugin_api::{
    Answer,
    export::{Lanes, NoConfig, Plugin},
    self_test::SelfTest,
    testing::TestPlugin,
};

fn nothing() -> Answer {
    Ok(())
}

/// A plugin that serves one type, or the same one twice.
macro_rules! offering {
    ($plugin:ident: $name:expr => $($type_name:expr),*) => {
        struct $plugin;

        impl Plugin for $plugin {
            type Config = NoConfig;
            const NAME: &'static str = $name;
            const VERSION: &'static str = "0.1.0";

            fn declare(_lanes: &mut Lanes<NoConfig>) {
                $(_lanes.stateless(|_| false, |jobbers| {
                    plugin_api::__jobbers! { jobbers; $type_name => nothing }
                });)*
            }

            fn self_tests() -> Vec<SelfTest> {
                Vec::new()
            }
        }
    };
}

offering!(Fine: "fine" => "get");
offering!(Nameless: "" => "get");
offering!(Silent: "silent" => );
offering!(BuiltIn: "built_in" => "ping");
offering!(Reserved: "reserved" => "rm.plugins");
offering!(Twice: "twice" => "get", "get");
offering!(Unprintable: "unprintable" => "a\nb");

fn refused<P: Plugin>() -> String {
    TestPlugin::<P>::load(())
        .err()
        .expect("no host would take it")
}

#[test]
fn what_no_host_takes_is_refused_in_its_words() {
    assert!(TestPlugin::<Fine>::load(()).is_ok());
    for (said, expected) in [
        (
            refused::<Nameless>(),
            "expected its name of 1 to 128 bytes, found 0: ``; choose another name",
        ),
        (
            refused::<Silent>(),
            "expected at least one type, found none; name in plugin! which function serves which type",
        ),
        (
            refused::<BuiltIn>(),
            "the type `ping` belongs to the host; serve another name than ping, srvQueuePrint, \
             errMsgFromClient or rm.…",
        ),
        (
            refused::<Reserved>(),
            "the type `rm.plugins` belongs to the host; serve another name than ping, srvQueuePrint, \
             errMsgFromClient or rm.…",
        ),
        (
            refused::<Twice>(),
            "the type `get` is served twice; let one function serve it",
        ),
        (
            refused::<Unprintable>(),
            "expected a type in printable characters, found \"a\\nb\"; choose another name",
        ),
    ] {
        assert_eq!(said, expected);
    }
}
