//! Every bound of the host, in one place, and how they depend on each other.

use std::time::Duration;

/// What a plugin is bound to, which its author's own tests go by as well.
pub use plugin_api::limits::{ANSWER_BYTES_MAX, INLINE_CALL_MS_MAX, NAME_BYTES_MAX, RETRIES_MAX};

/// One read from a socket. Also what one client may have run before the others get their turn.
pub const READ_BYTES: usize = 64 * 1024;

/// Replies that a client has not read, in bytes. From here on nothing more is read from it.
pub const UNREAD_REPLY_BYTES_PAUSE: usize = 8 * 1024 * 1024;

/// Replies that a client has not read, in bytes, counting those to what it had asked before. Past it the
/// connection is closed.
pub const UNREAD_REPLY_BYTES_MAX: usize = 64 * 1024 * 1024;

/// A client that takes nothing of what it is sent for this long is disconnected. A system whose receive buffer was full
/// tells of room in it once a sixteenth is free: of 6 MiB, at 20 KiB/s, each 19 s.
pub const STALLED_WRITE_MAX: Duration = Duration::from_secs(20);

/// How often it is looked whether such a client takes something: so much later it may be noticed.
pub const STALLED_WRITE_LOOK: Duration = Duration::from_millis(2_500);

/// A connection on which nothing comes is asked for a sign of life after this long.
pub const KEEP_ALIVE_AFTER: Duration = Duration::from_secs(30);
/// So often, while there is none.
pub const KEEP_ALIVE_EVERY: Duration = Duration::from_secs(10);
/// So many times; then the client's machine is gone.
pub const KEEP_ALIVE_TRIES_MAX: u32 = 3;
/// A client that has acknowledged nothing of what the system has sent it for this long is gone.
pub const UNACKNOWLEDGED_MAX: Duration = Duration::from_secs(60);

/// Tasks of the core thread that run before it looks at the sockets again.
pub const TASKS_BETWEEN_LOOKS: u32 = 61;

/// After an answer that closes a connection: how long, and how much, is still read and thrown away, so that
/// the answer is not lost to a reset.
pub const LINGER: Duration = Duration::from_secs(2);
/// See [`LINGER`]; bytes.
pub const LINGER_BYTES_MAX: usize = 16 * 1024 * 1024;

/// Clients connected at once, unless the system lets the host open fewer files.
pub const CONNECTIONS_MAX: usize = 10_000;

/// Clients that were turned away and are being told so, before they are cut off.
pub const TURNED_AWAY_TOLD_MAX: usize = 8;

/// Operators connected at once, through their socket. No client can take these places.
pub const OPERATORS_MAX: usize = 32;

/// Open files that clients never get: those of operators, of the log, of plugins that come, of their trials; half of all that the
/// host may open, if that is less.
pub const FILES_KEPT: usize = 512;

/// Requests queued for one lane, unless `--queue-max` says otherwise.
pub const QUEUE_JOBS_MAX: usize = 1_000_000;

/// Bytes of the requests queued for one lane.
pub const QUEUE_BYTES_MAX: usize = 256 * 1024 * 1024;

/// All that is kept for clients, in bytes: the shares that follow, and what later ones add.
pub const HOST_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// Requests that are queued, wait, or are asked again, of all clients, in bytes, with what a queued one takes beside its
/// text. More are answered `busy`.
pub const QUEUE_BYTES_ALL_MAX: usize = 448 * 1024 * 1024;

/// The same of one client.
pub const CLIENT_QUEUE_BYTES_MAX: usize = 128 * 1024 * 1024;

/// Replies that all clients have not read, in bytes. Past it the client that has the most of them is disconnected, and an
/// answer that was kept is not given again. Past the half of it clients are paused sooner.
pub const UNREAD_REPLY_BYTES_ALL_MAX: usize = 192 * 1024 * 1024;

/// Messages of all clients that have begun and not ended, in bytes. Past it the client with the longest is disconnected.
pub const BEGUN_BYTES_ALL_MAX: usize = 128 * 1024 * 1024;

/// How long a message may take from its first byte to its last, unless `--message-timeout` says otherwise.
pub const MESSAGE_TIME_MAX: Duration = Duration::from_secs(30);

/// What a client is told to wait after `busy`, in milliseconds.
pub const BUSY_RETRY_AFTER_MS: u64 = 1_000;

