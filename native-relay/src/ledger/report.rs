//! What of the ledger is shown, as it was at one moment: for those who run the relay, not for peers.

use std::{num::NonZeroU32, time::Duration};

use libp2p::PeerId;
use peerway_core::now::Now;
use peerway_hop::Traffic;

use super::{Counts, Ledger, Peer, Standing, StunTally};
use crate::{candidates::CandidateStatus, config::Limits, event_loop::Reach, neighbours::NeighbourStatus};

/// The most peers in one [`Page`].
pub(crate) const PEERS_IN_A_PAGE: usize = 500;

/// What the relay is and what it has done.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    pub(crate) standing: Standing,
    /// Rooms that are followed.
    pub(crate) rooms: usize,
    pub(crate) counts: Counts,
    /// What circuits have carried, those included that stand.
    pub(crate) traffic: Traffic,
    pub(crate) stun: StunTally,
    /// How it stands with the relays that were named.
    pub(crate) relays: Vec<NeighbourStatus>,
    /// And with those that nobody named.
    pub(crate) unnamed: Vec<CandidateStatus>,
    pub(crate) reach: Reach,
    /// Since the relay runs.
    pub(crate) uptime: Duration,
}

/// Some of the peers that are there.
#[derive(Clone, Debug)]
pub(crate) struct Page {
    /// How many there are in all.
    pub(crate) total: usize,
    pub(crate) peers: Vec<(PeerId, Peer)>,
    /// Whether there are more behind the last one.
    pub(crate) rest: Rest,
    /// What time it is on the clock by which connections were established.
    pub(crate) now: Duration,
}

/// Whether a page is the last one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rest {
    More,
    Nothing,
}

impl Ledger {
    /// The first peers behind `after`, as many as one page holds.
    pub(crate) fn page(&self, after: Option<PeerId>, now: Now) -> Page {
        let mut behind = self.peers(after).map(|(id, peer)| (id, peer.clone()));
        let peers = behind.by_ref().take(PEERS_IN_A_PAGE).collect();
        Page {
            total: self.peers.len(),
            peers,
            rest: behind.next().map_or(Rest::Nothing, |_| Rest::More),
            now: now.mono,
        }
    }
}

/// The limits that something is measured against, by their names in `[limits]`.
pub(crate) fn limits(limits: &Limits) -> [(&'static str, NonZeroU32); 4] {
    [
        ("connections", limits.connections),
        ("reservations", limits.reservations),
        ("circuits", limits.circuits),
        ("rooms", limits.rooms),
    ]
}
