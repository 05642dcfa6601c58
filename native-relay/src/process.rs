//! What this process uses of the machine, as the system counts it. Knows Linux only; elsewhere it knows nothing.

/// What a process uses.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usage {
    /// Bytes in memory.
    pub(crate) resident: u64,
    /// File descriptors that are open.
    pub(crate) descriptors: u64,
    /// How many may be; `None`: any number.
    pub(crate) max_descriptors: Option<u64>,
    /// Processor time, in seconds.
    pub(crate) cpu_seconds: f64,
    /// When the process started, in seconds of Unix time.
    pub(crate) started: f64,
}

#[cfg(target_os = "linux")]
impl Usage {
    /// Of this process; `None` if the system does not say.
    pub(crate) fn now() -> Option<Self> {
        use procfs::process::{LimitValue, Process};

        let process = Process::myself().ok()?;
        let stat = process.stat().ok()?;
        let seconds = |ticks: u64| ticks as f64 / procfs::ticks_per_second() as f64;
        let max_descriptors = match process.limits().ok()?.max_open_files.soft_limit {
            LimitValue::Value(limit) => Some(limit),
            LimitValue::Unlimited => None,
        };
        Some(Self {
            resident: stat.rss.saturating_mul(procfs::page_size()),
            descriptors: u64::try_from(process.fd_count().ok()?).ok()?,
            max_descriptors,
            cpu_seconds: seconds(stat.utime.saturating_add(stat.stime)),
            started: procfs::boot_time_secs().ok()? as f64 + seconds(stat.starttime),
        })
    }
}

#[cfg(not(target_os = "linux"))]
impl Usage {
    /// Of this process: unknown.
    pub(crate) fn now() -> Option<Self> {
        None
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        fs::File,
        time::{SystemTime, UNIX_EPOCH},
    };

    use super::*;

    #[test]
    fn when_a_process_opens_files_and_works_its_usage_grows() {
        let before = Usage::now().unwrap();
        let files: Vec<_> = (0..7).map(|_| File::open("/dev/null").unwrap()).collect();
        let memory = vec![1_u8; 20_000_000];
        let mut sum = 0_u64;
        let after = loop {
            sum += memory.iter().map(|byte| u64::from(*byte)).sum::<u64>();
            let usage = Usage::now().unwrap();
            if usage.cpu_seconds >= before.cpu_seconds + 0.02 {
                break usage;
            }
        };
        assert!(sum > 0);
        assert!(after.descriptors >= before.descriptors + 7, "{before:?} {after:?}");
        assert!(after.resident >= before.resident + 10_000_000, "{before:?} {after:?}");
        assert!(after.max_descriptors.is_none_or(|most| most >= after.descriptors));
        drop(files);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs_f64();
        assert!((now - 600.0..now + 5.0).contains(&after.started), "{after:?} at {now}");
    }
}
