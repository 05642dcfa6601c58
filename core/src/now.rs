//! The time, as an argument.
//!
//! Deciding code never reads a clock: whoever calls it passes a [`Now`]. The only reader is `node/clock.rs`.

use std::time::Duration;

/// Milliseconds since the Unix epoch, as the host's wall clock tells it. May jump.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct UnixMillis(pub u64);

/// One instant, by both clocks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Now {
    /// Time since the node started. Never goes back; may stand still while a laptop sleeps.
    pub mono: Duration,
    /// The wall clock.
    pub wall: UnixMillis,
}

impl Now {
    /// The same instant moved on by `by`, on both clocks.
    #[must_use]
    pub fn after(self, by: Duration) -> Self {
        let millis = u64::try_from(by.as_millis()).unwrap_or(u64::MAX);
        Self {
            mono: self.mono.saturating_add(by),
            wall: UnixMillis(self.wall.0.saturating_add(millis)),
        }
    }
}

/// The earlier of two optional deadlines: what `poll_timeout` of a composition returns.
#[must_use]
pub fn earlier(a: Option<Duration>, b: Option<Duration>) -> Option<Duration> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}
