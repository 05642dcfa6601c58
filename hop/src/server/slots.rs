//! Who holds a reservation, over which connection, until when.
//!
//! Decides whether there is room for one more. Never refuses who has a slot already, and reads no clock.

use std::collections::{BTreeMap, BTreeSet};

use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use web_time::Instant;

use crate::{
    Bound,
    config::{KEPT_LIFETIMES, ReservationLimits},
    network::Network,
};

/// A connection's reservation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Slot {
    pub(crate) peer: PeerId,
    network: Option<Network>,
    /// When it was granted last.
    pub(crate) granted: Instant,
    /// When it ends. `None`: further away than a clock can say.
    expires: Option<Instant>,
}

/// Whether there was a slot already.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Granted {
    New,
    Renewed,
}

/// All slots. Bounded by the limits it is asked with; each map is a view of `held`.
#[derive(Debug, Default)]
pub(crate) struct Slots {
    held: BTreeMap<ConnectionId, Slot>,
    by_peer: BTreeMap<PeerId, BTreeSet<ConnectionId>>,
    /// How many connections each peer has a slot on from a network.
    by_network: BTreeMap<Network, BTreeMap<PeerId, usize>>,
    expiries: BTreeSet<(Instant, ConnectionId)>,
}

impl Slots {
    /// Whether one more connection may carry a reservation; one that does may always go on.
    pub(crate) fn room(
        &self,
        connection: ConnectionId,
        peer: PeerId,
        network: Option<Network>,
        limits: &ReservationLimits,
    ) -> Result<(), Bound> {
        if self.held.contains_key(&connection) {
            return Ok(());
        }
        match self.by_peer.get(&peer) {
            // It is counted already.
            Some(connections) if connections.len() >= limits.per_peer => return Err(Bound::ReservationsPerPeer),
            Some(_) => {}
            None if limits.per_peer == 0 => return Err(Bound::ReservationsPerPeer),
            None if self.by_peer.len() >= limits.total => return Err(Bound::Reservations),
            None => {}
        }
        let neighbours = network.and_then(|network| self.by_network.get(&network));
        let is_counted = neighbours.is_some_and(|peers| peers.contains_key(&peer));
        match limits.per_network {
            Some(most) if network.is_some() && !is_counted && neighbours.map_or(0, BTreeMap::len) >= most => {
                Err(Bound::ReservationsPerNetwork)
            }
            _ => Ok(()),
        }
    }

    /// Gives a connection a slot, or the one that it has for longer.
    pub(crate) fn grant(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        network: Option<Network>,
        limits: &ReservationLimits,
        now: Instant,
    ) -> Granted {
        let before = self.end(connection);
        let kept = limits.lifetime.checked_mul(KEPT_LIFETIMES);
        let expires = kept.and_then(|kept| now.checked_add(kept));
        let slot = Slot {
            peer,
            network,
            granted: now,
            expires,
        };
        self.held.insert(connection, slot);
        self.by_peer.entry(peer).or_default().insert(connection);
        if let Some(network) = network {
            *self.by_network.entry(network).or_default().entry(peer).or_default() += 1;
        }
        self.expiries.extend(expires.map(|expires| (expires, connection)));
        match before {
            Some(_) => Granted::Renewed,
            None => Granted::New,
        }
    }

    /// Takes a connection's slot away.
    pub(crate) fn end(&mut self, connection: ConnectionId) -> Option<Slot> {
        let slot = self.held.remove(&connection)?;
        if let Some(expires) = slot.expires {
            self.expiries.remove(&(expires, connection));
        }
        if let Some(connections) = self.by_peer.get_mut(&slot.peer) {
            connections.remove(&connection);
            if connections.is_empty() {
                self.by_peer.remove(&slot.peer);
            }
        }
        if let Some(network) = slot.network
            && let Some(peers) = self.by_network.get_mut(&network)
        {
            if let Some(count) = peers.get_mut(&slot.peer) {
                *count -= 1;
                if *count == 0 {
                    peers.remove(&slot.peer);
                }
            }
            if peers.is_empty() {
                self.by_network.remove(&network);
            }
        }
        Some(slot)
    }

    /// A connection whose slot is over.
    pub(crate) fn expired(&self, now: Instant) -> Option<ConnectionId> {
        let (expires, connection) = self.expiries.first()?;
        (*expires <= now).then_some(*connection)
    }

    /// When the next slot is over.
    pub(crate) fn next_expiry(&self) -> Option<Instant> {
        self.expiries.first().map(|(expires, _)| *expires)
    }

    /// Over which connection a peer is reached: its newest one, because an older one may be dead and not know it.
    pub(crate) fn reach(&self, peer: PeerId) -> Option<ConnectionId> {
        self.by_peer.get(&peer)?.last().copied()
    }

    /// Peers that hold a reservation.
    pub(crate) fn holders(&self) -> usize {
        self.by_peer.len()
    }

    /// All of them, by connection.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (ConnectionId, &Slot)> {
        self.held.iter().map(|(connection, slot)| (*connection, slot))
    }

    /// Whether every view shows the same.
    #[cfg(test)]
    pub(crate) fn check(&self) {
        let by_peer: usize = self.by_peer.values().map(BTreeSet::len).sum();
        assert_eq!(by_peer, self.held.len());
        let with_network = self.held.values().filter(|slot| slot.network.is_some()).count();
        let by_network: usize = self.by_network.values().flat_map(BTreeMap::values).sum();
        assert_eq!(by_network, with_network);
        let with_expiry = self.held.values().filter(|slot| slot.expires.is_some()).count();
        assert_eq!(self.expiries.len(), with_expiry);
        assert!(self.by_peer.values().all(|connections| !connections.is_empty()));
        assert!(self.by_network.values().all(|peers| !peers.is_empty()));
    }
}
