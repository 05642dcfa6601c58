#![allow(clippy::wildcard_enum_match_arm, reason = "a test names the one variant it wants")]

mod odd;

use std::collections::{BTreeMap, BTreeSet};

use rand::{Rng, SeedableRng, rngs::SmallRng};
use wasm_bindgen_test::wasm_bindgen_test;

use super::{
    dialer::InFlight,
    plan::PageScheme,
    testing::{ids, parse},
    *,
};
use crate::{
    node::{Event, Reach},
    now::Now,
    reservation::HeldRelay,
};

/// Ids: 0 and 2.. peers, 1 the local one unless a test says otherwise; the last is our relay.
struct World {
    dialer: Dialer,
    ids: Vec<PeerId>,
    now: Now,
}

#[derive(Default)]
struct Did {
    dials: Vec<(AttemptId, PeerId, Multiaddr)>,
    closes: Vec<(PeerId, ConnectionId)>,
    reports: Vec<Event>,
}

impl World {
    fn new(local: usize, peers: u8, seed: u64) -> Self {
        let ids = ids(peers + 1);
        let vantage = Vantage::Page {
            scheme: PageScheme::Http,
            scope: Scope::Public,
        };
        let config = DialConfig {
            vantage,
            ..DialConfig::default()
        };
        let dialer = Dialer::new(ids[local], config, SmallRng::seed_from_u64(seed));
        let mut world = Self {
            dialer,
            ids,
            now: Now::default(),
        };
        let held = world.held();
        world.dialer.handle_relays(&held, world.now);
        world
    }

    fn relay(&self) -> PeerId {
        *self.ids.last().unwrap()
    }

    fn held(&self) -> Vec<HeldRelay> {
        vec![HeldRelay {
            peer: self.relay(),
            address: parse("/ip4/192.0.2.10/tcp/80/ws", &[]),
        }]
    }

    fn circuit(&self) -> Route {
        Route::Circuit { relay: self.relay() }
    }

    fn hear(&mut self, peer: usize) {
        let last = self.ids.len() - 1;
        let text = format!("/ip4/192.0.2.10/tcp/80/ws/p2p/<{last}>/p2p-circuit/p2p/<{peer}>");
        let address = parse(&text, &self.ids);
        self.dialer.handle_candidate(self.ids[peer], &[address], self.now);
    }

    fn pass(&mut self, by: Duration) {
        self.now = self.now.after(by);
        self.dialer.handle_timeout(self.now);
    }

    fn did(&mut self) -> Did {
        let mut did = Did::default();
        while let Some(action) = self.dialer.poll_action() {
            match action {
                DialAction::Dial { attempt, peer, address } => did.dials.push((attempt, peer, address)),
                DialAction::Close { peer, connection } => did.closes.push((peer, connection)),
                DialAction::Report(event) => did.reports.push(event),
            }
        }
        did
    }

