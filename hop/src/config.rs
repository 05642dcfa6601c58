//! What of the relay can be set: how many may use it, and how much each may use.
//!
//! Decides nothing. A limit of `None` is no limit.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::Duration,
};

/// Default of [`ReservationLimits::total`].
pub const RESERVATIONS: usize = 4_096;
/// Default of [`ReservationLimits::per_peer`].
pub const RESERVATIONS_PER_PEER: usize = 8;
/// Default of [`ReservationLimits::lifetime`].
pub const RESERVATION_LIFETIME: Duration = Duration::from_secs(60 * 60);
/// Default of [`CircuitLimits::total`].
pub const CIRCUITS: usize = 1_024;
/// Default of [`CircuitLimits::per_source`] and [`CircuitLimits::per_destination`].
pub const CIRCUITS_PER_PEER: usize = 32;
/// Default of [`CircuitLimits::duration`].
pub const CIRCUIT_DURATION: Duration = Duration::from_secs(30 * 60);
/// Default of [`CircuitLimits::bytes`].
pub const CIRCUIT_BYTES: u64 = 64 * 1024 * 1024;
/// Default of [`CircuitLimits::opening`].
pub const OPENING: Duration = Duration::from_secs(15);
/// Default of [`HandshakeLimits::deadline`].
pub const HANDSHAKE: Duration = Duration::from_secs(10);
/// Default of [`HandshakeLimits::per_connection`].
pub const HANDSHAKES_PER_CONNECTION: usize = 32;
/// How much longer than it was announced a reservation is kept while its connection stands. A client renews by its own
/// clock; one whose clock is slow stays reachable.
pub const KEPT_LIFETIMES: u32 = 2;

/// What a [`Behaviour`](crate::Behaviour) allows. Build it from [`Config::default`].
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Config {
    /// Who may be reached through the relay.
    pub reservations: ReservationLimits,
    /// What is carried to them.
    pub circuits: CircuitLimits,
    /// How the relay is talked to.
    pub handshakes: HandshakeLimits,
}

/// Bounds on reservations. Renewals pass all of them: who holds a slot keeps it for as long as it renews.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct ReservationLimits {
    /// Peers that hold a reservation at once; one more is told `RESERVATION_REFUSED`. Default: [`RESERVATIONS`]. Each costs
    /// what its idle connection costs, and some hundred bytes.
    pub total: usize,
    /// Connections of one peer that carry its reservation at once. Default: [`RESERVATIONS_PER_PEER`]. More than one lets a
    /// peer that changed its network back in while its old connection is still believed to live.
    pub per_peer: usize,
    /// Peers that hold a reservation from one IPv4 address or one IPv6 /56. Default: no limit, because everybody behind one
    /// proxy or one NAT shares an address. Connections without an IP address are not counted, and none that
    /// [`Behaviour::set_networks`](crate::Behaviour::set_networks) exempts.
    pub per_network: Option<usize>,
    /// What is announced as a reservation's lifetime; it is kept [`KEPT_LIFETIMES`] times as long. Told in whole seconds.
    /// Default: [`RESERVATION_LIFETIME`]. Shorter costs a round trip and a signature more often, longer keeps slots of
    /// clients that are gone without their connection having noticed.
    pub lifetime: Duration,
}

/// Bounds on circuits, for all of them and for each.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct CircuitLimits {
    /// Circuits at once, those included that are being opened; one more is told `RESOURCE_LIMIT_EXCEEDED`. Default:
    /// [`CIRCUITS`]. An idle one costs two streams and no buffer, one whose reader is slow up to a buffer each way.
    pub total: usize,
    /// Circuits that one peer has opened. Default: [`CIRCUITS_PER_PEER`].
    pub per_source: usize,
    /// Circuits that lead to one peer. Default: [`CIRCUITS_PER_PEER`]. Lower protects a peer from a crowd, and lets a smaller
    /// crowd shut others out.
    pub per_destination: usize,
    /// How long a circuit lasts, however busy it is; then both its streams are reset. Told in whole seconds, rounded up.
    /// Default: [`CIRCUIT_DURATION`].
    pub duration: Option<Duration>,
    /// Bytes that it carries in each direction; the next one resets both streams. Default: [`CIRCUIT_BYTES`].
    pub bytes: Option<NonZeroU64>,
    /// How fast it may carry them in each direction. Default: as fast as both ends can.
    pub rate: Option<Rate>,
    /// How long the destination may take to accept; then the source is told `CONNECTION_FAILED`. Default: [`OPENING`].
    pub opening: Duration,
}

/// A rate for one direction of one circuit: a bucket of tokens, each good for a byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    /// What flows into the bucket. At 4 GiB a second nothing needs a limit.
    pub bytes_per_second: NonZeroU32,
    /// What the bucket holds, and holds at first: that much passes without a wait.
    pub burst: NonZeroU32,
}

/// Bounds on what happens before there is a slot or a circuit.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct HandshakeLimits {
    /// How long a request, and an answer, may take on the wire; then the stream is reset. Default: [`HANDSHAKE`].
    pub deadline: Duration,
    /// Requests of one connection that are not answered yet; further streams are reset at once. Default:
    /// [`HANDSHAKES_PER_CONNECTION`]. Each may hold a message of [`MAX_MESSAGE_BYTES`](crate::MAX_MESSAGE_BYTES).
    pub per_connection: usize,
}

impl Default for ReservationLimits {
    fn default() -> Self {
        Self {
            total: RESERVATIONS,
            per_peer: RESERVATIONS_PER_PEER,
            per_network: None,
            lifetime: RESERVATION_LIFETIME,
        }
    }
}

impl Default for CircuitLimits {
    fn default() -> Self {
        Self {
            total: CIRCUITS,
            per_source: CIRCUITS_PER_PEER,
            per_destination: CIRCUITS_PER_PEER,
            duration: Some(CIRCUIT_DURATION),
            bytes: NonZeroU64::new(CIRCUIT_BYTES),
            rate: None,
            opening: OPENING,
        }
    }
}

impl Default for HandshakeLimits {
    fn default() -> Self {
        Self {
            deadline: HANDSHAKE,
            per_connection: HANDSHAKES_PER_CONNECTION,
        }
    }
}
