//! The `plugin!` macro: what an author writes, turned into calls of [`crate::export`]. It needs no proc-macro,
//! and leaves no unsafe code in the author's crate.

/// Declares the plugin of this crate: its configuration, its functions in blocks of those that share
/// something, and its self-tests.
///
/// - `name "NAME";` first, if the plugin is not to be named like its package. State is kept under the name.
/// - `config TYPE;` next, if there is a configuration: a serde type for `NAME.toml` beside `libNAME.so`.
/// - `state |c| STATE => { "type" => function, … }`: the functions share a state that the host keeps and
///   never run together. `STATE` is the declaration of a number pool, a pool, a map, a value, or a tuple.
/// - `memory |c| VALUE => { … }`: the same with a value of the plugin's own, which ends with the version.
/// - `stateless { … }`: functions that share nothing.
/// - `inline` before the braces: the functions never block and run where requests arrive, which is faster;
///   `inline(|c| CONDITION)`: so with some configurations only.
/// - `test "NAME" { "type" PAYLOAD => ANSWER, … }` behind them: requests that are run one after another on
///   fresh state, and what comes back: an object with at least these fields, or `error "code"`. No payload, no
///   `PAYLOAD`. The configuration is `{}`, or what stands in `test "NAME" with { … } { … }`. The host runs them
///   before it loads the file and refuses one that fails them; [`testing::self_tests`](crate::testing::self_tests)
///   runs them in `cargo test`.
///
/// ```standalone_crate
/// use plugin_api::prelude::*;
///
/// fn count(n: &mut u64) -> Answer<serde_json::Value> {
///     *n += 1;
///     Ok(serde_json::json!({ "count": *n }))
/// }
///
/// plugin! {
///     memory |_| 0 => inline { "count" => count }
///     test "it counts from 1" {
///         "count" => { "count": 1 },
///         "count" { "anything": true } => { "count": 2 },
///     }
/// }
///
/// # fn main() {
/// plugin_api::testing::self_tests::<RmPlugin>();
/// # }
/// ```
#[macro_export]
macro_rules! plugin {
    (name $name:literal; config $config:ty; $($blocks:tt)+) => {
        $crate::__plugin! { $name; $config; $($blocks)+ }
    };
    (name $name:literal; $($blocks:tt)+) => {
        $crate::__plugin! { $name; $crate::export::NoConfig; $($blocks)+ }
    };
    (config $config:ty; $($blocks:tt)+) => {
        $crate::__plugin! { env!("CARGO_PKG_NAME"); $config; $($blocks)+ }
    };
    ($($blocks:tt)+) => {
        $crate::__plugin! { env!("CARGO_PKG_NAME"); $crate::export::NoConfig; $($blocks)+ }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __plugin {
    ($name:expr; $config:ty; $($blocks:tt)+) => {
        /// The plugin of this module, as its tests name it.
        struct RmPlugin;

        impl $crate::export::Plugin for RmPlugin {
            type Config = $config;
            const NAME: &'static str = $name;
            const VERSION: &'static str = env!("CARGO_PKG_VERSION");

            fn declare(lanes: &mut $crate::export::Lanes<$config>) {
                $crate::__blocks! { lanes; $($blocks)+ }
            }

            #[allow(unused_mut, clippy::vec_init_then_push, reason = "there may be none")]
            fn self_tests() -> Vec<$crate::self_test::SelfTest> {
                let mut tests = Vec::new();
                $crate::__self_tests! { tests; $($blocks)+ }
                tests
            }
        }

        const _: () = {
            #[cfg(panic = "abort")]
            compile_error!(
                "a plugin must be built with panic = \"unwind\": with \"abort\" one panic would end \
                 the whole host. Take `panic = \"abort\"` out of this profile in Cargo.toml."
            );

            // Two of them would clash here in any case, with a text that helps nobody.
            #[doc(hidden)]
            #[macro_export]
            macro_rules! a_crate_declares_one_plugin_only {
                () => {};
            }

            #[unsafe(export_name = "_1as_0lib_1header_0root_bmodule_bloader")]
            static HEADER: $crate::abi::Header = $crate::abi::header::<RmPlugin>();
        };
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __blocks {
    ($lanes:ident;) => {};
    ($lanes:ident; ; $($rest:tt)*) => { $crate::__blocks! { $lanes; $($rest)* } };

    ($lanes:ident; test $name:literal with $config:tt { $($requests:tt)* } $($rest:tt)*) => {
        $crate::__blocks! { $lanes; $($rest)* }
    };
    ($lanes:ident; test $name:literal { $($requests:tt)* } $($rest:tt)*) => {
        $crate::__blocks! { $lanes; $($rest)* }
    };

    ($lanes:ident; stateless inline($when:expr) { $($jobbers:tt)+ } $($rest:tt)*) => {
        $lanes.stateless($when, |jobbers| $crate::__jobbers! { jobbers; $($jobbers)+ });
        $crate::__blocks! { $lanes; $($rest)* }
    };
    ($lanes:ident; stateless inline { $($jobbers:tt)+ } $($rest:tt)*) => {
        $lanes.stateless(|_| true, |jobbers| $crate::__jobbers! { jobbers; $($jobbers)+ });
        $crate::__blocks! { $lanes; $($rest)* }
    };
    ($lanes:ident; stateless { $($jobbers:tt)+ } $($rest:tt)*) => {
        $lanes.stateless(|_| false, |jobbers| $crate::__jobbers! { jobbers; $($jobbers)+ });
        $crate::__blocks! { $lanes; $($rest)* }
    };

    ($lanes:ident; state $($block:tt)+) => { $crate::__shared! { $lanes; state; $($block)+ } };
    ($lanes:ident; memory $($block:tt)+) => { $crate::__shared! { $lanes; memory; $($block)+ } };

    ($lanes:ident; $other:tt $($rest:tt)*) => {
        compile_error!(concat!(
            "plugin!: expected a block, found `", stringify!($other), "`. A block is one of `state |c| STATE => { … }`, \
             `memory |c| VALUE => { … }`, `stateless { … }`, with `inline` before the braces if its functions never block, \
             and `test \"NAME\" { … }`. Before all of them come `name \"NAME\";` and `config TYPE;`, in this order, each \
             with its semicolon."
        ));
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __shared {
    ($lanes:ident; $kind:ident; $make:expr => inline($when:expr) { $($jobbers:tt)+ } $($rest:tt)*) => {
        $lanes.$kind($make, $when, |jobbers| $crate::__jobbers! { jobbers; $($jobbers)+ });
        $crate::__blocks! { $lanes; $($rest)* }
    };
    ($lanes:ident; $kind:ident; $make:expr => inline { $($jobbers:tt)+ } $($rest:tt)*) => {
        $lanes.$kind($make, |_| true, |jobbers| $crate::__jobbers! { jobbers; $($jobbers)+ });
        $crate::__blocks! { $lanes; $($rest)* }
    };
    ($lanes:ident; $kind:ident; $make:expr => { $($jobbers:tt)+ } $($rest:tt)*) => {
        $lanes.$kind($make, |_| false, |jobbers| $crate::__jobbers! { jobbers; $($jobbers)+ });
        $crate::__blocks! { $lanes; $($rest)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __jobbers {
    ($jobbers:ident; $($type_name:literal => $function:expr),+ $(,)?) => {{
        #[allow(unused_imports, reason = "not every function needs them")]
        use $crate::export::{ArgumentByValue as _, LaterResult as _, OtherResult as _};
        $(
            let signature = $crate::export::signature(&$function);
            let taken = (signature.0.argument(), signature.1.argument(), signature.2.argument());
            let $jobbers = $jobbers.with($type_name, taken, (&signature.3).result(), $function);
        )+
        $jobbers
    }};
    ($jobbers:ident; $($other:tt)*) => {{
        compile_error!(concat!(
            "plugin!: expected `\"TYPE\" => FUNCTION`, one for each type and commas between them, found `",
            stringify!($($other)*), "`"
        ));
        $jobbers
    }};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __self_tests {
    ($tests:ident;) => {};
    ($tests:ident; ; $($rest:tt)*) => { $crate::__self_tests! { $tests; $($rest)* } };

    ($tests:ident; test $name:literal with $config:tt { $($requests:tt)* } $($rest:tt)*) => {
        $tests.push(
            $crate::__examples! { $crate::export::Examples::new(); $($requests)* }
                .named($name, $crate::serde_json::json!($config)),
        );
        $crate::__self_tests! { $tests; $($rest)* }
    };
    ($tests:ident; test $name:literal { $($requests:tt)* } $($rest:tt)*) => {
        $crate::__self_tests! { $tests; test $name with {} { $($requests)* } $($rest)* }
    };

    ($tests:ident; stateless $(inline $(($when:expr))?)? { $($jobbers:tt)+ } $($rest:tt)*) => {
        $crate::__self_tests! { $tests; $($rest)* }
    };
    ($tests:ident; state $($block:tt)+) => { $crate::__behind_shared! { $tests; $($block)+ } };
    ($tests:ident; memory $($block:tt)+) => { $crate::__behind_shared! { $tests; $($block)+ } };
    // What is no block is told of where the blocks are read.
    ($tests:ident; $($other:tt)*) => {};
}

#[doc(hidden)]
#[macro_export]
macro_rules! __behind_shared {
    ($tests:ident; $make:expr => $(inline $(($when:expr))?)? { $($jobbers:tt)+ } $($rest:tt)*) => {
        $crate::__self_tests! { $tests; $($rest)* }
    };
}

#[doc(hidden)]
#[macro_export]
macro_rules! __examples {
    ($examples:expr;) => { $examples };

    ($examples:expr; $type_name:literal => error $code:literal $(, $($rest:tt)*)?) => {
        $crate::__examples! {
            $examples.with($type_name, None, $crate::self_test::Expected::Error($code.into()));
            $($($rest)*)?
        }
    };
    ($examples:expr; $type_name:literal => $answer:tt $(, $($rest:tt)*)?) => {
        $crate::__examples! {
            $examples.with(
                $type_name,
                None,
                $crate::self_test::Expected::Answer($crate::serde_json::json!($answer)),
            );
            $($($rest)*)?
        }
    };
    ($examples:expr; $type_name:literal $payload:tt => error $code:literal $(, $($rest:tt)*)?) => {
        $crate::__examples! {
            $examples.with(
                $type_name,
                Some($crate::serde_json::json!($payload)),
                $crate::self_test::Expected::Error($code.into()),
            );
            $($($rest)*)?
        }
    };
    ($examples:expr; $type_name:literal $payload:tt => $answer:tt $(, $($rest:tt)*)?) => {
        $crate::__examples! {
            $examples.with(
                $type_name,
                Some($crate::serde_json::json!($payload)),
                $crate::self_test::Expected::Answer($crate::serde_json::json!($answer)),
            );
            $($($rest)*)?
        }
    };
    ($examples:expr; $($other:tt)*) => {{
        compile_error!(concat!(
            "plugin!: expected `\"TYPE\" PAYLOAD => ANSWER` or `\"TYPE\" PAYLOAD => error \"CODE\"`, PAYLOAD only if there is \
             one, with commas between them, found `", stringify!($($other)*), "`"
        ));
        $examples
    }};
}
