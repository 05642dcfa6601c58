//! A bucket of tokens: how many bytes may pass now, and when the next ones may.
//!
//! Never reads a clock, never waits.

use std::time::Duration;

use web_time::Instant;

use crate::config::Rate;

const NANOS: u128 = 1_000_000_000;
/// Who found the bucket empty waits for what flows in during this time, rather than for a byte.
const WAIT: Duration = Duration::from_millis(20);

/// Never holds more than its burst, and never gives more than it holds.
#[derive(Debug)]
pub(crate) struct Bucket {
    rate: Rate,
    tokens: u64,
    /// Up to when the inflow is counted. What is less than a token stays in the time since then.
    counted: Instant,
}

impl Bucket {
    /// A full one.
    pub(crate) fn new(rate: Rate, now: Instant) -> Self {
        Self {
            rate,
            tokens: rate.burst.get().into(),
            counted: now,
        }
    }

    /// The bytes that may pass now.
    pub(crate) fn available(&mut self, now: Instant) -> u64 {
        let (rate, burst) = (
            u128::from(self.rate.bytes_per_second.get()),
            u64::from(self.rate.burst.get()),
        );
        let elapsed = now.saturating_duration_since(self.counted).as_nanos();
        let inflow = elapsed.saturating_mul(rate) / NANOS;
        let missing = burst - self.tokens;
        if inflow >= missing.into() {
            self.tokens = burst;
            self.counted = self.counted.max(now);
        } else {
            // Less than `missing`, so it fits. The time of whole tokens, rounded up, is at most what has elapsed.
            self.tokens += u64::try_from(inflow).unwrap_or(missing);
            self.counted += nanos((inflow * NANOS).div_ceil(rate));
        }
        self.tokens
    }

    /// Bytes passed: at most what was available.
    pub(crate) fn take(&mut self, bytes: u64) {
        self.tokens = self.tokens.saturating_sub(bytes);
    }

    /// When it is worth to ask again, if nothing is available now.
    pub(crate) fn refilled_at(&self) -> Instant {
        let rate = u128::from(self.rate.bytes_per_second.get());
        let wanted = (rate * WAIT.as_nanos() / NANOS).clamp(1, self.rate.burst.get().into());
        self.counted + nanos((wanted * NANOS).div_ceil(rate))
    }
}

/// At most the time in which a burst flows in, at one byte a second: 136 years.
fn nanos(nanos: u128) -> Duration {
    Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU32;

    use proptest::prelude::*;

    use super::*;

    fn rate(bytes_per_second: u32, burst: u32) -> Rate {
        Rate {
            bytes_per_second: NonZeroU32::new(bytes_per_second).expect("not zero"),
            burst: NonZeroU32::new(burst).expect("not zero"),
        }
    }

    #[test]
    fn when_full_it_gives_its_burst_and_then_its_rate() {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate(1_000, 5_000), start);
        assert_eq!(bucket.available(start), 5_000);
        bucket.take(5_000);
        assert_eq!(bucket.available(start), 0);
        assert_eq!(bucket.available(start + Duration::from_millis(500)), 500);
        bucket.take(500);
        assert_eq!(bucket.available(start + Duration::from_millis(1_500)), 1_000);
        assert_eq!(
            bucket.available(start + Duration::from_secs(60)),
            5_000,
            "no more than the burst"
        );
    }

    #[test]
    fn when_empty_it_says_when_it_is_worth_to_come_back() {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate(1_000_000, 1_000_000), start);
        bucket.take(1_000_000);
        let at = bucket.refilled_at();
        assert_eq!(at - start, WAIT);
        assert_eq!(bucket.available(at), 20_000);
        // A slow one must not make anybody wait for more than its burst, nor for nothing.
        let mut slow = Bucket::new(rate(3, 1), start);
        slow.take(1);
        let at = slow.refilled_at();
        assert_eq!(slow.available(at), 1);
    }

    #[test]
    fn when_asked_often_no_more_than_a_byte_is_lost_to_rounding() {
        let start = Instant::now();
        let mut bucket = Bucket::new(rate(7, 1_000), start);
        bucket.take(1_000);
        for step in 1..=10_000 {
            bucket.available(start + Duration::from_millis(step));
        }
        let available = bucket.available(start + Duration::from_millis(10_001));
        assert!((69..=70).contains(&available), "{available}");
    }

    proptest! {
        #[test]
        fn whatever_is_taken_when_it_never_exceeds_rate_and_burst(
            bytes_per_second in 1u32.., burst in 1u32..,
            steps in prop::collection::vec((0u64..10_000_000_000, 0u64..u64::MAX), 0..50),
        ) {
            let start = Instant::now();
            let mut bucket = Bucket::new(rate(bytes_per_second, burst), start);
            let (mut now, mut taken) = (start, 0u128);
            for (wait, wanted) in steps {
                now += Duration::from_nanos(wait);
                let bytes = wanted.min(bucket.available(now));
                bucket.take(bytes);
                taken += u128::from(bytes);
                let allowed = u128::from(burst) + (now - start).as_nanos() * u128::from(bytes_per_second) / NANOS;
                prop_assert!(taken <= allowed, "{taken} > {allowed}");
                if bucket.available(now) == 0 {
                    let at = bucket.refilled_at();
                    prop_assert!(bucket.available(at) > 0);
                    now = now.max(at);
                }
            }
        }
    }
}
