//! Which rooms the relay follows, so that they work when no pair of their members is connected directly.
//!
//! Rule: a room's topic is followed while at least [`MIN_SUBSCRIBERS`] peers that are not relays have it, and for
//! [`LINGER`] after. Relays do not count, or two of them would keep a room alive for each other for ever; a peer counts
//! once identify has told what it is. Never reads a message, and never knows a room's name: topics are hashes.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{PeerId, gossipsub::TopicHash};
use peerway_core::{now::Now, protocol::ROOM_TOPIC_PREFIX};

use crate::{config::Limits, limits::count};

/// How many peers must share a room for it to be followed.
pub(crate) const MIN_SUBSCRIBERS: usize = 2;

/// How long a room is kept after its second-last subscriber left. A page that reloads is back in a second; to leave and
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
        if entry.kind.replace(kind) == Some(kind) {
            return;
        }
        for topic in entry.rooms.clone() {
            match kind {
                Kind::Member => {
                    self.rooms.entry(topic.clone()).or_default().subscribers.insert(peer);
                    self.settle(&topic, now);
                }
                Kind::Relay => self.uncount(peer, &topic, now),
            }
        }
    }

    /// A peer's last connection is gone.
    pub(crate) fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        for topic in self.peers.remove(&peer).unwrap_or_default().rooms {
            self.uncount(peer, &topic, now);
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

    /// Applies the rule to one room whose subscribers may have changed.
    fn settle(&mut self, topic: &TopicHash, now: Now) {
        let Some(room) = self.rooms.get_mut(topic) else { return };
        let enough = room.subscribers.len() >= MIN_SUBSCRIBERS;
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
                tracing::warn!("as many rooms as we follow are in use; one more is not followed");
                self.waiting.insert(topic.clone());
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
mod tests {
    use super::*;

    const MAX_ROOMS: usize = 12;
    const MAX_ROOMS_PER_PEER: usize = 3;

    fn limits() -> Limits {
        Limits {
            rooms: 12.try_into().unwrap(),
            rooms_per_peer: 3.try_into().unwrap(),
            ..Limits::default()
        }
    }

    struct World {
        rooms: Rooms,
        now: Now,
    }

    impl World {
        fn new() -> Self {
            Self {
                rooms: Rooms::new(&limits()),
                now: Now::default(),
            }
        }

        fn member(&mut self) -> PeerId {
            self.arrival(Kind::Member)
        }

        fn arrival(&mut self, kind: Kind) -> PeerId {
            let peer = PeerId::random();
            self.rooms.handle_identified(peer, kind, self.now);
            peer
        }

        fn joins(&mut self, peer: PeerId, topic: &TopicHash) -> Vec<Action> {
            self.rooms.handle_subscribed(peer, topic.clone(), self.now);
            self.actions()
        }

        fn leaves(&mut self, peer: PeerId, topic: &TopicHash) -> Vec<Action> {
            self.rooms.handle_unsubscribed(peer, topic, self.now);
            self.actions()
        }

        fn passes(&mut self, time: Duration) -> Vec<Action> {
            self.now = self.now.after(time);
            self.rooms.handle_timeout(self.now);
            self.actions()
        }

        fn actions(&mut self) -> Vec<Action> {
            std::iter::from_fn(|| self.rooms.poll_action()).collect()
        }
    }

    fn room(number: usize) -> TopicHash {
        TopicHash::from_raw(format!("{ROOM_TOPIC_PREFIX}{number:032x}"))
    }

    #[test]
    fn when_a_second_member_joins_the_room_is_followed() {
        let mut world = World::new();
        let (a, b) = (world.member(), world.member());
        assert_eq!(world.joins(a, &room(1)), []);
        assert_eq!(world.joins(a, &room(1)), []);
        assert_eq!(world.joins(b, &room(1)), [Action::Follow(room(1))]);
        assert!(world.rooms.followed.contains(&room(1)));
    }

    #[test]
    fn when_the_second_last_member_leaves_the_room_is_left_after_a_while() {
        let mut world = World::new();
        let (a, b) = (world.member(), world.member());
        world.joins(a, &room(1));
        world.joins(b, &room(1));
        assert_eq!(world.leaves(b, &room(1)), []);
        assert_eq!(world.rooms.poll_timeout(), Some(LINGER));
        assert_eq!(world.passes(LINGER - Duration::from_millis(1)), []);
        assert_eq!(world.passes(Duration::from_millis(1)), [Action::Leave(room(1))]);
        assert!(!world.rooms.followed.contains(&room(1)));
        assert_eq!(world.rooms.poll_timeout(), None);
    }

    #[test]
    fn when_a_member_disconnects_and_returns_the_room_was_never_left() {
        let mut world = World::new();
        let (a, b) = (world.member(), world.member());
        world.joins(a, &room(1));
        world.joins(b, &room(1));
        world.rooms.handle_disconnected(b, world.now);
        world.passes(LINGER / 2);
        world.rooms.handle_identified(b, Kind::Member, world.now);
        assert_eq!(world.joins(b, &room(1)), []);
        assert_eq!(world.passes(LINGER * 10), []);
        assert!(world.rooms.followed.contains(&room(1)));
    }

    #[test]
    fn when_everybody_is_gone_nothing_is_remembered() {
        let mut world = World::new();
        let peers = [world.member(), world.member(), world.member()];
        for peer in peers {
            world.joins(peer, &room(1));
        }
        world.joins(peers[0], &room(2));
        for peer in peers {
            world.rooms.handle_disconnected(peer, world.now);
        }
        world.passes(LINGER);
        assert!(world.rooms.peers.is_empty() && world.rooms.rooms.is_empty() && world.rooms.followed.is_empty());
    }

    #[test]
    fn when_relays_or_unknown_peers_subscribe_they_do_not_count() {
        let mut world = World::new();
        let (member, relay, unknown) = (world.member(), world.arrival(Kind::Relay), PeerId::random());
        for peer in [member, relay, unknown] {
            assert_eq!(world.joins(peer, &room(1)), []);
        }
        world.rooms.handle_identified(unknown, Kind::Member, world.now);
        assert_eq!(world.actions(), [Action::Follow(room(1))]);
    }

    #[test]
    fn when_a_member_turns_out_to_be_a_relay_it_no_longer_counts() {
        let mut world = World::new();
        let (a, b) = (world.member(), world.member());
        world.joins(a, &room(1));
        world.joins(b, &room(1));
        world.rooms.handle_identified(b, Kind::Relay, world.now);
        assert_eq!(world.passes(LINGER), [Action::Leave(room(1))]);
    }

    #[test]
    fn when_a_topic_has_not_the_form_of_a_room_it_is_never_followed() {
        let mut world = World::new();
        let (a, b) = (world.member(), world.member());
        for topic in [
            "p2p-discovery",
            "peerway/room/1/",
            "peerway/room/1/0123456789ABCDEF0123456789abcdef",
            "peerway/room/1/0123456789abcdef0123456789abcdef0",
            "peerway/room/2/0123456789abcdef0123456789abcdef",
            "peerway/room/1/0123456789abcdef0123456789abcdé",
        ] {
            let topic = TopicHash::from_raw(topic);
            world.joins(a, &topic);
            assert_eq!(world.joins(b, &topic), [], "{topic}");
        }
    }

    #[test]
    fn when_one_peer_is_in_many_rooms_only_the_first_ones_count() {
        let mut world = World::new();
        let (a, b) = (world.member(), world.member());
        for number in 0..MAX_ROOMS_PER_PEER + 3 {
            world.joins(a, &room(number));
        }
        assert_eq!(world.joins(b, &room(MAX_ROOMS_PER_PEER)), []);
        assert_eq!(
            world.joins(b, &room(MAX_ROOMS_PER_PEER - 1)),
            [Action::Follow(room(MAX_ROOMS_PER_PEER - 1))]
        );
    }

    #[test]
    fn when_full_a_lingering_room_makes_way_and_a_waiting_one_gets_the_next_place() {
        let mut world = World::new();
        let mut members = Vec::new();
        for number in 0..MAX_ROOMS {
            if number % MAX_ROOMS_PER_PEER == 0 {
                members = vec![world.member(), world.member()];
            }
            assert_eq!(
                [
                    world.joins(members[0], &room(number)),
                    world.joins(members[1], &room(number))
                ]
                .concat()
                .len(),
                1
            );
        }
        let last = members;
        let (a, b) = (world.member(), world.member());
        world.joins(a, &room(9_000));
        assert_eq!(world.joins(b, &room(9_000)), [], "full, and all in use");

        world.leaves(last[0], &room(MAX_ROOMS - 1));
        assert_eq!(
            world.passes(LINGER),
            [Action::Leave(room(MAX_ROOMS - 1)), Action::Follow(room(9_000))]
        );

        world.leaves(last[0], &room(MAX_ROOMS - 2));
        world.joins(a, &room(9_001));
        assert_eq!(
            world.joins(b, &room(9_001)),
            [Action::Leave(room(MAX_ROOMS - 2)), Action::Follow(room(9_001))]
        );
    }
}
