//! Who is there, as far as announcements tell.
//!
//! Decides which announcement is news, how long a peer is believed to be there, and who makes room when the book is full.
//! Never decides who is dialled ([`crate::dial`]), and never forgets a peer that we are connected to.

mod departed;
mod entry;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::PeerId;

use crate::{
    announcement::{Announcement, Novelty},
    now::{Now, earlier},
};

use departed::Departed;
pub use entry::PeerEntry;
use entry::{RoomPresence, Touch};

/// [`PeerBookConfig::capacity`].
pub const DEFAULT_CAPACITY: usize = 1024;
/// [`PeerBookConfig::min_freshness`].
pub const DEFAULT_MIN_FRESHNESS: Duration = Duration::from_secs(180);
/// [`PeerBookConfig::wake_grace`].
pub const DEFAULT_WAKE_GRACE: Duration = Duration::from_secs(60);

/// How many peers the user can have opened. One more is not remembered, so it can be evicted like any other.
pub const MAX_PINNED: usize = 256;

/// A peer is fresh for this many of the intervals at which peers announce themselves.
const FRESH_INTERVALS: u32 = 3;

/// How much the book holds, and for how long.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerBookConfig {
    /// How many peers are known at once. Default: [`DEFAULT_CAPACITY`]. Each costs up to 4 KiB and a row on the screen.
    pub capacity: usize,
    /// How long after its last announcement a peer is believed to be there, at least.
    /// Default: [`DEFAULT_MIN_FRESHNESS`]. Longer keeps the rows of peers that vanished without a goodbye.
    pub min_freshness: Duration,
    /// How long after a sleep the peers known before are still believed to be there, at least.
    /// Default: [`DEFAULT_WAKE_GRACE`].
    pub wake_grace: Duration,
}

impl Default for PeerBookConfig {
    fn default() -> Self {
        Self {
            capacity: DEFAULT_CAPACITY,
            min_freshness: DEFAULT_MIN_FRESHNESS,
            wake_grace: DEFAULT_WAKE_GRACE,
        }
    }
}

/// How we came to hear an announcement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Heard {
    /// The number its source gave it: signed if it came as gossip, the relay's word if from a snapshot.
    pub sequence: Option<u64>,
    /// How long ago it was said; zero for gossip.
    pub age: Duration,
    /// From whom.
    pub origin: Origin,
}

/// Whose word an announcement is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Origin {
    /// A relay's, in a snapshot: nobody signed it.
    Snapshot,
    /// The source's own: its signature was checked.
    Gossip,
}

/// What an announcement changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The peer was not known: it is now.
    Newcomer,
    /// The peer was known, and is fresh again.
    Updated {
        /// Whether it can be reached elsewhere than before.
        addresses: Changed,
        /// Whether it is called otherwise than before.
        name: Changed,
    },
    /// The peer has no addresses now. It is forgotten; if we are connected to it, it keeps an entry without addresses
    /// until the connection ends ([`BookAction::Expired`] then).
    Goodbye,
    /// It says nothing new, or it is too old, or our own; nothing changed.
    Stale,
    /// The book is full of peers that must not make room; nothing changed.
    Refused,
}

/// Whether an announcement changed a part of what is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Changed {
    /// As before.
    Same,
    /// Different.
    Different,
}

impl Changed {
    fn between<T: PartialEq>(before: &T, after: &T) -> Self {
        if before == after { Self::Same } else { Self::Different }
    }
}

/// What the book wants its owner to know, besides the outcomes of what it was told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BookAction {
    /// The peer is not in the book any more, and no connection to it is left: it was silent for too long, its connection
    /// ended after its goodbye, or it made room for another.
    Expired(PeerId),
}

/// The peers that are there, as far as announcements tell. Bounded; we are never in it ourselves.
///
/// *News.* An announcement counts only if its number is higher than the last that its source signed, so that a recorded
/// one does not work twice; that holds for peers that left, too, for a bounded number of them. Who draws
/// its numbers at random cannot be ordered: it is believed, but not its goodbyes.
///
/// *Hearsay.* What a relay's snapshot says, nobody signed. It introduces peers and refreshes what is itself hearsay, but
/// changes nothing about a peer whose own word is fresh, never raises the number that the peer must exceed, and says no
/// goodbyes. It never displaces anybody who has not expired, and is the first to make room.
///
/// *When full* the expired make room, then those that were never reached; never a peer that is connected, pinned, or
/// heard in our room. Of the never reached those known from hearsay go first, then those that came last: an attacker with
/// a thousand names displaces his own, not those who were there before. If nobody can go, the newcomer is refused.
///
/// Grammar: `handle_*` in, then drain [`poll_action`](Self::poll_action); call [`handle_timeout`](Self::handle_timeout)
/// no later than [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct PeerBook {
    local: PeerId,
    config: PeerBookConfig,
    interval: Duration,
    entries: BTreeMap<PeerId, PeerEntry>,
    departed: Departed,
    /// Bounded by the swarm's connection limits.
    connected: BTreeSet<PeerId>,
    pinned: BTreeSet<PeerId>,
    /// At most one for each entry that went.
    actions: VecDeque<BookAction>,
}