/// Jobs handed to a lane's thread at once, at most.
pub const WINDOW_JOBS_MAX: usize = 1_024;

/// Jobs handed to a lane's thread at once have about so many bytes, for they are not queued any more.
pub const WINDOW_BYTES_MAX: usize = 1024 * 1024;

/// Jobs handed to a lane's thread at once are as many as take about so long.
pub const WINDOW_TIME: Duration = Duration::from_millis(1);

/// Replies that a lane's thread gathers before it waits for them to be fetched, in bytes.
pub const HELD_REPLY_BYTES_MAX: usize = 1024 * 1024;

/// Requests of one client that are not answered yet. More are answered `busy`.
pub const CLIENT_JOBS_MAX: usize = 100_000;

/// How long jobs run on the core thread, in microseconds, before what is finished is sent and others get
/// their turn.
pub const INLINE_TURN_US: u64 = 500;

/// A message of more bytes is billed to its client's turn by itself.
pub const BILLED_BYTES: usize = 4 * 1024;

/// So many small messages, which the host answers itself or only queues, are billed to their client's turn together.
pub const UNBILLED_MAX: u32 = 16;

/// How long a finished reply may lie on a lane's thread before it is fetched.
pub const REPLY_HELD_MAX: Duration = Duration::from_micros(500);

/// A job that took longer than this on a lane's thread is answered at once, and what stands behind it waits in the queue.
pub const QUICK_JOB: Duration = Duration::from_micros(100);

/// How long after "try again" a request is run again.
pub const RETRY_DELAY: Duration = Duration::from_millis(plugin_api::limits::RETRY_DELAY_MS);

/// How long a request may wait for a state to change, unless `--wait-max` says otherwise.
pub const WAIT_MAX: Duration = Duration::from_millis(plugin_api::limits::WAIT_MS_MAX);

/// Requests that one lane answers or sets aside in one turn without running them: what others stand in line for, what
/// is given up. As many expire in one turn. It takes about as long as a turn of jobs.
pub const UNRUN_AT_ONCE_MAX: usize = 1_024;

/// How long a job may run, unless its plugin's configuration says otherwise.
pub const TIME_LIMIT: Duration = Duration::from_secs(20);

/// A job past its limit that has ended, and only has to say so, is given this much longer.
pub const TIME_LIMIT_GRACE: Duration = Duration::from_millis(100);

/// Jobs of one type past their limit within [`STUCK_WINDOW`] after which the type is taken out of service.
pub const STUCK_JOBS_MAX: usize = 3;
/// See [`STUCK_JOBS_MAX`].
pub const STUCK_WINDOW: Duration = Duration::from_secs(10 * 60);

/// Threads of a plugin that jobs past their limit still hold: from here on the first such job takes its type out of
/// service.
pub const STUCK_THREADS_MAX: usize = 16;

/// How long a type, or a plugin, is out of service after faults for the first time, and a client whose requests panic
/// is shut out, unless `--quarantine` says otherwise. Each time it is twice as long.
pub const QUARANTINE: Duration = Duration::from_secs(60);
/// How long it lasts at most. What was well for as long begins with the first time again.
pub const QUARANTINE_MAX: Duration = Duration::from_secs(3600);

/// Types of a plugin that are out of service at the same time: at the last of them the whole plugin is.
pub const QUARANTINED_TYPES_MAX: usize = 3;

/// Versions of a plugin that served earlier and are listed. Older ones are counted.
pub const RETIRED_VERSIONS_MAX: usize = 16;

/// Plugins that are listed although their files are gone. Those that went first are forgotten.
pub const GONE_PLUGINS_MAX: usize = 64;

/// Panics of one type for one client within [`PANIC_WINDOW`] after which the client's requests for it are refused.
pub const PANICS_CLIENT_MAX: usize = 10;
/// Clients that are refused so at the same time. More, and the type is taken out of service.
pub const SHUT_OUT_MAX: usize = 100;
/// Panics of one type within [`PANIC_WINDOW`] for all other clients, after which the type is taken out of service.
pub const PANICS_MAX: usize = 100;
/// See [`PANICS_MAX`].
pub const PANIC_WINDOW: Duration = Duration::from_secs(60);

