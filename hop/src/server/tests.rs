//! The server, told what a swarm could tell it. [`simulation`] has a thousand clients do what they like.

use std::{num::NonZeroU64, time::Duration};

use super::*;
use crate::{Access, Bound, Everybody};

mod limits;
mod renewals;
mod simulation;

/// A server, the clients that were made for it, and a clock.
struct World {
    server: Server,
    now: Instant,
    last: usize,
}

/// What the server wants after one call.
#[derive(Debug, Default)]
struct Wanted {
    actions: Vec<Action>,
    events: Vec<Event>,
}

impl World {
    fn new(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = Config::default();
        change(&mut config);
        let mut server = Server::new(config, Box::new(Everybody));
        server.handle_reachability(Reachability::Reachable);
        Self {
            server,
            now: Instant::now(),
            last: 0,
        }
    }

    /// A connection of a new peer, from an address of its own.
    fn client(&mut self) -> Client {
        let address = format!("/ip4/10.0.{}.{}/tcp/1", self.last / 256, self.last % 256);
        self.connect(PeerId::random(), &address)
    }

    fn connect(&mut self, peer: PeerId, address: &str) -> Client {
        self.last += 1;
        let client = Client {
            peer,
            connection: ConnectionId::new_unchecked(self.last),
        };
        let address: Multiaddr = address.parse().expect("valid");
        let route = Route::of(&address);
        self.server.handle_connected(client, address, route);
        client
    }

    fn pass(&mut self, time: Duration) -> Wanted {
        self.now += time;
        self.server.handle_timeout(self.now);
        self.wanted()
    }

    fn reserve(&mut self, client: Client) -> Result<(), Refusal> {
        let request = self.request();
        self.server.handle_reserve(client, request, self.now);
        answer(&self.wanted(), request)
    }

    /// A circuit that waits for its destination, and the request that it answers.
    fn ask(&mut self, source: Client, destination: Client) -> Result<(CircuitId, RequestId), Refusal> {
        let request = self.request();
        self.server.handle_connect(source, request, destination.peer, self.now);
        let wanted = self.wanted();
        match wanted.actions.as_slice() {
            [Action::Open { circuit, .. }] => Ok((*circuit, request)),
            _ => Err(answer(&wanted, request).expect_err("refused")),
        }
    }

    /// A circuit that stands.
    fn open(&mut self, source: Client, destination: Client) -> Result<CircuitId, Refusal> {
        let (circuit, _) = self.ask(source, destination)?;
        self.server.handle_accepted(circuit, self.now);
        let wanted = self.wanted();
        assert!(matches!(wanted.actions[..], [Action::Bridge { .. }]), "{wanted:?}");
        Ok(circuit)
    }

    fn end(&mut self, circuit: CircuitId, ending: Ending) -> Wanted {
        let traffic = Traffic {
            to_destination: 3,
            to_source: 4,
        };
        self.server.handle_ended(circuit, ending, traffic, self.now);
        self.wanted()
    }

    fn disconnect(&mut self, client: Client) -> Wanted {
        self.server.handle_disconnected(client.connection);
        self.wanted()
    }

    fn request(&mut self) -> RequestId {
        self.last += 1;
        RequestId(self.last as u64)
    }

    fn wanted(&mut self) -> Wanted {
        let mut wanted = Wanted::default();
        while let Some(action) = self.server.poll_action() {
            match action {
                Action::Report(event) => wanted.events.push(event),
                Action::Grant { .. }
                | Action::Refuse { .. }
                | Action::Release { .. }
                | Action::Open { .. }
                | Action::Bridge { .. }
                | Action::Cut { .. } => wanted.actions.push(action),
            }
        }
        self.server.slots.check();
        self.server.circuits.check();
        wanted
    }
}

