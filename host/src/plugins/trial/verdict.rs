//! From the way a trial ended to the refusal that an author can do something with. Pure.

use super::{Report, Shown, TrialStep};
use crate::{
    limits::TRIAL_TIME_MAX,
    plugins::{
        config_file::ConfigFile,
        error::{CheckError, Step},
    },
};

/// How a trial ended.
#[derive(Debug)]
pub(in crate::plugins) struct ProcessEnd {
    /// The last step that the trial's process told of.
    pub(super) step: TrialStep,
    pub(super) how: How,
    /// The end of what was written to stderr.
    pub(super) said: String,
}

#[derive(Debug)]
pub(super) enum How {
    /// With this report, none of a step.
    Reported(Report),
    /// Without one, and this exit status.
    Exited(i32),
    /// It ended without a status, by this signal.
    Killed(i32),
    /// It was not done in time, and was killed.
    TimedOut,
    /// It reported what cannot be read or is too much.
    Garbled(String),
    /// It could not be started or watched, which is no fault of the plugin.
    Unstarted(CheckError),
}

impl ProcessEnd {
    /// What the plugin showed, if it may be loaded. `config` is what it was tried with.
    pub(in crate::plugins) fn verdict(self, config: &ConfigFile) -> Result<Shown, CheckError> {
        match self.how {
            How::Reported(Report::Done(shown)) => Ok(*shown),
            How::Reported(Report::Refused(error)) => Err(error),
            How::Reported(Report::ConfigRefused(said)) => Err(config.refused_by_plugin(&said)),
            How::Unstarted(error) => Err(error),
            _ => Err(self.refusal()),
        }
    }

    /// What was written to stderr, line by line.
    pub(in crate::plugins) fn said(&self) -> impl Iterator<Item = &str> {
        self.said
            .lines()
            .map(str::trim)
            .filter(|line| !line.is_empty())
    }

    fn refusal(&self) -> CheckError {
        let step = &self.step;
        let mut cause = match &self.how {
            How::Exited(status) => format!("its code ended it with exit status {status} {step}"),
            How::Killed(signal) => format!("its code ended it with {} {step}", name_of(*signal)),
            How::TimedOut => format!("it was not done after {TRIAL_TIME_MAX:?}: {step}"),
            How::Garbled(cause) => format!("{cause} {step}"),
            How::Reported(_) | How::Unstarted(_) => step.to_string(),
        };
        if let Some(last_words) = last_words(&self.said) {
            cause.push_str(": ");
            cause.push_str(&last_words);
        }
        let damaged = matches!(self.how, How::Killed(_)) && self.step == TrialStep::Load;
        let remedy = match (&self.how, &self.step) {
            _ if damaged => "copy it anew, or mend what runs when it is loaded",
            (How::TimedOut, _) => "mend what hangs, or let it be done later, in a request",
            (_, TrialStep::Start) => "look at what the line says; the plugin has not run yet",
            _ => "mend it; `rm-host check FILE` tries it again",
        };
        CheckError::new(Step::Trial, cause, remedy)
    }
}

/// Refuses what a plugin showed if a self-test failed.
pub(in crate::plugins) fn self_tests_passed(shown: &Shown) -> Result<(), CheckError> {
    let mut failed = shown.self_tests.iter();
    let failed = failed.find_map(|test| Some((&test.name, test.failure.as_ref()?)));
    let Some((name, failure)) = failed else {
        return Ok(());
    };
    Err(CheckError::new(
        Step::SelfTest,
        format!("`{name}`: {failure}"),
        "mend the plugin or its self-test, which `plugin_api::testing::self_tests` runs without a host",
    ))
}

/// Of what a process wrote to stderr, the part that says why it ended: its first panic, else its last line.
fn last_words(said: &str) -> Option<String> {
    let mut lines = said.lines().map(str::trim).filter(|line| !line.is_empty());
    let panicked = lines.clone().position(|line| line.contains("panicked at"));
    if let Some(at) = panicked {
        let panic: Vec<_> = lines.skip(at).take(2).collect();
        let place = panic[0]
            .find("panicked at")
            .map_or(panic[0], |at| &panic[0][at..]);
        return Some(match panic.get(1) {
            Some(text) => format!("{place} {text}"),
            None => place.to_owned(),
        });
    }
    lines
        .rfind(|line| !line.starts_with("note: "))
        .map(ToOwned::to_owned)
}

