//! The process of a trial, as the host sees it: started, listened to, and ended, whatever its code does.

use std::{
    io::{self, Read, Seek, Write},
    os::{
        fd::{AsFd, OwnedFd},
        unix::process::CommandExt,
    },
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use plugin_api::description::Purpose;
use rustix::{
    event::{PollFd, PollFlags, Timespec, poll},
    io::Errno,
    process::{
        Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, kill_process_group, pidfd_open, waitid,
    },
    rand::GetRandomFlags,
};

use super::{
    COMMAND, Order, Report, TrialStep,
    verdict::{How, ProcessEnd},
};
use crate::{
    limits::{
        TRIAL_REPORT_BYTES_MAX, TRIAL_STDERR_BYTES_KEPT, TRIAL_TIME_MAX, TRIAL_WALL_TIME_MAX,
    },
    plugins::error::{CheckError, Step},
};

/// How often a trial is asked whether it is still wanted, and, where the system cannot tell when a process
/// ends, whether it has.
const LOOK: Duration = Duration::from_millis(20);

/// This very program, also after its file was replaced by another version.
const PROGRAM: &str = "/proc/self/exe";

/// Runs trials.
#[derive(Debug)]
pub(in crate::plugins) struct Trials {
    program: PathBuf,
    purpose: Purpose,
    stopped: AtomicBool,
}

impl Trials {
    /// With the program of this process. It must run [`super::run_inside`] where [`COMMAND`] is its first
    /// argument. What is tried is told that it is made for `purpose`.
    pub(in crate::plugins) fn new(purpose: Purpose) -> Self {
        let program = PathBuf::from(PROGRAM);
        let program = if program.exists() {
            program
        } else {
            std::env::current_exe().unwrap_or(program)
        };
        Self {
            program,
            purpose,
            stopped: AtomicBool::new(false),
        }
    }

    /// Ends all that run, now, and later ones at once.
    pub(in crate::plugins) fn stop(&self) {
        self.stopped.store(true, Ordering::Relaxed);
    }

    /// Tries the plugin `name`, whose code is in `copy`, with this configuration, a JSON object.
    pub(in crate::plugins) fn run(&self, copy: &Path, name: &str, config: &[u8]) -> ProcessEnd {
        self.try_run(copy, name, config)
            .unwrap_or_else(|error| ProcessEnd {
                step: TrialStep::Start,
                how: How::Unstarted(unstarted(&error)),
                said: String::new(),
            })
    }

    fn try_run(&self, copy: &Path, name: &str, config: &[u8]) -> io::Result<ProcessEnd> {
        let order = Order {
            token: token()?,
            name: name.to_owned(),
            config: String::from_utf8_lossy(config).into_owned(),
            purpose: self.purpose,
        };
        // A file and no pipe: writing it waits for nobody.
        let mut orders = tempfile::tempfile()?;
        serde_json::to_writer(&mut orders, &order)?;
        orders.rewind()?;
        let started = Instant::now();
        let child = Command::new(&self.program)
            .arg0("rm-host")
            .arg(COMMAND)
            .arg(copy)
            .stdin(orders)
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .process_group(0)
            .spawn()?;
        let mut process = Process::new(child, order.token)?;
        let how = loop {
            if let Some(how) = process.listen()? {
                break how;
            }
            let left = process.time_left(started.elapsed());
            if left.is_zero() || self.stopped.load(Ordering::Relaxed) {
                break How::TimedOut;
            }
            process.wait(left.min(LOOK))?;
        };
        Ok(ProcessEnd {
            step: process.step.clone(),
            how,
            said: String::from_utf8_lossy(&process.stderr).into_owned(),
        })
    }
}

/// How long the thread of a process that waited longest for a processor has done so. Nothing where the
/// system does not say.
fn time_kept_waiting(process: Pid) -> Duration {
    let tasks = format!("/proc/{}/task", process.as_raw_nonzero());
    let tasks = std::fs::read_dir(tasks).into_iter().flatten().flatten();
    let waited_ns = tasks.filter_map(|task| {
        // "TIME_ON_CPU TIME_KEPT_WAITING SLICES", in nanoseconds.
        let schedule = std::fs::read_to_string(task.path().join("schedstat")).ok()?;
        schedule.split_whitespace().nth(1)?.parse().ok()
    });
    Duration::from_nanos(waited_ns.max().unwrap_or(0))
}

/// A running trial. Dropped, it and all processes that it started in its group are gone.
struct Process {
    child: Child,
    group: Pid,
    token: String,
    step: TrialStep,
    /// Readable once the process has ended, where the system offers that.
    end: Option<OwnedFd>,
    /// What was reported and is no whole line yet.
    stdout: Vec<u8>,
    /// Counts all that was reported.
    stdout_bytes: usize,
    stderr: Vec<u8>,
}

impl Process {
    fn new(child: Child, token: String) -> io::Result<Self> {
        let group = Pid::from_child(&child);
        let process = Self {
            end: pidfd_open(group, PidfdFlags::empty()).ok(),
            child,
            group,
            token,
            step: TrialStep::Start,
            stdout: Vec::new(),
            stdout_bytes: 0,
            stderr: Vec::new(),
        };
        let (stdout, stderr) = (&process.child.stdout, &process.child.stderr);
        rustix::io::ioctl_fionbio(stdout.as_ref().expect(PIPED), true)?;
        rustix::io::ioctl_fionbio(stderr.as_ref().expect(PIPED), true)?;
        Ok(process)
    }

    /// How much longer it may take. Time in which it was ready to run and got no processor is the machine's
    /// fault, and does not count, up to a bound.
    fn time_left(&self, elapsed: Duration) -> Duration {
        let left = TRIAL_TIME_MAX.saturating_sub(elapsed);
        // Not asked before it matters: what was looked at in /proc the kernel has to forget again when the process
        // is reaped, and on a loaded machine that has taken it seconds.
        if !left.is_zero() {
            return left;
        }
        let kept_waiting = time_kept_waiting(self.group).min(elapsed);
        let left = TRIAL_TIME_MAX.saturating_sub(elapsed - kept_waiting);
        left.min(TRIAL_WALL_TIME_MAX.saturating_sub(elapsed))
    }

    /// Takes in what was written so far; returns how the trial ended, if it has.
    fn listen(&mut self) -> io::Result<Option<How>> {
        // Asked before the pipes are read: what was written before the end is read then.
        let ended = self.exit()?;
        let stderr = self.child.stderr.as_mut().expect(PIPED);
        drain(stderr, |bytes| {
            self.stderr.extend_from_slice(bytes);
            let surplus = self.stderr.len().saturating_sub(TRIAL_STDERR_BYTES_KEPT);
            self.stderr.drain(..surplus);
            true
        })?;
        let stdout = self.child.stdout.as_mut().expect(PIPED);
        drain(stdout, |bytes| {
            self.stdout.extend_from_slice(bytes);
            self.stdout_bytes += bytes.len();
            self.stdout_bytes <= TRIAL_REPORT_BYTES_MAX
        })?;
        if self.stdout_bytes > TRIAL_REPORT_BYTES_MAX {
            let text = format!("it describes itself in more than {TRIAL_REPORT_BYTES_MAX} bytes");
            return Ok(Some(How::Garbled(text)));
        }
        Ok(self.reported().or(ended))
    }

    fn reported(&mut self) -> Option<How> {
        while let Some(end) = self.stdout.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = self.stdout.drain(..=end).collect();
            let Some(json) = line.strip_prefix(self.token.as_bytes()) else {
                return Some(How::Garbled("its code wrote among the reports".to_owned()));
            };
            match serde_json::from_slice(json) {
                Ok(Report::Step(step)) => self.step = step,
                Ok(report) => return Some(How::Reported(report)),
                Err(error) => {
                    let text = format!("a report of its trial cannot be read ({error})");
                    return Some(How::Garbled(text));
                }
            }
        }
        None
    }

    /// Leaves the process to be waited for, so that its number, and that of its group, stay its own.
    fn exit(&self) -> io::Result<Option<How>> {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOHANG | WaitIdOptions::NOWAIT;
        let status = waitid(WaitId::Pid(self.group), options)?;
        Ok(status.and_then(|status| {
            let exited = status.exit_status().map(How::Exited);
            exited.or_else(|| status.terminating_signal().map(How::Killed))
        }))
    }

    /// Waits until there is something to listen to, for `timeout` at most.
    fn wait(&self, timeout: Duration) -> io::Result<()> {
        let stdout = self.child.stdout.as_ref().expect(PIPED);
        let stderr = self.child.stderr.as_ref().expect(PIPED);
        let mut watched = vec![
            PollFd::new(stdout, PollFlags::IN),
            PollFd::new(stderr, PollFlags::IN),
        ];
        if let Some(end) = &self.end {
            watched.push(PollFd::from_borrowed_fd(end.as_fd(), PollFlags::IN));
        }
        let timeout = Timespec::try_from(timeout).expect("less than 292 years");
        match poll(&mut watched, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        // A pipe that the process has closed is ready for ever.
        let closed = |watched: &PollFd<'_>| watched.revents() == PollFlags::HUP;
        if watched.iter().take(2).any(closed) {
            std::thread::sleep(Duration::from_millis(1));
        }
        Ok(())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It has not been waited for, so the group is its own, if it still has members.
        let _ = kill_process_group(self.group, Signal::KILL);
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn unstarted(error: &io::Error) -> CheckError {
    let remedy = match Path::new(PROGRAM).exists() {
        true => "let the host start processes, and touch the file",
        false => {
            "the host starts its own program anew for it, which it finds through /proc: let it have that, and start it again"
        }
    };
    let cause = format!("the process for it cannot be started: {error}");
    CheckError::of_system(Step::Trial, cause, error, remedy)
}

const PIPED: &str = "it is piped, and never taken";

/// Hands on what can be read now, until `take` says that it is enough.
fn drain(pipe: &mut impl Read, mut take: impl FnMut(&[u8]) -> bool) -> io::Result<()> {
    let mut bytes = [0; 8 * 1024];
    // A process that writes faster than it is read must not keep the host from looking at the time.
    for _ in 0..64 {
        match pipe.read(&mut bytes) {
            Ok(0) => return Ok(()),
            Ok(read) if !take(&bytes[..read]) => return Ok(()),
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

fn token() -> io::Result<String> {
    let mut random = [0; 16];
    rustix::rand::getrandom(&mut random, GetRandomFlags::empty())?;
    let mut token = Vec::with_capacity(2 * random.len());
    for byte in random {
        write!(token, "{byte:02x}")?;
    }
    Ok(String::from_utf8(token).expect("hexadecimal digits"))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn the_process_is_told_what_the_plugin_is_made_for() {
        let folder = tempfile::tempdir().unwrap();
        // Says back what it is told, and ends.
        let program = folder.path().join("program");
        std::fs::write(&program, "#!/bin/sh\nexec cat >&2\n").unwrap();
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o700)).unwrap();
        for (purpose, word) in [(Purpose::Trial, "trial"), (Purpose::Check, "check")] {
            let trials = Trials {
                program: program.clone(),
                ..Trials::new(purpose)
            };
            let ended = trials.run(Path::new("/nowhere"), "a", b"{}");
            let told: serde_json::Value = serde_json::from_str(&ended.said).unwrap();
            assert_eq!(told["purpose"], word);
        }
    }
}
