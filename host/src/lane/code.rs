//! The code of one lane: runs one request through the plugin, inside a transaction, and turns what comes back
//! into a reply.
//!
//! It is the same for a lane that runs on the core thread and for one with a thread of its own, and the only
//! place where a request meets a plugin.

use std::sync::Arc;

use abi_stable::std_types::{RSlice, RVec};
use plugin_api::{
    abi::{AbiHost_TO, AbiHostObject, AbiLaneObject, NO_DEADLINE, status},
    description::{Fault, RefusalText},
    rules::{self, EXPIRED_BEFORE_START, answer},
};
use protocol::{ErrorCode, encoder};

use super::job::RequestRef;
use crate::{
    blame::Blamed,
    clock::{Clock, Moment},
    limits,
    logging::OneLine,
    state::{CallFacts, SharedAccess},
};

/// Makes the code of a lane: `open_lane` of a loaded plugin.
pub type OpenLane =
    Arc<dyn Fn(u32, AbiHostObject) -> Result<Blamed<AbiLaneObject>, String> + Send + Sync>;

/// The code of one lane, opened and set up.
pub struct LaneCode {
    plugin: Arc<str>,
    index: u32,
    open: OpenLane,
    access: SharedAccess,
    /// Shows that this is the code which counts.
    generation: u64,
    /// The request type of each jobber.
    types: Arc<[Box<str>]>,
    /// Gone, with the reason, if it could not be made anew after a panic.
    code: Result<Blamed<AbiLaneObject>, String>,
    answer: RVec<u8>,
    ended: Moment,
    took_us: u64,
    effect_bytes: usize,
}

/// Where a run puts what comes of it.
pub struct Output<'a> {
    /// Its reply is appended here, if it gets one now.
    pub reply: &'a mut Vec<u8>,
    /// What it changed in the state is appended here, if somebody keeps that. `None`: its [`Access`](crate::state::Access)
    /// holds that until it is fetched.
    pub effects: Option<&'a mut Vec<u8>>,
}

/// What became of a request that met its jobber.
#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The reply is written; it leaves once this request's effects count.
    Replied {
        /// The state is not what it was.
        changed: bool,
        /// `ok` or the error's code, for the log.
        result: Outcome,
    },
    /// Nothing is written: to be run again after a while.
    TryAgain,
    /// Nothing is written: to be set aside until the state changes.
    Wait {
        /// What a client that does not wait is told.
        code: Box<str>,
        /// The sentence of the refusal, for people.
        message: Box<str>,
    },
    /// Nothing is written and nothing has changed: the job no longer counts.
    Void,
}

impl Verdict {
    /// Whether the jobber panicked.
    pub fn is_panic(&self) -> bool {
        self.misdeed() == Some(Misdeed::Panicked)
    }

    /// What the plugin did wrong that is more than this request's matter.
    pub fn misdeed(&self) -> Option<Misdeed> {
        match self {
            Self::Replied {
                result: Outcome::Failed(code),
                ..
            } => match code {
                ErrorCode::JobberPanicked => Some(Misdeed::Panicked),
                ErrorCode::Quarantined => Some(Misdeed::HasNoCode),
                _ => None,
            },
            _ => None,
        }
    }
}

/// See [`Verdict::misdeed`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Misdeed {
    /// A jobber panicked in the run.
    Panicked,
    /// The lane's code could not be made anew after a panic.
    HasNoCode,
}

/// How a request ended, for the log and the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The reply bears a result.
    Answered,
    /// The jobber refused it, with that code.
    Refused(Box<str>),
    /// The reply bears an error of the host's.
    Failed(ErrorCode),
}

impl Outcome {
    /// The outcome in one word, for the log.
    pub fn word(&self) -> &str {
        match self {
            Self::Answered => "ok",
            Self::Refused(code) => code,
            Self::Failed(code) => code.as_str(),
        }
    }
}

impl LaneCode {
    /// Opens the code and brings its state in line with the configuration. What that changed is left in the
    /// open transaction of `access`: all lanes of a plugin are committed or rolled back together.
    ///
    /// # Errors
    /// What the plugin said, in one line.
    pub fn open(
        plugin: Arc<str>,
        index: u32,
        open: OpenLane,
        access: SharedAccess,
        types: Arc<[Box<str>]>,
        clock: &Clock,
    ) -> Result<Self, String> {
        let generation = access.lock().generation();
        let mut code = open(index, host_object(&access))?;
        let facts = CallFacts {
            client: 0,
            session: 0,
            attempt: 1,
            now_ms: clock.now_ms(),
            deadline_ms: NO_DEADLINE,
        };
        let bytes_max = limits::OPENING_EFFECTS_BYTES_MAX;
        access.lock().begin(generation, facts, bytes_max);
        let stored = stored_facts(&access);
        let mut failure = RVec::new();
        let done = code.call(|code| code.setup(RSlice::from_slice(&stored), &mut failure));
        if let Some(fault) = access.lock().fault() {
            return Err(fault);
        }
        if done != status::ANSWERED {
            return Err(Fault::from_json(failure.as_slice()).to_string());
        }
        Ok(Self {
            plugin,
            index,
            open,
            access,
            generation,
            types,
            code: Ok(code),
            answer: RVec::new(),
            ended: Moment::default(),
            took_us: 0,
            effect_bytes: 0,
        })
    }