/// How old the last look may be at how long the core thread has waited for a processor, in microseconds.
pub const RUN_DELAY_LOOK_US: u64 = 2_000;

/// An inline call that takes longer than [`INLINE_CALL_MS_MAX`] is a strike against its lane; one that takes longer
/// than this has blocked for certain, in milliseconds. What the thread waited for a processor meanwhile does not count.
pub const INLINE_BLOCKED_MS: u64 = 100;
/// Strikes within [`INLINE_STRIKES_WINDOW`] after which a lane moves to a thread of its own. A single one may
/// be the machine's: a core thread that is not scheduled for 10 ms looks the same.
pub const INLINE_STRIKES_MAX: usize = 3;
/// See [`INLINE_STRIKES_MAX`].
pub const INLINE_STRIKES_WINDOW: Duration = Duration::from_secs(60);

/// How much later than its deadline a queued request may be told so.
pub const DEADLINE_GRAIN_MS: u64 = 16;

/// The longest deadline that a client may ask for, in milliseconds: 365 days.
pub const DEADLINE_MS_MAX: u64 = 365 * 24 * 3600 * 1000;

/// Effects that are not durable yet, and the replies that wait for them, in bytes. Past it, jobs with state wait.
pub const UNSYNCED_BYTES_MAX: usize = 64 * 1024 * 1024;

/// All answers that are kept to be given again, in bytes. Past it the largest sessions lose theirs.
pub const ANSWERS_KEPT_BYTES_ALL_MAX: usize = 256 * 1024 * 1024;

/// Those who have asked again for a request that is under way, and wait for its answer. More are answered `busy`.
pub const JOINED_MAX: usize = 16;

/// Sessions that are kept although no client is in them. Past it those of the origin that has left most are forgotten.
pub const SESSIONS_IDLE_MAX: usize = 100_000;

/// What a session takes up to this is not forgotten for another's sake, in bytes, as long as no more than
/// [`SESSIONS_IDLE_MAX`] are there.
pub const SESSION_SHARE_BYTES: usize = 2 * 1024;

/// That answers were forgotten for want of room is told this often, in milliseconds.
pub const FORGOTTEN_TOLD_EVERY_MS: u64 = 10_000;

/// So many answers are forgotten when one is added, at most.
pub const FORGOTTEN_AT_ONCE_MAX: usize = 256;

/// The effects of one job, in bytes: what it changed in its states, keys and values together. More is refused.
pub const JOB_EFFECTS_BYTES_MAX: usize = 64 * 1024 * 1024;

/// The effects of one opening of a version on its states, in bytes: a migration of a whole state above all. More is
/// refused.
pub const OPENING_EFFECTS_BYTES_MAX: usize = 768 * 1024 * 1024;

/// The effects of one batch, in bytes.
pub const BATCH_EFFECTS_BYTES_MAX: usize = 1024 * 1024 * 1024;

/// What gathers for one batch, in bytes. What comes on top begins the next one; room is left for the answers that are
/// kept with it, and for what a lane on the core thread adds.
pub const BATCH_GATHERED_BYTES_MAX: usize = 896 * 1024 * 1024;

/// So much of an export is put into one batch when it is imported, in bytes.
pub const IMPORTED_AT_ONCE_BYTES: usize = 4 * 1024 * 1024;

/// The host's time with which an export is taken, in milliseconds since 1970: to the end of the year 9999.
pub const HOST_TIME_MS_MAX: u64 = 253_402_300_799_999;

/// Numbers that are given to states of an export. Each new state takes one more, and none is given twice.
pub const STATE_NUMBERS_MAX: u32 = 1 << 31;

/// A line of an export that is read, in bytes: the largest entry's. Hosts write two bytes for each of such an entry's;
/// JSON may have six, as `\u0001`, and so did older hosts. What stands around is less than the rest.
pub const EXPORT_LINE_BYTES_MAX: usize = 6 * plugin_api::limits::STATE_ENTRY_BYTES_MAX + 1024;

/// A segment of the log that has grown to this gets no further record, in bytes.
pub const SEGMENT_BYTES: u64 = 64 * 1024 * 1024;

/// A snapshot is due once the closed segments hold this, and half as much as the last snapshot, in bytes.
pub const SNAPSHOT_DUE_BYTES: u64 = 64 * 1024 * 1024;

