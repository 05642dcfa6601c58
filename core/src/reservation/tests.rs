#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the one variant it wants")]

use std::collections::BTreeSet;

use rand::{Rng, SeedableRng};
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::dial::testing::{ids, parse};

mod removal;
mod tokens;

struct World {
    machine: Reservations,
    ids: Vec<PeerId>,
    now: Now,
}

impl World {
    fn new(seed: u64) -> Self {
        let machine = Reservations::new(ReservationConfig::default(), SmallRng::seed_from_u64(seed));
        Self {
            machine,
            ids: ids(10),
            now: Now::default(),
        }
    }

    fn add(&mut self, peer: Option<usize>, hosts: &[u8]) -> RelayKey {
        let spec = RelaySpec {
            peer: peer.map(|at| self.ids[at]),
            addrs: hosts.iter().map(|host| address(*host)).collect(),
        };
        self.machine.handle_relay_added(spec, self.now).unwrap()
    }

    /// Everything to do, but for reports.
    fn did(&mut self) -> Vec<ReservationAction> {
        let all = std::iter::from_fn(|| self.machine.poll_action());
        all.filter(|action| !matches!(action, ReservationAction::Report(_)))
            .collect()
    }

    fn reports(&mut self) -> Vec<RelayEvent> {
        let all = std::iter::from_fn(|| self.machine.poll_action());
        all.filter_map(|action| {
            if let ReservationAction::Report(event) = action {
                Some(event)
            } else {
                None
            }
        })
        .collect()
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.machine.handle_timeout(self.now);
    }

    fn connect(&mut self, key: RelayKey, peer: usize, connection: usize, host: u8) {
        self.machine
            .handle_connected(key, self.ids[peer], id(connection), &address(host), self.now);
    }

    /// A relay with id 0 at host 1, reserved, gossiping, over connection 1.
    fn reserved(seed: u64) -> (Self, RelayKey) {
        let mut world = Self::new(seed);
        let key = world.add(Some(0), &[1, 2]);
        world.connect(key, 0, 1, 1);
        world.machine.handle_gossip(world.ids[0], world.now);
        world.machine.handle_reservation_accepted(world.ids[0], world.now);
        assert_eq!(world.machine.reserved().count(), 1);
        world.did();
        (world, key)
    }
}

