use rand::SeedableRng;

use super::*;

const WEBSOCKET: &str = "/ip4/203.0.113.7/tcp/8080/ws";

/// Two ids, the lower one first.
fn ids() -> (PeerId, PeerId) {
    let mut ids = [PeerId::random(), PeerId::random()];
    ids.sort_by_key(|id| id.to_bytes());
    let [lower, higher] = ids;
    (lower, higher)
}

struct World {
    neighbours: Neighbours,
    now: Now,
}

impl World {
    fn new(local: PeerId, named: &[String]) -> Self {
        Self::with(local, named, Dialling::Here)
    }

    fn with(local: PeerId, named: &[String], dialling: Dialling) -> Self {
        let named: Vec<RelayAddress> = named.iter().map(|address| address.parse().unwrap()).collect();
        let mut world = Self {
            neighbours: Neighbours::new(local, &named, Scope::Public, dialling, SmallRng::seed_from_u64(7)),
            now: Now::default(),
        };
        world.neighbours.handle_timeout(world.now);
        world
    }

    fn passes(&mut self, time: Duration) -> Vec<Action> {
        self.now = self.now.after(time);
        self.neighbours.handle_timeout(self.now);
        self.actions()
    }

    /// Until something is due, and what comes of it.
    fn waits(&mut self) -> (Duration, Vec<Action>) {
        let wait = self.neighbours.poll_timeout().unwrap().saturating_sub(self.now.mono);
        (wait, self.passes(wait))
    }

    fn actions(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.neighbours.poll_action()).collect()
    }

    fn dialled(&mut self, relay: usize, peer: PeerId) -> Vec<Action> {
        self.neighbours.handle_dialled(Number(relay), peer);
        self.neighbours.handle_connected(peer, Role::Dialer, self.now);
        self.actions()
    }

    fn dials_us(&mut self, peer: PeerId) -> Vec<Action> {
        self.neighbours.handle_connected(peer, Role::Listener, self.now);
        self.actions()
    }

    fn disconnects(&mut self, peer: PeerId) -> Vec<Action> {
        self.neighbours.handle_disconnected(peer, self.now);
        self.actions()
    }

    fn says(&mut self, peer: PeerId, kind: Kind, addresses: &[&str]) -> Vec<Action> {
        let addresses: Vec<Multiaddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
        self.neighbours.handle_identified(peer, kind, &addresses, self.now);
        self.actions()
    }

    fn fails(&mut self, relay: usize, address: &str, reason: RelayFailure) -> Vec<Action> {
        let address = address.parse().unwrap();
        self.neighbours
            .handle_dial_failed(Number(relay), &address, reason, self.now);
        self.actions()
    }

    fn states(&self) -> Vec<NeighbourState> {
        let statuses = self.neighbours.statuses().into_iter();
        statuses.map(|status| status.state).collect()
    }
}

fn address(last: u8) -> String {
    format!("/ip4/203.0.113.{last}/tcp/4001")
}

fn dial(relay: usize, peer: Option<PeerId>, address: &str) -> Action {
    Action::Dial {
        relay: Number(relay),
        peer,
        address: address.parse().unwrap(),
    }
}

fn welcome(peer: PeerId) -> Action {
    Action::Welcome { peer }
}

fn unreachable() -> RelayFailure {
    RelayFailure::Unreachable("Connection refused".to_owned())
}

#[test]
fn when_a_relay_answers_its_id_is_learnt_and_pages_are_told_once_it_says_what_it_is() {
    let relay = PeerId::random();
    let mut world = World::new(PeerId::random(), &[address(1)]);
    assert_eq!(world.actions(), [dial(1, None, &address(1))]);
    assert_eq!(world.states(), [NeighbourState::Connecting]);
    assert_eq!(world.dialled(1, relay), [welcome(relay)]);
    assert_eq!(world.states(), [NeighbourState::Connected]);
    assert_eq!(world.neighbours.poll_timeout(), None);

    let publish = Action::Publish(vec![Published {
        peer: relay,
        addresses: vec![format!("{WEBSOCKET}/p2p/{relay}").parse().unwrap()],
    }]);
    let asks = Action::AskWhoIsThere { peer: relay };
    assert_eq!(world.says(relay, Kind::Relay, &[WEBSOCKET]), [asks, publish]);
    assert_eq!(world.states(), [NeighbourState::Joined]);
    assert_eq!(world.says(relay, Kind::Relay, &[WEBSOCKET]), [], "nothing new");
    assert_eq!(
        world.says(PeerId::random(), Kind::Relay, &[WEBSOCKET]),
        [],
        "a stranger"
    );
    assert_eq!(world.disconnects(relay), [Action::Publish(Vec::new())]);
    assert_eq!(world.states(), [NeighbourState::Failed(RelayFailure::Disconnected)]);
}

