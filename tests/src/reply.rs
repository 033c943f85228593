//! One reply as a test looks at it.

use serde_json::Value;

use crate::SEPARATOR;

/// A reply, read strictly: the three keys in their order and no other.
#[derive(Clone, Debug, PartialEq)]
pub struct Reply {
    /// The message without its separator.
    pub text: String,
    /// `type`.
    pub type_name: String,
    /// The digits of `queryIndex`.
    pub query_index: String,
    /// `resultJob`.
    pub result: Value,
}

impl Reply {
    #[track_caller]
    pub(crate) fn read(text: String) -> Self {
        let read: Value = serde_json::from_str(&text)
            .unwrap_or_else(|error| panic!("a reply that is not JSON ({error}): {text}"));
        let keys: Vec<&String> = read
            .as_object()
            .map(|read| read.keys().collect())
            .unwrap_or_default();
        assert_eq!(keys, ["queryIndex", "resultJob", "type"], "{text}");
        assert!(read["resultJob"].is_object(), "{text}");
        let type_name = read["type"].as_str().expect("`type` is text").to_owned();
        // Taken from the text, since a number as serde_json reads it has lost its digits.
        let head = format!("{{\"type\":{},\"queryIndex\":", Value::from(&*type_name));
        let head = head.replace(SEPARATOR, "\\ud83e\\udd80");
        let digits = text
            .strip_prefix(&head)
            .and_then(|rest| rest.split_once(",\"resultJob\":"));
        let Some((query_index, _)) = digits else {
            panic!("expected `type`, `queryIndex`, `resultJob` in this order: {text}");
        };
        Self {
            type_name,
            query_index: query_index.to_owned(),
            result: read["resultJob"].clone(),
            text,
        }
    }

    /// The error's code, if it is one.
    pub fn code(&self) -> Option<&str> {
        self.result["code"].as_str()
    }

    /// The error's sentence for people; in a complaint about a message, what was wrong with it.
    #[track_caller]
    pub fn sentence(&self) -> &str {
        let said = self.result.get("msg").unwrap_or(&self.result["err"]);
        said.as_str()
            .unwrap_or_else(|| panic!("no error: {}", self.text))
    }

    /// A whole number out of the result.
    #[track_caller]
    pub fn number(&self, key: &str) -> u64 {
        let number = self.result[key].as_u64();
        number.unwrap_or_else(|| panic!("expected a number `{key}`: {}", self.text))
    }

    /// The result, which must be no error.
    #[track_caller]
    pub fn ok(self) -> Value {
        assert!(
            self.code().is_none() && self.result.get("err").is_none(),
            "refused: {}",
            self.text
        );
        self.result
    }

    /// Checks that it is an error with this code, and returns its sentence.
    #[track_caller]
    pub fn refused(self, code: &str) -> String {
        assert_eq!(self.code(), Some(code), "{}", self.text);
        self.sentence().to_owned()
    }
}
