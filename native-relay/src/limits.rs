//! How the limits on connections, reservations and circuits are put to libp2p.
//!
//! libp2p's own bound on reservations also refuses *renewals* once it is reached: a full relay would lose its honest
//! clients one by one. So that bound is out of reach, and [`ReservationGate`] keeps ours: it refuses newcomers only.
//! What it cannot be told (limits per address, by direction, by the second) it does not hold.

use std::{
    collections::BTreeSet,
    num::NonZeroU32,
    sync::{Arc, Mutex, PoisonError},
};

use libp2p::{Multiaddr, PeerId, connection_limits::ConnectionLimits, relay};
use web_time::Instant;

use crate::config::Limits;

/// libp2p's limits on connections: in all, of one peer, and on those that have not said yet who they are.
pub(crate) fn connections(limits: &Limits) -> ConnectionLimits {
    ConnectionLimits::default()
        .with_max_pending_incoming(Some(limits.pending_connections.get()))
        .with_max_established(Some(limits.connections.get()))
        .with_max_established_per_peer(Some(limits.connections_per_peer.get()))
}

/// libp2p's limits on reservations and circuits.
pub(crate) fn relay(limits: &Limits, gate: &ReservationGate) -> relay::Config {
    let gate = gate.clone();
    relay::Config {
        max_reservations: usize::MAX,
        // The library lets in one more than these say.
        max_reservations_per_peer: count(limits.reservations_per_peer) - 1,
        max_circuits_per_peer: count(limits.circuits_per_peer) - 1,
        reservation_duration: limits.reservation_duration.get(),
        reservation_rate_limiters: vec![
            Box::new(move |peer: PeerId, _: &Multiaddr, _: Instant| gate.admits(peer)),
        ],
        max_circuits: count(limits.circuits),
        max_circuit_duration: limits.circuit_duration.get(),
        // Both directions together: no more than is promised for one.
        max_circuit_bytes: limits.circuit_bytes.get(),
        circuit_src_rate_limiters: Vec::new(),
    }
}

/// The same number where libp2p and collections want it.
pub(crate) fn count(limit: NonZeroU32) -> usize {
    usize::try_from(limit.get()).unwrap_or(usize::MAX)
}

/// Who holds a reservation: kept by the event loop, asked by the relay behaviour.
///
/// A peer is counted from its acceptance until its reservation times out or its last connection is gone: libp2p reports
/// the end of a reservation for *every* connection that closes, so that event proves nothing.
#[derive(Clone)]
pub(crate) struct ReservationGate {
    max_holders: usize,
    holders: Arc<Mutex<BTreeSet<PeerId>>>,
}

impl ReservationGate {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_holders: count(limits.reservations),
            holders: Arc::default(),
        }
    }

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
        self.with(|holders| holders.len() < self.max_holders || holders.contains(&peer))
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
        let limits = Limits {
            reservations: 3.try_into().unwrap(),
            ..Limits::default()
        };
        let gate = ReservationGate::new(&limits);
        let holders: Vec<_> = (0..3).map(|_| PeerId::random()).collect();
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
