//! What a relay keeps of the announcements it forwards: decides whom it names to those who ask.

use std::{cmp::Reverse, collections::BTreeMap, collections::BTreeSet, time::Duration};

use libp2p::PeerId;

use crate::{
    announcement::{Announcement, FirstValues, LastSequence, MAX_ADDRESSES_KEPT, Novelty},
    now::Now,
};

use super::{HeardAnnouncement, MAX_ANNOUNCEMENTS, MAX_SNAPSHOT_SIZE, Snapshot, entry};

/// How many peers are kept, at up to 4 KiB each. When full, the one heard longest ago among those who are not connected
/// makes room; if all are connected, the one heard longest ago.
pub const CAPACITY: usize = 2048;

/// How long an announcement is passed on. Longer than a peer is fresh in a scope of any size; the reader judges the age.
const KEPT: Duration = Duration::from_secs(900);

/// What became of an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is passed on from now on.
    Kept,
    /// It is a goodbye: the peer is not named any more.
    Dropped,
    /// It is older than what is kept, a goodbye that cannot be ordered, or hearsay of somebody who is known. Nothing
    /// changed.
    Stale,
}

/// The last announcement of each peer, for a relay to pass on. Bounded by [`CAPACITY`].
///
/// Peers connected to this relay are named before others, so that it takes as many connections as an answer has places,
/// and not merely as many names, to crowd honest peers out of it. Within both kinds the newest come first.
#[derive(Debug, Default)]
pub struct RecentAnnouncements {
    peers: BTreeMap<PeerId, Recent>,
    /// Bounded by the swarm's connection limits.
    connected: BTreeSet<PeerId>,
}

#[derive(Debug)]
struct Recent {
    /// `None` once it left: then only the number is remembered, until it would have expired.
    announcement: Option<Announcement>,
    /// What its announcement was numbered.
    sequence: Option<u64>,
    last: LastSequence,
    /// On [`Now::mono`].
    heard_at: Duration,
    /// How old it was by then: more than nothing if another relay told.
    age: Duration,
}

impl Recent {
    fn age(&self, now: Now) -> Duration {
        now.mono.saturating_sub(self.heard_at).saturating_add(self.age)
    }
}

impl RecentAnnouncements {
    /// Keeps nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A peer announced itself on the discovery topic. Goodbyes are recognised.
    pub fn handle_announcement(&mut self, announcement: &Announcement, sequence: Option<u64>, now: Now) -> Recorded {
        let peer = announcement.peer();
        let last = self.peers.get(&peer).map(|recent| recent.last).unwrap_or_default();
        let novelty = last.novelty(sequence);
        let leaves = announcement.is_goodbye();
        if novelty == Novelty::Older || (leaves && novelty == Novelty::Unordered) {
            return Recorded::Stale;
        }
        if !self.peers.contains_key(&peer) && self.peers.len() >= CAPACITY {
            self.make_room(now);
        }
        // With addresses of unknown forms only, there is nothing to pass on: empty, they would read as a goodbye.
        let said = (!announcement.addrs().is_empty()).then(|| announcement.clone());
        let recent = Recent {
            announcement: said,
            sequence,
            last: last.after(sequence),
            heard_at: now.mono,
            age: Duration::ZERO,
        };
        self.peers.insert(peer, recent);
        if leaves { Recorded::Dropped } else { Recorded::Kept }
    }

    /// Another relay says that it has heard this. Nobody has seen a signature, so it only fills gaps: nothing that was heard
    /// here gives way to it, nobody makes room for it, and what its source says next counts whatever number it has.
    pub fn handle_hearsay(&mut self, heard: &HeardAnnouncement, now: Now) -> Recorded {
        let peer = heard.announcement.peer();
        let says_nothing = heard.announcement.addrs().is_empty() || heard.age >= KEPT;
        if says_nothing || self.peers.contains_key(&peer) || self.peers.len() >= CAPACITY {
            return Recorded::Stale;
        }
        let recent = Recent {
            announcement: Some(heard.announcement.clone()),
            sequence: heard.sequence,
            last: LastSequence::default(),
            heard_at: now.mono,
            age: heard.age,
        };
        self.peers.insert(peer, recent);
        Recorded::Kept
    }

    /// The first connection to this peer is up.
    pub fn handle_peer_connected(&mut self, peer: PeerId) {
        self.connected.insert(peer);
    }

    /// No connection to this peer is left: it is not named any more. If it is still there, it will announce itself here or
    /// elsewhere; if its tab was closed, newcomers shall not see a ghost.
    pub fn handle_peer_disconnected(&mut self, peer: PeerId) {
        self.connected.remove(&peer);
        if let Some(recent) = self.peers.get_mut(&peer) {
            recent.announcement = None;
        }
    }

    /// What to answer now: at most [`MAX_ANNOUNCEMENTS`] and [`MAX_SNAPSHOT_SIZE`]. If they are too large together, each is
    /// cut to fewer addresses: it matters more to know everybody than to know all of everybody's addresses.
    pub fn answer(&mut self, now: Now) -> Snapshot {
        self.expire(now);
        let mut said: Vec<(&Announcement, &Recent)> = self
            .peers
            .values()
            .filter_map(|recent| recent.announcement.as_ref().map(|announcement| (announcement, recent)))
            .collect();
        let elsewhere = |peer| !self.connected.contains(&peer);
        said.sort_by_key(|(announcement, recent)| (elsewhere(announcement.peer()), recent.age(now)));
        said.truncate(MAX_ANNOUNCEMENTS);

        let mut keep = MAX_ADDRESSES_KEPT;
        loop {
            let mut bytes = r#"{"announcements":[]}"#.len();
            let mut entries = Vec::with_capacity(said.len());
            for (announcement, recent) in &said {
                let entry = entry(&announcement.shortened(keep), recent.sequence, recent.age(now));
                let with_comma = entry.to_string().len() + 1;
                if bytes + with_comma > MAX_SNAPSHOT_SIZE {
                    break;
                }
                bytes += with_comma;
                entries.push(entry);
            }
            if entries.len() == said.len() || keep == 1 {
                return Snapshot {
                    announcements: FirstValues(entries),
                };
            }
            keep /= 2;
        }
    }

    fn expire(&mut self, now: Now) {
        self.peers.retain(|_, recent| recent.age(now) < KEPT);
    }

    fn make_room(&mut self, now: Now) {
        self.expire(now);
        if self.peers.len() < CAPACITY {
            return;
        }
        let rank = |(peer, recent): &(&PeerId, &Recent)| (self.connected.contains(peer), Reverse(recent.age(now)));
        if let Some(peer) = self.peers.iter().min_by_key(rank).map(|(peer, _)| *peer) {
            self.peers.remove(&peer);
        }
    }
}
