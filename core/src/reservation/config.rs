//! How reservations are kept: every knob, its default and its cost.

use std::time::Duration;

#[cfg(doc)]
use super::Reservations;
use crate::dial::backoff::BackoffConfig;

/// How [`Reservations`] goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReservationConfig {
    /// How long one address may take before the next is tried beside it. Default: [`PATIENCE`]. Cost of more: a dead first
    /// address delays the start by it.
    pub patience: Duration,
    /// The same while a relay was lost less than [`Self::quick_for`] ago. A dial that takes longer still counts when it
    /// succeeds. Default: [`QUICK_PATIENCE`]. Cost of less: more dials side by side.
    pub quick_patience: Duration,
    /// For how long after a loss retries are quick. Default: [`QUICK_FOR`]. Cost of more: battery, and load on the relay.
    pub quick_for: Duration,
    /// Waiting between rounds. Default: [`RETRY`].
    pub retry: BackoffConfig,
    /// The longest wait between rounds while they are quick. Default: [`QUICK_MAX`].
    pub quick_max: Duration,
    /// Waiting after an answer that will not soon be another: refused, not a relay, the wrong peer. Default:
    /// [`RETRY_AFTER_REFUSAL`].
    pub retry_after_refusal: BackoffConfig,
    /// How long a reservation may take before the connection is given up. Default: [`RESERVE_TIMEOUT`].
    pub reserve_timeout: Duration,
    /// How long after connecting the relay's gossip subscription must have come; `None` if it need not come. Default:
    /// [`GOSSIP_TIMEOUT`]. Cost of less: slow relays are reconnected for nothing.
    pub gossip_timeout: Option<Duration>,
    /// How long after a sleep a connection has to prove that it lives. Default: [`WAKE_TIMEOUT`], one ping interval and a
    /// round trip. Cost of more: that long deaf after a sleep.
    pub wake_timeout: Duration,
}

/// Default of [`ReservationConfig::patience`].
pub const PATIENCE: Duration = Duration::from_secs(4);
/// Default of [`ReservationConfig::quick_patience`].
pub const QUICK_PATIENCE: Duration = Duration::from_secs(1);
/// Default of [`ReservationConfig::quick_for`].
pub const QUICK_FOR: Duration = Duration::from_secs(60);
/// Default of [`ReservationConfig::retry`].
pub const RETRY: BackoffConfig = BackoffConfig {
    first: Duration::from_millis(500),
    max: Duration::from_secs(30),
};
/// Default of [`ReservationConfig::quick_max`].
pub const QUICK_MAX: Duration = Duration::from_secs(2);
/// Default of [`ReservationConfig::retry_after_refusal`].
pub const RETRY_AFTER_REFUSAL: BackoffConfig = BackoffConfig {
    first: Duration::from_secs(15),
    max: Duration::from_secs(5 * 60),
};
/// Default of [`ReservationConfig::reserve_timeout`].
pub const RESERVE_TIMEOUT: Duration = Duration::from_secs(10);
/// Default of [`ReservationConfig::gossip_timeout`].
pub const GOSSIP_TIMEOUT: Duration = Duration::from_secs(5);
/// Default of [`ReservationConfig::wake_timeout`].
pub const WAKE_TIMEOUT: Duration = Duration::from_secs(7);

impl Default for ReservationConfig {
    fn default() -> Self {
        Self {
            patience: PATIENCE,
            quick_patience: QUICK_PATIENCE,
            quick_for: QUICK_FOR,
            retry: RETRY,
            quick_max: QUICK_MAX,
            retry_after_refusal: RETRY_AFTER_REFUSAL,
            reserve_timeout: RESERVE_TIMEOUT,
            gossip_timeout: Some(GOSSIP_TIMEOUT),
            wake_timeout: WAKE_TIMEOUT,
        }
    }
}

impl ReservationConfig {
    /// For a node without gossip: a relay that grants a reservation is a good relay.
    #[must_use]
    pub fn without_gossip() -> Self {
        Self {
            gossip_timeout: None,
            ..Self::default()
        }
    }
}