/// What a request for a reservation is answered with; exactly once.
fn answer(wanted: &Wanted, of: RequestId) -> Result<(), Refusal> {
    let answers: Vec<_> = wanted
        .actions
        .iter()
        .filter_map(|action| match action {
            Action::Grant { request, .. } if *request == of => Some(Ok(())),
            Action::Refuse { request, refusal, .. } if *request == of => Some(Err(*refusal)),
            Action::Grant { .. }
            | Action::Refuse { .. }
            | Action::Release { .. }
            | Action::Open { .. }
            | Action::Bridge { .. }
            | Action::Cut { .. }
            | Action::Report(_) => None,
        })
        .collect();
    assert_eq!(answers.len(), 1, "{wanted:?}");
    answers[0]
}

#[test]
fn when_there_is_no_address_reservations_are_refused() {
    let mut world = World::new(|_| {});
    let client = world.client();
    world.server.handle_reachability(Reachability::Unknown);
    assert_eq!(world.reserve(client), Err(Refusal::ReservationRefused));
    world.server.handle_reachability(Reachability::Reachable);
    assert_eq!(world.reserve(client), Ok(()));
}

#[test]
fn when_a_request_comes_over_a_circuit_it_has_no_permission() {
    let mut world = World::new(|_| {});
    let host = world.client();
    world.reserve(host).expect("room");
    let relay = PeerId::random();
    let inside = world.connect(
        PeerId::random(),
        &format!("/ip4/10.1.1.1/tcp/1/p2p/{relay}/p2p-circuit"),
    );
    assert_eq!(world.reserve(inside), Err(Refusal::PermissionDenied));
    assert_eq!(world.ask(inside, host), Err(Refusal::PermissionDenied));
}

#[test]
fn when_a_connection_is_not_known_any_more_its_requests_change_nothing() {
    let mut world = World::new(|_| {});
    let client = world.client();
    world.disconnect(client);
    assert_eq!(world.reserve(client), Err(Refusal::ConnectionFailed));
    assert_eq!(world.server.slots().holders(), 0);
}

#[test]
fn when_not_renewed_a_slot_outlives_its_lifetime_once_and_ends() {
    let mut world = World::new(|config| config.reservations.lifetime = Duration::from_secs(60));
    let (host, guest) = (world.client(), world.client());
    world.reserve(host).expect("room");
    assert_eq!(world.server.poll_timeout(), Some(world.now + Duration::from_secs(120)));
    assert!(world.pass(Duration::from_secs(119)).events.is_empty());
    let circuit = world.open(guest, host).expect("its clock may be slow");
    let wanted = world.pass(Duration::from_secs(1));
    let ended = Event::ReservationEnded {
        peer: host.peer,
        connection: host.connection,
        end: ReservationEnd::Expired,
    };
    assert_eq!(wanted.events, [ended]);
    assert_eq!(wanted.actions, [Action::Release { client: host }]);
    assert_eq!(world.ask(guest, host), Err(Refusal::NoReservation));
    assert!(world.server.circuits().get(circuit).is_some(), "the circuit goes on");
}

#[test]
fn when_renewed_in_the_moment_of_its_end_a_slot_goes_on() {
    let mut world = World::new(|config| {
        config.reservations.lifetime = Duration::from_secs(1);
        config.reservations.total = 1;
    });
    let host = world.client();
    world.reserve(host).expect("room");
    for millis in 1_990..2_010 {
        // The clock has reached the end; whether the request or the timer comes first is chance.
        world.now += Duration::from_millis(millis);
        let request = world.request();
        world.server.handle_reserve(host, request, world.now);
        let wanted = world.wanted();
        assert_eq!(answer(&wanted, request), Ok(()));
        let renewed = Event::ReservationRenewed {
            peer: host.peer,
            connection: host.connection,
        };
        assert_eq!(wanted.events, [renewed]);
        assert!(world.pass(Duration::ZERO).events.is_empty());
        assert_eq!(world.server.slots().holders(), 1);
    }
}