    /// Lets time pass up to `limit`, and says when the next dial came.
    fn next_dial(&mut self, limit: Duration) -> Option<(Duration, AttemptId)> {
        let start = self.now.mono;
        while let Some(at) = self
            .dialer
            .poll_timeout()
            .filter(|at| at.saturating_sub(start) <= limit)
        {
            self.pass(at.saturating_sub(self.now.mono));
            if let Some((attempt, ..)) = self.did().dials.first() {
                return Some((self.now.mono - start, *attempt));
            }
        }
        None
    }
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

const fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

#[wasm_bindgen_test(unsupported = test)]
fn the_lower_id_dials_at_once_and_the_higher_after_five_seconds() {
    let mut lower = World::new(0, 2, 1);
    lower.hear(1);
    assert_eq!(lower.did().dials.len(), 1);
    let mut higher = World::new(1, 2, 1);
    higher.hear(0);
    assert!(higher.did().dials.is_empty());
    assert_eq!(higher.next_dial(seconds(60)).unwrap().0, HIGHER_WAITS);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_lower_got_through_the_higher_does_not_dial() {
    let mut world = World::new(1, 2, 1);
    world.hear(0);
    world
        .dialer
        .handle_connected(world.ids[0], id(1), world.circuit(), Role::Listener, world.now);
    let route = Some(world.circuit());
    assert_eq!(
        world.did().reports,
        [Event::RouteChanged {
            peer: world.ids[0],
            route
        }]
    );
    assert_eq!(world.next_dial(seconds(3600)), None);
    assert_eq!(world.dialer.best(world.ids[0]), Some((id(1), world.circuit())));
}

#[wasm_bindgen_test(unsupported = test)]
fn the_same_announcement_again_changes_nothing() {
    let mut world = World::new(0, 2, 1);
    world.hear(1);
    let (attempt, ..) = world.did().dials[0];
    world
        .dialer
        .handle_attempt_failed(attempt, DialFailure::NoReservation, world.now);
    let due = world.dialer.poll_timeout();
    world.hear(1);
    assert_eq!(world.dialer.poll_timeout(), due);
}

#[wasm_bindgen_test(unsupported = test)]
fn failed_attempts_back_off_to_ten_minutes_keep_their_reason_and_a_nudge_resets_them() {
    let mut world = World::new(0, 2, 3);
    world.hear(1);
    let (mut attempt, ..) = world.did().dials[0];
    let mut waits = Vec::new();
    for _ in 0..14 {
        world
            .dialer
            .handle_attempt_failed(attempt, DialFailure::NoReservation, world.now);
        let peer = world.ids[1];
        let failed = Event::AttemptFailed {
            peer,
            attempt,
            reason: DialFailure::NoReservation,
        };
        assert_eq!(world.did().reports, [failed]);
        let (wait, next) = world.next_dial(seconds(601)).unwrap();
        waits.push(wait);
        attempt = next;
    }
    assert!(
        waits[0] <= seconds(1) && *waits.last().unwrap() >= seconds(300),
        "{waits:?}"
    );
    world
        .dialer
        .handle_attempt_failed(attempt, DialFailure::NoReservation, world.now);
    world.now = world.now.after(seconds(2));
    world.dialer.handle_nudge(world.now);
    assert_eq!(world.did().dials.len(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_connection_lost_without_goodbye_is_dialled_again_within_a_second() {
    for seed in 0..20 {
        let mut world = World::new(0, 2, seed);
        world.hear(1);
        world.did();
        let peer = world.ids[1];
        world
            .dialer
            .handle_connected(peer, id(1), world.circuit(), Role::Dialer, world.now);
        world.pass(seconds(30));
        world.dialer.handle_alive(peer, id(1), world.now);
        world
            .dialer
            .handle_disconnected(peer, id(1), Disconnection::Lost, world.now);
        assert!(world.did().reports.contains(&Event::RouteChanged { peer, route: None }));
        let (wait, _) = world.next_dial(seconds(60)).unwrap();
        assert!(
            Duration::from_millis(500) <= wait && wait <= seconds(1),
            "seed {seed}: {wait:?}"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_our_network_changed_the_higher_id_does_not_wait_for_the_lower_to_notice() {
    let wait_after_loss = |since_wake: Duration| {
        let mut world = World::new(1, 2, 1);
        world.hear(0);
        let peer = world.ids[0];
        let circuit = world.circuit();
        world
            .dialer
            .handle_connected(peer, id(1), circuit, Role::Listener, world.now);
        world.dialer.handle_wake(world.now);
        world.pass(since_wake);
        world
            .dialer
            .handle_disconnected(peer, id(1), Disconnection::Lost, world.now);
        world.next_dial(seconds(60)).unwrap().0
    };
    assert!(wait_after_loss(seconds(6)) <= seconds(1));
    assert!(wait_after_loss(seconds(16)) >= HIGHER_WAITS, "by then the lower knows");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_that_hangs_up_at_once_is_not_pestered() {
    let mut world = World::new(0, 2, 1);
    world.hear(1);
    world.did();
    let peer = world.ids[1];
    let mut dials = 0;
    while world.now.mono < seconds(3600) {
        dials += 1;
        world
            .dialer
            .handle_connected(peer, id(dials), world.circuit(), Role::Dialer, world.now);
        world
            .dialer
            .handle_disconnected(peer, id(dials), Disconnection::Clean, world.now);
        world.next_dial(seconds(700)).unwrap();
    }
    assert!(dials < 30, "{dials} in an hour");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_that_hangs_up_is_left_alone_although_its_circuit_seems_to_be_lost() {
    let wait = |direct: Disconnection, then: Duration| {
        let mut world = World::new(0, 2, 1);
        world.hear(1);
        world.did();
        let (peer, circuit) = (world.ids[1], world.circuit());
        let up = [(id(1), circuit), (id(2), Route::WebRtc)];
        for (connection, route) in up {
            let now = world.now;
            world
                .dialer
                .handle_connected(peer, connection, route, Role::Dialer, now);
        }
        world.dialer.handle_disconnected(peer, id(2), direct, world.now);
        world.pass(then);
        world
            .dialer
            .handle_disconnected(peer, id(1), Disconnection::Lost, world.now);
        world.next_dial(seconds(60)).unwrap().0
    };
    let soon = Duration::from_millis(100);
    assert!(wait(Disconnection::Clean, soon) >= AFTER_GOODBYE - soon);
    assert!(wait(Disconnection::Lost, soon) <= seconds(2));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_that_hangs_up_is_left_alone_although_it_is_heard_of_meanwhile() {
    let hung_up = || {
        let mut world = World::new(0, 2, 1);
        let (peer, circuit) = (world.ids[1], world.circuit());
        let now = world.now;
        world.dialer.handle_opened(peer, Reach::PreferDirect, now);
        world.dialer.handle_connected(peer, id(1), circuit, Role::Dialer, now);
        world.dialer.handle_disconnected(peer, id(1), Disconnection::Clean, now);
        world.did();
        world.pass(seconds(1));
        world.hear(1);
        world
    };
    let (wait, _) = hung_up().next_dial(seconds(60)).unwrap();
    assert!(wait >= AFTER_GOODBYE - seconds(1), "{wait:?}");

    let mut world = hung_up();
    let peer = world.ids[1];
    world.dialer.handle_opened(peer, Reach::PreferDirect, world.now);
    assert_eq!(world.did().dials.len(), 1, "the user's wish comes first");
}

#[wasm_bindgen_test(unsupported = test)]
fn of_a_small_crowd_all_are_dialled_and_of_a_large_one_six_the_same_for_every_order() {
    let dialled = |count: usize, order: &dyn Fn(usize) -> usize| {
        let mut world = World::new(0, 60, 1);
        let mut dialled = BTreeSet::new();
        for peer in (0..count).map(order) {
            world.hear(1 + peer);
        }
        loop {
            let dials = world.did().dials;
            if dials.is_empty() {
                break;
            }
            for (_, peer, _) in dials {
                dialled.insert(peer);
                let connection = id(dialled.len());
                world
                    .dialer
                    .handle_connected(peer, connection, world.circuit(), Role::Dialer, world.now);
            }
        }
        (dialled, world.dialer.chosen)
    };
    let (all, _) = dialled(SMALL_CROWD, &|peer| peer);
    assert_eq!(all.len(), SMALL_CROWD);
    let (some, chosen) = dialled(50, &|peer| peer);
    assert_eq!(chosen.len(), CHOSEN_OF_MANY);
    assert!(some.is_superset(&chosen));
    let (_, other_order) = dialled(50, &|peer| 49 - peer);
    assert_eq!(chosen, other_order);
}

#[wasm_bindgen_test(unsupported = test)]
fn the_twenty_fifth_peer_that_dials_us_unasked_is_closed_and_one_the_user_opens_is_not() {
    let mut world = World::new(0, 60, 1);
    for peer in 1..=MAX_ACCEPTED {
        world
            .dialer
            .handle_connected(world.ids[peer], id(peer), world.circuit(), Role::Listener, world.now);
    }
    assert!(world.did().closes.is_empty());
    let (next, opened) = (world.ids[40], world.ids[41]);
    world
        .dialer
        .handle_connected(next, id(90), world.circuit(), Role::Listener, world.now);
    assert_eq!(world.did().closes, [(next, id(90))]);
    assert!(!world.dialer.is_connected(next));
    world.dialer.handle_opened(opened, Reach::PreferDirect, world.now);
    assert_eq!(
        world.did().dials.len(),
        1,
        "through our relay, although it announced nothing"
    );
    world
        .dialer
        .handle_connected(opened, id(91), world.circuit(), Role::Listener, world.now);
    assert!(world.did().closes.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn without_initiative_only_whom_the_user_opens_is_dialled() {
    let mut world = World::new(0, 3, 1);
    world.dialer.config.initiative = Initiative::Nobody;
    world.hear(1);
    world.hear(2);
    assert_eq!(world.next_dial(seconds(3600)), None);
    world.dialer.handle_opened(world.ids[2], Reach::PreferDirect, world.now);
    let dialled: Vec<PeerId> = world.did().dials.into_iter().map(|(_, peer, _)| peer).collect();
    assert_eq!(dialled, [world.ids[2]]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_that_the_user_closes_is_closed_whole_and_left_alone_until_it_is_heard_of_again() {
    let mut world = World::new(0, 2, 1);
    let peer = world.ids[1];
    world.hear(1);
    world.dialer.handle_opened(peer, Reach::PreferDirect, world.now);
    world.did();
    for connection in [1, 2] {
        world
            .dialer
            .handle_connected(peer, id(connection), world.circuit(), Role::Dialer, world.now);
    }
    world.did();
    world.dialer.handle_closed(peer, world.now);
    let did = world.did();
    assert_eq!(did.closes, [(peer, id(1)), (peer, id(2))]);
    assert_eq!(did.reports, [Event::RouteChanged { peer, route: None }]);
    for connection in [1, 2] {
        world
            .dialer
            .handle_disconnected(peer, id(connection), Disconnection::Clean, world.now);
    }
    assert_eq!(world.next_dial(seconds(3600)), None);
    assert!(world.dialer.ladders.is_empty());
    world.hear(1);
    assert_eq!(world.did().dials.len(), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn no_more_than_four_attempts_run_through_one_relay_and_the_next_starts_when_one_ends() {
    let mut world = World::new(0, 20, 1);
    for peer in 1..=8 {
        world.hear(peer);
    }
    let dials = world.did().dials;
    assert_eq!(dials.len(), MAX_IN_FLIGHT_PER_RELAY);
    world
        .dialer
        .handle_opened(world.ids[15], Reach::PreferDirect, world.now);
    assert!(world.did().dials.is_empty());
    world
        .dialer
        .handle_attempt_failed(dials[0].0, DialFailure::TimedOut, world.now);
    let next = world.did().dials;
    assert_eq!(
        next.iter().map(|(_, peer, _)| *peer).collect::<Vec<_>>(),
        [world.ids[15]],
        "the user's first"
    );
}
