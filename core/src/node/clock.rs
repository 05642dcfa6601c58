//! The only reader of clocks.

use std::time::Duration;

use web_time::{Instant, SystemTime, UNIX_EPOCH};

use crate::now::{Now, UnixMillis};

/// The wall clock runs ahead of the monotonic one by more than this: the host slept.
const SLEPT: Duration = Duration::from_secs(30);

/// Whoever uses a [`Clock`] looks at it at least this often, to notice that the host slept.
pub(crate) const LONGEST_WAIT: Duration = Duration::from_secs(10);

/// Both clocks, and what they say of each other.
#[derive(Clone, Debug)]
pub(crate) struct Clock {
    started: Instant,
    /// Wall minus monotonic time in milliseconds, when last looked at.
    offset: u64,
}

impl Clock {
    pub(crate) fn start() -> Self {
        let mut clock = Self {
            started: Instant::now(),
            offset: 0,
        };
        clock.offset = offset(clock.now());
        clock
    }

    pub(crate) fn now(&self) -> Now {
        let wall = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        Now {
            mono: self.started.elapsed(),
            wall: UnixMillis(u64::try_from(wall.as_millis()).unwrap_or(u64::MAX)),
        }
    }

    /// Whether the host slept since the last time this was asked.
    pub(crate) fn has_slept(&mut self, now: Now) -> bool {
        let before = std::mem::replace(&mut self.offset, offset(now));
        u128::from(self.offset.saturating_sub(before)) > SLEPT.as_millis()
    }
}

fn offset(now: Now) -> u64 {
    let mono = u64::try_from(now.mono.as_millis()).unwrap_or(u64::MAX);
    now.wall.0.saturating_sub(mono)
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn when_the_wall_clock_runs_ahead_the_host_has_slept_once() {
        let mut clock = Clock::start();
        let mut later = clock.now().after(Duration::from_secs(1));
        assert!(!clock.has_slept(later));
        later.wall.0 += 31_000;
        assert!(clock.has_slept(later));
        assert!(!clock.has_slept(later.after(Duration::from_secs(60))));
    }
}
