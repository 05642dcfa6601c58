//! Documents, slots and time in; moves out.

use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

const LOOPBACK: &str = "127.0.0.1";
const PRIVATE: &str = "192.168.1.7";
const PUBLIC: &str = "203.0.113.7";

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// A page and the document of its relay.
struct World {
    page: SecondSlot,
    home: PeerId,
    reach: Reach,
    others: Vec<RelaySpec>,
    held: BTreeSet<PeerId>,
    now: Now,
}

impl World {
    /// Others with an address at each of these hosts: the first is the nearest by its id, and so on.
    fn new(reach: Reach, hosts: &[&str]) -> Self {
        let local = PeerId::random();
        let mut others: Vec<RelaySpec> = hosts.iter().map(|_| relay(PeerId::random(), PUBLIC)).collect();
        others.sort_by_key(|spec| Listed::new(spec).unwrap().distance(local));
        for (spec, host) in others.iter_mut().zip(hosts) {
            *spec = relay(spec.peer.unwrap(), host);
        }
        Self {
            page: SecondSlot::new(local),
            home: PeerId::random(),
            reach,
            others,
            held: BTreeSet::new(),
            now: Now::default(),
        }
    }

    fn id(&self, other: usize) -> PeerId {
        self.others[other].peer.unwrap()
    }

    fn take(&self, other: usize) -> Action {
        Action::Take(self.others[other].clone())
    }

    fn leave(&self, other: usize) -> Action {
        Action::Leave(self.id(other))
    }

    fn did(&mut self) -> Vec<Action> {
        std::iter::from_fn(|| self.page.poll_action()).collect()
    }

    /// The document lists these of them.
    fn reads(&mut self, listed: &[usize]) -> Vec<Action> {
        let others: Vec<RelaySpec> = listed.iter().map(|other| self.others[*other].clone()).collect();
        self.page.handle_document(self.home, self.reach, &others, self.now);
        self.did()
    }

    fn gives(&mut self, other: usize) -> Vec<Action> {
        self.held.insert(self.id(other));
        self.page.handle_held(&self.held, self.now);
        self.did()
    }

    fn loses(&mut self, other: usize) -> Vec<Action> {
        let id = self.id(other);
        self.held.remove(&id);
        self.page.handle_held(&self.held, self.now);
        self.did()
    }

    fn pass(&mut self, by: Duration) -> Vec<Action> {
        self.now = self.now.after(by);
        self.page.handle_held(&self.held, self.now);
        assert!(self.page.poll_timeout().is_none_or(|at| at > self.now.mono));
        self.did()
    }
}