fn address(host: u8) -> Multiaddr {
    parse(&format!("/ip4/192.0.2.{host}/tcp/80/ws"), &[])
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn is_dial(action: &ReservationAction, host: u8) -> bool {
    matches!(action, ReservationAction::Dial { address: dialled, .. } if *dialled == address(host))
}

fn is_listen(action: &ReservationAction) -> bool {
    matches!(action, ReservationAction::Listen { .. })
}

#[wasm_bindgen_test(unsupported = test)]
fn addresses_are_tried_in_order_four_seconds_each_and_then_after_a_wait() {
    let mut world = World::new(1);
    world.add(Some(0), &[1, 2]);
    assert!(matches!(&world.did()[..], [dial] if is_dial(dial, 1)));
    world.pass(PATIENCE - Duration::from_millis(1));
    assert!(world.did().is_empty());
    world.pass(Duration::from_millis(1));
    assert!(matches!(&world.did()[..], [dial] if is_dial(dial, 2)));
    world.pass(PATIENCE);
    let reports = world.reports();
    let [
        RelayEvent::Lost {
            reason: RelayFailure::TimedOut,
            retry_in,
            ..
        },
    ] = &reports[..]
    else {
        panic!("{reports:?}");
    };
    assert!(RETRY.first / 2 <= *retry_in && *retry_in <= RETRY.first, "{retry_in:?}");
    world.pass(*retry_in);
    assert!(matches!(&world.did()[..], [dial] if is_dial(dial, 1)));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_slot_is_asked_for_only_once_connected_and_reported_when_granted() {
    let mut world = World::new(1);
    let key = world.add(None, &[1]);
    assert!(!world.did().iter().any(is_listen));
    world.connect(key, 0, 1, 1);
    let expected = parse("/ip4/192.0.2.1/tcp/80/ws/p2p/<0>/p2p-circuit", &world.ids);
    assert_eq!(
        world.did(),
        [ReservationAction::Listen {
            relay: key,
            address: expected
        }]
    );
    world.machine.handle_reservation_accepted(world.ids[0], world.now);
    let reserved = RelayEvent::Reserved {
        relay: key,
        peer: world.ids[0],
        address: address(1),
    };
    assert_eq!(world.reports(), [reserved]);
    world.machine.handle_reservation_accepted(world.ids[0], world.now);
    assert!(world.reports().is_empty(), "a renewal is nothing new");
    assert_eq!(
        world.machine.held(),
        [HeldRelay {
            peer: world.ids[0],
            address: address(1)
        }]
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_listener_closes_and_the_connection_stands_a_slot_is_asked_for_at_once_and_then_with_backoff() {
    let (mut world, key) = World::reserved(1);
    world
        .machine
        .handle_listener_closed(key, RelayFailure::Disconnected, world.now);
    assert!(matches!(&world.did()[..], [listen] if is_listen(listen)));
    world
        .machine
        .handle_listener_closed(key, RelayFailure::Refused("full".into()), world.now);
    let reports = world.reports();
    let [
        RelayEvent::Lost {
            reason: RelayFailure::Refused(_),
            retry_in,
            ..
        },
    ] = &reports[..]
    else {
        panic!("{reports:?}");
    };
    assert!(*retry_in >= RETRY_AFTER_REFUSAL.first / 2);
    assert_eq!(
        world.machine.held().len(),
        1,
        "the connection stays: gossip flows over it"
    );
    world.pass(*retry_in);
    assert!(matches!(&world.did()[..], [listen] if is_listen(listen)));
}

#[wasm_bindgen_test(unsupported = test)]
fn without_gossip_the_connection_is_replaced_and_after_three_times_it_is_kept() {
    let mut world = World::new(1);
    let key = world.add(Some(0), &[1]);
    for round in 1..=3 {
        world.connect(key, 0, round, 1);
        world.machine.handle_reservation_accepted(world.ids[0], world.now);
        world.did();
        world.pass(GOSSIP_TIMEOUT);
        assert_eq!(world.did(), [ReservationAction::Close { connection: id(round) }]);
        world.machine.handle_disconnected(id(round), world.now);
        world
            .machine
            .handle_listener_closed(key, RelayFailure::Disconnected, world.now);
        world.pass(seconds(31));
        assert!(world.did().iter().any(|action| is_dial(action, 1)));
    }
    world.connect(key, 0, 4, 1);
    world.machine.handle_reservation_accepted(world.ids[0], world.now);
    world.did();
    world.pass(seconds(3600));
    assert!(world.did().is_empty());
    assert_eq!(world.machine.reserved().count(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_new_connection_replaces_the_old_and_the_slot_waits_for_the_old_listener() {
    let (mut world, key) = World::reserved(1);
    world.connect(key, 0, 2, 2);
    assert_eq!(world.did(), [ReservationAction::Close { connection: id(1) }]);
    world.machine.handle_disconnected(id(1), world.now);
    assert!(world.did().is_empty(), "its listener is still open");
    world
        .machine
        .handle_listener_closed(key, RelayFailure::Disconnected, world.now);
    assert!(matches!(&world.did()[..], [listen] if is_listen(listen)));
    assert_eq!(world.machine.held()[0].address, address(2));
}

#[wasm_bindgen_test(unsupported = test)]
fn after_a_sleep_a_connection_without_a_ping_is_replaced_and_one_with_is_kept() {
    let (mut world, _) = World::reserved(1);
    world.machine.handle_wake(world.now);
    world.machine.handle_alive(id(1), world.now);
    world.pass(seconds(60));
    assert!(world.did().is_empty());
    world.machine.handle_wake(world.now);
    world.pass(WAKE_TIMEOUT);
    assert_eq!(world.did(), [ReservationAction::Close { connection: id(1) }]);
    world.pass(seconds(1));
    assert!(world.did().iter().any(|action| is_dial(action, 1)));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_returns_within_a_minute_is_reserved_again_within_five_seconds() {
    for seed in 0..100 {
        let (mut world, key) = World::reserved(seed);
        let mut rng = SmallRng::seed_from_u64(seed);
        let away = Duration::from_millis(rng.random_range(0..55_000));
        let lost = world.now.mono;
        world.machine.handle_disconnected(id(1), world.now);
        world
            .machine
            .handle_listener_closed(key, RelayFailure::Disconnected, world.now);
        // Dials hang while it is away, as they do in a page, and only its first address ever answers.
        loop {
            let answered = world.did().iter().any(|action| is_dial(action, 1));
            if answered && world.now.mono >= lost + away {
                break;
            }
            let next = world.machine.poll_timeout().unwrap();
            world.pass(next.saturating_sub(world.now.mono));
        }
        let took = world.now.mono - lost - away;
        assert!(
            took <= Duration::from_millis(4500),
            "seed {seed}, away {away:?}: {took:?}"
        );
        world.connect(key, 0, 2, 1);
        assert!(world.did().iter().any(is_listen), "seed {seed}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn two_keys_that_are_one_relay_are_merged_and_both_are_told() {
    let mut world = World::new(1);
    let known = world.add(Some(0), &[1]);
    let unknown = world.add(None, &[2]);
    assert_ne!(known, unknown);
    assert_eq!(world.add(Some(0), &[3]), known);
    world.connect(unknown, 0, 1, 2);
    world.reports();
    world.machine.handle_reservation_accepted(world.ids[0], world.now);
    let told: Vec<RelayKey> = world
        .reports()
        .into_iter()
        .map(|event| match event {
            RelayEvent::Reserved { relay, .. } => relay,
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(told, [known, unknown]);
    assert_eq!(world.machine.key_of(world.ids[0]), Some(known));
}

#[wasm_bindgen_test(unsupported = test)]
fn another_peer_at_the_address_is_closed_and_tried_again_much_later() {
    let mut world = World::new(1);
    let key = world.add(Some(0), &[1]);
    world.did();
    world.connect(key, 5, 1, 1);
    let lost = |action: &ReservationAction| match action {
        ReservationAction::Report(RelayEvent::Lost {
            reason: RelayFailure::WrongPeer,
            retry_in,
            ..
        }) => Some(*retry_in),
        _ => None,
    };
    let all: Vec<_> = std::iter::from_fn(|| world.machine.poll_action()).collect();
    assert!(all.contains(&ReservationAction::Close { connection: id(1) }));
    assert!(all.iter().find_map(lost).unwrap() >= seconds(7));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_ninth_relay_is_refused_and_so_is_one_without_addresses() {
    let mut world = World::new(1);
    for at in 0..8 {
        world.add(Some(at), &[1]);
    }
    let spec = |addrs| RelaySpec {
        peer: Some(world.ids[9]),
        addrs,
    };
    let (full, empty) = (spec(vec![address(1)]), spec(Vec::new()));
    assert_eq!(
        world.machine.handle_relay_added(full, world.now),
        Err(AddRelayError::TooMany)
    );
    assert_eq!(
        world.machine.handle_relay_added(empty, world.now),
        Err(AddRelayError::NoAddress)
    );
}

/// A swarm that answers, fails, forgets and delays as the seed wills.
#[wasm_bindgen_test(unsupported = test)]
fn whatever_happens_one_reservation_is_in_flight_and_a_relay_is_always_tried_again() {
    for seed in 0..80 {
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut world = World::new(seed);
        let keys = [
            world.add(Some(0), &[1, 2, 3]),
            world.add(None, &[4]),
            world.add(Some(2), &[5, 6]),
        ];
        let mut dials: Vec<(RelayKey, Multiaddr)> = Vec::new();
        // Each with the connection that carries it.
        let mut listening: BTreeMap<RelayKey, ConnectionId> = BTreeMap::new();
        let mut granted: BTreeSet<RelayKey> = BTreeSet::new();
        let mut open: Vec<(ConnectionId, RelayKey)> = Vec::new();
        let mut closing: Vec<ConnectionId> = Vec::new();
        let mut next = 0;
        let mut last_dial = Duration::ZERO;
        for step in 0..1500 {
            let key = keys[rng.random_range(0..3)];
            let peer = world.ids[key.0 as usize];
            match rng.random_range(0..12) {
                0 | 1 if !dials.is_empty() => {
                    let (key, address) = dials.swap_remove(rng.random_range(0..dials.len()));
                    next += 1;
                    open.push((id(next), key));
                    let peer = world.ids[key.0 as usize];
                    world.machine.handle_connected(key, peer, id(next), &address, world.now);
                }
                2 if !dials.is_empty() => {
                    let (key, address) = dials.swap_remove(0);
                    let reason = RelayFailure::Unreachable("refused".into());
                    world.machine.handle_dial_failed(key, &address, reason, world.now);
                }
                3 => world.machine.handle_gossip(peer, world.now),
                4 if listening.contains_key(&key) => {
                    granted.insert(key);
                    world.machine.handle_reservation_accepted(peer, world.now);
                }
                5 if listening.remove(&key).is_some() => {
                    granted.remove(&key);
                    let reason = [RelayFailure::Disconnected, RelayFailure::Refused("full".into())];
                    world
                        .machine
                        .handle_listener_closed(key, reason[rng.random_range(0..2)].clone(), world.now);
                }
                6 if !closing.is_empty() || (!open.is_empty() && rng.random_bool(0.3)) => {
                    let gone = closing.pop().unwrap_or_else(|| open[0].0);
                    open.retain(|(connection, _)| *connection != gone);
                    world.machine.handle_disconnected(gone, world.now);
                    let carried = listening
                        .iter()
                        .find(|(_, connection)| **connection == gone)
                        .map(|(key, _)| *key);
                    if let Some(key) = carried {
                        listening.remove(&key);
                        granted.remove(&key);
                        world
                            .machine
                            .handle_listener_closed(key, RelayFailure::Disconnected, world.now);
                    }
                }
                7 => world.machine.handle_nudge(world.now),
                8 if rng.random_bool(0.2) => world.machine.handle_wake(world.now),
                9 => {
                    for (connection, _) in &open {
                        world.machine.handle_alive(*connection, world.now);
                    }
                }
                _ => world.pass(Duration::from_millis(rng.random_range(0..3_000))),
            }
            for action in world.did() {
                match action {
                    ReservationAction::Dial { relay, address, .. } => {
                        last_dial = world.now.mono;
                        dials.push((relay, address));
                    }
                    ReservationAction::Listen { relay, .. } => {
                        let to_relay: Vec<_> = open.iter().filter(|(_, key)| *key == relay).collect();
                        let [(connection, _)] = to_relay[..] else {
                            panic!("seed {seed}, step {step}: {to_relay:?}, not one connection");
                        };
                        let earlier = listening.insert(relay, *connection);
                        assert_eq!(earlier, None, "seed {seed}, step {step}: a second listener");
                    }
                    ReservationAction::Close { connection } => closing.push(connection),
                    ReservationAction::Present { .. } => panic!("seed {seed}, step {step}: there is no token"),
                    ReservationAction::StopListening { relay } => assert!(granted.contains(&relay)),
                    ReservationAction::Report(_) => {}
                }
            }
            let timeout = world.machine.poll_timeout();
            assert!(
                timeout.is_none_or(|at| at > world.now.mono),
                "seed {seed}, step {step}: a timeout in the past"
            );
        }
        // Everything breaks: within the longest wait each relay is dialled again.
        for (connection, _) in open.drain(..) {
            world.machine.handle_disconnected(connection, world.now);
        }
        let broke = world.now.mono;
        let mut dialled = BTreeSet::new();
        for _ in 0..200 {
            world.pass(seconds(2));
            let relays = world.did().into_iter().filter_map(|action| match action {
                ReservationAction::Dial { relay, .. } => Some(relay),
                _ => None,
            });
            dialled.extend(relays);
        }
        assert_eq!(
            dialled.len(),
            keys.len(),
            "seed {seed}, last dial before {last_dial:?}, broke {broke:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn without_gossip_a_relay_that_never_subscribes_is_kept() {
    let mut world = World::new(1);
    world.machine = Reservations::new(ReservationConfig::without_gossip(), SmallRng::seed_from_u64(1));
    let key = world.add(Some(0), &[1]);
    world.connect(key, 0, 1, 1);
    world.machine.handle_reservation_accepted(world.ids[0], world.now);
    world.did();
    world.pass(GOSSIP_TIMEOUT * 10);
    assert_eq!((world.did(), world.machine.poll_timeout()), (Vec::new(), None));
}
