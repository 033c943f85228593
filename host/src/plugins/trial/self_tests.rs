//! A plugin opened on empty state, and its self-tests run on it as the host would run their requests.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use plugin_api::{
    description::Description,
    self_test::{CameBack, Example, Failed, SelfTest, Tried},
};
use serde::Deserialize;
use serde_json::Value;

use crate::{
    clock::Clock,
    lane::{LaneCode, OpenLane, Output, RequestRef, Verdict},
    plugins::loader::LoadedPlugin,
    run_delay::RunDelay,
    state::{Access, LentState, SharedAccess},
};

/// A plugin with all its lanes open, each on state of its own in which nothing has happened.
pub(super) struct TriedPlugin {
    lanes: Vec<TriedLane>,
    clock: Clock,
}

struct TriedLane {
    types: Arc<[Box<str>]>,
    inline: bool,
    code: LaneCode,
}

impl TriedPlugin {
    /// Opens and sets up every lane.
    pub(super) fn open(plugin: LoadedPlugin, description: &Description) -> Result<Self, String> {
        let name: Arc<str> = plugin.name().into();
        let plugin = Arc::new(plugin);
        let open: OpenLane = Arc::new(move |lane, host| plugin.open_lane(lane, host));
        let clock = Clock::new();
        let lanes = (0..).zip(&description.lanes).map(|(index, lane)| {
            let states = lane.states.iter().map(|_| LentState::default()).collect();
            let access = SharedAccess::new(Access::new(states, false));
            let types: Arc<[Box<str>]> = lane.types().map(Into::into).collect();
            let code = LaneCode::open(
                Arc::clone(&name),
                index,
                Arc::clone(&open),
                access.clone(),
                Arc::clone(&types),
                &clock,
            )?;
            access.lock().commit_told();
            Ok(TriedLane {
                types,
                inline: lane.inline,
                code,
            })
        });
        Ok(Self {
            lanes: lanes.collect::<Result<_, String>>()?,
            clock,
        })
    }
}

impl Tried for TriedPlugin {
    fn ask(&mut self, example: &Example) -> CameBack {
        let serving = self.lanes.iter_mut().find_map(|lane| {
            let jobber = lane
                .types
                .iter()
                .position(|name| **name == *example.type_name)?;
            Some((lane, jobber))
        });
        let Some((lane, jobber)) = serving else {
            return CameBack {
                reply: Err(failed(
                    "unknown_type",
                    "no function of this plugin serves it",
                )),
                inline_took: None,
            };
        };
        let payload = example.payload.as_ref();
        let payload = payload.map_or_else(String::new, ToString::to_string);
        let asked = RequestRef {
            session: 0,
            client: 1,
            attempt: 1,
            wait: false,
            deadline_ms: u64::MAX,
            once: None,
            query_index: "0",
            payload: &payload,
        };
        let mut reply = Vec::new();
        let (start, mut run_delay) = (Instant::now(), RunDelay::of_this_thread());
        let jobber = u32::try_from(jobber).expect("a lane's jobbers are counted in 32 bits");
        let out = Output {
            reply: &mut reply,
            effects: Some(&mut Vec::new()),
        };
        let verdict = lane
            .code
            .run(jobber, &asked, &self.clock, self.clock.read(), out);
        // What it waited for a processor is a busy machine's doing.
        let waited = Duration::from_micros(run_delay.since_look());
        let took = start.elapsed().saturating_sub(waited);
        CameBack {
            reply: match verdict {
                Verdict::Replied { .. } => read(&reply),
                Verdict::TryAgain | Verdict::Wait { .. } | Verdict::Void => {
                    Err(failed("jobber_error", "it asked to be run again"))
                }
            },
            inline_took: lane.inline.then_some(took),
        }
    }
}

/// Runs a self-test on a plugin that `make` makes from its configuration.
pub(super) fn run(
    test: &SelfTest,
    make: impl Fn(&str) -> Result<LoadedPlugin, String>,
) -> Result<(), String> {
    test.run(|config| {
        let plugin = make(&config.to_string())?;
        let description = plugin.describe().map_err(|error| error.to_string())?;
        TriedPlugin::open(plugin, &description)
    })
}

/// Takes a reply apart, as a client does.
fn read(reply: &[u8]) -> Result<Value, Failed> {
    #[derive(Deserialize)]
    struct Reply {
        #[serde(rename = "resultJob")]
        result: Value,
    }
    let text = String::from_utf8_lossy(reply);
    let text = text.trim_end_matches('🦀');
    let Ok(Reply { result }) = serde_json::from_str(text) else {
        return Err(failed("jobber_error", "its reply cannot be read"));
    };
    match (result.get("err"), result.get("code")) {
        (Some(Value::String(message)), Some(Value::String(code))) => Err(failed(code, message)),
        _ => Ok(result),
    }
}

fn failed(code: &str, message: &str) -> Failed {
    Failed {
        code: code.to_owned(),
        message: message.to_owned(),
    }
}