fn name_of(signal: i32) -> String {
    let name = match signal {
        4 => "SIGILL",
        5 => "SIGTRAP",
        6 => "SIGABRT",
        7 => "SIGBUS",
        8 => "SIGFPE",
        9 => "SIGKILL",
        11 => "SIGSEGV",
        13 => "SIGPIPE",
        15 => "SIGTERM",
        24 => "SIGXCPU, after more CPU time than a trial gets",
        25 => "SIGXFSZ, after writing more to a file than a trial may",
        31 => "SIGSYS",
        other => return format!("signal {other}"),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use plugin_api::description::Description;

    use super::{super::SelfTested, *};

    fn refusal(step: TrialStep, how: How, said: &str) -> String {
        let said = said.to_owned();
        let config = ConfigFile::read("a.toml".to_owned(), None).unwrap();
        let ended = ProcessEnd { step, how, said };
        ended.verdict(&config).unwrap_err().to_string()
    }

    #[test]
    fn a_refusal_names_how_it_ended_and_the_step() {
        for (step, how, said, expected) in [
            (
                TrialStep::Load,
                How::Killed(11),
                "",
                "fails its trial: its code ended it with SIGSEGV while it was loaded; copy it anew, or",
            ),
            (
                TrialStep::Load,
                How::Exited(0),
                "",
                "its code ended it with exit status 0 while it was loaded; mend it",
            ),
            (
                TrialStep::Create,
                How::TimedOut,
                "waiting\n",
                "it was not done after 2s: while it was made from its configuration: waiting; mend what hangs",
            ),
            (
                TrialStep::SelfTest("one seat".to_owned()),
                How::Killed(6),
                "memory allocation of 9 bytes failed\n",
                "SIGABRT while its self-test `one seat` ran: memory allocation of 9 bytes failed; mend",
            ),
            (
                TrialStep::Start,
                How::Unstarted(CheckError::new(
                    Step::Trial,
                    "no more processes",
                    "end some",
                )),
                "",
                "fails its trial: no more processes; end some",
            ),
        ] {
            let refusal = refusal(step, how, said);
            assert!(refusal.contains(expected), "{refusal:?} lacks {expected:?}");
        }
    }

    #[test]
    fn the_last_words_are_the_first_panic_or_the_last_line() {
        let panic = "starting\n\nthread '<unnamed>' (7) panicked at src/lib.rs:3:5:\nboom\nnote: run with …\n\
                     thread 'main' panicked at core/panicking.rs:1:1:\npanic in a function that cannot unwind\n\
                     thread caused non-unwinding panic. aborting.\n";
        assert_eq!(
            last_words(panic).unwrap(),
            "panicked at src/lib.rs:3:5: boom"
        );
        assert_eq!(last_words("one\ntwo\nnote: three\n\n").unwrap(), "two");
        assert_eq!(last_words("x panicked at y").unwrap(), "panicked at y");
        assert_eq!(last_words("\n \n"), None);
    }

    #[test]
    fn the_first_self_test_that_failed_is_named() {
        let mut shown = Shown {
            description: Description {
                name: "a".to_owned(),
                version: "1.0.0".to_owned(),
                plugin_api: "1.0.0".to_owned(),
                lanes: Vec::new(),
                self_tests: Vec::new(),
            },
            abi: "1.0.0".to_owned(),
            self_tests: vec![SelfTested {
                name: "fine".to_owned(),
                failure: None,
            }],
        };
        assert_eq!(self_tests_passed(&shown), Ok(()));
        shown.self_tests.push(SelfTested {
            name: "sold out".to_owned(),
            failure: Some("request 1, `get`: expected 1, found 2".to_owned()),
        });
        let refusal = self_tests_passed(&shown).unwrap_err().to_string();
        assert!(
            refusal.starts_with("fails its self-tests: `sold out`: request 1, `get`: expected 1"),
            "{refusal}"
        );
    }
}
