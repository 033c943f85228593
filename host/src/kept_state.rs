//! What the host starts with, and goes on with: its state.

use std::{sync::Arc, time::Instant};

use anyhow::Context as _;

use crate::{
    clock::Clock,
    config::Config,
    coordinator::Commits,
    data_folder::{DataFolder, Origin},
    limits,
    state::{BatchNo, Committer, Durability, Kept, Recovered, Store},
    threads::SystemThreads,
};

/// What an earlier run of the host has left, and where this one keeps what its jobs change.
pub struct KeptState {
    pub store: Store,
    pub commits: Commits,
    /// The host's clock, which does not go back behind what an earlier run has told.
    pub clock: Clock,
}

impl KeptState {
    /// Reads it, and starts the thread that goes on with it; what that did is `told` on it.
    ///
    /// # Errors
    /// What is wrong with the state, or with the folder.
    pub fn open(
        config: &Config,
        data: &DataFolder,
        told: impl Fn(Kept) + Send + 'static,
    ) -> anyhow::Result<Self> {
        if config.durability == Durability::Memory {
            return Ok(Self {
                store: Store::default(),
                commits: Commits::new(None, BatchNo(1)),
                clock: Clock::new(),
            });
        }
        let started = Instant::now();
        let (log, recovered, origin) = data.open_log()?;
        let place = data.place(&log);
        let clock = Clock::not_before(recovered.now_ms);
        let threads = Arc::new(SystemThreads);
        let committer = Committer::start(threads, clock, (log, place), config.durability, told);
        let committer = committer.context("no thread can be started")?;
        log_state(&recovered, origin, started);
        Ok(Self {
            commits: Commits::new(Some(committer), recovered.last.next()),
            store: Store::recovered(recovered.states, recovered.next_state),
            clock,
        })
    }
}

fn log_state(recovered: &Recovered, origin: Origin, started: Instant) {
    match origin {
        Origin::WentOn => {}
        Origin::Begun => tracing::info!("a state is begun: nothing was given out before"),
        Origin::MarkedAnew => tracing::warn!(
            "the state is there, and the mark that told of it is not: it is made anew"
        ),
        Origin::TakenOver => tracing::info!(
            "the state of an earlier host is taken over: from now on it is missed if it is not there"
        ),
    }
    tracing::info!(
        states = recovered.states.len(),
        batches = recovered.last.0,
        took_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        snapshot = recovered.report.snapshot.map(|batch| batch.0),
        "the state is read"
    );
    let states = recovered.states.iter().map(|state| state.map.memory());
    let states: usize = states.sum();
    tracing::info!(
        states_mib = mib(states),
        next_start_mib = mib(limits::next_start_bytes(states)),
        "what the states take of memory, and what a start on them needs"
    );
    if let Some(cut) = &recovered.report.cut {
        tracing::warn!(
            file = %cut.file.display(),
            "the last {} bytes, from byte {} on, are no whole record of batch {}: they are cut off. A host that is killed, or loses \
             power, leaves such an end of what it had not answered; whether this is one cannot be told from the file",
            cut.bytes,
            cut.byte,
            cut.batch
        );
    }
}

fn mib(bytes: usize) -> usize {
    bytes.div_ceil(1024 * 1024)
}
