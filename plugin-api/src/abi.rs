//! The frozen twin of this crate: the types that cross from a plugin to the host and back.
//!
//! It is bytes in, bytes out. Descriptions, configurations and errors cross as JSON, so that they can grow
//! without a new ABI; what is called for every request crosses as plain slices. Nothing else of this crate,
//! and of the host only its loader and its lanes, names these types, so that what carries them can be
//! replaced in one place.
//!
//! To change anything here: only append methods, after the one marked `last_prefix_field`, with a default
//! body. A renamed or changed one breaks every plugin that was ever built. Who calls an appended one may meet
//! the default, since newer plugins run on older hosts and older plugins on newer hosts.

#![allow(
    non_local_definitions,
    non_camel_case_types,
    missing_docs,
    reason = "what the macros of abi_stable write"
)]
#![allow(
    clippy::all,
    unsafe_code,
    reason = "the one file of this crate that speaks C"
)]

use std::sync::Arc;

use abi_stable::{
    StableAbi,
    library::{
        __call_root_module_loader, CheckTypeLayout, LibHeader, RootModule, RootModuleResult,
    },
    prefix_type::PrefixTypeTrait,
    sabi_trait,
    sabi_types::VersionStrings,
    std_types::{RBox, RResult, RSlice, RSliceMut, RStr, RVec},
};

use crate::{
    buffer::Buffer,
    context::{Call, GaveUp, HostAccess, Revoked, Seek},
    description::{Creation, Fault, FaultKind, RefusalText},
    export::{Definition, LaneCode, Plugin},
    jobber::{Refusal, RefusalKind},
    log_bridge::{self, HostLog, guarded, panic_said, panic_text},
    state::Schemas,
};

/// The version of this file, and not of the crate: it changes only when this file does. A plugin and a host
/// need the same major version, and below 1.0 the same minor version, too. So does the crate: its version is part
/// of every layout, and layouts of another major version are refused.
pub const ABI_VERSION: &str = "0.1.0";

/// How a call of [`AbiLane::handle`] or [`AbiLane::setup`] ended.
pub mod status {
    /// The buffer holds the answer's JSON.
    pub const ANSWERED: u32 = 0;
    /// The buffer holds `{"code", "message"}`, as for the next three.
    pub const REFUSED: u32 = 1;
    /// Refused for now: may be set aside until the state changes.
    pub const NOT_YET: u32 = 2;
    /// To be run again after a while.
    pub const TRY_AGAIN: u32 = 3;
    /// The payload could not be read.
    pub const BAD_PAYLOAD: u32 = 4;
    /// The plugin's code panicked; the buffer holds `{"message"}`.
    pub const PANICKED: u32 = 5;
    /// The call found its access to the state gone and gave up.
    pub const REVOKED: u32 = 6;
}

/// How a call into [`AbiHost`]'s state ended.
pub mod access {
    pub const ABSENT: u32 = 0;
    pub const FOUND: u32 = 1;
    /// The job that asks no longer counts.
    pub const REVOKED: u32 = 2;
}

/// What [`AbiHost::state_seek`] looks for, relative to the key that it is given.
pub mod seek {
    /// The first key that is the same or greater.
    pub const AT_OR_AFTER: u32 = 0;
    /// The last key that is the same or smaller.
    pub const AT_OR_BEFORE: u32 = 1;
}

/// The numbers of the facts of [`AbiHost::call_facts`].
pub mod facts {
    /// The client that asked. Never used twice; 0 while a lane is set up.
    pub const CLIENT: usize = 0;
    /// 1 for the first run of a request.
    pub const ATTEMPT: usize = 1;
    /// Milliseconds since 1970, and never less than in an earlier call.
    pub const NOW_MS: usize = 2;
    /// On the same clock, or [`NO_DEADLINE`](super::NO_DEADLINE).
    pub const DEADLINE_MS: usize = 3;
    /// The session that the client is in, or 0. Never used twice.
    pub const SESSION: usize = 4;
    /// How many there are.
    pub const COUNT: usize = 5;
}

/// A deadline that never comes.
pub const NO_DEADLINE: u64 = u64::MAX;