    /// The way to the states that this code works on.
    pub fn access(&self) -> &SharedAccess {
        &self.access
    }

    /// When the last request had been run.
    pub fn ended(&self) -> Moment {
        self.ended
    }

    /// How long the plugin's code took for the last request, in microseconds.
    pub fn took_us(&self) -> u64 {
        self.took_us
    }

    /// How much the last request's effects are, in bytes.
    pub fn effect_bytes(&self) -> usize {
        self.effect_bytes
    }

    /// Runs one request. `started` is now.
    pub fn run(
        &mut self,
        jobber: u32,
        asked: &RequestRef<'_>,
        clock: &Clock,
        started: Moment,
        out: Output<'_>,
    ) -> Verdict {
        let Output { reply, effects } = out;
        (self.ended, self.took_us, self.effect_bytes) = (started, 0, 0);
        if started.steady_ms > asked.deadline_ms {
            return self.fail(
                jobber,
                asked,
                reply,
                ErrorCode::Expired,
                EXPIRED_BEFORE_START,
            );
        }
        let code = match &mut self.code {
            Ok(code) => code,
            Err(reason) => {
                let reason = format!("the plugin could not be made anew after a panic: {reason}");
                return self.fail(jobber, asked, reply, ErrorCode::Quarantined, &reason);
            }
        };
        let facts = CallFacts {
            client: asked.client,
            session: asked.session,
            attempt: u32::from(asked.attempt),
            now_ms: started.ms,
            deadline_ms: started.told_of(asked.deadline_ms),
        };
        let bytes_max = limits::JOB_EFFECTS_BYTES_MAX;
        if !(self.access.lock()).begin(self.generation, facts, bytes_max) {
            return Verdict::Void;
        }
        self.answer.clear();
        let payload = RSlice::from_slice(asked.payload.as_bytes());
        let done = code.call(|code| code.handle(jobber, payload, &mut self.answer));
        self.ended = clock.read();
        let ended_ms = self.ended.steady_ms;
        self.took_us = self.ended.us - started.us;
        let verdict = if done == status::ANSWERED {
            self.answered(jobber, asked, ended_ms, Output { reply, effects })
        } else {
            let fault = self.access.lock().fault();
            match fault {
                Some(fault) => self.jobber_error(jobber, asked, reply, &fault),
                None => self.refused(jobber, asked, done, reply),
            }
        };
        if self.answer.capacity() > limits::ANSWER_BYTES_MAX / 16 {
            self.answer = RVec::new();
        }
        verdict
    }

    fn answered(
        &mut self,
        jobber: u32,
        asked: &RequestRef<'_>,
        ended_ms: u64,
        out: Output<'_>,
    ) -> Verdict {
        let Output { reply, effects } = out;
        let type_name = &self.types[jobber as usize];
        let body = match answer::check(self.answer.as_mut_slice(), type_name) {
            Ok(body) => body,
            Err(fault) if fault.is_type_mismatch() => {
                self.log_fault(jobber, asked, &fault);
                let code = ErrorCode::TypeMismatch;
                return self.fail(jobber, asked, reply, code, &rules::told(&fault));
            }
            Err(fault) => {
                let fault = fault.to_string();
                return self.jobber_error(jobber, asked, reply, &fault);
            }
        };
        if ended_ms > asked.deadline_ms {
            return self.fail(
                jobber,
                asked,
                reply,
                ErrorCode::Expired,
                EXPIRED_BEFORE_COMMIT,
            );
        }
        // What has committed counts, and so does its reply: they are there at the same moment.
        let begin = reply.len();
        encoder::reply(reply, type_name, asked.query_index, body);
        let committed = (self.access.lock()).commit(self.generation, effects, &reply[begin..]);
        match committed {
            Some(Ok(committed)) => {
                self.effect_bytes = committed.effect_bytes;
                Verdict::Replied {
                    changed: committed.changed,
                    result: Outcome::Answered,
                }
            }
            Some(Err(fault)) => {
                reply.truncate(begin);
                self.jobber_error(jobber, asked, reply, &fault)
            }
            None => {
                reply.truncate(begin);
                Verdict::Void
            }
        }
    }

