//! Faults that can be planted into the host, to show that the simulator finds them. Only the simulator is built with them: in
//! every other program [`planted`] is a constant.

macro_rules! faults {
    ($($name:ident: $text:literal,)+) => {
        /// A fault, and what it does.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Fault {
            $(#[doc = $text] $name,)+
        }

        impl Fault {
            /// All of them.
            pub const ALL: &[Self] = &[$(Self::$name,)+];

            /// What it does.
            pub fn text(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)+
                }
            }
        }
    };
}

faults! {
    ReplyBeforeDisk: "a reply leaves before what it tells of is durable",
    SyncSkipped: "a batch is said to be durable without a sync",
    EffectsLost: "what a job on a thread has changed gets into no batch",
    CommitOfAbandonedVoid: "a job that had committed when it was given up is answered as if it had not",
    RollbackSkipped: "what a refused job has changed stays",
    VoidToldAsDone: "replies that waited for a batch that failed are sent as they are",
    StatesNotReadBack: "lanes go on with what they had in memory after the disk failed",
    AnswersNotReadBack: "kept answers are not read back after the disk failed",
    BatchNumberOff: "after a failure the first batch has the wrong number",
    LastChangeStays: "a lane waits after a failure for a batch that will never be",
    HeldInNextBatch: "a reply is held for the batch that gathers instead of its own",
    ClockGoesBack: "a restart does not look at what time was told before",
    DeadlineByWallClock: "deadlines follow the wall clock",
    AnswerNotKept: "what a request with an id is answered with is not kept",
    CancelNotNoted: "a request that was taken back is run when it comes again",
    JoinedForgotten: "who asked again for what is in work hears nothing",
    HeirForgotten: "who asked again hears nothing where the first has gone",
    BusyKeepsId: "an id that was refused for want of room stays in flight",
    WakeForgotten: "a change wakes nobody who waits for it",
    TrialNeverEnds: "a waiter that leaves while it is tried keeps its line shut",
    ExpiryForgotten: "what has expired is dropped without a word",
    RetryForgotten: "what is to be tried again never is",
    PutBackForgotten: "what a thread gives back unbegun is dropped",
    StopForgets: "a stop drops what is queued without a word",
    BytesKept: "what is kept for clients is counted and never given back",
    SwapWhileBusy: "a swap takes the states while a job runs on them",
    SwapForgetsTypes: "jobs of a lane that goes with a version are dropped",
    GoneAtOnce: "a plugin whose file is gone drops what is queued",
}

#[cfg(feature = "simulation")]
mod switch {
    use std::cell::Cell;

    use super::Fault;

    thread_local! {
        static PLANTED: Cell<Option<Fault>> = const { Cell::new(None) };
    }

    /// From now on this fault is in the host, as far as this thread runs it.
    pub fn plant(fault: Option<Fault>) {
        PLANTED.set(fault);
    }

    /// Whether a fault was planted.
    pub fn planted(fault: Fault) -> bool {
        PLANTED.get() == Some(fault)
    }
}

#[cfg(feature = "simulation")]
pub use switch::{plant, planted};

/// Whether a fault was planted: never.
#[cfg(not(feature = "simulation"))]
#[inline(always)]
pub const fn planted(_: Fault) -> bool {
    false
}
