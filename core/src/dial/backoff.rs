//! How long to wait before trying again: exponential, with jitter drawn from a generator that is handed in.
//!
//! Never reads a clock and never decides whether to try at all.

use std::time::Duration;

use rand::{Rng, rngs::SmallRng};

/// How waiting grows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BackoffConfig {
    /// The longest wait after the first failure. The wait drawn is between half of it and all of it. Cost of less: load
    /// on the other side when many fail at once.
    pub first: Duration,
    /// The longest wait ever; each failure doubles the wait up to it. Cost of more: that long without noticing that the
    /// other side is back.
    pub max: Duration,
}

/// Counts failures in a row.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Backoff {
    failures: u32,
}

impl Backoff {
    /// Counts one more failure and says how long to wait after it: half to all of `first · 2^(failures before)`, never more
    /// than `max`.
    #[must_use = "the failure is counted: wait as long as this says"]
    pub fn after_failure(&mut self, config: &BackoffConfig, rng: &mut SmallRng) -> Duration {
        let factor = 1_u32.checked_shl(self.failures).unwrap_or(u32::MAX);
        self.failures = self.failures.saturating_add(1);
        let longest = config.first.saturating_mul(factor).min(config.max);
        longest.mul_f64(rng.random_range(0.5..=1.0))
    }

    /// Forgets the failures: something worked, or the world changed.
    pub fn reset(&mut self) {
        self.failures = 0;
    }

    /// How many failures there were in a row.
    #[must_use]
    pub fn failures(&self) -> u32 {
        self.failures
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const CONFIG: BackoffConfig = BackoffConfig {
        first: Duration::from_secs(1),
        max: Duration::from_secs(600),
    };

    #[wasm_bindgen_test(unsupported = test)]
    fn each_failure_doubles_the_wait_up_to_the_longest_and_a_reset_begins_again() {
        for seed in 0..50 {
            let mut rng = SmallRng::seed_from_u64(seed);
            let mut backoff = Backoff::default();
            for failure in 0..100_u32 {
                let longest = CONFIG.max.min(CONFIG.first * (1 << failure.min(20)));
                let wait = backoff.after_failure(&CONFIG, &mut rng);
                assert!(
                    longest / 2 <= wait && wait <= longest,
                    "seed {seed}, failure {failure}: {wait:?}"
                );
            }
            assert_eq!(backoff.failures(), 100);
            backoff.reset();
            assert!(backoff.after_failure(&CONFIG, &mut rng) <= CONFIG.first, "seed {seed}");
        }
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn two_nodes_with_different_seeds_do_not_retry_in_step() {
        let wait = |seed| Backoff::default().after_failure(&CONFIG, &mut SmallRng::seed_from_u64(seed));
        let waits: std::collections::BTreeSet<_> = (0..20).map(wait).collect();
        assert!(waits.len() > 15, "{waits:?}");
    }
}
