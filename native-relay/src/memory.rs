//! Whether this process uses more of the machine's memory than it may.
//!
//! Knows Linux only, where a service or container may have less than the machine ([`limits`] of control groups);
//! elsewhere nothing is ever too much. Never frees anything, and never reads a clock: it is asked once for each new
//! connection, which costs more than a look into `/proc`.

use std::{fs, path::Path};

use crate::config::Percent;

/// How much of the memory may be used, and how much is.
pub(crate) struct Memory {
    limit: u64,
    used: Box<dyn Fn() -> Option<u64> + Send>,
}

/// More is used than may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{used} bytes of memory are in use, and {limit} may be")]
pub(crate) struct TooMuch {
    used: u64,
    limit: u64,
}

impl Memory {
    /// A share of the memory that this process is given.
    pub(crate) fn of_this_machine(share: Percent) -> Self {
        match given() {
            Some(given) => Self::new(share.of(given), used),
            None => {
                tracing::warn!("cannot tell how much memory there is: it is not limited");
                Self::new(u64::MAX, || None)
            }
        }
    }

    pub(crate) fn new(limit: u64, used: impl Fn() -> Option<u64> + Send + 'static) -> Self {
        let used = Box::new(used);
        Self { limit, used }
    }

    /// Whether there is room for something new.
    pub(crate) fn check(&self) -> Result<(), TooMuch> {
        match (self.used)() {
            Some(used) if used > self.limit => Err(TooMuch {
                used,
                limit: self.limit,
            }),
            Some(_) | None => Ok(()),
        }
    }
}

/// Bytes of this process in memory.
fn used() -> Option<u64> {
    kilobytes(&fs::read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

/// Bytes that this process can have at most: what the machine has, or what its control groups are given.
fn given() -> Option<u64> {
    let machine = kilobytes(&fs::read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let groups = fs::read_to_string("/proc/self/cgroup").unwrap_or_default();
    let read = |path: &Path| fs::read_to_string(path).ok();
    Some(limits(&groups, read).fold(machine, u64::min))
}

/// The limits of the control groups in `/proc/self/cgroup` and of those around them, in both versions of the interface.
fn limits(groups: &str, read: impl Fn(&Path) -> Option<String>) -> impl Iterator<Item = u64> {
    let of = move |line: &str| {
        let mut parts = line.splitn(3, ':');
        let (_, controllers, path) = (parts.next()?, parts.next()?, parts.next()?);
        let (root, file) = match controllers {
            "" => ("/sys/fs/cgroup", "memory.max"),
            _ if controllers.split(',').any(|name| name == "memory") => {
                ("/sys/fs/cgroup/memory", "memory.limit_in_bytes")
            }
            _ => return None,
        };
        let group = Path::new(root).join(path.trim_start_matches('/'));
        // `max` is no number, and no limit.
        let limit = |dir: &Path| read(&dir.join(file))?.trim().parse::<u64>().ok();
        group
            .ancestors()
            .filter(|dir| dir.starts_with(root))
            .filter_map(limit)
            .min()
    };
    groups.lines().filter_map(of).collect::<Vec<_>>().into_iter()
}

/// The value of a line `NAME   N kB`, in bytes.
fn kilobytes(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim()
        .strip_suffix("kB")?
        .trim_end()
        .parse::<u64>()
        .ok()?
        .checked_mul(1_024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_memory_is_as_full_as_it_may_be_there_is_room_and_with_a_byte_more_there_is_none() {
        assert_eq!(Memory::new(1_000, || Some(1_000)).check(), Ok(()));
        let too_much = TooMuch {
            used: 1_001,
            limit: 1_000,
        };
        assert_eq!(Memory::new(1_000, || Some(1_001)).check(), Err(too_much));
        assert_eq!(Memory::new(1_000, || None).check(), Ok(()));
    }

    #[test]
    fn when_a_control_group_has_less_than_the_machine_that_is_what_counts() {
        let files = |files: &'static [(&'static str, &'static str)]| {
            move |path: &Path| {
                let found = files.iter().find(|(name, _)| Path::new(name) == path);
                found.map(|(_, text)| (*text).to_owned())
            }
        };
        let v2 = files(&[
            ("/sys/fs/cgroup/system.slice/memory.max", "1000\n"),
            ("/sys/fs/cgroup/system.slice/relay.service/memory.max", "max\n"),
        ]);
        assert_eq!(
            limits("0::/system.slice/relay.service\n", v2).collect::<Vec<_>>(),
            [1_000]
        );
        let container = files(&[("/sys/fs/cgroup/memory.max", "2000\n")]);
        assert_eq!(limits("0::/\n", container).collect::<Vec<_>>(), [2_000]);
        let v1 = files(&[("/sys/fs/cgroup/memory/docker/x/memory.limit_in_bytes", "3000\n")]);
        let groups = "5:cpu,cpuacct:/docker/x\n4:memory:/docker/x\n";
        assert_eq!(limits(groups, v1).collect::<Vec<_>>(), [3_000]);
        assert_eq!(limits("", |_| None).next(), None);
    }

    #[test]
    fn when_the_kernel_says_how_much_in_kilobytes_it_is_read_as_bytes() {
        assert_eq!(
            kilobytes("VmPeak:\t   9 kB\nVmRSS:\t   12 kB\n", "VmRSS:"),
            Some(12_288)
        );
        for text in ["", "VmRSS:", "VmRSS: many kB", "VmRSS: 12 MB"] {
            assert_eq!(kilobytes(text, "VmRSS:"), None, "{text}");
        }
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn on_linux_this_process_uses_some_of_what_it_is_given() {
        let (used, given) = (used().unwrap(), given().unwrap());
        assert!(0 < used && used < given, "{used} of {given}");
    }
}