impl PeerBook {
    /// An empty book of the node `local`.
    #[must_use]
    pub fn new(local: PeerId, config: PeerBookConfig) -> Self {
        Self {
            local,
            config,
            interval: Duration::ZERO,
            entries: BTreeMap::new(),
            departed: Departed::default(),
            connected: BTreeSet::new(),
            pinned: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// Somebody says something of itself, or a relay repeats it.
    pub fn handle_announcement(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> Outcome {
        if announcement.peer() == self.local || heard.age >= self.freshness() {
            return Outcome::Stale;
        }
        match heard.origin {
            Origin::Gossip => self.on_gossip(announcement, heard, now),
            Origin::Snapshot => self.on_hearsay(announcement, heard, now),
        }
    }

    /// The first connection to this peer is up: it does not expire now.
    pub fn handle_connected(&mut self, peer: PeerId, _now: Now) {
        self.connected.insert(peer);
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.touch = Touch::Reached;
        }
    }

    /// No connection to this peer is left: it expires as soon as it is not fresh, at once if it said goodbye.
    pub fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        self.connected.remove(&peer);
        if self.entries.get(&peer).is_some_and(PeerEntry::has_left) {
            self.forget(peer, now);
        }
        self.handle_timeout(now);
    }

    /// The user opened this peer: it makes room for nobody, now or when it comes back.
    pub fn pin(&mut self, peer: PeerId) {
        if self.pinned.len() < MAX_PINNED {
            self.pinned.insert(peer);
        }
    }

    /// The user is done with this peer: it makes room as any other.
    pub fn unpin(&mut self, peer: PeerId) {
        self.pinned.remove(&peer);
    }

    /// This peer spoke in a room of ours: it makes room for nobody until it leaves the book.
    pub fn handle_heard_in_room(&mut self, peer: PeerId) {
        if let Some(entry) = self.entries.get_mut(&peer) {
            entry.room = RoomPresence::Heard;
        }
    }

    /// Peers announce themselves this often ([`Schedule::interval`](crate::announcement::schedule::Schedule::interval)).
    pub fn handle_interval(&mut self, interval: Duration) {
        self.interval = interval;
    }

    /// The machine slept: what we knew is hearsay now, and believed for a while although nothing was heard meanwhile.
    /// To be told before [`Self::handle_timeout`].
    pub fn handle_wake(&mut self, now: Now) {
        let freshness = self.freshness();
        let grace = self.config.wake_grace.min(freshness);
        for entry in self.entries.values_mut() {
            entry.origin = Origin::Snapshot;
            if entry.fresh_until(freshness) < now.mono.saturating_add(grace) {
                entry.heard_at = now.mono;
                entry.age = freshness.saturating_sub(grace);
            }
        }
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        let freshness = self.freshness();
        let connected = &self.connected;
        let expired: Vec<PeerId> = self
            .entries
            .iter()
            .filter(|(peer, entry)| !connected.contains(peer) && entry.fresh_until(freshness) <= now.mono)
            .map(|(peer, _)| *peer)
            .collect();
        for peer in expired {
            self.forget(peer, now);
        }
    }

    /// What its owner must know, in the order in which it happened.
    pub fn poll_action(&mut self) -> Option<BookAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is due, on [`Now::mono`].
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let freshness = self.freshness();
        let mortal = self.entries.iter().filter(|(peer, _)| !self.connected.contains(peer));
        mortal.fold(None, |due, (_, entry)| earlier(due, Some(entry.fresh_until(freshness))))
    }

    /// What is known of a peer.
    #[must_use]
    pub fn get(&self, peer: PeerId) -> Option<&PeerEntry> {
        self.entries.get(&peer)
    }

