//! Everything about a node that can be tuned. Each field says what it means, its unit, its default and its cost.

use std::time::Duration;

use crate::{
    announcement::schedule::ScheduleConfig, chat::ChatConfig, dial::DialConfig, peer_book::PeerBookConfig,
    reservation::ReservationConfig,
};

/// Events that wait for a slow reader before it gets `Event::Lagged`. Costs memory only while the reader is slow.
pub const DEFAULT_EVENT_QUEUE: usize = 1024;
/// Time between two pings of one connection. Costs about 100 bytes per connection each time.
pub const DEFAULT_PING_INTERVAL: Duration = Duration::from_secs(5);
/// Time for a pong before its connection counts as dead.
pub const DEFAULT_PING_TIMEOUT: Duration = Duration::from_secs(5);
/// Time for a whole dial: a circuit with signalling over it takes several round trips.
pub const DEFAULT_CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// The knobs of a node. `Config::default()` suits a page.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Config {
    /// When announcements are published.
    pub schedule: ScheduleConfig,
    /// How many peers are remembered, and how long.
    pub peer_book: PeerBookConfig,
    /// Whom to dial, how often, how many at once.
    pub dial: DialConfig,
    /// How reservations are kept.
    pub reservation: ReservationConfig,
    /// Rooms and their limits.
    pub chat: ChatConfig,
    /// See [`DEFAULT_EVENT_QUEUE`].
    pub event_queue: usize,
    /// See [`DEFAULT_PING_INTERVAL`]: a silently dead connection is given up when two pings in a row were not answered.
    pub ping_interval: Duration,
    /// See [`DEFAULT_PING_TIMEOUT`].
    pub ping_timeout: Duration,
    /// See [`DEFAULT_CONNECTION_TIMEOUT`].
    pub connection_timeout: Duration,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            schedule: ScheduleConfig::default(),
            peer_book: PeerBookConfig::default(),
            dial: DialConfig::default(),
            reservation: ReservationConfig::default(),
            chat: ChatConfig::default(),
            event_queue: DEFAULT_EVENT_QUEUE,
            ping_interval: DEFAULT_PING_INTERVAL,
            ping_timeout: DEFAULT_PING_TIMEOUT,
            connection_timeout: DEFAULT_CONNECTION_TIMEOUT,
        }
    }
}
