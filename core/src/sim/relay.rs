//! The model of a relay.

use std::collections::{BTreeMap, BTreeSet};

use libp2p::{Multiaddr, PeerId};

use super::NodeId;
use crate::snapshot::RecentAnnouncements;

/// What a relay knows. Lost when it is killed, but for its identity and address.
pub(super) struct SimRelay {
    pub(super) peer: PeerId,
    pub(super) address: Multiaddr,
    pub(super) state: RelayState,
    /// Live transport connections.
    pub(super) connected: BTreeSet<NodeId>,
    pub(super) reserved: BTreeSet<NodeId>,
    pub(super) topics: BTreeMap<NodeId, BTreeSet<String>>,
    pub(super) recent: RecentAnnouncements,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RelayState {
    Up,
    Down,
}

impl SimRelay {
    pub(super) fn new(peer: PeerId, address: Multiaddr) -> Self {
        Self {
            peer,
            address,
            state: RelayState::Up,
            connected: BTreeSet::new(),
            reserved: BTreeSet::new(),
            topics: BTreeMap::new(),
            recent: RecentAnnouncements::default(),
        }
    }

    pub(super) fn forget(&mut self, node: NodeId) {
        self.connected.remove(&node);
        self.reserved.remove(&node);
        self.topics.remove(&node);
    }

    pub(super) fn kill(&mut self) -> BTreeSet<NodeId> {
        self.state = RelayState::Down;
        self.reserved.clear();
        self.topics.clear();
        self.recent = RecentAnnouncements::default();
        std::mem::take(&mut self.connected)
    }
}