/// What a snapshot takes of the closed segments into memory at once, in bytes: it is sorted, and put into a file of its own
/// until the snapshot is made.
pub const SNAPSHOT_PIECE_BYTES: usize = 16 * 1024 * 1024;

/// So many of these files are merged into one snapshot. It ends with the segment in which they are as many; the next
/// snapshot begins there.
pub const SNAPSHOT_RUNS_MAX: usize = 64;

/// A log's file is read in pieces of this, and a snapshot's sorted pieces, of which many are open at once, in smaller ones;
/// in bytes.
pub const LOG_WINDOW_BYTES: usize = 1024 * 1024;
/// See [`LOG_WINDOW_BYTES`].
pub const RUN_WINDOW_BYTES: usize = 128 * 1024;

/// So much of the newest segment is filled with zeros at once, before records need it, in bytes. A sync that need not
/// make the file longer takes half to two thirds of the time.
pub const ZEROED_AHEAD_BYTES: u64 = 1024 * 1024;

/// How often it is looked whether the data folder, its lock and the log are still those that were opened.
pub const FOLDER_LOOK: Duration = Duration::from_secs(1);

/// The stack of each thread that runs a plugin's code, in its trial as in the host: what came well through the one
/// must not overflow the other.
pub const PLUGIN_STACK_BYTES: usize = 8 * 1024 * 1024;

/// Lines of the log that wait to be written. More are dropped, and counted.
pub const LOG_LINES_MAX: usize = 65_536;

/// Their bytes. More are dropped, and counted.
pub const LOG_QUEUE_BYTES_MAX: usize = 16 * 1024 * 1024;

/// A line of the log, in bytes. The rest is cut off.
pub const LOG_LINE_BYTES_MAX: usize = 64 * 1024;

/// Lines that clients can bring about, from error to info, for each place in the host that writes of one: so many at once, and
/// so many a second. More are left out, and counted.
pub const CLIENT_LOG_LINES_BURST: u64 = 200;
/// See [`CLIENT_LOG_LINES_BURST`].
pub const CLIENT_LOG_LINES_PER_SECOND: u64 = 20;
/// The same, in bytes.
pub const CLIENT_LOG_BYTES_BURST: u64 = 512 * 1024;
/// See [`CLIENT_LOG_BYTES_BURST`].
pub const CLIENT_LOG_BYTES_PER_SECOND: u64 = 64 * 1024;

/// Lines that one plugin writes: so many at once, and so many a second. More are left out, and counted.
pub const PLUGIN_LOG_LINES_BURST: u64 = 10_000;
/// See [`PLUGIN_LOG_LINES_BURST`].
pub const PLUGIN_LOG_LINES_PER_SECOND: u64 = 1_000;
/// The same, in bytes.
pub const PLUGIN_LOG_BYTES_BURST: u64 = 4 * 1024 * 1024;
/// See [`PLUGIN_LOG_BYTES_BURST`].
pub const PLUGIN_LOG_BYTES_PER_SECOND: u64 = 1024 * 1024;

/// How many lines were left out, or lost, is told this often.
pub const LOG_LEFT_OUT_TOLD: Duration = Duration::from_secs(5);

/// What a client sends that is put into one line of the log, in bytes.
pub const CLIENT_TEXT_LOG_BYTES: usize = 1024;

/// What a plugin puts into one line of the log, in bytes. The rest is cut off.
pub const LOG_TEXT_BYTES_MAX: usize = 16 * 1024;

/// A plugin's file, in bytes.
pub const PLUGIN_FILE_BYTES_MAX: u64 = 512 * 1024 * 1024;

/// What is in memory of plugins' files at once, in bytes: of the largest and of others beside it.
pub const PLUGIN_FILES_READ_BYTES_MAX: u64 = PLUGIN_FILE_BYTES_MAX + 128 * 1024 * 1024;

/// A plugin's configuration file, in bytes.
pub const PLUGIN_CONFIG_BYTES_MAX: u64 = 1024 * 1024;

/// A file is taken once it stood still for this long.
pub const SETTLE: Duration = Duration::from_millis(200);

/// The plugin folder is looked at this often even if nobody says that it changed.
pub const LOOK_INTERVAL: Duration = Duration::from_secs(2);

/// The trial of a plugin, from the start of its process to its end.
pub const TRIAL_TIME_MAX: Duration = Duration::from_secs(2);

