//! Example requests that a plugin carries, with what it answers to them.
//!
//! They are written in [`plugin!`](crate::plugin), run wherever the plugin is tried ([`crate::testing`], the
//! host before it loads a file), and tell whoever reads the plugin's description what it is asked and answers.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::limits::{INLINE_CALL_MS_MAX, SLOW_RUNS_MAX};

/// Requests that are run one after another, on a state where nothing has happened yet.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// What it shows, in a few words.
    pub name: String,
    /// The configuration that it is run with, an object; not that of whoever runs the host.
    pub config: Value,
    /// In their order.
    pub requests: Vec<Example>,
}

/// One request of a [`SelfTest`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Example {
    /// The request type.
    #[serde(rename = "type")]
    pub type_name: String,
    /// `None`: it bears no payload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub payload: Option<Value>,
    /// What is to come back.
    pub expected: Expected,
}

/// What is to come back.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// An answer that holds at least these fields; objects in it may hold more, too, lists may not.
    Answer(Value),
    /// An error with this code.
    Error(String),
}

/// An error that came back.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failed {
    /// The stable word for programs.
    pub code: String,
    /// The sentence for people.
    pub message: String,
}

/// A plugin that self-tests are run on: loaded for one of them, on a state where nothing has happened yet.
pub trait Tried {
    /// Has the request run, and says what came back.
    fn ask(&mut self, example: &Example) -> CameBack;
}

/// What came back for a request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CameBack {
    /// The answer without its `type`, or the error.
    pub reply: Result<Value, Failed>,
    /// How long its function ran, if it is inline.
    pub inline_took: Option<Duration>,
}

impl SelfTest {
    /// Asks every request of a plugin that `load` makes with this test's configuration, and compares. If an
    /// inline function takes longer than it may, all is done anew a few times: the machine may be at fault.
    ///
    /// # Errors
    /// What came instead of what was expected, in one sentence that names the request; that the plugin cannot be
    /// loaded; that an inline function was slow each time.
    pub fn run<T: Tried>(
        &self,
        mut load: impl FnMut(&Value) -> Result<T, String>,
    ) -> Result<(), String> {
        let mut slow = String::new();
        for _ in 0..SLOW_RUNS_MAX {
            let config = &self.config;
            let mut plugin = load(config).map_err(|said| {
                format!("it cannot be made with the test's configuration {config}: {said}")
            })?;
            match self.run_once(&mut plugin)? {
                None => return Ok(()),
                Some(said) => slow = said,
            }
        }
        Err(slow)
    }

    /// Returns what is to be said of the slowest inline call, if it was too slow.
    fn run_once(&self, plugin: &mut impl Tried) -> Result<Option<String>, String> {
        let mut slowest = (Duration::ZERO, "");
        for (number, example) in (1..).zip(&self.requests) {
            let found = plugin.ask(example);
            example
                .expected
                .compare(&found.reply)
                .map_err(|difference| {
                    format!("request {number}, `{}`: {difference}", example.type_name)
                })?;
            let took = found.inline_took.unwrap_or_default();
            slowest = slowest.max((took, &example.type_name));
        }
        let (took, type_name) = slowest;
        let is_slow = took > Duration::from_millis(INLINE_CALL_MS_MAX);
        Ok(is_slow.then(|| {
            format!(
                "the inline function for `{type_name}` took {} ms, at most {INLINE_CALL_MS_MAX} are allowed: \
                 take `inline` away from its block",
                took.as_millis()
            )
        }))
    }
}

impl Expected {
    fn compare(&self, found: &Result<Value, Failed>) -> Result<(), String> {
        let difference = match (self, found) {
            (Self::Answer(expected), Ok(found)) => return compare("", expected, found),
            (Self::Error(expected), Err(found)) if *expected == found.code => return Ok(()),
            (Self::Answer(_), Err(Failed { code, message })) => {
                format!("expected an answer, found the error `{code}` ({message})")
            }
            (Self::Error(expected), Err(Failed { code, message })) => {
                format!("expected the error `{expected}`, found `{code}` ({message})")
            }
            (Self::Error(expected), Ok(found)) => {
                format!("expected the error `{expected}`, found the answer {found}")
            }
        };
        Err(difference)
    }
}

