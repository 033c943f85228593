//! From an author's functions to what the host calls: the blocks that `plugin!` declares.

mod function;

use std::{
    any::TypeId,
    io::{self, Write},
    sync::Arc,
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::{
    buffer::Buffer,
    context::HostAccess,
    description::{Description, JobberDescription, LaneDescription, StateDescription},
    jobber::{RawJson, Refusal},
    limits::ANSWER_BYTES_MAX,
    objects::ObjectsOnly,
    payload::without_place,
    self_test::{Example, Expected, SelfTest},
    state::{Maps, Schemas, State},
};

pub use function::{
    ArgumentByValue, Arguments, Facts, Function, LaterResult, OtherResult, Outcome, Refuses,
    Shared, signature,
};

/// A whole plugin, as [`plugin!`](crate::plugin) declares it. Named `RmPlugin` in the author's crate, where
/// its tests hand it to [`crate::testing`].
pub trait Plugin: Sized + 'static {
    /// What `NAME.toml` beside `libNAME.so` holds.
    type Config: DeserializeOwned + Send + Sync + 'static;
    /// State is kept under this name.
    const NAME: &'static str;
    /// The version of the author's package.
    const VERSION: &'static str;

    /// Declares the plugin's lanes.
    #[doc(hidden)]
    fn declare(lanes: &mut Lanes<Self::Config>);

    /// Lists the plugin's self-tests.
    #[doc(hidden)]
    fn self_tests() -> Vec<SelfTest>;
}

/// The configuration of a plugin that takes none.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct NoConfig {}

/// A plugin with its configuration read: what it consists of, ready to open its lanes.
pub(crate) struct Definition {
    pub(crate) description: Description,
    blocks: Vec<Box<dyn AnyBlock>>,
}

impl Definition {
    /// Reads the configuration, a JSON object, and declares the lanes.
    pub(crate) fn new<P: Plugin>(config: &[u8]) -> Result<Self, String> {
        let config = read_config::<P::Config>(config)?;
        let mut lanes = Lanes {
            config: Arc::new(config),
            version: P::VERSION,
            blocks: Vec::new(),
        };
        P::declare(&mut lanes);
        Ok(Self {
            description: Description {
                name: P::NAME.to_owned(),
                version: P::VERSION.to_owned(),
                plugin_api: env!("CARGO_PKG_VERSION").to_owned(),
                lanes: lanes.blocks.iter().map(|block| block.describe()).collect(),
                self_tests: P::self_tests(),
            },
            blocks: lanes.blocks,
        })
    }

    /// Makes the code of one lane, with memory of its own.
    pub(crate) fn open_lane(
        &self,
        lane: usize,
        host: Arc<dyn HostAccess>,
    ) -> Result<Box<dyn LaneCode>, String> {
        let block = self.blocks.get(lane).ok_or_else(|| {
            format!(
                "lane {lane} was asked for, the plugin has {}",
                self.blocks.len()
            )
        })?;
        Ok(block.open(host))
    }
}

fn read_config<C: DeserializeOwned>(json: &[u8]) -> Result<C, String> {
    let mut unknown = Vec::new();
    let mut track = serde_path_to_error::Track::new();
    let mut json = serde_json::Deserializer::from_slice(json);
    let config = {
        let tracked = serde_path_to_error::Deserializer::new(ObjectsOnly(&mut json), &mut track);
        serde_ignored::deserialize(tracked, |path| unknown.push(path.to_string()))
    };
    match config {
        Err(error) => {
            let cause = error.to_string();
            let cause = without_place(&cause);
            Err(match track.path().to_string().as_str() {
                "." => cause.to_owned(),
                path => format!("`{path}`: {cause}"),
            })
        }
        Ok(_) if !unknown.is_empty() => Err(format!(
            "`{}`: a key that this plugin does not know; take it out or correct its spelling",
            unknown.join("`, `")
        )),
        Ok(config) => Ok(config),
    }
}

/// The code of one lane, opened.
pub(crate) trait LaneCode: Send {
    /// See [`State::setup`].
    fn setup(&mut self, stored: &mut Schemas) -> Result<(), String>;
    /// Runs one request; the answer's JSON goes into `answer`, which comes empty.
    fn handle(&mut self, jobber: u32, payload: &[u8], answer: &mut Buffer) -> Result<(), Refusal>;
}

/// Collects the blocks of a [`plugin!`](crate::plugin).
pub struct Lanes<C> {
    config: Arc<C>,
    /// Of the plugin.
    version: &'static str,
    blocks: Vec<Box<dyn AnyBlock>>,
}