/// The same with the time in which it was ready to run and a busy machine had no processor for it.
pub const TRIAL_WALL_TIME_MAX: Duration = Duration::from_secs(20);

/// Folders for a private copy that are tried, should they be taken away as soon as they are made.
pub const COPY_TRIES_MAX: usize = 8;

/// Entries of the folder for temporary files that are looked at for what killed hosts have left behind.
pub const LEFTOVERS_LOOKED_AT_MAX: usize = 100_000;

/// Plugins that are prepared at once, each with a trial of its own, beside those that take long.
pub const PREPARED_AT_ONCE_MAX: usize = 4;

/// A preparation that has taken this long makes room for another.
pub const SLOW_PREPARATION: Duration = Duration::from_millis(500);

/// How many of them do.
pub const PREPARED_SLOWLY_MAX: usize = 16;

/// How long the code of a plugin that passed its trial may take in the host, to be loaded and to be made each.
pub const OPENING_TIME_MAX: Duration = Duration::from_secs(10);

/// All that comes before that: its file is read, and tried.
pub const PREPARATION_TIME_MAX: Duration = Duration::from_secs(60);

/// The start tells of all plugins in the order of their names that were prepared by then.
pub const START_HELD_MAX: Duration = Duration::from_secs(1);

/// What a trial reports, the plugin's description above all, in bytes.
pub const TRIAL_REPORT_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Of what a trial writes to stderr, the end is kept, in bytes.
pub const TRIAL_STDERR_BYTES_KEPT: usize = 64 * 1024;

/// Memory that a trial's process writes to, in bytes.
pub const TRIAL_MEMORY_BYTES_MAX: u64 = 2 * 1024 * 1024 * 1024;

/// Addresses of a trial's process, in bytes; what is only reserved costs nobody anything.
pub const TRIAL_ADDRESS_BYTES_MAX: u64 = 64 * 1024 * 1024 * 1024;

/// A file that a trial's process writes, in bytes.
pub const TRIAL_FILE_BYTES_MAX: u64 = 64 * 1024 * 1024;

/// CPU time of all threads of a trial's process, in seconds, should nobody be left to end it.
pub const TRIAL_CPU_SECONDS_MAX: u64 = 10;

/// How long a plugin's call on the core thread may take before the process is given up, unless
/// `--inline-stuck` says otherwise.
pub const INLINE_STUCK: Duration = Duration::from_secs(20);

/// How often the core thread is looked at for such a call.
pub const WATCHDOG_LOOK: Duration = Duration::from_secs(1);

/// Marks of crashed versions that are remembered. Older ones are forgotten.
pub const CRASH_MARKS_MAX: usize = 256;

/// Of the file of crash marks this much is read, from its end, in bytes.
pub const CRASH_MARKS_BYTES_MAX: u64 = 1024 * 1024;

/// How often the host looks how the system's clocks stand.
pub const CLOCK_LOOK: Duration = Duration::from_secs(1);

/// From here on it is told how far the host's time and the system's clock are apart.
pub const CLOCK_DIFFERENCE_TOLD: Duration = Duration::from_secs(5);

/// What a host takes of memory beside its states when it starts, in bytes: itself, a few plugins, and the pieces in which
/// the state is read.
pub const START_BYTES: usize = 64 * 1024 * 1024;

/// About how much memory a start needs that finds states of so many bytes.
pub const fn next_start_bytes(states: usize) -> usize {
    START_BYTES + states + states / 8
}

/// Memory is taken to have run out where the system refuses so much, in bytes.
pub const MEMORY_OUT_BYTES: usize = 16 * 1024 * 1024;

/// The same where a request for memory is known to have been refused just before, in bytes.
pub const MEMORY_SHORT_BYTES: usize = 256 * 1024 * 1024;

/// What lies free at the end of the allocator's memory goes back to the system from here on, in bytes. Left to itself, the
/// allocator keeps twice the largest piece that it ever gave back, up to 64 MiB for each of its arenas.
pub const FREE_BYTES_KEPT: usize = 16 * 1024 * 1024;

/// Pieces of memory of this size are asked of the system one by one, and go back to it as such, in bytes.
pub const OWN_PIECE_BYTES: usize = 4 * 1024 * 1024;

