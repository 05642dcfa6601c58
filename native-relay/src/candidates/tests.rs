use peerway_core::dial::route::Scope;
use rand::{Rng, SeedableRng};

use super::{addresses::MAX_ADDRESSES, *};

struct World {
    candidates: Candidates,
    now: Now,
}

/// What a peer at this address announces.
fn own(ip: &str) -> [String; 2] {
    [format!("/ip4/{ip}/tcp/4001"), format!("/ip4/{ip}/udp/4001/quic-v1")]
}

fn multiaddrs(addresses: &[impl AsRef<str>]) -> Vec<Multiaddr> {
    addresses
        .iter()
        .map(|address| address.as_ref().parse().unwrap())
        .collect()
}

fn refused() -> RelayFailure {
    RelayFailure::Refused("it is full".to_owned())
}

fn give_up(peer: PeerId) -> Action {
    Action::GiveUp { peer }
}

impl World {
    fn new(room: usize) -> Self {
        Self::near(Scope::Private, room)
    }

    fn near(nearest: Scope, room: usize) -> Self {
        let here = Here {
            nearest,
            shared: vec!["10.9.0.0/16".parse().unwrap()],
            own: vec!["192.0.2.1".parse().unwrap()],
        };
        Self {
            candidates: Candidates::new(here, room, SmallRng::seed_from_u64(7)),
            now: Now::default(),
        }
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.candidates.poll_action()).collect()
    }

    fn passes(&mut self, time: Duration) -> Vec<Action> {
        self.now = self.now.after(time);
        self.candidates.handle_timeout(self.now);
        self.actions()
    }

    /// Until something is due, and what comes of it.
    fn waits(&mut self) -> (Duration, Vec<Action>) {
        let wait = self.candidates.poll_timeout().unwrap().saturating_sub(self.now.mono);
        (wait, self.passes(wait))
    }

    fn says(&mut self, peer: PeerId, kind: Kind, addresses: &[impl AsRef<str>]) -> Vec<Action> {
        let addresses = multiaddrs(addresses);
        self.candidates.handle_identified(peer, kind, &addresses, self.now);
        self.actions()
    }

    /// A relay comes from this address and says so.
    fn comes(&mut self, peer: PeerId, ip: &str) -> Vec<Action> {
        self.candidates.handle_connected(peer, ip.parse().unwrap());
        self.says(peer, Kind::Relay, &own(ip))
    }

    fn gets_slot(&mut self, peer: PeerId) {
        self.candidates.handle_slot(peer, self.now);
    }

    fn loses(&mut self, peer: PeerId, reason: RelayFailure) -> Vec<Action> {
        self.candidates.handle_slot_lost(peer, reason, self.now);
        self.actions()
    }

    fn slots(&self) -> Vec<(PeerId, SlotState)> {
        let statuses = self.candidates.statuses().into_iter();
        statuses.map(|status| (status.peer, status.slot)).collect()
    }
}

fn ask(peer: PeerId, addresses: &[impl AsRef<str>]) -> Action {
    Action::Ask {
        peer,
        addresses: multiaddrs(addresses),
    }
}

#[test]
fn when_a_peer_says_that_it_is_a_relay_it_is_asked_for_a_slot_where_it_came_from() {
    let (relay, member) = (PeerId::random(), PeerId::random());
    let mut world = World::new(1);
    world.candidates.handle_connected(member, "10.0.0.6".parse().unwrap());
    assert_eq!(world.says(member, Kind::Member, &own("10.0.0.6")), []);
    assert_eq!(world.comes(relay, "10.0.0.7"), [ask(relay, &own("10.0.0.7"))]);
    assert_eq!(world.slots(), [(relay, SlotState::Awaited)]);
    assert!(!world.candidates.has_slot());
    world.gets_slot(relay);
    assert_eq!(world.slots(), [(relay, SlotState::Held)]);
    assert!(world.candidates.has_slot());
    assert_eq!(world.candidates.poll_timeout(), None);
}

