//! How many lines in how much time: the virtual scheduling form of the generic cell rate algorithm (ITU-T I.371),
//! whose whole state is one instant.

use std::time::Duration;

/// A rate with a burst.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RateLimit {
    /// How many lines pass at once after a long silence. At least 1 passes, whatever this says.
    pub burst: u32,
    /// How long it takes until one more passes. Zero: there is no limit.
    pub every: Duration,
}

impl RateLimit {
    /// How far the schedule may run ahead of the clock.
    fn tolerance(&self) -> Duration {
        self.every.saturating_mul(self.burst.saturating_sub(1))
    }
}

/// Measures one flow of lines against a [`RateLimit`].
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Meter {
    /// When the next line would come, had all come evenly ("theoretical arrival time").
    due: Duration,
}

impl Meter {
    /// Whether a line passes now after `queued` others that have not been counted yet.
    pub(super) fn has_room(&self, limit: &RateLimit, queued: usize, now: Duration) -> bool {
        let queued = limit.every.saturating_mul(u32::try_from(queued).unwrap_or(u32::MAX));
        self.due.max(now).saturating_add(queued).saturating_sub(now) <= limit.tolerance()
    }

    /// Counts a line.
    pub(super) fn count(&mut self, limit: &RateLimit, now: Duration) {
        self.due = self.due.max(now).saturating_add(limit.every);
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const LIMIT: RateLimit = RateLimit {
        burst: 3,
        every: Duration::from_secs(2),
    };

    fn passed(meter: &mut Meter, offered: usize, now: Duration) -> usize {
        (0..offered)
            .take_while(|_| {
                let passes = meter.has_room(&LIMIT, 0, now);
                if passes {
                    meter.count(&LIMIT, now);
                }
                passes
            })
            .count()
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn after_a_burst_lines_pass_at_the_rate() {
        let mut meter = Meter::default();
        assert_eq!(passed(&mut meter, 10, Duration::from_secs(100)), 3);
        assert_eq!(passed(&mut meter, 10, Duration::from_millis(101_999)), 0);
        assert_eq!(passed(&mut meter, 10, Duration::from_secs(102)), 1);
        assert_eq!(
            passed(&mut meter, 10, Duration::from_secs(1000)),
            3,
            "silence earns no more than the burst"
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn lines_that_wait_take_their_part_of_the_burst() {
        let meter = Meter::default();
        assert!(meter.has_room(&LIMIT, 2, Duration::ZERO));
        assert!(!meter.has_room(&LIMIT, 3, Duration::ZERO));
        assert!(!meter.has_room(&LIMIT, usize::MAX, Duration::ZERO));
    }
}