fn relay(peer: PeerId, host: &str) -> RelaySpec {
    RelaySpec {
        peer: Some(peer),
        addrs: vec![format!("/ip4/{host}/tcp/8080/ws").parse().unwrap()],
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn pages_spread_over_the_relays_and_each_chooses_the_same_one_again() {
    let others: Vec<RelaySpec> = (0..2).map(|_| relay(PeerId::random(), PUBLIC)).collect();
    let turned: Vec<RelaySpec> = others.iter().rev().cloned().collect();
    let mut chosen = BTreeSet::new();
    for _ in 0..100 {
        let (local, home) = (PeerId::random(), PeerId::random());
        let [one, again] = [&others, &turned].map(|others| {
            let mut page = SecondSlot::new(local);
            page.handle_document(home, Reach::Direct, others, Now::default());
            match page.poll_action() {
                Some(Action::Take(spec)) => spec.peer.unwrap(),
                other => panic!("{other:?}"),
            }
        });
        assert_eq!(one, again);
        chosen.insert(one);
    }
    assert_eq!(chosen.len(), 2, "all pages chose the same one");
}

#[wasm_bindgen_test(unsupported = test)]
fn behind_a_circuit_the_relay_that_reaches_furthest_is_chosen_and_the_nearest_among_equals() {
    for (reach, hosts, chosen) in [
        (Reach::Circuit, [PRIVATE, LOOPBACK, PUBLIC], 2),
        (Reach::Circuit, [LOOPBACK, PRIVATE, LOOPBACK], 1),
        (Reach::Circuit, [LOOPBACK, PUBLIC, PUBLIC], 1),
        (Reach::Circuit, [LOOPBACK, LOOPBACK, LOOPBACK], 0),
        (Reach::Direct, [PRIVATE, LOOPBACK, PUBLIC], 0),
    ] {
        let mut world = World::new(reach, &hosts);
        assert_eq!(world.reads(&[2, 1, 0]), [world.take(chosen)], "{reach:?} {hosts:?}");
    }
    let mut alone = World::new(Reach::Circuit, &[]);
    assert_eq!(alone.reads(&[]), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn where_it_holds_a_slot_it_stays_whoever_is_listed_later() {
    let mut world = World::new(Reach::Direct, &[PUBLIC, PRIVATE]);
    assert_eq!(world.reads(&[1]), [world.take(1)]);
    assert_eq!(world.gives(1), []);
    assert_eq!(world.reads(&[0, 1]), []);
    assert_eq!(world.reads(&[0]), [], "nor if it is listed no more");
    // As far as the one it has is not better.
    world.reach = Reach::Circuit;
    world.others[0] = relay(world.id(0), PRIVATE);
    assert_eq!(world.reads(&[0, 1]), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_its_relay_turns_out_to_be_behind_a_circuit_it_moves_to_one_that_reaches_further() {
    let mut world = World::new(Reach::Direct, &[PRIVATE, PUBLIC]);
    assert_eq!(world.reads(&[0, 1]), [world.take(0)]);
    assert_eq!(world.gives(0), []);
    world.reach = Reach::Circuit;
    assert_eq!(world.reads(&[0, 1]), [world.take(1)]);
    assert_eq!(world.reads(&[0, 1]), [], "it is on its way");
    assert_eq!(world.gives(1), [world.leave(0)], "and only now leaves the other");
    world.reach = Reach::Direct;
    assert_eq!(world.reads(&[0, 1]), [], "there is no reason to go back");
}

#[wasm_bindgen_test(unsupported = test)]
fn while_there_should_be_a_better_relay_the_document_is_read_often_and_otherwise_rarely() {
    let looks_after = |world: &mut World| {
        let begin = world.now.mono;
        loop {
            let at = world.page.poll_timeout().unwrap();
            if world.pass(at - world.now.mono).contains(&Action::LookAgain) {
                return world.now.mono - begin;
            }
        }
    };
    for (reach, host, expected) in [
        (Reach::Direct, None, LOOKS_RARELY),
        (Reach::Circuit, None, LOOKS_EVERY),
        (Reach::Direct, Some(PRIVATE), LOOKS_RARELY),
        (Reach::Circuit, Some(PRIVATE), LOOKS_EVERY),
        (Reach::Circuit, Some(PUBLIC), LOOKS_RARELY),
    ] {
        let mut world = World::new(reach, &host.into_iter().collect::<Vec<_>>());
        let listed: Vec<usize> = host.iter().map(|_| 0).collect();
        world.reads(&listed);
        if host.is_some() {
            world.gives(0);
        }
        assert_eq!(looks_after(&mut world), expected, "{reach:?} {host:?}");
        assert_eq!(looks_after(&mut world), expected, "{reach:?} {host:?}: and again");
        if host.is_some() {
            world.reads(&listed);
            world.loses(0);
            assert_eq!(looks_after(&mut world), LOOKS_EVERY, "{reach:?} {host:?}: it is down");
        }
    }
    let unread = World::new(Reach::Direct, &[]);
    assert_eq!(
        unread.page.poll_timeout(),
        None,
        "links name relays that have no document"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn when_its_second_relay_stays_down_it_moves_to_another_one_and_leaves_that_one_alone() {
    let mut world = World::new(Reach::Direct, &[PUBLIC, PUBLIC]);
    world.reads(&[0, 1]);
    world.gives(0);
    assert_eq!(world.loses(0), []);
    assert_eq!(world.pass(PATIENCE - seconds(1)), []);
    assert_eq!(world.pass(seconds(1)), [world.take(1)]);
    assert_eq!(world.gives(1), [world.leave(0)]);

    assert_eq!(world.loses(1), []);
    let waits = world.pass(PATIENCE);
    assert!(!waits.contains(&world.take(0)), "it was down a moment ago: {waits:?}");
    assert!(world.pass(AVOIDED_FOR - PATIENCE).contains(&world.take(0)));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_its_second_relay_is_back_before_the_other_gave_a_slot_it_stays() {
    let mut world = World::new(Reach::Direct, &[PUBLIC, PUBLIC]);
    world.reads(&[0, 1]);
    world.gives(0);
    world.loses(0);
    assert_eq!(world.pass(PATIENCE), [world.take(1)]);
    assert_eq!(world.gives(0), [world.leave(1)]);
    world.loses(0);
    let again = world.pass(PATIENCE);
    assert!(again.contains(&world.take(1)), "nothing was wrong with it: {again:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_gives_no_slot_is_not_moved_to_and_the_next_has_its_turn() {
    let mut world = World::new(Reach::Circuit, &[PUBLIC, PUBLIC, PRIVATE]);
    world.reads(&[2]);
    world.gives(2);
    assert_eq!(world.reads(&[0, 1, 2]), [world.take(0)]);
    assert_eq!(world.pass(PATIENCE), [world.leave(0), world.take(1)]);
    assert_eq!(world.pass(PATIENCE), [world.leave(1), Action::LookAgain]);
    assert_eq!(world.reads(&[0, 1, 2]), [], "none of them is tried for a while");
    world.page.handle_nudge(world.now);
    assert_eq!(world.did(), [world.take(0)], "unless the world has changed");
}

#[wasm_bindgen_test(unsupported = test)]
fn behind_a_circuit_it_does_not_move_to_one_that_reaches_less_far() {
    let mut world = World::new(Reach::Circuit, &[PRIVATE, PUBLIC]);
    assert_eq!(world.reads(&[0, 1]), [world.take(1)]);
    world.gives(1);
    world.loses(1);
    let later = world.pass(PATIENCE * 3);
    assert!(!later.contains(&world.take(0)), "{later:?}");
}

#[wasm_bindgen_test(unsupported = test)]
fn the_relay_that_serves_the_page_is_neither_chosen_nor_left() {
    let mut world = World::new(Reach::Direct, &[PUBLIC, PUBLIC]);
    world.reads(&[0, 1]);
    world.gives(0);
    // The relay came back as the one that was the second.
    world.home = world.id(0);
    assert_eq!(world.reads(&[0, 1]), [world.take(1)]);
    world.gives(1);
    world.loses(1);
    let later = world.pass(PATIENCE * 20);
    assert!(
        !later.contains(&world.leave(0)) && !later.contains(&world.take(0)),
        "{later:?}"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_relay_that_it_moves_from_comes_to_serve_the_page_it_goes_on_where_it_moves_to() {
    let mut world = World::new(Reach::Direct, &[PUBLIC, PUBLIC, PUBLIC]);
    world.reads(&[0, 1]);
    assert_eq!(world.pass(PATIENCE), [world.take(1)]);
    world.home = world.id(0);
    assert_eq!(world.reads(&[0, 1, 2]), []);
    assert_eq!(world.pass(PATIENCE), [world.take(2)]);
    assert_eq!(world.gives(2), [world.leave(1)]);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_its_second_relay_has_other_addresses_they_are_learnt() {
    let mut world = World::new(Reach::Circuit, &[PRIVATE, PRIVATE]);
    world.reads(&[0, 1]);
    world.gives(0);
    world.others[0] = relay(world.id(0), PUBLIC);
    assert_eq!(world.reads(&[0, 1]), [world.take(0)]);
    assert_eq!(world.reads(&[0, 1]), []);
}
