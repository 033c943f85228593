//! What a jobber answers: a serde type or raw JSON, or one of the four ways to refuse.

use std::borrow::Cow;

/// What a jobber's function returns. `()` answers `{}`.
pub type Answer<T = ()> = Result<T, Refusal>;

/// Why a request gets no result. Nothing that its jobber changed stays changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub(crate) kind: RefusalKind,
    pub(crate) code: Cow<'static, str>,
    pub(crate) message: String,
}

/// What the host does with a refused request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RefusalKind {
    /// Tells the client.
    Final,
    /// Sets a client that said `wait` aside until the state changes, tells any other.
    NotYet,
    /// Runs it again after 1 s, at most 5 times, behind what is queued by then.
    TryAgain,
    /// Tells the client what is wrong with its payload.
    BadPayload,
}

impl Refusal {
    /// Final, with a code of the jobber's own: a lower-case word of at most 64 letters, digits and `_`, none
    /// of the host's own.
    ///
    /// ```
    /// # use plugin_api::Refusal;
    /// let refusal = Refusal::new("not_yours", "seat 7 is held by another client");
    /// assert_eq!(refusal.code(), "not_yours");
    /// ```
    pub fn new(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::of(RefusalKind::Final, code, message)
    }

    /// Not now, but perhaps once another request has changed the state.
    pub fn not_yet(code: impl Into<Cow<'static, str>>, message: impl Into<String>) -> Self {
        Self::of(RefusalKind::NotYet, code, message)
    }

    /// Something outside failed: worth another run of the same request, later.
    pub fn try_again(message: impl Into<String>) -> Self {
        Self::of(RefusalKind::TryAgain, "jobber_error", message)
    }

    /// The payload could be read but says something impossible. Name the field, what was expected, what came.
    pub fn bad_payload(message: impl Into<String>) -> Self {
        Self::of(RefusalKind::BadPayload, "bad_payload", message)
    }

    fn of(
        kind: RefusalKind,
        code: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Self {
            kind,
            code: code.into(),
            message: message.into(),
        }
    }

    /// What the host does with it.
    pub fn kind(&self) -> RefusalKind {
        self.kind
    }

    /// The stable word for programs.
    pub fn code(&self) -> &str {
        &self.code
    }

    /// The sentence for people.
    pub fn message(&self) -> &str {
        &self.message
    }

    pub(crate) fn with_code(self, code: impl Into<Cow<'static, str>>) -> Self {
        Self {
            code: code.into(),
            ..self
        }
    }
}

/// Gives an error of a state the code that clients of this plugin know it by.
pub trait OrCode {
    /// What there is when all is well.
    type Value;

    /// Turns the error into a [`Refusal`] with this code.
    ///
    /// # Errors
    /// The refusal.
    fn or_code(self, code: &'static str) -> Answer<Self::Value>;
}

impl<T, E: Into<Refusal>> OrCode for Result<T, E> {
    type Value = T;

    fn or_code(self, code: &'static str) -> Answer<T> {
        self.map_err(|error| error.into().with_code(code))
    }
}

/// JSON as text: a payload that is passed on as it came, or an answer that the author writes.
///
/// An answer must be an object that bears the jobber's own type in its field `type`; the host checks it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RawJson(pub String);
