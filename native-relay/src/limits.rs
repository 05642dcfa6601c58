//! How much of this relay one peer, and everybody together, may use.
//!
//! Decides nothing: [`peerway_hop`] and libp2p's connection limits apply it. There are no limits per address: everybody on
//! loopback, behind one proxy or one NAT shares one.

use std::{num::NonZeroU64, time::Duration};

use libp2p::connection_limits::ConnectionLimits;

/// Peers that may hold a reservation at once. A further one is told RESERVATION_REFUSED.
const MAX_RESERVATIONS: usize = 4_096;
/// Connections of one peer that may carry a reservation each.
const MAX_RESERVATIONS_PER_PEER: usize = 8;
/// How long a reservation lasts; clients renew at three quarters of it.
const RESERVATION_DURATION: Duration = Duration::from_secs(60 * 60);
/// Circuits at once.
const MAX_CIRCUITS: usize = 1_024;
/// Circuits of one peer at once, at either end.
const MAX_CIRCUITS_PER_PEER: usize = 32;
/// How long one circuit may last.
const MAX_CIRCUIT_DURATION: Duration = Duration::from_secs(30 * 60);
/// Bytes that one circuit may carry, in each direction.
const MAX_CIRCUIT_BYTES: u64 = 64 * 1024 * 1024;

/// Connections that have not said yet who they are. Each may hold a TLS, Noise or DTLS handshake.
const MAX_PENDING_CONNECTIONS: u32 = 256;
/// Connections in all.
const MAX_CONNECTIONS: u32 = 8_192;
/// Connections of one peer: its old ones that we still believe in, and a few new ones.
const MAX_CONNECTIONS_PER_PEER: u32 = 8;

pub(crate) fn connections() -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(MAX_PENDING_CONNECTIONS))
        .with_max_established(Some(MAX_CONNECTIONS))
        .with_max_established_per_peer(Some(MAX_CONNECTIONS_PER_PEER))
}

pub(crate) fn relay() -> peerway_hop::Config {
    let mut config = peerway_hop::Config::default();
    config.reservations.total = MAX_RESERVATIONS;
    config.reservations.per_peer = MAX_RESERVATIONS_PER_PEER;
    config.reservations.lifetime = RESERVATION_DURATION;
    config.circuits.total = MAX_CIRCUITS;
    config.circuits.per_source = MAX_CIRCUITS_PER_PEER;
    config.circuits.per_destination = MAX_CIRCUITS_PER_PEER;
    config.circuits.duration = Some(MAX_CIRCUIT_DURATION);
    config.circuits.bytes = NonZeroU64::new(MAX_CIRCUIT_BYTES);
    config
}
