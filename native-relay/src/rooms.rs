//! Which rooms the relay follows, so that they work when no pair of their members is connected directly.
//!
//! Rule: a room's topic is followed while at least [`MIN_MEMBERS`] peers that are not relays have it, and for
//! [`LINGER`] after. While another relay is connected, one member is enough: the others may be there, and neither relay can
//! tell before the other follows. Relays themselves never count, or two of them would keep a room alive for each other for
//! ever: each follows for the sake of its own members alone, so when those are gone it leaves, whatever others do.
//!
//! So a room goes from relay to relay where both have members, between relays that are connected with each other, and no
//! further. A peer counts once identify has told what it is. Never reads a message, and never knows a room's name: topics are
//! hashes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{PeerId, gossipsub::TopicHash};
use peerway_core::{now::Now, protocol::ROOM_TOPIC_PREFIX};

use crate::{config::Limits, limits::count};

/// How many peers must share a room for it to be followed by a relay that knows no other.
pub(crate) const MIN_MEMBERS: usize = 2;

/// The same while another relay is connected.
pub(crate) const MIN_MEMBERS_AMONG_RELAYS: usize = 1;

/// How long a room is kept after it has too few members. A page that reloads is back in a second; to leave and
/// to follow again would make gossipsub refuse grafts (its unsubscribe back-off) and lose the first messages.
pub(crate) const LINGER: Duration = Duration::from_secs(60);

/// The characters of a room topic after its prefix: hex of 16 bytes.
const TOPIC_HASH_CHARACTERS: usize = 32;

/// Whether `topic` has the form of a room's.
pub(crate) fn is_room(topic: &TopicHash) -> bool {
    topic.as_str().strip_prefix(ROOM_TOPIC_PREFIX).is_some_and(|hash| {
        hash.len() == TOPIC_HASH_CHARACTERS && hash.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
    })
}

/// What a peer is, as far as rooms are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It carries circuits for others.
    Relay,
    /// Anybody else.
    Member,
}

/// What to do about a room.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Subscribe to its topic.
    Follow(TopicHash),
    /// Unsubscribe from it.
    Leave(TopicHash),
}

/// The state machine. World in: `handle_*`; decisions out: [`Rooms::poll_action`].
pub(crate) struct Rooms {
    /// How many rooms are followed at once. When full, one that only lingers makes way; else the new one is not followed
    /// until another is left.
    max_rooms: usize,
    /// How many rooms of one peer count. Of further ones nothing is kept: they are followed only if enough others are in.
    max_per_peer: usize,
    peers: BTreeMap<PeerId, Peer>,
    /// How many of them are relays.
    relays: usize,
    /// Rooms that somebody counts for, or that are followed.
    rooms: BTreeMap<TopicHash, Room>,
    /// Those that are followed, lingering ones included.
    followed: BTreeSet<TopicHash>,
    /// Those that linger, by when that ends.
    lingering: BTreeSet<(Duration, TopicHash)>,
    /// Those with enough subscribers that found no place.
    waiting: BTreeSet<TopicHash>,
    actions: VecDeque<Action>,
}

#[derive(Default)]
struct Peer {
    kind: Option<Kind>,
    rooms: BTreeSet<TopicHash>,
}

#[derive(Default)]
struct Room {
    subscribers: BTreeSet<PeerId>,
    state: State,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    NotFollowed,
    Followed,
    /// Followed until then, unless enough subscribers are back before.
    Lingering {
        until: Duration,
    },
}

impl Rooms {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            max_rooms: count(limits.rooms),
            max_per_peer: count(limits.rooms_per_peer),
            peers: BTreeMap::new(),
            relays: 0,
            rooms: BTreeMap::new(),
            followed: BTreeSet::new(),
            lingering: BTreeSet::new(),
            waiting: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// How many rooms are followed, those included that only linger.
    pub(crate) fn followed(&self) -> usize {
        self.followed.len()
    }

    /// A peer subscribed to a topic.
    pub(crate) fn handle_subscribed(&mut self, peer: PeerId, topic: TopicHash, now: Now) {
        if !is_room(&topic) {
            return;
        }
        let entry = self.peers.entry(peer).or_default();
        if entry.rooms.len() >= self.max_per_peer {
            tracing::debug!(%peer, "more rooms than we count for one peer");
            return;
        }
        entry.rooms.insert(topic.clone());
        if entry.kind == Some(Kind::Member) {
            self.rooms.entry(topic.clone()).or_default().subscribers.insert(peer);
            self.settle(&topic, now);
        }
    }

