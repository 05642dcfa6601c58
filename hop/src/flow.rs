//! One direction of a circuit, as a rule: how many bytes it may take now.
//!
//! Never touches a stream or a clock.

use web_time::Instant;

use crate::{config::CircuitLimits, rate::Bucket};

/// How many bytes a direction may carry in all, and how fast.
#[derive(Debug)]
pub(crate) struct Flow {
    /// What is left; `None`: no limit.
    left: Option<u64>,
    bucket: Option<Bucket>,
}

/// What may be done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Allowance {
    /// Take up to that many bytes, at least one.
    Take(usize),
    /// Take nothing before this.
    WaitUntil(Instant),
    /// Nothing is left: another byte would be one too many, the end is still welcome.
    Spent,
}

impl Flow {
    pub(crate) fn new(limits: &CircuitLimits, now: Instant) -> Self {
        Self {
            left: limits.bytes.map(u64::from),
            bucket: limits.rate.map(|rate| Bucket::new(rate, now)),
        }
    }

    /// With room for `most` bytes.
    pub(crate) fn allowance(&mut self, most: usize, now: Instant) -> Allowance {
        let left = self.left.unwrap_or(u64::MAX);
        let Some(bucket) = &mut self.bucket else {
            return Self::take(most, left);
        };
        match bucket.available(now) {
            _ if left == 0 => Allowance::Spent,
            0 => Allowance::WaitUntil(bucket.refilled_at()),
            available => Self::take(most, left.min(available)),
        }
    }

    /// That many were taken: no more than was allowed.
    pub(crate) fn handle_taken(&mut self, bytes: usize) {
        let bytes = bytes as u64;
        if let Some(left) = &mut self.left {
            *left = left.saturating_sub(bytes);
        }
        if let Some(bucket) = &mut self.bucket {
            bucket.take(bytes);
        }
    }

    fn take(most: usize, allowed: u64) -> Allowance {
        match usize::try_from(allowed).unwrap_or(usize::MAX).min(most) {
            0 => Allowance::Spent,
            bytes => Allowance::Take(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::num::{NonZeroU32, NonZeroU64};

    use super::*;
    use crate::config::{Config, Rate};

    #[test]
    fn when_the_limit_is_reached_nothing_is_allowed_and_before_that_exactly_what_is_left() {
        let now = Instant::now();
        let mut limits = Config::default().circuits;
        limits.bytes = NonZeroU64::new(1_000);
        let mut flow = Flow::new(&limits, now);
        assert_eq!(flow.allowance(600, now), Allowance::Take(600));
        flow.handle_taken(600);
        assert_eq!(flow.allowance(600, now), Allowance::Take(400));
        flow.handle_taken(400);
        assert_eq!(flow.allowance(600, now), Allowance::Spent);
    }

    #[test]
    fn when_the_bucket_is_empty_it_waits_and_when_the_limit_is_reached_too_it_does_not() {
        let now = Instant::now();
        let mut limits = Config::default().circuits;
        limits.bytes = NonZeroU64::new(150);
        limits.rate = Some(Rate {
            bytes_per_second: NonZeroU32::new(1_000).expect("not zero"),
            burst: NonZeroU32::new(100).expect("not zero"),
        });
        let mut flow = Flow::new(&limits, now);
        assert_eq!(flow.allowance(600, now), Allowance::Take(100));
        flow.handle_taken(100);
        let Allowance::WaitUntil(at) = flow.allowance(600, now) else {
            panic!("the bucket is empty");
        };
        assert_eq!(flow.allowance(600, at), Allowance::Take(20));
        let later = at + std::time::Duration::from_secs(1);
        assert_eq!(
            flow.allowance(600, later),
            Allowance::Take(50),
            "what is left of the limit"
        );
        flow.handle_taken(50);
        assert_eq!(flow.allowance(600, later), Allowance::Spent);
    }

    #[test]
    fn when_there_are_no_limits_there_is_always_room() {
        let now = Instant::now();
        let mut limits = Config::default().circuits;
        (limits.bytes, limits.rate) = (None, None);
        let mut flow = Flow::new(&limits, now);
        flow.handle_taken(usize::MAX);
        assert_eq!(flow.allowance(7, now), Allowance::Take(7));
    }
}