#[test]
fn when_a_peer_comes_back_on_another_connection_that_one_is_used() {
    let mut world = World::new(|config| config.reservations.total = 1);
    let (old, guest) = (world.client(), world.client());
    world.reserve(old).expect("room");
    let new = world.connect(old.peer, "/ip4/10.9.9.9/tcp/1");
    assert_eq!(
        world.reserve(new),
        Ok(()),
        "the relay is full, but not for whoever is in"
    );
    assert_eq!(world.server.slots().holders(), 1);
    let request = world.request();
    world.server.handle_connect(guest, request, old.peer, world.now);
    let wanted = world.wanted();
    assert!(matches!(wanted.actions[..], [Action::Open { destination, .. }] if destination == new));
    world.disconnect(new);
    assert_eq!(world.server.slots().reach(old.peer), Some(old.connection));
}

#[test]
fn when_the_destination_does_not_take_a_circuit_the_source_is_told() {
    for (error, told) in [
        (OpenError::Unsupported, Refusal::ConnectionFailed),
        (OpenError::TimedOut, Refusal::ConnectionFailed),
        (OpenError::Malformed, Refusal::ConnectionFailed),
        (OpenError::Gone, Refusal::ConnectionFailed),
        (OpenError::Refused(Refusal::NoReservation), Refusal::ConnectionFailed),
        (OpenError::Refused(Refusal::PermissionDenied), Refusal::PermissionDenied),
        (
            OpenError::Refused(Refusal::ResourceLimitExceeded),
            Refusal::ResourceLimitExceeded,
        ),
    ] {
        let mut world = World::new(|_| {});
        let (host, guest) = (world.client(), world.client());
        world.reserve(host).expect("room");
        let (circuit, request) = world.ask(guest, host).expect("a reservation");
        let wanted = world.end(circuit, Ending::NotOpened(error));
        assert_eq!(answer(&wanted, request), Err(told), "{error}");
        let denied = Event::CircuitDenied {
            source: guest.peer,
            destination: host.peer,
            denial: Denial::Destination(error),
        };
        assert_eq!(wanted.events, [denied]);
        assert_eq!(world.server.circuits().len(), 0);
    }
}

#[test]
fn when_the_destination_is_silent_the_source_is_told_in_time_and_a_late_yes_is_void() {
    let mut world = World::new(|config| config.circuits.opening = Duration::from_secs(5));
    let (host, guest) = (world.client(), world.client());
    world.reserve(host).expect("room");
    let (circuit, request) = world.ask(guest, host).expect("a reservation");
    let wanted = world.pass(Duration::from_secs(5));
    assert_eq!(answer(&wanted, request), Err(Refusal::ConnectionFailed));
    world.server.handle_accepted(circuit, world.now);
    let wanted = world.wanted();
    assert!(wanted.actions.is_empty() && wanted.events.is_empty(), "{wanted:?}");
    let wanted = world.end(circuit, Ending::Dropped);
    assert!(wanted.actions.is_empty() && wanted.events.is_empty(), "{wanted:?}");
}

#[test]
fn when_an_end_of_a_circuit_that_is_being_opened_goes_it_is_over() {
    for (gone, denial) in [(0, Denial::Destination(OpenError::Gone)), (1, Denial::SourceGone)] {
        let mut world = World::new(|_| {});
        let ends = [world.client(), world.client()];
        world.reserve(ends[0]).expect("room");
        world.ask(ends[1], ends[0]).expect("a reservation");
        let wanted = world.disconnect(ends[gone]);
        let denied = Event::CircuitDenied {
            source: ends[1].peer,
            destination: ends[0].peer,
            denial,
        };
        assert!(wanted.events.contains(&denied), "{wanted:?}");
        assert_eq!(world.server.circuits().len(), 0);
    }
}