#[test]
fn an_address_is_tried_if_it_is_of_the_host_that_the_peer_came_from_or_public_and_reaches_far_enough() {
    let peer = PeerId::random();
    let tried = |nearest, from: &str, addresses: &[&str]| {
        let mut world = World::near(nearest, 1);
        world.candidates.handle_connected(peer, from.parse().unwrap());
        match world.says(peer, Kind::Relay, addresses).pop() {
            Some(Action::Ask { addresses, .. }) => addresses.iter().map(Multiaddr::to_string).collect(),
            Some(Action::GiveUp { .. }) | None => Vec::new(),
        }
    };
    let other = PeerId::random();
    let circuit = format!("/ip4/192.0.2.7/tcp/4001/p2p/{other}/p2p-circuit");
    let of_other = format!("/ip4/192.0.2.7/tcp/4002/p2p/{other}");
    let said = [
        "/ip4/10.0.0.8/tcp/4001",
        "/ip4/127.0.0.1/tcp/4001",
        "/ip4/169.254.169.254/tcp/80",
        "/dns4/relay.example/tcp/443/tls/ws",
        &circuit,
        &of_other,
        // Who connects there sends what the path says.
        "/ip4/192.0.2.7/tcp/80/x-parity-ws/%2Fadmin",
        "/ip4/192.0.2.7/tcp/80/x-parity-ws/%2F%20HTTP%2F1.1%0D%0A%0D%0APOST%20%2F",
        "/ip4/192.0.2.7/tcp/443/tls/ws",
        // Our own.
        "/ip4/192.0.2.1/tcp/22",
        "/ip4/192.0.2.7/udp/4001/quic-v1",
        "/ip4/10.0.0.7/tcp/8080/ws",
    ];
    // Its own host first: who is there is known to be reached.
    let both = ["/ip4/10.0.0.7/tcp/8080/ws", "/ip4/192.0.2.7/udp/4001/quic-v1"];
    assert_eq!(tried(Scope::Private, "10.0.0.7", &said), both);
    assert_eq!(tried(Scope::Private, "::ffff:10.0.0.7", &said), both);
    assert_eq!(tried(Scope::Public, "10.0.0.7", &said), both[1..]);
    assert_eq!(tried(Scope::Loopback, "127.0.0.1", &said), [said[1], both[1]]);
    assert_eq!(tried(Scope::Private, "10.0.0.9", &said), both[1..]);
    // Many come from there, and who of them is at its ports nobody knows.
    assert_eq!(
        tried(Scope::Loopback, "10.9.0.1", &["/ip4/10.9.0.1/tcp/22", both[1]]),
        both[1..]
    );
    let many: Vec<String> = (1..100).map(|port| format!("/ip4/192.0.2.7/tcp/{port}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert_eq!(tried(Scope::Public, "192.0.2.7", &many).len(), MAX_ADDRESSES);
}

#[test]
fn there_are_as_many_slots_as_there_is_room_and_whoever_came_first_is_next() {
    let peers: [PeerId; 4] = std::array::from_fn(|_| PeerId::random());
    let ip = |at: usize| format!("10.0.0.{at}");
    let mut world = World::new(2);
    assert_eq!(world.comes(peers[0], &ip(0)), [ask(peers[0], &own(&ip(0)))]);
    for (at, peer) in peers.iter().enumerate().skip(1) {
        // One try a second.
        assert_eq!(world.comes(*peer, &ip(at)), []);
        world.now = world.now.after(Duration::from_millis(1));
    }
    let (_, actions) = world.waits();
    assert_eq!(actions, [ask(peers[1], &own(&ip(1)))]);
    world.gets_slot(peers[0]);
    world.gets_slot(peers[1]);
    assert_eq!(world.passes(Duration::from_secs(3_600)), []);
    assert_eq!(
        world.loses(peers[0], refused()),
        [give_up(peers[0]), ask(peers[2], &own(&ip(2)))]
    );
    let slots: BTreeMap<PeerId, SlotState> = world.slots().into_iter().collect();
    assert_eq!(slots[&peers[0]], SlotState::Failed(refused()));
    assert_eq!(slots[&peers[1]], SlotState::Held);
    assert_eq!(slots[&peers[2]], SlotState::Awaited);
    assert!(!slots.contains_key(&peers[3]));
}

#[test]
fn when_a_relay_gives_no_slot_it_is_let_go_and_tried_again_later_and_later_while_it_is_there() {
    let relay = PeerId::random();
    let mut world = World::new(1);
    world.comes(relay, "10.0.0.7");
    let mut waits = Vec::new();
    for _ in 0..8 {
        assert_eq!(world.loses(relay, refused()), [give_up(relay)]);
        // It comes back at once, because it named us; that hurries nothing.
        world.candidates.handle_disconnected(relay);
        assert_eq!(world.comes(relay, "10.0.0.7"), []);
        let (wait, actions) = world.waits();
        assert_eq!(actions, [ask(relay, &own("10.0.0.7"))]);
        waits.push(wait);
    }
    assert!(waits[0] >= RETRY.first / 2, "{waits:?}");
    assert!(waits[7] > waits[0] * 8 && waits[7] <= RETRY.max * 2, "{waits:?}");

    // One that is gone is forgotten.
    world.loses(relay, refused());
    world.candidates.handle_disconnected(relay);
    let (_, actions) = world.waits();
    assert_eq!((actions, world.slots()), (vec![], vec![]));
}

#[test]
fn when_nothing_comes_of_a_try_in_time_it_is_the_next_ones_turn() {
    let (silent, gone, next) = (PeerId::random(), PeerId::random(), PeerId::random());
    let mut world = World::new(1);
    world.comes(silent, "10.0.0.7");
    world.comes(gone, "10.0.0.8");
    world.now = world.now.after(PACE);
    world.comes(next, "10.0.0.9");
    // A connection that breaks while it is asked says nothing: it is tried again within the time.
    assert_eq!(world.loses(silent, RelayFailure::Disconnected), []);
    let (wait, actions) = world.waits();
    assert_eq!(wait + PACE, PATIENCE);
    assert_eq!(actions, [give_up(silent), ask(gone, &own("10.0.0.8"))]);
    // Who says where it is, and is not, is let go at once.
    let unreachable = RelayFailure::Unreachable("Connection refused".to_owned());
    assert_eq!(world.loses(gone, unreachable), [give_up(gone)]);
    let (wait, actions) = world.waits();
    assert_eq!((wait, actions), (PACE, vec![ask(next, &own("10.0.0.9"))]));
}

#[test]
fn when_a_slot_is_lost_it_may_come_back_for_a_while() {
    let relay = PeerId::random();
    let mut world = World::new(1);
    world.comes(relay, "10.0.0.7");
    world.gets_slot(relay);
    world.passes(GOOD);
    world.candidates.handle_disconnected(relay);
    assert_eq!(world.loses(relay, RelayFailure::Disconnected), []);
    assert_eq!(world.slots(), [(relay, SlotState::Failed(RelayFailure::Disconnected))]);
    assert!(!world.candidates.has_slot());
    world.passes(PATIENCE / 2);
    world.gets_slot(relay);
    assert_eq!(world.slots(), [(relay, SlotState::Held)]);
    world.passes(GOOD);
    world.loses(relay, RelayFailure::Disconnected);
    // Nothing answers there now; the time is the same.
    let unreachable = RelayFailure::Unreachable("Connection refused".to_owned());
    assert_eq!(world.loses(relay, unreachable.clone()), []);
    let (wait, actions) = world.waits();
    assert_eq!((wait, actions), (PATIENCE, vec![give_up(relay)]));
    assert_eq!(world.slots(), [(relay, SlotState::Failed(unreachable))]);
}

#[test]
fn when_a_relay_gives_slots_and_takes_them_back_it_is_let_go_like_one_that_gives_none() {
    let relay = PeerId::random();
    let mut world = World::new(1);
    world.comes(relay, "10.0.0.7");
    let mut waits = Vec::new();
    for _ in 0..6 {
        let began = world.now.mono;
        let let_go = loop {
            world.gets_slot(relay);
            world.passes(Duration::from_secs(7));
            let actions = world.loses(relay, RelayFailure::Disconnected);
            if !actions.is_empty() {
                break actions;
            }
        };
        assert_eq!(let_go, [give_up(relay)]);
        assert!(world.now.mono - began <= PATIENCE + Duration::from_secs(7));
        let (wait, actions) = world.waits();
        assert_eq!(actions, [ask(relay, &own("10.0.0.7"))]);
        waits.push(wait);
    }
    assert!(waits[5] > waits[0] * 8, "{waits:?}");
}

#[test]
fn when_a_relay_says_something_else_that_counts_at_its_next_try() {
    let (moves, leaves) = (PeerId::random(), PeerId::random());
    let mut world = World::new(2);
    world.comes(moves, "10.0.0.7");
    world.passes(PACE);
    world.comes(leaves, "10.0.0.8");
    let elsewhere = ["/ip4/10.0.0.7/tcp/4002"];
    assert_eq!(world.says(moves, Kind::Relay, &elsewhere), []);
    assert_eq!(world.says(leaves, Kind::Member, &own("10.0.0.8")), []);
    world.loses(moves, refused());
    world.loses(leaves, refused());
    let mut asked = Vec::new();
    while !world.slots().is_empty() && asked.is_empty() {
        asked = world.waits().1;
    }
    assert_eq!(asked, [ask(moves, &elsewhere)]);
    world.gets_slot(moves);
    world.passes(RETRY.max * 2);
    assert_eq!(world.slots(), [(moves, SlotState::Held)]);
}

#[test]
fn when_an_address_is_named_that_somebody_said_before_it_is_not_tried_after_all() {
    let relay = PeerId::random();
    let mut world = World::new(1);
    world.comes(relay, "10.0.0.7");
    let [tcp, quic] = own("10.0.0.7");
    let another = "/ip4/10.0.0.7/tcp/4002".to_owned();
    world.says(relay, Kind::Relay, &[&tcp, &another]);
    world.loses(relay, refused());
    world.candidates.handle_named(None, &multiaddrs(&[&another]));
    assert_eq!(world.actions(), []);
    let (_, actions) = world.waits();
    assert_eq!(actions, [ask(relay, &[tcp])], "and no more at {quic}");
}

#[test]
fn when_the_operator_denies_a_relay_its_slot_is_given_up() {
    let (relay, other) = (PeerId::random(), PeerId::random());
    let mut world = World::new(1);
    world.comes(relay, "10.0.0.7");
    world.gets_slot(relay);
    assert_eq!(world.candidates.taken().collect::<Vec<_>>(), [relay]);
    world.candidates.handle_denied(other);
    assert_eq!(world.actions(), []);
    world.candidates.handle_denied(relay);
    assert_eq!((world.actions(), world.slots()), (vec![give_up(relay)], vec![]));
}

#[test]
fn when_the_operator_names_a_relay_it_is_no_candidate_any_more() {
    let (by_id, by_address, answers, other) = (PeerId::random(), PeerId::random(), PeerId::random(), PeerId::random());
    let mut world = World::new(4);
    for (peer, ip) in [
        (by_id, "10.0.0.1"),
        (by_address, "10.0.0.2"),
        (answers, "10.0.0.3"),
        (other, "10.0.0.4"),
    ] {
        world.comes(peer, ip);
        world.passes(PACE);
    }
    world
        .candidates
        .handle_named(Some(by_id), &multiaddrs(&["/ip4/192.0.2.1/tcp/1"]));
    assert_eq!(world.actions(), [give_up(by_id)]);
    let [tcp, quic] = own("10.0.0.2");
    world.candidates.handle_named(None, &multiaddrs(&[&tcp]));
    assert_eq!(world.actions(), [give_up(by_address)]);
    world.candidates.handle_answers(answers);
    assert_eq!(world.actions(), []);
    assert_eq!(world.slots(), [(other, SlotState::Awaited)]);
    // What it says meanwhile is not asked after either.
    world.says(other, Kind::Relay, &own("10.0.0.4"));
    let [named, _] = own("10.0.0.4");
    world.candidates.handle_named(None, &multiaddrs(&[&named]));
    assert_eq!(world.actions(), [give_up(other)]);
    // Whoever answers at that address is the operator's relay; a stranger who claims it is not asked there.
    assert_eq!(world.comes(by_address, "10.0.0.2"), [ask(by_address, &[quic])]);
}

#[test]
fn when_there_is_less_room_those_without_a_slot_go_first() {
    let (asked, held) = (PeerId::random(), PeerId::random());
    let mut world = World::new(2);
    world.comes(held, "10.0.0.1");
    world.gets_slot(held);
    world.passes(PACE);
    world.comes(asked, "10.0.0.2");
    world.candidates.handle_room(1, world.now);
    assert_eq!(world.actions(), [give_up(asked)]);
    assert_eq!(world.slots(), [(held, SlotState::Held)]);
    world.candidates.handle_room(0, world.now);
    assert_eq!(world.actions(), [give_up(held)]);
    assert_eq!(world.slots(), []);
    assert_eq!(world.passes(Duration::from_secs(3_600)), []);
}

#[test]
fn when_many_say_that_they_are_relays_few_are_remembered_and_nobody_takes_all_places() {
    let mut world = World::new(1);
    for _ in 0..100 {
        world.comes(PeerId::random(), "10.0.0.1");
    }
    assert_eq!(world.candidates.candidates.len(), MAX_FROM_ONE_SOURCE);
    for at in 0..100 {
        world.comes(PeerId::random(), &format!("10.0.1.{at}"));
    }
    assert_eq!(world.candidates.candidates.len(), MAX_CANDIDATES);
    // Those that gave no slot make room for somebody new, although they are there.
    let bad = *world.candidates.taken().collect::<Vec<_>>().first().unwrap();
    world.loses(bad, refused());
    let new = PeerId::random();
    world.comes(new, "10.0.2.1");
    assert!(world.candidates.candidates.contains_key(&new) && !world.candidates.candidates.contains_key(&bad));
    assert_eq!(world.candidates.candidates.len(), MAX_CANDIDATES);
    // A server has no room, and remembers nothing.
    let mut server = World::new(0);
    assert_eq!(server.comes(PeerId::random(), "10.0.0.1"), []);
    assert!(server.candidates.connected.is_empty() && server.candidates.candidates.is_empty());
}

/// Whatever happens in whatever order: never more slots and tries than there is room for, every try is of somebody who was
/// let go or never tried, and no more than one begins in a second.
#[test]
fn whatever_happens_the_room_is_kept() {
    for seed in 0..200 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let peers: Vec<PeerId> = (0..12).map(|_| PeerId::random()).collect();
        let mut world = World::new(3);
        let mut room = 3;
        let mut kept: Vec<PeerId> = Vec::new();
        let mut began: Option<Duration> = None;
        for _ in 0..300 {
            let peer = peers[rng.random_range(0..peers.len())];
            let actions = match rng.random_range(0..12) {
                0 | 1 => world.comes(peer, &format!("10.0.0.{}", peer.to_bytes()[10] % 4)),
                2 => {
                    world.candidates.handle_disconnected(peer);
                    world.actions()
                }
                3 => {
                    world.gets_slot(peer);
                    world.actions()
                }
                4 => world.loses(peer, RelayFailure::Disconnected),
                5 => world.loses(peer, refused()),
                6 => {
                    room = rng.random_range(0..=3);
                    world.candidates.handle_room(room, world.now);
                    world.actions()
                }
                7 => world.says(peer, Kind::Member, &own("10.0.0.1")),
                8 => {
                    world.candidates.handle_named(rng.random_bool(0.5).then_some(peer), &[]);
                    world.actions()
                }
                9 => {
                    // Its slot is kept by somebody else.
                    world.candidates.handle_answers(peer);
                    kept.retain(|other| *other != peer);
                    world.actions()
                }
                10 => {
                    world.candidates.handle_denied(peer);
                    world.actions()
                }
                _ => world.passes(Duration::from_millis(rng.random_range(0..20_000))),
            };
            for action in actions {
                match action {
                    Action::Ask { peer, addresses } => {
                        assert!(!kept.contains(&peer) && !addresses.is_empty(), "seed {seed}");
                        assert!(
                            began.is_none_or(|began| world.now.mono.saturating_sub(began) >= PACE),
                            "seed {seed}"
                        );
                        began = Some(world.now.mono);
                        kept.push(peer);
                    }
                    Action::GiveUp { peer } => {
                        assert!(kept.contains(&peer), "seed {seed}");
                        kept.retain(|other| *other != peer);
                    }
                }
            }
            assert!(kept.len() <= room, "seed {seed}: {} of {room}", kept.len());
            assert_eq!(world.candidates.taking(), kept.len(), "seed {seed}");
            world.candidates.handle_timeout(world.now);
            kept.extend(world.actions().into_iter().map(|action| match action {
                Action::Ask { peer, .. } => {
                    began = Some(world.now.mono);
                    peer
                }
                Action::GiveUp { peer } => panic!("seed {seed}: {peer} is given up although nothing happened"),
            }));
            let next = world.candidates.poll_timeout();
            assert!(
                next.is_none_or(|next| next > world.now.mono),
                "seed {seed}: it never sleeps"
            );
        }
    }
}