#[test]
fn when_one_of_several_cannot_be_reached_its_cause_is_told_and_the_others_are_one_network() {
    let (good, expected) = (PeerId::random(), PeerId::random());
    let named = [address(1), address(2), format!("{}/p2p/{expected}", address(3))];
    let mut world = World::new(PeerId::random(), &named);
    assert_eq!(
        world.actions(),
        [
            welcome(expected),
            dial(1, None, &address(1)),
            dial(2, None, &address(2)),
            dial(3, Some(expected), &address(3))
        ]
    );
    world.fails(1, &address(1), unreachable());
    world.fails(3, &address(3), RelayFailure::WrongPeer);
    world.dialled(2, good);
    world.says(good, Kind::Relay, &[WEBSOCKET]);
    let failed = |reason| NeighbourState::Failed(reason);
    let states = [
        failed(unreachable()),
        NeighbourState::Joined,
        failed(RelayFailure::WrongPeer),
    ];
    assert_eq!(world.states(), states);
    world.passes(Duration::from_secs(60 * 60));
    assert_eq!(world.states(), states);
}

#[test]
fn when_nothing_answers_the_next_address_is_tried_and_the_cause_is_known_within_seconds() {
    let relay = PeerId::random();
    let named = [1, 2].map(|last| format!("{}/p2p/{relay}", address(last)));
    let mut world = World::new(PeerId::random(), &named);
    assert_eq!(world.actions(), [welcome(relay), dial(1, Some(relay), &address(1))]);
    assert_eq!(world.waits(), (PATIENCE, vec![dial(1, Some(relay), &address(2))]));
    assert_eq!(world.fails(1, &address(1), unreachable()), [], "that one is over");
    assert_eq!(world.passes(PATIENCE), []);
    assert_eq!(world.states(), [NeighbourState::Failed(RelayFailure::TimedOut)]);

    let (_, again) = world.waits();
    assert_eq!(again, [dial(1, Some(relay), &address(1))]);
    assert_eq!(
        world.fails(1, &address(1), unreachable()),
        [dial(1, Some(relay), &address(2))]
    );
    world.passes(PATIENCE);
    assert_eq!(
        world.states(),
        [NeighbourState::Failed(unreachable())],
        "silence says least"
    );
}

#[test]
fn when_a_relay_cannot_be_reached_it_is_tried_ever_more_rarely_until_it_is_back() {
    let relay = PeerId::random();
    let mut world = World::new(PeerId::random(), &[address(1)]);
    let mut waits = Vec::new();
    for _ in 0..12 {
        world.fails(1, &address(1), unreachable());
        waits.push(world.waits().0);
    }
    assert!(waits[0] <= RETRY.first && waits[1] <= RETRY.first * 2, "{waits:?}");
    assert!(waits[11] >= RETRY.max / 2 && waits[11] <= RETRY.max, "{waits:?}");

    world.dialled(1, relay);
    world.says(relay, Kind::Relay, &[WEBSOCKET]);
    world.disconnects(relay);
    assert!(world.waits().0 > RETRY.first, "it was no good connection");
    world.dialled(1, relay);
    world.says(relay, Kind::Relay, &[WEBSOCKET]);
    world.passes(GOOD);
    world.disconnects(relay);
    assert!(world.waits().0 <= RETRY.first);
}

