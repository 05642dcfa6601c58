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
fn when_unknown_peers_subscribe_they_do_not_count_until_they_are_known() {
    let mut world = World::new();
    let (member, unknown) = (world.member(), PeerId::random());
    for peer in [member, unknown] {
        assert_eq!(world.joins(peer, &room(1)), []);
    }
    world.rooms.handle_identified(unknown, Kind::Member, world.now);
    assert_eq!(world.actions(), [Action::Follow(room(1))]);
}

#[test]
fn when_another_relay_is_connected_one_member_is_enough_and_no_relay_is_ever_one() {
    let mut world = World::new();
    let alone = world.member();
    world.joins(alone, &room(1));
    let relay = world.arrival(Kind::Relay);
    assert_eq!(world.actions(), [Action::Follow(room(1))]);
    assert_eq!(world.joins(relay, &room(1)), []);
    assert_eq!(world.joins(relay, &room(2)), [], "a relay makes no room");
    let second = world.arrival(Kind::Relay);
    assert_eq!(world.joins(second, &room(2)), [], "nor do two");

    world.rooms.handle_disconnected(second, world.now);
    assert_eq!(world.passes(LINGER), [], "one is left");
    world.rooms.handle_disconnected(relay, world.now);
    assert_eq!(
        world.passes(LINGER),
        [Action::Leave(room(1))],
        "now it takes two members"
    );
}

/// Two relays that are connected, each with one member of a room: what one follows and leaves, the other is told.
#[test]
fn when_the_members_at_two_relays_are_gone_neither_relay_keeps_the_room_for_the_other() {
    let (mut one, mut other) = (World::new(), World::new());
    let ids = (one.arrival(Kind::Relay), other.arrival(Kind::Relay));
    let members = (one.member(), other.member());
    let tell = |from: Vec<Action>, to: &mut World, relay| {
        for action in from {
            match action {
                Action::Follow(topic) => to.rooms.handle_subscribed(relay, topic, to.now),
                Action::Leave(topic) => to.rooms.handle_unsubscribed(relay, &topic, to.now),
            }
        }
    };
    let follow = one.joins(members.0, &room(1));
    assert_eq!(follow, [Action::Follow(room(1))]);
    tell(follow, &mut other, ids.1);
    let follow = other.joins(members.1, &room(1));
    assert_eq!(follow, [Action::Follow(room(1))]);
    tell(follow, &mut one, ids.0);

    one.leaves(members.0, &room(1));
    other.leaves(members.1, &room(1));
    for _ in 0..3 {
        let left = one.passes(LINGER);
        tell(left, &mut other, ids.1);
        let left = other.passes(LINGER);
        tell(left, &mut one, ids.0);
    }
    for world in [one, other] {
        assert!(world.rooms.followed.is_empty() && world.rooms.rooms.is_empty());
    }
}

#[test]
fn when_a_member_turns_out_to_be_a_relay_it_no_longer_counts() {
    let mut world = World::new();
    let (a, b) = (world.member(), world.member());
    world.joins(b, &room(1));
    world.joins(a, &room(2));
    assert_eq!(world.joins(b, &room(2)), [Action::Follow(room(2))]);
    world.rooms.handle_identified(b, Kind::Relay, world.now);
    world.leaves(a, &room(2));
    assert_eq!(world.passes(LINGER), [Action::Leave(room(2))]);
    assert!(world.rooms.followed.is_empty());
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