#[test]
fn when_the_connection_of_either_end_closes_a_circuit_is_cut() {
    for gone in 0..2 {
        let mut world = World::new(|_| {});
        let ends = [world.client(), world.client()];
        world.reserve(ends[0]).expect("room");
        let circuit = world.open(ends[1], ends[0]).expect("a reservation");
        let wanted = world.disconnect(ends[gone]);
        assert!(wanted.actions.contains(&Action::Cut { circuit }), "{wanted:?}");
        let wanted = world.end(circuit, Ending::Dropped);
        assert!(matches!(
            wanted.events[..],
            [Event::CircuitClosed {
                outcome: Outcome::ConnectionClosed,
                ..
            }]
        ));
    }
}

#[test]
fn when_a_circuit_has_stood_long_enough_it_is_cut_and_counts_until_it_is_gone() {
    let mut world = World::new(|config| config.circuits.duration = Some(Duration::from_secs(30)));
    let (host, guest) = (world.client(), world.client());
    world.reserve(host).expect("room");
    let circuit = world.open(guest, host).expect("a reservation");
    assert!(world.pass(Duration::from_secs(29)).actions.is_empty());
    assert_eq!(world.pass(Duration::from_secs(1)).actions, [Action::Cut { circuit }]);
    assert_eq!(world.server.circuits().len(), 1);
    assert!(world.pass(Duration::from_secs(60)).actions.is_empty(), "once");
    let wanted = world.end(circuit, Ending::Dropped);
    let closed = Event::CircuitClosed {
        circuit,
        source: guest.peer,
        destination: host.peer,
        outcome: Outcome::DurationLimit,
        traffic: Traffic {
            to_destination: 3,
            to_source: 4,
        },
        duration: Duration::from_secs(90),
    };
    assert_eq!(wanted.events, [closed]);
    assert_eq!(world.server.circuits().len(), 0);
}

#[test]
fn when_access_is_withdrawn_only_those_concerned_lose_what_they_have() {
    struct Without(PeerId);

    impl Without {
        fn answer(&self, peer: PeerId) -> Access {
            if peer == self.0 {
                Access::Deny {
                    refusal: Refusal::PermissionDenied,
                    reason: "on the list".into(),
                }
            } else {
                Access::Allow
            }
        }
    }

    impl AccessControl for Without {
        fn reservation(&mut self, request: ReservationRequest<'_>) -> Access {
            self.answer(request.peer)
        }

        fn circuit(&mut self, request: CircuitRequest<'_>) -> Access {
            self.answer(request.source)
        }
    }

    let mut world = World::new(|_| {});
    let (host, good, bad) = (world.client(), world.client(), world.client());
    for client in [host, good, bad] {
        world.reserve(client).expect("room");
    }
    let kept = world.open(good, host).expect("a reservation");
    let lost = world.open(bad, host).expect("a reservation");
    let (_, waits) = world.ask(bad, host).expect("a reservation");
    world.server.handle_access(Box::new(Without(bad.peer)));
    let wanted = world.wanted();
    assert_eq!(answer(&wanted, waits), Err(Refusal::PermissionDenied));
    assert!(wanted.actions.contains(&Action::Release { client: bad }));
    assert!(wanted.actions.contains(&Action::Cut { circuit: lost }));
    assert_eq!(wanted.actions.len(), 3, "nobody else: {wanted:?}");
    let wanted = world.end(lost, Ending::Dropped);
    assert!(matches!(
        wanted.events[..],
        [Event::CircuitClosed {
            outcome: Outcome::AccessWithdrawn,
            ..
        }]
    ));
    assert_eq!(
        world.server.circuits().get(kept).map(|circuit| circuit.state),
        Some(State::Open)
    );
    assert_eq!(world.reserve(bad), Err(Refusal::PermissionDenied));
    assert_eq!(world.ask(bad, host), Err(Refusal::PermissionDenied));
    assert_eq!(world.reserve(good), Ok(()));

    world.server.handle_access(Box::new(Without(host.peer)));
    world.wanted();
    assert_eq!(world.ask(good, host), Err(Refusal::NoReservation));
}