/// Says where `found` lacks something of what is `expected`.
fn compare(path: &str, expected: &Value, found: &Value) -> Result<(), String> {
    match (expected, found) {
        (Value::Object(expected), Value::Object(fields)) => {
            for (name, expected) in expected {
                let path = match path {
                    "" => name.clone(),
                    path => format!("{path}.{name}"),
                };
                let Some(found) = fields.get(name) else {
                    return Err(format!(
                        "expected `{path}` to be {expected}, it is not there"
                    ));
                };
                compare(&path, expected, found)?;
            }
            Ok(())
        }
        (Value::Array(expected), Value::Array(items)) if expected.len() == items.len() => {
            for (index, (expected, found)) in expected.iter().zip(items).enumerate() {
                compare(&format!("{path}[{index}]"), expected, found)?;
            }
            Ok(())
        }
        _ if expected == found => Ok(()),
        _ if path.is_empty() => Err(format!("expected {expected}, found {found}")),
        _ => Err(format!("expected `{path}` to be {expected}, found {found}")),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn difference(expected: Value, found: Value) -> String {
        compare("", &expected, &found).unwrap_err()
    }

    #[test]
    fn an_answer_may_hold_more_than_is_expected_but_no_list_may() {
        let found = json!({ "left": 3, "seats": [{ "id": 1, "row": 2 }], "token": 9 });
        for expected in [json!({}), json!({ "left": 3, "seats": [{ "row": 2 }] })] {
            assert_eq!(compare("", &expected, &found), Ok(()));
        }
        let text = difference(json!({ "seats": [] }), found.clone());
        assert_eq!(
            text,
            r#"expected `seats` to be [], found [{"id":1,"row":2}]"#
        );
        let text = difference(json!({ "seats": [{ "row": 1 }] }), found.clone());
        assert_eq!(text, "expected `seats[0].row` to be 1, found 2");
        let text = difference(json!({ "free": 1 }), found);
        assert_eq!(text, "expected `free` to be 1, it is not there");
        assert_eq!(difference(json!([]), json!({})), "expected [], found {}");
    }

    #[test]
    fn the_first_request_that_differs_is_named() {
        let request = |expected| Example {
            type_name: "get".to_owned(),
            payload: None,
            expected,
        };
        let test = SelfTest {
            name: "one".to_owned(),
            config: json!({}),
            requests: vec![
                request(Expected::Answer(json!({ "n": 1 }))),
                request(Expected::Error("sold_out".to_owned())),
            ],
        };
        let sold_out = || Failed {
            code: "sold_out".to_owned(),
            message: "0 left".to_owned(),
        };
        let run = |replies: &[Result<Value, Failed>]| {
            test.run(|_| Ok(Replies::of(replies, Duration::ZERO)))
        };
        let one = || Ok(json!({ "n": 1 }));
        assert_eq!(run(&[one(), Err(sold_out())]), Ok(()));
        assert_eq!(
            run(&[one(), one()]).unwrap_err(),
            r#"request 2, `get`: expected the error `sold_out`, found the answer {"n":1}"#
        );
        assert_eq!(
            run(&[Err(sold_out())]).unwrap_err(),
            "request 1, `get`: expected an answer, found the error `sold_out` (0 left)"
        );
        let text = test.run(|_| Err::<Replies, _>("no seats".to_owned()));
        assert_eq!(
            text.unwrap_err(),
            "it cannot be made with the test's configuration {}: no seats"
        );
    }

    #[test]
    fn an_inline_function_may_be_slow_twice_and_not_each_time() {
        let test = SelfTest {
            name: "one".to_owned(),
            config: json!({}),
            requests: vec![Example {
                type_name: "get".to_owned(),
                payload: None,
                expected: Expected::Answer(json!({})),
            }],
        };
        let run = |slow_runs: u32, inline_took: Option<Duration>| {
            let mut runs = 0;
            test.run(|_| {
                runs += 1;
                let fast = Some(Duration::from_millis(10));
                Ok(Replies {
                    replies: vec![Ok(json!({}))],
                    took: if runs <= slow_runs { inline_took } else { fast },
                })
            })
        };
        let slow = Some(Duration::from_millis(11));
        assert_eq!(run(2, slow), Ok(()));
        assert_eq!(run(u32::MAX, None), Ok(()));
        assert_eq!(
            run(3, slow).unwrap_err(),
            "the inline function for `get` took 11 ms, at most 10 are allowed: take `inline` away from its block"
        );
    }

    /// What answers so.
    struct Replies {
        replies: Vec<Result<Value, Failed>>,
        took: Option<Duration>,
    }

    impl Replies {
        fn of(replies: &[Result<Value, Failed>], took: Duration) -> Self {
            Self {
                replies: replies.to_vec(),
                took: Some(took),
            }
        }
    }

    impl Tried for Replies {
        fn ask(&mut self, _: &Example) -> CameBack {
            CameBack {
                reply: self.replies.remove(0),
                inline_took: self.took,
            }
        }
    }
}