impl<C: Send + Sync + 'static> Lanes<C> {
    /// A block whose functions share a state that the host keeps.
    ///
    /// The functions come in a closure, so that what they share is known before they are looked at. So in all blocks.
    pub fn state<S: State>(
        &mut self,
        make: impl FnOnce(&C) -> S,
        inline: impl FnOnce(&C) -> bool,
        jobbers: impl FnOnce(Jobbers<S::Handle>) -> Jobbers<S::Handle>,
    ) {
        let state = Arc::new(make(&self.config));
        let state_of_open = Arc::clone(&state);
        self.blocks.push(Box::new(Arc::new(Block {
            version: self.version,
            inline: inline(&self.config),
            states: state.describe(),
            open: Box::new(move |maps| state_of_open.open(maps)),
            setup: Box::new(move |handle, stored| state.setup(handle, stored)),
            jobbers: jobbers(Jobbers::new()).0,
        })));
    }

    /// A block whose functions share memory of the plugin's own. It is a cache: it ends with the loaded
    /// version, and is made anew after a panic.
    pub fn memory<M: Send + 'static>(
        &mut self,
        make: impl Fn(&C) -> M + Send + Sync + 'static,
        inline: impl FnOnce(&C) -> bool,
        jobbers: impl FnOnce(Jobbers<M>) -> Jobbers<M>,
    ) {
        let config = Arc::clone(&self.config);
        self.blocks.push(Box::new(Arc::new(Block {
            version: self.version,
            inline: inline(&self.config),
            states: Vec::new(),
            open: Box::new(move |_| make(&config)),
            setup: Box::new(|_, _| Ok(())),
            jobbers: jobbers(Jobbers::new()).0,
        })));
    }

    /// Functions that share nothing: each runs beside the others.
    pub fn stateless(
        &mut self,
        inline: impl FnOnce(&C) -> bool,
        jobbers: impl FnOnce(Jobbers<()>) -> Jobbers<()>,
    ) {
        let inline = inline(&self.config);
        for jobber in jobbers(Jobbers::new()).0 {
            self.blocks.push(Box::new(Arc::new(Block {
                version: self.version,
                inline,
                states: Vec::new(),
                open: Box::new(|_| ()),
                setup: Box::new(|(), _| Ok(())),
                jobbers: vec![jobber],
            })));
        }
    }
}

/// The functions of one block, by request type.
pub struct Jobbers<H>(Vec<Jobber<H>>);

impl<H: 'static> Jobbers<H> {
    /// None yet.
    #[allow(clippy::new_without_default, reason = "written by the macro alone")]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds the function that serves `type_name`. `A` and `R` say which parts its arguments and its
    /// result play; they come first, so that they are known before the function is looked at.
    #[must_use]
    pub fn with<F, A, R>(mut self, type_name: &str, _: A, _: R, function: F) -> Self
    where
        F: Function<H, (A, R)>,
    {
        let mut head = br#"{"type":"#.to_vec();
        // A string is always JSON.
        let _ = serde_json::to_writer(&mut head, type_name);
        self.0.push(Jobber {
            type_name: type_name.to_owned(),
            run: Box::new(move |invocation, handle, answer| {
                function.run(
                    invocation,
                    handle,
                    &mut AnswerWriter {
                        head: &head,
                        answer,
                    },
                )
            }),
        });
        self
    }
}

struct Jobber<H> {
    type_name: String,
    run: Box<RunJobber<H>>,
}

impl<H> Jobber<H> {
    fn describe(&self) -> JobberDescription {
        JobberDescription {
            type_name: self.type_name.clone(),
        }
    }
}

type RunJobber<H> =
    dyn Fn(&Invocation<'_>, &mut H, &mut Buffer) -> Result<(), Refusal> + Send + Sync;

type SetUp<H> = dyn Fn(&mut H, &mut Schemas) -> Result<(), String> + Send + Sync;

struct Block<H> {
    /// Of the plugin.
    version: &'static str,
    inline: bool,
    states: Vec<StateDescription>,
    open: Box<dyn Fn(&mut Maps) -> H + Send + Sync>,
    setup: Box<SetUp<H>>,
    jobbers: Vec<Jobber<H>>,
}

trait AnyBlock: Send + Sync {
    fn describe(&self) -> LaneDescription;
    fn open(&self, host: Arc<dyn HostAccess>) -> Box<dyn LaneCode>;
}

impl<H: Send + 'static> AnyBlock for Arc<Block<H>> {
    fn describe(&self) -> LaneDescription {
        LaneDescription {
            inline: self.inline,
            states: self.states.clone(),
            jobbers: self.jobbers.iter().map(Jobber::describe).collect(),
        }
    }

    fn open(&self, host: Arc<dyn HostAccess>) -> Box<dyn LaneCode> {
        let handle = (self.open)(&mut Maps::new(Arc::clone(&host), self.version));
        Box::new(OpenBlock {
            block: Arc::clone(self),
            host,
            handle,
        })
    }
}

struct OpenBlock<H> {
    block: Arc<Block<H>>,
    host: Arc<dyn HostAccess>,
    handle: H,
}

impl<H: Send> LaneCode for OpenBlock<H> {
    fn setup(&mut self, stored: &mut Schemas) -> Result<(), String> {
        (self.block.setup)(&mut self.handle, stored)
    }