#[test]
fn when_somebody_else_is_there_it_is_not_asked_often_unless_another_address_just_does_not_answer() {
    let relay = PeerId::random();
    let named = [1, 2].map(|last| format!("{}/p2p/{relay}", address(last)));
    let mut world = World::new(PeerId::random(), &named);
    world.fails(1, &address(1), RelayFailure::WrongPeer);
    world.fails(1, &address(2), RelayFailure::WrongPeer);
    assert!(world.waits().0 >= RETRY_AFTER_REFUSAL.first / 2);
    world.fails(1, &address(1), RelayFailure::WrongPeer);
    world.fails(1, &address(2), unreachable());
    assert!(world.waits().0 <= RETRY.first);
}

#[test]
fn when_the_other_one_dials_that_connection_is_enough() {
    let (lower, higher) = ids();
    let mut world = World::new(higher, &[format!("{}/p2p/{lower}", address(1))]);
    world.actions();
    world.dials_us(lower);
    world.fails(1, &address(1), unreachable());
    assert_eq!(world.states(), [NeighbourState::Connected]);
    assert_eq!(world.neighbours.poll_timeout(), None);

    world.disconnects(lower);
    let (wait, dials) = world.waits();
    assert!(wait >= YIELD, "the lower one dials");
    assert_eq!(dials, [dial(1, Some(lower), &address(1))]);
    world.dials_us(lower);
    world.disconnects(lower);
    world.dials_us(lower);
    assert_eq!(world.passes(YIELD * 10), [], "it did");
}

#[test]
fn when_ours_is_the_lower_id_or_the_other_never_dialled_nobody_waits_for_it() {
    let (lower, higher) = ids();
    let mut world = World::new(lower, &[format!("{}/p2p/{higher}", address(1))]);
    world.dials_us(higher);
    world.disconnects(higher);
    assert!(world.waits().0 <= RETRY.first);

    let mut world = World::new(higher, &[address(1)]);
    world.dialled(1, lower);
    world.disconnects(lower);
    assert!(world.waits().0 <= RETRY.first);
}

#[test]
fn when_the_list_names_this_relay_itself_it_is_left_out() {
    let local = PeerId::random();
    let mut world = World::new(local, &[format!("{}/p2p/{local}", address(1)), address(2)]);
    assert_eq!(world.actions(), [dial(2, None, &address(2))]);
    world.neighbours.handle_is_itself(Number(2), world.now);
    assert_eq!(world.states(), [NeighbourState::Itself, NeighbourState::Itself]);
    assert_eq!(world.passes(Duration::from_secs(3_600)), []);
}

#[test]
fn when_another_relay_answers_at_an_address_it_takes_the_place_of_the_one_before() {
    let (before, after) = (PeerId::random(), PeerId::random());
    let mut world = World::new(PeerId::random(), &[address(1)]);
    world.actions();
    world.dialled(1, before);
    world.disconnects(before);
    world.waits();
    assert_eq!(
        world.dialled(1, after),
        [welcome(after), Action::Dismiss { peer: before }]
    );
    assert!(world.neighbours.is_named(after) && !world.neighbours.is_named(before));
    world.says(before, Kind::Relay, &[WEBSOCKET]);
    assert_eq!(world.states(), [NeighbourState::Connected]);
}

#[test]
fn when_the_peer_is_no_relay_that_is_told_until_it_is_one() {
    let relay = PeerId::random();
    let mut world = World::new(PeerId::random(), &[address(1)]);
    world.actions();
    world.dialled(1, relay);
    assert_eq!(world.says(relay, Kind::Member, &[WEBSOCKET]), []);
    assert_eq!(world.states(), [NeighbourState::Failed(RelayFailure::NotARelay)]);
    assert_eq!(
        world.says(relay, Kind::Relay, &[]),
        [Action::AskWhoIsThere { peer: relay }]
    );
    assert_eq!(world.states(), [NeighbourState::Joined]);
}

#[test]
fn when_two_addresses_are_of_one_relay_pages_are_told_of_it_once() {
    let relay = PeerId::random();
    let mut world = World::new(PeerId::random(), &[address(1), address(2)]);
    world.actions();
    world.dialled(1, relay);
    world.dialled(2, relay);
    let told = world.says(relay, Kind::Relay, &[WEBSOCKET]);
    let [Action::AskWhoIsThere { .. }, Action::Publish(relays)] = told.as_slice() else {
        panic!("{told:?}");
    };
    assert_eq!(relays.len(), 1);
    assert_eq!(world.states(), [NeighbourState::Joined, NeighbourState::Joined]);
}