/// What a plugin's file exports.
#[repr(C)]
#[derive(StableAbi)]
#[sabi(kind(Prefix(prefix_ref = AbiModule_Ref)))]
#[sabi(missing_field(option))]
pub struct AbiModule {
    /// Makes the plugin from a JSON `Creation`, or says why it cannot be in a JSON `Fault`.
    #[sabi(last_prefix_field)]
    pub create: extern "C" fn(
        creation: RSlice<'_, u8>,
        log: AbiLogObject,
    ) -> RResult<AbiPluginObject, RVec<u8>>,
}

impl RootModule for AbiModule_Ref {
    abi_stable::declare_root_module_statics! {AbiModule_Ref}

    const BASE_NAME: &'static str = "rm_plugin";
    const NAME: &'static str = "an rm-host plugin";
    const VERSION_STRINGS: VersionStrings = VersionStrings::new(ABI_VERSION);
}

pub type AbiPluginObject = AbiPlugin_TO<'static, RBox<()>>;
pub type AbiLaneObject = AbiLane_TO<'static, RBox<()>>;
pub type AbiHostObject = AbiHost_TO<'static, RBox<()>>;
pub type AbiLogObject = AbiLog_TO<'static, RBox<()>>;

/// A plugin with its configuration.
#[sabi_trait]
pub trait AbiPlugin: Send + Sync {
    /// A JSON `Description`.
    fn describe(&self) -> RVec<u8>;

    /// Makes the code of one lane, with memory of its own, or says why not in a JSON `Fault`. `setup` comes next,
    /// unless this lane was set up before, in the same version.
    #[sabi(last_prefix_field)]
    fn open_lane(&self, lane: u32, host: AbiHostObject) -> RResult<AbiLaneObject, RVec<u8>>;
}

