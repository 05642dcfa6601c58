//! One simulated node: an engine and the ends of its connections.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{PeerId, swarm::ConnectionId};

use super::{NodeId, RelayId};
use crate::{engine::Engine, node::Event, reservation::RelayKey, view::View};

/// Where a connection leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Remote {
    /// To a relay, directly.
    Relay(RelayId),
    /// To another node, by a circuit.
    Circuit {
        via: RelayId,
        node: NodeId,
        /// The other end's id of the same connection.
        connection: ConnectionId,
    },
}

pub(super) struct SimNode {
    pub(super) peer: PeerId,
    pub(super) engine: Engine,
    pub(super) view: View,
    pub(super) connections: BTreeMap<ConnectionId, Remote>,
    pub(super) topics: BTreeSet<String>,
    pub(super) listeners: BTreeMap<RelayKey, RelayId>,
    pub(super) events: Vec<Event>,
    /// Bytes of discovery that arrived.
    pub(super) discovery_bytes: usize,
    pub(super) next_sequence: u64,
    pub(super) link: Link,
}

/// Whether packets get through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    Open,
    /// Everything vanishes in both directions, and nobody is told.
    Silent,
}

impl SimNode {
    /// The connection to a relay, if there is one.
    pub(super) fn to_relay(&self, relay: RelayId) -> Option<ConnectionId> {
        self.connections
            .iter()
            .find(|(_, remote)| **remote == Remote::Relay(relay))
            .map(|(id, _)| *id)
    }

    pub(super) fn relays(&self) -> impl Iterator<Item = RelayId> {
        self.connections.values().filter_map(|remote| match remote {
            Remote::Relay(relay) => Some(*relay),
            Remote::Circuit { .. } => None,
        })
    }
}
