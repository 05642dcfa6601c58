//! What peers signed last before they left the book: decides that a recorded message does not bring them back.

use std::{collections::BTreeMap, time::Duration};

use libp2p::PeerId;

use crate::{announcement::LastSequence, now::Now};

/// How many peers that left are remembered, at about 100 bytes each. One more makes the one that left first forgotten: a
/// recorded announcement of that one would be believed once, until it expires.
pub(super) const CAPACITY: usize = 4096;

#[derive(Debug, Default)]
pub(super) struct Departed {
    peers: BTreeMap<PeerId, (LastSequence, Order)>,
    by_order: BTreeMap<Order, PeerId>,
    count: u64,
}

/// When it left; the count keeps apart those that left at once.
type Order = (Duration, u64);

impl Departed {
    pub(super) fn last_sequence(&self, peer: &PeerId) -> LastSequence {
        self.peers
            .get(peer)
            .map_or(LastSequence::Unknown, |(sequence, _)| *sequence)
    }

    pub(super) fn insert(&mut self, peer: PeerId, sequence: LastSequence, now: Now) {
        self.remove(&peer);
        if sequence == LastSequence::Unknown {
            return;
        }
        if self.peers.len() >= CAPACITY
            && let Some((_, oldest)) = self.by_order.pop_first()
        {
            self.peers.remove(&oldest);
        }
        self.count = self.count.wrapping_add(1);
        let order = (now.mono, self.count);
        self.peers.insert(peer, (sequence, order));
        self.by_order.insert(order, peer);
    }

    pub(super) fn remove(&mut self, peer: &PeerId) {
        if let Some((_, order)) = self.peers.remove(peer) {
            self.by_order.remove(&order);
        }
    }
}
