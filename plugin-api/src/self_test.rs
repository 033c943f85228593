//! Example requests that a plugin carries, with what it answers to them.
//!
//! They are written in [`plugin!`](crate::plugin), run wherever the plugin is tried ([`crate::testing`], the
//! host before it loads a file), and tell whoever reads the plugin's description what it is asked and answers.

use serde::{Deserialize, Serialize};
use serde_json::Value;

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

impl SelfTest {
    /// Asks every request with `ask`, which returns the answer without its `type`, and compares.
    ///
    /// # Errors
    /// What came instead of what was expected, in one sentence that names the request.
    pub fn run(
        &self,
        mut ask: impl FnMut(&Example) -> Result<Value, Failed>,
    ) -> Result<(), String> {
        for (number, example) in (1..).zip(&self.requests) {
            let found = ask(example);
            example.expected.compare(&found).map_err(|difference| {
                format!("request {number}, `{}`: {difference}", example.type_name)
            })?;
        }
        Ok(())
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
        let mut replies = vec![Err(sold_out()), Ok(json!({ "n": 1 }))];
        assert_eq!(test.run(|_| replies.pop().unwrap()), Ok(()));
        let text = test.run(|_| Ok(json!({ "n": 1 }))).unwrap_err();
        assert_eq!(
            text,
            r#"request 2, `get`: expected the error `sold_out`, found the answer {"n":1}"#
        );
        let text = test.run(|_| Err(sold_out())).unwrap_err();
        assert_eq!(
            text,
            "request 1, `get`: expected an answer, found the error `sold_out` (0 left)"
        );
    }
}