const _: () = {
    assert!(STALLED_WRITE_LOOK.as_millis() < STALLED_WRITE_MAX.as_millis());
    assert!(
        STALLED_WRITE_MAX.as_millis() + STALLED_WRITE_LOOK.as_millis()
            < UNACKNOWLEDGED_MAX.as_millis(),
        "who does not read is told so before he is gone"
    );
    assert!(
        2 * (OPERATORS_MAX + TURNED_AWAY_TOLD_MAX) <= FILES_KEPT,
        "operators have files that no client can take"
    );
    assert!(READ_BYTES <= UNREAD_REPLY_BYTES_PAUSE);
    assert!(UNREAD_REPLY_BYTES_PAUSE + 2 * ANSWER_BYTES_MAX <= UNREAD_REPLY_BYTES_MAX);
    assert!(QUEUE_BYTES_MAX <= QUEUE_BYTES_ALL_MAX);
    assert!(CLIENT_QUEUE_BYTES_MAX <= QUEUE_BYTES_MAX);
    assert!(
        QUEUE_BYTES_ALL_MAX
            + UNREAD_REPLY_BYTES_ALL_MAX
            + BEGUN_BYTES_ALL_MAX
            + ANSWERS_KEPT_BYTES_ALL_MAX
            <= HOST_BYTES_MAX,
        "no share is had at another's cost"
    );
    assert!(UNREAD_REPLY_BYTES_MAX < UNREAD_REPLY_BYTES_ALL_MAX);
    assert!(2 * protocol::limits::MESSAGE_BYTES_MAX < BEGUN_BYTES_ALL_MAX);
    assert!(protocol::limits::MESSAGE_BYTES_MAX < QUEUE_BYTES_MAX);
    assert!(
        REPLY_HELD_MAX.as_micros() < 1_000,
        "a promise of the protocol"
    );
    assert!(ANSWER_BYTES_MAX < protocol::limits::ANSWERS_KEPT_BYTES_MAX);
    assert!(protocol::limits::ANSWERS_KEPT_BYTES_MAX < ANSWERS_KEPT_BYTES_ALL_MAX);
    assert!(
        IMPORTED_AT_ONCE_BYTES + plugin_api::limits::STATE_ENTRY_BYTES_MAX
            < BATCH_EFFECTS_BYTES_MAX
    );
    assert!(plugin_api::limits::STATE_ENTRY_BYTES_MAX < JOB_EFFECTS_BYTES_MAX);
    assert!(OPENING_EFFECTS_BYTES_MAX <= BATCH_GATHERED_BYTES_MAX);
    assert!(
        BATCH_GATHERED_BYTES_MAX + JOB_EFFECTS_BYTES_MAX + 4 * ANSWER_BYTES_MAX
            <= BATCH_EFFECTS_BYTES_MAX,
        "a job that runs inline, and its answer, are added to what has gathered"
    );
    assert!(ZEROED_AHEAD_BYTES <= SEGMENT_BYTES);
    assert!(LOG_TEXT_BYTES_MAX < LOG_LINE_BYTES_MAX && CLIENT_TEXT_LOG_BYTES < LOG_LINE_BYTES_MAX);
    assert!((LOG_LINE_BYTES_MAX as u64) < CLIENT_LOG_BYTES_BURST);
    assert!((LOG_LINE_BYTES_MAX as u64) < PLUGIN_LOG_BYTES_BURST);
    assert!(LOG_LINE_BYTES_MAX < LOG_QUEUE_BYTES_MAX);
    assert!(WATCHDOG_LOOK.as_millis() <= INLINE_STUCK.as_millis());
    assert!(PANICS_CLIENT_MAX < PANICS_MAX);
    assert!(QUARANTINE.as_millis() <= QUARANTINE_MAX.as_millis());
    assert!(INLINE_CALL_MS_MAX < TRIAL_TIME_MAX.as_millis() as u64);
    assert!(SLOW_PREPARATION.as_millis() < OPENING_TIME_MAX.as_millis());
    assert!(TRIAL_WALL_TIME_MAX.as_secs() < PREPARATION_TIME_MAX.as_secs());
    assert!(TRIAL_MEMORY_BYTES_MAX <= TRIAL_ADDRESS_BYTES_MAX);
    assert!(TRIAL_TIME_MAX.as_secs() < TRIAL_CPU_SECONDS_MAX);
};