    fn handle(&mut self, jobber: u32, payload: &[u8], answer: &mut Buffer) -> Result<(), Refusal> {
        let jobber = &self.block.jobbers[jobber as usize];
        let invocation = Invocation {
            payload,
            host: &*self.host,
        };
        (jobber.run)(&invocation, &mut self.handle, answer)
    }
}

/// One call of a function, before its arguments are read.
pub struct Invocation<'a> {
    payload: &'a [u8],
    host: &'a dyn HostAccess,
}

/// Where a function's answer goes.
pub struct AnswerWriter<'a> {
    /// `{"type":"…"`
    head: &'a [u8],
    answer: &'a mut Buffer,
}

/// What a function may answer with: any serde type that is an object, `()` for an empty one, or [`RawJson`].
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be answered: serde does not write it",
    label = "it answers with `{Self}`",
    note = "say `#[derive(Serialize)]` on `{Self}` and on what it is made of; `()` answers with an empty object, `RawJson` \
            with text that you wrote"
)]
pub trait AnswerBody {
    #[doc(hidden)]
    fn write(self, writer: &mut AnswerWriter<'_>);
}

#[diagnostic::do_not_recommend]
impl<T: Serialize + 'static> AnswerBody for T {
    fn write(self, writer: &mut AnswerWriter<'_>) {
        let AnswerWriter { head, answer } = writer;
        answer.extend(head);
        let mut bounded = Bounded::new(answer);
        let written = serde_json::to_writer(&mut bounded, &self);
        if let Err(error) = written.and_then(|()| bounded.flush().map_err(serde_json::Error::io)) {
            if answer.len() > ANSWER_BYTES_MAX {
                return;
            }
            panic!("the answer cannot be written as JSON: {error}");
        }
        // The type becomes the first field of the object that was written behind it.
        let body = &answer[head.len()..];
        let is_empty = match body.strip_prefix(b"{") {
            Some(fields) => fields.trim_ascii_start() == b"}",
            // Only who answers nothing by design answers `{}`: a `None` is a value that is missing.
            None => TypeId::of::<T>() == TypeId::of::<()>(),
        };
        if is_empty {
            answer.truncate(head.len());
            answer.extend(b"}");
        } else if body.starts_with(b"{") {
            answer[head.len()] = b',';
        } else {
            // No object, so no place for a type: the host refuses it and says so.
            answer.remove_first(head.len());
        }
    }
}

impl AnswerBody for RawJson {
    fn write(self, writer: &mut AnswerWriter<'_>) {
        let _ = Bounded::put(writer.answer, self.0.as_bytes());
    }
}

/// Takes so much of an answer that it is seen to be too large, so that the rest needs no memory. A serializer writes in
/// pieces of a few bytes, and each time the host's buffer is asked for room is a call into the host: so they are
/// gathered here first.
struct Bounded<'a> {
    answer: &'a mut Buffer,
    gathered: [u8; 128],
    gathered_len: usize,
}

impl<'a> Bounded<'a> {
    fn new(answer: &'a mut Buffer) -> Self {
        Self {
            answer,
            gathered: [0; 128],
            gathered_len: 0,
        }
    }

    fn put_down(&mut self) -> io::Result<()> {
        let gathered = self.gathered_len;
        self.gathered_len = 0;
        Self::put(self.answer, &self.gathered[..gathered])
    }

    fn put(answer: &mut Buffer, bytes: &[u8]) -> io::Result<()> {
        let room = (ANSWER_BYTES_MAX + 1).saturating_sub(answer.len());
        // With `room` bytes it would be one byte too large.
        if bytes.len() < room {
            answer.extend(bytes);
            return Ok(());
        }
        answer.extend(&bytes[..room]);
        Err(io::Error::other("it is too large"))
    }
}

impl Write for Bounded<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.write_all(bytes).map(|()| bytes.len())
    }

    #[inline]
    fn write_all(&mut self, bytes: &[u8]) -> io::Result<()> {
        if bytes.len() > self.gathered.len() - self.gathered_len {
            self.put_down()?;
        }
        let end = self.gathered_len + bytes.len();
        match self.gathered.get_mut(self.gathered_len..end) {
            Some(room) => {
                room.copy_from_slice(bytes);
                self.gathered_len = end;
                Ok(())
            }
            None => Self::put(self.answer, bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        self.put_down()
    }
}

/// The requests of one self-test.
pub struct Examples(Vec<Example>);

impl Examples {
    /// None yet.
    #[allow(clippy::new_without_default, reason = "written by the macro alone")]
    pub fn new() -> Self {
        Self(Vec::new())
    }

    /// Adds a request and what comes back.
    #[must_use]
    pub fn with(mut self, type_name: &str, payload: Option<Value>, expected: Expected) -> Self {
        self.0.push(Example {
            type_name: type_name.to_owned(),
            payload,
            expected,
        });
        self
    }

    /// Makes them a self-test.
    pub fn named(self, name: &str, config: Value) -> SelfTest {
        SelfTest {
            name: name.to_owned(),
            config,
            requests: self.0,
        }
    }
}
