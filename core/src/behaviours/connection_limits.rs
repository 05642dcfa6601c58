//! How many connections there may be: of one peer, in all, and of those that have not said yet who they are.
//!
//! libp2p-connection-limits 0.7 holds the same limits, and keeps some hundred bytes of every peer that ever connected for as
//! long as the swarm lives. What is kept here is bounded by the limits themselves.

use std::{
    collections::{HashMap, HashSet},
    convert::Infallible,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
    },
};

/// The last that is admitted of each kind; `None` is no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ConnectionBounds {
    /// Incoming connections that have not said yet who they are.
    pub pending: Option<usize>,
    /// Established connections in all. Cost: as many entries of some tens of bytes here, besides the connections.
    pub established: Option<usize>,
    /// Established connections of one peer.
    pub per_peer: Option<usize>,
}

/// Why a connection was refused. Found in the [`ConnectionDenied`] that the swarm reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LimitExceeded {
    /// As many as may be have not said yet who they are.
    #[error("at most {limit} connections may be pending")]
    Pending {
        /// How many that is.
        limit: usize,
    },
    /// There are as many as may be.
    #[error("at most {limit} connections may be established")]
    Established {
        /// How many that is.
        limit: usize,
    },
    /// The peer has as many as one may have.
    #[error("at most {limit} connections of one peer may be established")]
    PerPeer {
        /// How many that is.
        limit: usize,
    },
}

/// Refuses the connections beyond its limits, and does nothing else. Goes before the parts of a swarm that spend something
/// on a connection.
#[derive(Debug, Default)]
pub struct ConnectionLimits {
    bounds: ConnectionBounds,
    exempt: HashSet<PeerId>,
    pending: HashSet<ConnectionId>,
    established: HashMap<ConnectionId, PeerId>,
    /// Never zero: who has none has no entry.
    per_peer: HashMap<PeerId, usize>,
}

impl ConnectionLimits {
    /// Holds these limits.
    #[must_use]
    pub fn new(bounds: ConnectionBounds) -> Self {
        Self {
            bounds,
            ..Self::default()
        }
    }

    /// From now on, connections of this peer are not refused. They count all the same.
    pub fn exempt(&mut self, peer: PeerId) {
        self.exempt.insert(peer);
    }

    /// From now on, its connections are refused like anybody's.
    pub fn no_longer_exempt(&mut self, peer: PeerId) {
        self.exempt.remove(&peer);
    }

    fn admit_pending(&mut self, connection: ConnectionId) -> Result<(), LimitExceeded> {
        if let Some(limit) = self.bounds.pending.filter(|limit| self.pending.len() >= *limit) {
            return Err(LimitExceeded::Pending { limit });
        }
        self.pending.insert(connection);
        Ok(())
    }

    fn admit(&self, peer: PeerId) -> Result<(), LimitExceeded> {
        if self.exempt.contains(&peer) {
            return Ok(());
        }
        let of_peer = self.per_peer.get(&peer).copied().unwrap_or_default();
        if let Some(limit) = self.bounds.per_peer.filter(|limit| of_peer >= *limit) {
            return Err(LimitExceeded::PerPeer { limit });
        }
        if let Some(limit) = self.bounds.established.filter(|limit| self.established.len() >= *limit) {
            return Err(LimitExceeded::Established { limit });
        }
        Ok(())
    }

    fn count(&mut self, connection: ConnectionId, peer: PeerId) {
        if self.established.insert(connection, peer).is_none() {
            *self.per_peer.entry(peer).or_default() += 1;
        }
    }

    fn uncount(&mut self, connection: ConnectionId) {
        let Some(peer) = self.established.remove(&connection) else {
            return;
        };
        match self.per_peer.get_mut(&peer) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                self.per_peer.remove(&peer);
            }
        }
    }
}

impl NetworkBehaviour for ConnectionLimits {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit_pending(connection).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        connection: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.pending.remove(&connection);
        self.admit(peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        self.admit(peer).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: all other events begin and end no connection"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id, connection_id, ..
            }) => self.count(connection_id, peer_id),
            FromSwarm::ConnectionClosed(ConnectionClosed { connection_id, .. }) => self.uncount(connection_id),
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => {
                self.pending.remove(&connection_id);
            }
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;
    use crate::dial::testing::ids;

    fn id(number: usize) -> ConnectionId {
        ConnectionId::new_unchecked(number)
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_as_many_are_pending_as_may_the_next_is_refused_until_one_ends() {
        let mut limits = ConnectionLimits::new(ConnectionBounds {
            pending: Some(2),
            ..ConnectionBounds::default()
        });
        let full = Err(LimitExceeded::Pending { limit: 2 });
        assert_eq!(
            [limits.admit_pending(id(1)), limits.admit_pending(id(2))],
            [Ok(()), Ok(())]
        );
        assert_eq!(limits.admit_pending(id(3)), full);
        limits.pending.remove(&id(1));
        assert_eq!(
            [limits.admit_pending(id(4)), limits.admit_pending(id(5))],
            [Ok(()), full]
        );
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_a_peer_or_all_have_as_many_as_may_be_the_next_is_refused_unless_it_is_exempt() {
        let peers = ids(4);
        let mut limits = ConnectionLimits::new(ConnectionBounds {
            pending: None,
            established: Some(3),
            per_peer: Some(2),
        });
        for (number, peer) in [(1, 0), (2, 0), (3, 1)] {
            assert_eq!(limits.admit(peers[peer]), Ok(()));
            limits.count(id(number), peers[peer]);
        }
        assert_eq!(limits.admit(peers[0]), Err(LimitExceeded::PerPeer { limit: 2 }));
        assert_eq!(limits.admit(peers[1]), Err(LimitExceeded::Established { limit: 3 }));
        limits.exempt(peers[0]);
        assert_eq!(limits.admit(peers[0]), Ok(()));
        limits.no_longer_exempt(peers[0]);
        assert_eq!(limits.admit(peers[0]), Err(LimitExceeded::PerPeer { limit: 2 }));

        limits.uncount(id(1));
        assert_eq!(limits.admit(peers[1]), Ok(()));
        limits.uncount(id(1));
        assert_eq!(limits.per_peer[&peers[0]], 1, "it ends once");
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn when_everybody_is_gone_nothing_of_them_is_kept() {
        let peers = ids(100);
        let mut limits = ConnectionLimits::new(ConnectionBounds::default());
        for (number, peer) in peers.iter().enumerate() {
            limits.count(id(number), *peer);
        }
        for number in 0..peers.len() {
            limits.uncount(id(number));
        }
        assert!(limits.established.is_empty() && limits.per_peer.is_empty());
    }
}