    /// A peer unsubscribed from a topic.
    pub(crate) fn handle_unsubscribed(&mut self, peer: PeerId, topic: &TopicHash, now: Now) {
        if self.peers.get_mut(&peer).is_some_and(|entry| entry.rooms.remove(topic)) {
            self.uncount(peer, topic, now);
        }
    }

    /// Identify told what a peer is.
    pub(crate) fn handle_identified(&mut self, peer: PeerId, kind: Kind, now: Now) {
        let entry = self.peers.entry(peer).or_default();
        let before = entry.kind.replace(kind);
        if before == Some(kind) {
            return;
        }
        let rooms = entry.rooms.clone();
        match kind {
            Kind::Member => {
                if before == Some(Kind::Relay) {
                    self.count_relays(self.relays - 1, now);
                }
                for topic in rooms {
                    self.rooms.entry(topic.clone()).or_default().subscribers.insert(peer);
                    self.settle(&topic, now);
                }
            }
            Kind::Relay => {
                for topic in rooms {
                    self.uncount(peer, &topic, now);
                }
                self.count_relays(self.relays + 1, now);
            }
        }
    }

    /// A peer's last connection is gone.
    pub(crate) fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        let gone = self.peers.remove(&peer).unwrap_or_default();
        for topic in gone.rooms {
            self.uncount(peer, &topic, now);
        }
        if gone.kind == Some(Kind::Relay) {
            self.count_relays(self.relays - 1, now);
        }
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        while let Some((_, topic)) = self.lingering.first().filter(|(until, _)| *until <= now.mono).cloned() {
            self.leave(&topic);
            if let Some(waiting) = self.waiting.pop_first() {
                self.follow(&waiting);
            }
        }
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.lingering.first().map(|(until, _)| *until)
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    fn uncount(&mut self, peer: PeerId, topic: &TopicHash, now: Now) {
        if let Some(room) = self.rooms.get_mut(topic) {
            room.subscribers.remove(&peer);
            self.settle(topic, now);
        }
    }

    /// With the first relay that comes, and the last that goes, another number of members is enough.
    fn count_relays(&mut self, relays: usize, now: Now) {
        let before = self.enough();
        self.relays = relays;
        if self.enough() != before {
            let all: Vec<TopicHash> = self.rooms.keys().cloned().collect();
            for topic in all {
                self.settle(&topic, now);
            }
        }
    }

    fn enough(&self) -> usize {
        if self.relays > 0 {
            MIN_MEMBERS_AMONG_RELAYS
        } else {
            MIN_MEMBERS
        }
    }

    /// Applies the rule to one room whose subscribers may have changed.
    fn settle(&mut self, topic: &TopicHash, now: Now) {
        let min_members = self.enough();
        let Some(room) = self.rooms.get_mut(topic) else { return };
        let enough = room.subscribers.len() >= min_members;
        let empty = room.subscribers.is_empty();
        match room.state {
            State::NotFollowed if enough => self.follow(topic),
            State::NotFollowed => {
                self.waiting.remove(topic);
                if empty {
                    self.rooms.remove(topic);
                }
            }
            State::Followed if !enough => {
                let until = now.mono.saturating_add(LINGER);
                room.state = State::Lingering { until };
                self.lingering.insert((until, topic.clone()));
            }
            State::Lingering { until } if enough => {
                room.state = State::Followed;
                self.lingering.remove(&(until, topic.clone()));
            }
            State::Followed | State::Lingering { .. } => {}
        }
    }

    fn follow(&mut self, topic: &TopicHash) {
        if self.followed.len() >= self.max_rooms {
            let Some((_, first_to_end)) = self.lingering.first().cloned() else {
                if self.waiting.insert(topic.clone()) {
                    tracing::warn!("as many rooms as we follow are in use; one more is not followed");
                }
                return;
            };
            self.leave(&first_to_end);
        }
        if let Some(room) = self.rooms.get_mut(topic) {
            room.state = State::Followed;
            self.waiting.remove(topic);
            self.followed.insert(topic.clone());
            self.actions.push_back(Action::Follow(topic.clone()));
        }
    }

    fn leave(&mut self, topic: &TopicHash) {
        let Some(room) = self.rooms.get_mut(topic) else { return };
        if let State::Lingering { until } = std::mem::take(&mut room.state) {
            self.lingering.remove(&(until, topic.clone()));
        }
        if room.subscribers.is_empty() {
            self.rooms.remove(topic);
        }
        self.followed.remove(topic);
        self.actions.push_back(Action::Leave(topic.clone()));
    }
}

#[cfg(test)]
mod tests;