    /// Whether a connection to this peer stands, in the book or not.
    #[must_use]
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.connected.contains(&peer)
    }

    /// Everybody, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (PeerId, &PeerEntry)> {
        self.entries.iter().map(|(peer, entry)| (*peer, entry))
    }

    /// How many peers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether nobody is known.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How long after its last announcement a peer is believed to be there.
    #[must_use]
    pub fn freshness(&self) -> Duration {
        self.interval
            .saturating_mul(FRESH_INTERVALS)
            .max(self.config.min_freshness)
    }

    fn on_gossip(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> Outcome {
        let peer = announcement.peer();
        let Some(entry) = self.entries.get_mut(&peer) else {
            return self.on_unknown(announcement, heard, now);
        };
        let novelty = entry.sequence.novelty(heard.sequence);
        if novelty == Novelty::Older {
            return Outcome::Stale;
        }
        if announcement.is_goodbye() {
            // One recorded before what a relay told us would be news to us. A relay that lies about numbers can only
            // make us overhear a goodbye.
            if novelty == Novelty::Unordered || heard.sequence <= entry.hearsay_sequence {
                return Outcome::Stale;
            }
            entry.sequence = entry.sequence.after(heard.sequence);
            return self.on_goodbye(peer, now);
        }
        entry.sequence = entry.sequence.after(heard.sequence);
        entry.take_over(announcement, heard, now)
    }

    fn on_hearsay(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> Outcome {
        if announcement.is_goodbye() {
            return Outcome::Stale;
        }
        let freshness = self.freshness();
        let Some(entry) = self.entries.get_mut(&announcement.peer()) else {
            return self.on_unknown(announcement, heard, now);
        };
        let own_word_stands = entry.origin == Origin::Gossip && now.mono < entry.fresh_until(freshness);
        let said_later = now.mono.saturating_add(entry.age) > entry.heard_at.saturating_add(heard.age);
        if own_word_stands || !said_later || entry.sequence.novelty(heard.sequence) == Novelty::Older {
            return Outcome::Stale;
        }
        entry.hearsay_sequence = entry.hearsay_sequence.max(heard.sequence);
        entry.take_over(announcement, heard, now)
    }

    fn on_unknown(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> Outcome {
        let peer = announcement.peer();
        let last = self.departed.last_sequence(&peer);
        let novelty = last.novelty(heard.sequence);
        if novelty == Novelty::Older {
            return Outcome::Stale;
        }
        if announcement.is_goodbye() {
            // Remembered, in case what it said before arrives after it.
            if novelty == Novelty::Newer {
                self.departed.insert(peer, last.after(heard.sequence), now);
            }
            return Outcome::Stale;
        }
        if self.entries.len() >= self.config.capacity && !self.make_room(heard.origin, now) {
            return Outcome::Refused;
        }
        let (sequence, hearsay_sequence) = match heard.origin {
            Origin::Gossip => (last.after(heard.sequence), None),
            Origin::Snapshot => (last, heard.sequence),
        };
        let touch = if self.connected.contains(&peer) {
            Touch::Reached
        } else {
            Touch::Never
        };
        let entry = PeerEntry::new(announcement, heard, now, sequence, hearsay_sequence, touch);
        self.departed.remove(&peer);
        self.entries.insert(peer, entry);
        Outcome::Newcomer
    }

    fn on_goodbye(&mut self, peer: PeerId, now: Now) -> Outcome {
        if self.connected.contains(&peer) {
            if let Some(entry) = self.entries.get_mut(&peer) {
                entry.leave();
            }
        } else if let Some(entry) = self.entries.remove(&peer) {
            self.departed.insert(peer, entry.sequence, now);
        }
        Outcome::Goodbye
    }

    /// Makes room for one newcomer if it may.
    fn make_room(&mut self, newcomer: Origin, now: Now) -> bool {
        self.handle_timeout(now);
        if self.entries.len() < self.config.capacity {
            return true;
        }
        let may_go = |(peer, entry): &(&PeerId, &PeerEntry)| {
            let reached = entry.touch == Touch::Reached || self.connected.contains(peer);
            let wanted = entry.room == RoomPresence::Heard || self.pinned.contains(peer);
            !reached && !wanted && newcomer == Origin::Gossip
        };
        let rank = |(_, entry): &(&PeerId, &PeerEntry)| (entry.origin, std::cmp::Reverse(entry.known_since));
        match self
            .entries
            .iter()
            .filter(may_go)
            .min_by_key(rank)
            .map(|(peer, _)| *peer)
        {
            Some(peer) => {
                self.forget(peer, now);
                true
            }
            None => false,
        }
    }

    fn forget(&mut self, peer: PeerId, now: Now) {
        if let Some(entry) = self.entries.remove(&peer) {
            self.departed.insert(peer, entry.sequence, now);
            self.actions.push_back(BookAction::Expired(peer));
        }
    }
}

#[cfg(test)]
mod tests;