    fn refused(
        &mut self,
        jobber: u32,
        asked: &RequestRef<'_>,
        done: u32,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        let answer = std::mem::take(&mut self.answer);
        let refusal = refusal(answer.as_slice());
        match done {
            status::NOT_YET if asked.wait && rules::refusal::code(&refusal.code).is_ok() => {
                if !self.access.lock().roll_back(self.generation) {
                    return Verdict::Void;
                }
                Verdict::Wait {
                    code: (*refusal.code).into(),
                    message: (*refusal.message).into(),
                }
            }
            status::REFUSED | status::NOT_YET => self.refuse(jobber, asked, &refusal, reply),
            status::TRY_AGAIN if asked.attempt <= limits::RETRIES_MAX => {
                match self.access.lock().roll_back(self.generation) {
                    true => Verdict::TryAgain,
                    false => Verdict::Void,
                }
            }
            status::BAD_PAYLOAD => {
                let code = ErrorCode::BadPayload;
                self.fail(jobber, asked, reply, code, &refusal.message)
            }
            status::PANICKED => {
                self.log_fault(
                    jobber,
                    asked,
                    &format_args!("panicked: {}", refusal.message),
                );
                // The reply is for clients, who are not to see the inside of a plugin.
                let text = "the jobber panicked on this request; nothing was changed";
                let verdict = self.fail(jobber, asked, reply, ErrorCode::JobberPanicked, text);
                if verdict != Verdict::Void {
                    self.make_anew();
                }
                verdict
            }
            status::TRY_AGAIN => {
                let text = rules::refusal::gave_up(asked.attempt.into(), &refusal.message);
                self.jobber_error(jobber, asked, reply, &text)
            }
            _ => {
                let text = format!("ended with the status {done}, which this host does not know");
                self.jobber_error(jobber, asked, reply, &text)
            }
        }
    }

    /// A refusal with the jobber's own code, which must be a word of its own.
    fn refuse(
        &mut self,
        jobber: u32,
        asked: &RequestRef<'_>,
        refusal: &RefusalText<'_>,
        reply: &mut Vec<u8>,
    ) -> Verdict {
        let code = &*refusal.code;
        if let Err(fault) = rules::refusal::code(code) {
            return self.jobber_error(jobber, asked, reply, &fault.to_string());
        }
        if !self.access.lock().roll_back(self.generation) {
            return Verdict::Void;
        }
        let type_name = &self.types[jobber as usize];
        encoder::error(reply, type_name, asked.query_index, code, &refusal.message);
        Verdict::Replied {
            changed: false,
            result: Outcome::Refused(code.into()),
        }
    }

    fn jobber_error(
        &mut self,
        jobber: u32,
        asked: &RequestRef<'_>,
        reply: &mut Vec<u8>,
        fault: &str,
    ) -> Verdict {
        self.log_fault(jobber, asked, &fault);
        let text = rules::told(fault);
        self.fail(jobber, asked, reply, ErrorCode::JobberError, &text)
    }

    /// Answers with an error of the host's. Nothing of the job stays.
    fn fail(
        &mut self,
        jobber: u32,
        asked: &RequestRef<'_>,
        reply: &mut Vec<u8>,
        code: ErrorCode,
        text: &str,
    ) -> Verdict {
        if !self.access.lock().roll_back(self.generation) {
            return Verdict::Void;
        }
        let type_name = &self.types[jobber as usize];
        encoder::error(reply, type_name, asked.query_index, code.as_str(), text);
        Verdict::Replied {
            changed: false,
            result: Outcome::Failed(code),
        }
    }

    fn log_fault(&self, jobber: u32, asked: &RequestRef<'_>, fault: &dyn std::fmt::Display) {
        tracing::warn!(
            plugin = %self.plugin,
            r#type = %self.types[jobber as usize],
            client = asked.client,
            query_index = asked.query_index,
            "a jobber {}",
            OneLine(&fault.to_string())
        );
    }

    /// After a panic the plugin's own memory cannot be trusted: it is made anew. The state is the host's, and
    /// is untouched.
    fn make_anew(&mut self) {
        let mut access = self.access.lock();
        access.revoke();
        self.generation = access.generation();
        drop(access);
        self.code = (self.open)(self.index, host_object(&self.access));
        if let Err(reason) = &self.code {
            tracing::error!(
                plugin = %self.plugin,
                "a lane could not be made anew after a panic: {reason}"
            );
        }
    }
}

const EXPIRED_BEFORE_COMMIT: &str =
    "the request's deadline passed while its jobber ran; nothing was changed";

fn host_object(access: &SharedAccess) -> AbiHostObject {
    AbiHost_TO::from_value(access.for_code(), abi_stable::sabi_trait::TD_Opaque)
}

/// What the host knows of what is stored: for each state of the lane its schema, or `null` if it is new.
fn stored_facts(access: &SharedAccess) -> Vec<u8> {
    let schemas: Vec<_> = access.lock().schemas().collect();
    let states = schemas
        .into_iter()
        .map(|schema| schema.map(|schema| serde_json::json!({ "schema": schema })));
    let states: Vec<_> = states.collect();
    serde_json::json!({ "states": states })
        .to_string()
        .into_bytes()
}

/// What the plugin said, or that it said nothing that can be read.
fn refusal(json: &[u8]) -> RefusalText<'_> {
    let read = serde_json::from_slice(json);
    let mut refusal = read.unwrap_or_else(|error| RefusalText {
        code: "jobber_error".into(),
        message: format!("refused without a readable reason ({error})").into(),
    });
    refusal.message = rules::refusal::text(refusal.message);
    refusal
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_jobber_refuses_with_a_code_of_the_hosts_own() {
        let own = ErrorCode::ALL.map(ErrorCode::as_str);
        assert_eq!(rules::refusal::RESERVED_CODES, own);
    }
}