/// The code of one lane. Never called from two threads at once.
#[sabi_trait]
pub trait AbiLane: Send {
    /// Brings the lane's state in line with the configuration. Called before the first request, inside a
    /// transaction of its own. `facts` is a JSON object of what the host knows of what is stored; where it is not
    /// done, `failure` gets a JSON `Fault`.
    fn setup(&mut self, facts: RSlice<'_, u8>, failure: &mut RVec<u8>) -> u32;

    /// Runs one request of the lane's jobber number `jobber`. `payload` is JSON text, empty if absent;
    /// `answer` comes empty. Returns one of [`status`].
    #[sabi(last_prefix_field)]
    fn handle(&mut self, jobber: u32, payload: RSlice<'_, u8>, answer: &mut RVec<u8>) -> u32;
}

/// What the host offers to the code of one lane, for the job that runs. `state` counts the lane's states in
/// the order of its description. All but the log return one of [`access`].
#[sabi_trait]
pub trait AbiHost: Send + Sync {
    fn state_read(&self, state: u32, key: RSlice<'_, u8>, value: &mut RVec<u8>) -> u32;
    /// `FOUND` if it replaced a value.
    fn state_write(&self, state: u32, key: RSlice<'_, u8>, value: RSlice<'_, u8>) -> u32;
    /// `FOUND` if there was one.
    fn state_remove(&self, state: u32, key: RSlice<'_, u8>) -> u32;
    fn state_seek(
        &self,
        state: u32,
        direction: u32,
        from: RSlice<'_, u8>,
        key: &mut RVec<u8>,
        value: &mut RVec<u8>,
    ) -> u32;
    /// Writes the facts of the call, numbered as [`facts`] says, as many as there is room for, and returns how
    /// many the host knows. So there can be more of them some day on either side.
    #[sabi(last_prefix_field)]
    fn call_facts(&self, facts: RSliceMut<'_, u64>) -> u32;
}

/// The way into the host's log.
#[sabi_trait]
pub trait AbiLog: Send + Sync {
    /// The most detailed level that is wanted: 1 error, 2 warn, 3 info, 4 debug, 5 trace; 0 none.
    fn log_level_max(&self) -> u32;
    #[sabi(last_prefix_field)]
    fn log_line(&self, level: u32, target: RStr<'_>, message: RStr<'_>);
}

/// What [`plugin!`](crate::plugin) exports.
pub type Header = LibHeader;

/// The header of plugin `P`.
pub const fn header<P: Plugin>() -> Header {
    // SAFETY: `construct` returns an `AbiModule_Ref`, the module that the header is declared for.
    unsafe { LibHeader::from_constructor::<AbiModule_Ref>(construct::<P>, CheckTypeLayout::Yes) }
}

extern "C" fn construct<P: Plugin>() -> RootModuleResult {
    __call_root_module_loader(|| {
        AbiModule {
            create: create::<P>,
        }
        .leak_into_prefix()
    })
}

extern "C" fn create<P: Plugin>(
    creation: RSlice<'_, u8>,
    log: AbiLogObject,
) -> RResult<AbiPluginObject, RVec<u8>> {
    let made = guarded(|| {
        log_bridge::install(LogTwin(log));
        let creation: Creation<'_> = serde_json::from_slice(creation.as_slice())
            .map_err(|error| format!("it cannot read what the host makes it from: {error}"))?;
        Definition::new::<P>(creation.config.get().as_bytes())
    });
    match made {
        Ok(Ok(definition)) => RResult::ROk(AbiPlugin_TO::from_value(
            Guard::new(definition),
            sabi_trait::TD_Opaque,
        )),
        Ok(Err(text)) => RResult::RErr(fault_json(&Fault::refused(text))),
        Err(payload) => RResult::RErr(fault_json(&panicked(payload))),
    }
}

fn panicked(payload: Box<dyn std::any::Any + Send>) -> Fault {
    let (message, place) = panic_said(payload);
    Fault {
        kind: FaultKind::Panicked,
        message,
        place,
    }
}

fn fault_json(fault: &Fault) -> RVec<u8> {
    serde_json::to_vec(fault)
        .expect("plain strings into memory")
        .into()
}

/// Holds a value whose drop may panic, which must not leave the plugin.
struct Guard<T>(Option<T>);

impl<T> Guard<T> {
    fn new(value: T) -> Self {
        Self(Some(value))
    }

    fn value(&mut self) -> &mut T {
        self.0.as_mut().expect("taken by drop alone")
    }
}

impl<T> Drop for Guard<T> {
    fn drop(&mut self) {
        let value = self.0.take();
        if let Err(payload) = guarded(|| drop(value)).or_else(quiet_if_revoked) {
            tracing::error!("it panicked while it was dropped: {}", panic_text(payload));
        }
    }
}

/// What is dropped may have touched a state that is no longer its own, which is no fault.
fn quiet_if_revoked(
    payload: Box<dyn std::any::Any + Send>,
) -> Result<(), Box<dyn std::any::Any + Send>> {
    if payload.is::<GaveUp>() {
        Ok(())
    } else {
        Err(payload)
    }
}

impl AbiPlugin for Guard<Definition> {
    fn describe(&self) -> RVec<u8> {
        let definition = self.0.as_ref().expect("taken by drop alone");
        serde_json::to_vec(&definition.description)
            .expect("plain strings and numbers")
            .into()
    }

    fn open_lane(&self, lane: u32, host: AbiHostObject) -> RResult<AbiLaneObject, RVec<u8>> {
        let definition = self.0.as_ref().expect("taken by drop alone");
        match guarded(|| definition.open_lane(lane as usize, Arc::new(HostTwin(host)))) {
            Ok(Ok(code)) => RResult::ROk(AbiLane_TO::from_value(
                Guard::new(code),
                sabi_trait::TD_Opaque,
            )),
            Ok(Err(text)) => RResult::RErr(fault_json(&Fault::refused(text))),
            Err(payload) => RResult::RErr(fault_json(&panicked(payload))),
        }
    }
}

impl AbiLane for Guard<Box<dyn LaneCode>> {
    fn setup(&mut self, facts: RSlice<'_, u8>, failure: &mut RVec<u8>) -> u32 {
        let set_up = || {
            let mut stored = Schemas::from_json(facts.as_slice())?;
            self.value().setup(&mut stored)
        };
        let (status, fault) = match guarded(set_up) {
            Ok(Ok(())) => return status::ANSWERED,
            Ok(Err(text)) => (status::REFUSED, Fault::refused(text)),
            Err(payload) if payload.is::<GaveUp>() => {
                (status::REVOKED, Fault::refused("access revoked"))
            }
            Err(payload) => (status::PANICKED, panicked(payload)),
        };
        *failure = fault_json(&fault);
        status
    }

    fn handle(&mut self, jobber: u32, payload: RSlice<'_, u8>, answer: &mut RVec<u8>) -> u32 {
        let mut buffer = Buffer(std::mem::take(answer));
        let done = guarded(|| self.value().handle(jobber, payload.as_slice(), &mut buffer));
        *answer = buffer.0;
        into_status(done, answer)
    }
}

fn into_status(
    done: Result<Result<(), Refusal>, Box<dyn std::any::Any + Send>>,
    answer: &mut RVec<u8>,
) -> u32 {
    let (status, code, message) = match done {
        Ok(Ok(())) => return status::ANSWERED,
        Ok(Err(refusal)) => (
            match refusal.kind {
                RefusalKind::Final => status::REFUSED,
                RefusalKind::NotYet => status::NOT_YET,
                RefusalKind::TryAgain => status::TRY_AGAIN,
                RefusalKind::BadPayload => status::BAD_PAYLOAD,
            },
            refusal.code,
            refusal.message,
        ),
        Err(payload) if payload.is::<GaveUp>() => {
            (status::REVOKED, "timeout".into(), "access revoked".into())
        }
        Err(payload) => (
            status::PANICKED,
            "jobber_panicked".into(),
            panic_text(payload),
        ),
    };
    answer.clear();
    let text = RefusalText {
        code,
        message: message.into(),
    };
    serde_json::to_writer(answer, &text).expect("two strings into memory");
    status
}

/// The host behind the frozen interface, as the rest of this crate sees it.
struct HostTwin(AbiHostObject);

impl HostAccess for HostTwin {
    fn read(&self, state: u32, key: &[u8], value: &mut Buffer) -> Result<bool, Revoked> {
        into_found(self.0.state_read(state, key.into(), &mut value.0))
    }

    fn write(&self, state: u32, key: &[u8], value: &[u8]) -> Result<bool, Revoked> {
        into_found(self.0.state_write(state, key.into(), value.into()))
    }

    fn remove(&self, state: u32, key: &[u8]) -> Result<bool, Revoked> {
        into_found(self.0.state_remove(state, key.into()))
    }

    fn seek(
        &self,
        state: u32,
        direction: Seek,
        from: &[u8],
        key: &mut Buffer,
        value: &mut Buffer,
    ) -> Result<bool, Revoked> {
        let direction = match direction {
            Seek::AtOrAfter => seek::AT_OR_AFTER,
            Seek::AtOrBefore => seek::AT_OR_BEFORE,
        };
        into_found(
            self.0
                .state_seek(state, direction, from.into(), &mut key.0, &mut value.0),
        )
    }

    fn call(&self) -> Call {
        let mut facts = [0; facts::COUNT];
        self.0.call_facts((&mut facts[..]).into());
        let deadline_ms = facts[facts::DEADLINE_MS];
        Call {
            client: facts[facts::CLIENT],
            session: Some(facts[facts::SESSION]).filter(|session| *session != 0),
            attempt: u32::try_from(facts[facts::ATTEMPT]).unwrap_or(u32::MAX),
            now_ms: facts[facts::NOW_MS],
            deadline_ms: (deadline_ms != NO_DEADLINE).then_some(deadline_ms),
        }
    }
}

fn into_found(found: u32) -> Result<bool, Revoked> {
    match found {
        access::ABSENT => Ok(false),
        access::FOUND => Ok(true),
        // What a newer host may say besides can only mean "no".
        _ => Err(Revoked),
    }
}

struct LogTwin(AbiLogObject);

impl HostLog for LogTwin {
    fn level_max(&self) -> u32 {
        self.0.log_level_max()
    }

    fn line(&self, level: u32, target: &str, message: &str) {
        self.0.log_line(level, target.into(), message.into());
    }
}

#[cfg(test)]
mod tests;