#[test]
fn when_it_is_a_client_whoever_keeps_the_slots_dials_and_every_cause_is_told() {
    let (relay, local) = (PeerId::random(), PeerId::random());
    let named = [format!("{}/p2p/{local}", address(9)), address(1)];
    let mut world = World::with(local, &named, Dialling::Elsewhere);
    assert_eq!(world.actions(), []);
    assert_eq!(world.neighbours.poll_timeout(), None);
    let wanted: Vec<_> = world.neighbours.specs().collect();
    assert_eq!(wanted.len(), 1, "none on itself");
    let slots = |world: &World| world.neighbours.statuses().pop().map(|status| status.slot);
    assert_eq!(slots(&world), Some(SlotState::Awaited));

    world.neighbours.handle_slot_lost(Number(2), unreachable(), world.now);
    assert_eq!(slots(&world), Some(SlotState::Failed(unreachable())));
    assert_eq!(world.states()[1], NeighbourState::Failed(unreachable()));

    world.neighbours.handle_dialled_at(&address(1).parse().unwrap(), relay);
    world.neighbours.handle_connected(relay, Role::Dialer, world.now);
    assert_eq!(world.actions(), [welcome(relay)]);
    world.says(relay, Kind::Relay, &[]);
    let full = RelayFailure::Refused("full".to_owned());
    world.neighbours.handle_slot_lost(Number(2), full.clone(), world.now);
    assert_eq!(world.states()[1], NeighbourState::Joined, "one network, but no slot");
    assert_eq!(slots(&world), Some(SlotState::Failed(full)));
    world.neighbours.handle_slot(Number(2));
    assert!(world.neighbours.has_slot());
    assert_eq!(slots(&world), Some(SlotState::Held));

    world.disconnects(relay);
    assert_eq!(world.passes(Duration::from_secs(600)), []);
    world
        .neighbours
        .handle_slot_lost(Number(2), RelayFailure::Disconnected, world.now);
    assert!(!world.neighbours.has_slot());
}

#[test]
fn when_a_relay_is_named_later_it_is_dialled_at_once_and_there_is_an_end_to_it() {
    let relay = PeerId::random();
    let mut world = World::new(PeerId::random(), &[address(1)]);
    world.actions();
    let names = |world: &mut World, text: String| {
        let named = world.neighbours.handle_named(&text.parse().unwrap(), false, world.now);
        named.map(|(number, _)| (number, world.actions()))
    };
    let of_relay = format!("{}/p2p/{relay}", address(2));
    let dials = vec![welcome(relay), dial(2, Some(relay), &address(2))];
    assert_eq!(names(&mut world, of_relay), Ok((Number(2), dials)));
    assert_eq!(
        names(&mut world, format!("{}/p2p/{relay}", address(3))),
        Ok((Number(2), Vec::new()))
    );
    assert_eq!(
        names(&mut world, address(1)),
        Ok((Number(1), Vec::new())),
        "that one is known"
    );
    for last in 4..16 {
        assert!(names(&mut world, address(last)).is_ok(), "{last}");
    }
    assert_eq!(names(&mut world, address(16)), Err(NameRelayError::TooMany));
}

#[test]
fn when_a_relay_is_named_that_is_connected_already_it_is_not_dialled_and_joins_when_it_is_known_to_be_one() {
    let relay = PeerId::random();
    let mut world = World::new(PeerId::random(), &[]);
    let named = format!("{}/p2p/{relay}", address(1)).parse().unwrap();
    let (number, _) = world.neighbours.handle_named(&named, true, world.now).unwrap();
    assert_eq!(number, Number(1));
    assert_eq!(world.actions(), [welcome(relay)]);
    assert_eq!(world.states(), [NeighbourState::Connected]);
    let did = world.says(relay, Kind::Relay, &[WEBSOCKET]);
    assert!(did.contains(&Action::AskWhoIsThere { peer: relay }), "{did:?}");
    assert_eq!(world.states(), [NeighbourState::Joined]);
}
