//! How much of this relay one peer, and everybody together, may use.
//!
//! libp2p's own bound on reservations also refuses *renewals* once it is reached: a full relay would lose its honest
//! clients one by one. So that bound is out of reach, and [`ReservationGate`] keeps ours: it refuses newcomers only.
//! There are no limits per address: everybody on loopback, behind one proxy or one NAT shares one.

use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use libp2p::{PeerId, connection_limits::ConnectionLimits, relay};

/// Peers that may hold a reservation at once. A further one is told RESOURCE_LIMIT_EXCEEDED.
pub(crate) const MAX_RESERVATIONS: usize = 4_096;
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
/// Bytes that one circuit may carry, both directions together.
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

pub(crate) fn relay(gate: &ReservationGate) -> relay::Config {
    let gate = gate.clone();
    relay::Config {
        max_reservations: usize::MAX,
        // The library lets in one more than these say.
        max_reservations_per_peer: MAX_RESERVATIONS_PER_PEER - 1,
        max_circuits_per_peer: MAX_CIRCUITS_PER_PEER - 1,
        reservation_duration: RESERVATION_DURATION,
        reservation_rate_limiters: vec![Box::new(
            move |peer: PeerId, _: &libp2p::Multiaddr, _: web_time::Instant| gate.admits(peer),
        )],
        max_circuits: MAX_CIRCUITS,
        max_circuit_duration: MAX_CIRCUIT_DURATION,
        max_circuit_bytes: MAX_CIRCUIT_BYTES,
        circuit_src_rate_limiters: Vec::new(),
    }
}

/// Who holds a reservation: kept by the event loop, asked by the relay behaviour.
///
/// A peer is counted from its acceptance until its reservation times out or its last connection is gone: libp2p reports
/// the end of a reservation for *every* connection that closes, so that event proves nothing.
#[derive(Clone, Default)]
pub(crate) struct ReservationGate {
    holders: Arc<Mutex<BTreeSet<PeerId>>>,
}

impl ReservationGate {
    pub(crate) fn handle_accepted(&self, peer: PeerId) {
        self.with(|holders| holders.insert(peer));
    }

    pub(crate) fn handle_gone(&self, peer: PeerId) {
        self.with(|holders| holders.remove(&peer));
    }

    pub(crate) fn len(&self) -> usize {
        self.with(|holders| holders.len())
    }

    fn admits(&self, peer: PeerId) -> bool {
        self.with(|holders| holders.len() < MAX_RESERVATIONS || holders.contains(&peer))
    }

    fn with<T>(&self, f: impl FnOnce(&mut BTreeSet<PeerId>) -> T) -> T {
        // Nothing panics while it holds the lock, and a set has no half-done state to protect.
        f(&mut self.holders.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_full_holders_renew_and_newcomers_wait_for_a_place() {
        let gate = ReservationGate::default();
        let holders: Vec<_> = (0..MAX_RESERVATIONS).map(|_| PeerId::random()).collect();
        for holder in &holders {
            assert!(gate.admits(*holder));
            gate.handle_accepted(*holder);
        }
        let newcomer = PeerId::random();
        assert!(!gate.admits(newcomer));
        assert!(holders.iter().all(|holder| gate.admits(*holder)));
        gate.handle_gone(holders[0]);
        assert!(gate.admits(newcomer));
    }
}
