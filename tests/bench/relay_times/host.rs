//! The machine as far as a measurement needs it: cores, and what the kernel has counted for another process.
//!
//! Decides who runs on which core: the relay that is measured has one for itself, everything else shares the other.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use anyhow::{Context, ensure};
use rustix::thread::{CpuSet, sched_getaffinity, sched_setaffinity};

/// What `/proc/*/stat` counts in: `USER_HZ`, a constant of Linux's interface.
const TICKS_A_SECOND: u64 = 100;

/// A place to run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Core {
    /// For whatever is measured.
    Relay,
    /// For what keeps it busy.
    Load,
}

impl Core {
    fn number(self) -> usize {
        match self {
            Self::Relay => 0,
            Self::Load => 1,
        }
    }

    /// Puts the calling thread there, and every thread and process that it starts from now on.
    pub(crate) fn enter(self) -> anyhow::Result<()> {
        let mut cores = CpuSet::new();
        cores.set(self.number());
        sched_setaffinity(None, &cores).context("two cores are needed: one for the relay, one for what keeps it busy")
    }
}

/// Does something, such as starting a process, on the relay's core, and returns to where it was.
pub(crate) fn on_relays_core<T>(start: impl FnOnce() -> anyhow::Result<T>) -> anyhow::Result<T> {
    let before = sched_getaffinity(None)?;
    Core::Relay.enter()?;
    let started = start();
    sched_setaffinity(None, &before)?;
    started
}

/// Processes that together have so much memory and no more: a control group. Removed when it is dropped, which wants the
/// processes to be gone.
pub(crate) struct Group {
    path: PathBuf,
    used: &'static str,
}

impl Group {
    /// Fails where this process may not make one.
    pub(crate) fn with_memory(bytes: u64) -> anyhow::Result<Self> {
        // The older interface has a tree for each resource.
        let (root, limit, used) = if Path::new("/sys/fs/cgroup/cgroup.controllers").exists() {
            ("/sys/fs/cgroup", "memory.max", "memory.current")
        } else {
            (
                "/sys/fs/cgroup/memory",
                "memory.limit_in_bytes",
                "memory.usage_in_bytes",
            )
        };
        let path = Path::new(root).join(format!("peerway-bench-{}", std::process::id()));
        fs::create_dir(&path).with_context(|| format!("cannot make the control group {}", path.display()))?;
        let group = Self { path, used };
        fs::write(group.path.join(limit), bytes.to_string())
            .with_context(|| format!("cannot set {limit} of {}", group.path.display()))?;
        Ok(group)
    }

    /// A program that is in the group before it does anything.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let processes = self.path.join("cgroup.procs");
        let mut command = Command::new("sh");
        command
            .args(["-c", "echo $$ > \"$0\" && exec \"$@\""])
            .arg(processes)
            .arg(program);
        command
    }

    /// Bytes that it uses, what the kernel keeps for its sockets included.
    pub(crate) fn used(&self) -> anyhow::Result<u64> {
        Ok(fs::read_to_string(self.path.join(self.used))?.trim().parse()?)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        for _ in 0..50 {
            if fs::remove_dir(&self.path).is_ok() {
                return;
            }
            std::thread::sleep(Duration::from_millis(100));
        }
        // What is left then is empty, and costs nothing.
    }
}

/// Processor time that the process has had, all its threads together.
pub(crate) fn processor_time(process: u32) -> anyhow::Result<Duration> {
    let stat = read(process, "stat")?;
    // The name stands in parentheses and may contain anything; the third field comes after it.
    let (_, rest) = stat.rsplit_once(')').context("a process has a name")?;
    let fields: Vec<&str> = rest.split_whitespace().collect();
    let ticks = |field: usize| -> anyhow::Result<u64> { Ok(fields.get(field - 3).context("too short")?.parse()?) };
    let ticks = ticks(14)? + ticks(15)?;
    Ok(Duration::from_millis(ticks * 1_000 / TICKS_A_SECOND))
}

/// Bytes of it that are in memory.
pub(crate) fn resident(process: u32) -> anyhow::Result<u64> {
    let status = read(process, "status")?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB"));
    Ok(kib.context("no VmRSS")?.trim().parse::<u64>()? * 1_024)
}

/// Files and sockets that it has open.
pub(crate) fn descriptors(process: u32) -> anyhow::Result<usize> {
    Ok(fs::read_dir(format!("/proc/{process}/fd"))?.count())
}

/// Fails before a measurement does that needs more descriptors than this process may have.
pub(crate) fn ensure_descriptors(needed: u64) -> anyhow::Result<()> {
    let limit = rustix::process::getrlimit(rustix::process::Resource::Nofile);
    let enough = limit.current.is_none_or(|current| current >= needed);
    ensure!(enough, "{needed} descriptors are needed (ulimit -n): {limit:?}");
    Ok(())
}

fn read(process: u32, file: &str) -> anyhow::Result<String> {
    let path = format!("/proc/{process}/{file}");
    fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))
}
