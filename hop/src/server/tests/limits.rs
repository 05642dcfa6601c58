//! Each limit at its bound and one beyond it.

use super::*;

/// Admits up to a bound, sees the next refused, frees a place and sees one more admitted.
#[test]
fn when_a_limit_is_reached_the_next_is_refused_until_there_is_a_place() {
    struct Case {
        bound: Bound,
        set: fn(&mut Config),
        told: Refusal,
    }
    const N: usize = 3;
    let cases = [
        Case {
            bound: Bound::Reservations,
            set: |config| config.reservations.total = N,
            told: Refusal::ReservationRefused,
        },
        Case {
            bound: Bound::ReservationsPerPeer,
            set: |config| config.reservations.per_peer = N,
            told: Refusal::ReservationRefused,
        },
        Case {
            bound: Bound::ReservationsPerNetwork,
            set: |config| config.reservations.per_network = Some(N),
            told: Refusal::ReservationRefused,
        },
        Case {
            bound: Bound::Circuits,
            set: |config| config.circuits.total = N,
            told: Refusal::ResourceLimitExceeded,
        },
        Case {
            bound: Bound::CircuitsPerSource,
            set: |config| config.circuits.per_source = N,
            told: Refusal::ResourceLimitExceeded,
        },
        Case {
            bound: Bound::CircuitsPerDestination,
            set: |config| config.circuits.per_destination = N,
            told: Refusal::ResourceLimitExceeded,
        },
    ];
    for Case { bound, set, told } in cases {
        let mut world = World::new(set);
        let mut user = User::of(bound, &mut world);
        let admitted: Vec<_> = (0..N)
            .map(|count| {
                user.use_one(&mut world)
                    .unwrap_or_else(|refusal| panic!("{bound} {count}: {refusal}"))
            })
            .collect();
        for _ in 0..3 {
            assert_eq!(user.use_one(&mut world), Err(told), "{bound}");
        }
        admitted[1].give_back(&mut world);
        user.use_one(&mut world)
            .unwrap_or_else(|refusal| panic!("{bound}, again: {refusal}"));
        assert_eq!(user.use_one(&mut world), Err(told), "{bound}");
    }
}

/// Uses what one bound is about, and nothing that another bound would meet.
enum User {
    Reservations { bound: Bound, peer: PeerId },
    Circuits { bound: Bound, source: Client, host: Client },
}

#[derive(Debug, PartialEq, Eq)]
enum Used {
    Slot(Client),
    Circuit(CircuitId),
}

impl User {
    fn of(bound: Bound, world: &mut World) -> Self {
        match bound {
            Bound::Reservations | Bound::ReservationsPerPeer | Bound::ReservationsPerNetwork => Self::Reservations {
                bound,
                peer: PeerId::random(),
            },
            Bound::Circuits | Bound::CircuitsPerSource | Bound::CircuitsPerDestination => {
                let (source, host) = (world.client(), world.client());
                world.reserve(host).expect("room");
                Self::Circuits { bound, source, host }
            }
        }
    }

    fn use_one(&mut self, world: &mut World) -> Result<Used, Refusal> {
        match self {
            Self::Reservations { bound, peer } => {
                let client = if *bound == Bound::ReservationsPerPeer {
                    world.connect(*peer, "/ip4/10.0.0.1/tcp/1")
                } else if *bound == Bound::ReservationsPerNetwork {
                    let address = format!("/ip6/2001:db8:1:2{:02x}::1/tcp/1", world.last);
                    world.connect(PeerId::random(), &address)
                } else {
                    world.client()
                };
                world.reserve(client).map(|()| Used::Slot(client))
            }
            Self::Circuits { bound, source, host } => {
                let source = if *bound == Bound::CircuitsPerSource {
                    *source
                } else {
                    world.client()
                };
                let host = if *bound == Bound::CircuitsPerDestination {
                    *host
                } else {
                    let host = world.client();
                    world.reserve(host)?;
                    host
                };
                world.open(source, host).map(Used::Circuit)
            }
        }
    }
}

impl Used {
    fn give_back(&self, world: &mut World) {
        match self {
            Self::Slot(client) => world.disconnect(*client),
            Self::Circuit(circuit) => world.end(*circuit, Ending::Closed(Outcome::Finished)),
        };
    }
}

#[test]
fn when_full_all_renewals_succeed_while_ten_times_as_many_strangers_ask() {
    const HOLDERS: usize = 200;
    let mut world = World::new(|config| {
        config.reservations.total = HOLDERS;
        config.reservations.per_peer = 1;
        config.reservations.per_network = Some(1);
        config.reservations.lifetime = Duration::from_secs(100);
    });
    let holders: Vec<_> = (0..HOLDERS).map(|_| world.client()).collect();
    for holder in &holders {
        world.reserve(*holder).expect("room");
    }
    for round in 0..5 {
        for holder in &holders {
            for _ in 0..10 {
                let stranger = world.client();
                assert_eq!(world.reserve(stranger), Err(Refusal::ReservationRefused));
                world.disconnect(stranger);
            }
            assert_eq!(world.reserve(*holder), Ok(()), "in round {round}");
            world.pass(Duration::from_millis(375));
        }
        assert_eq!(world.server.slots().holders(), HOLDERS);
    }
}

#[test]
fn when_a_limit_is_lowered_nobody_loses_what_they_have() {
    let mut world = World::new(|_| {});
    let holders = [world.client(), world.client()];
    for holder in holders {
        world.reserve(holder).expect("room");
    }
    let mut config = Config::default();
    config.reservations.total = 1;
    config.circuits.bytes = NonZeroU64::new(1);
    world.server.handle_config(config);
    assert_eq!(world.server.slots().holders(), 2);
    for holder in holders {
        assert_eq!(world.reserve(holder), Ok(()));
    }
    let newcomer = world.client();
    assert_eq!(world.reserve(newcomer), Err(Refusal::ReservationRefused));
}

#[test]
fn when_a_lifetime_is_longer_than_a_clock_can_say_it_never_ends() {
    let mut world = World::new(|config| {
        config.reservations.lifetime = Duration::MAX;
        config.circuits.duration = Some(Duration::MAX);
        config.circuits.opening = Duration::MAX;
    });
    let (host, guest) = (world.client(), world.client());
    world.reserve(host).expect("room");
    world.open(guest, host).expect("a reservation");
    assert_eq!(world.server.poll_timeout(), None);
    assert!(world.disconnect(host).events.len() == 1);
}

#[test]
fn when_a_network_stands_for_many_it_is_not_counted_and_others_are() {
    let mut world = World::new(|config| config.reservations.per_network = Some(1));
    let proxy: Multiaddr = "/ip4/192.0.2.1/tcp/1".parse().expect("valid");
    let shared = Network::of(&proxy);
    let networks = move |address: &Multiaddr| Network::of(address).filter(|network| Some(*network) != shared);
    world.server.handle_networks(Box::new(networks));
    for _ in 0..5 {
        let client = world.connect(PeerId::random(), "/ip4/192.0.2.1/tcp/2");
        assert_eq!(world.reserve(client), Ok(()));
    }
    let one = world.connect(PeerId::random(), "/ip4/192.0.2.2/tcp/1");
    assert_eq!(world.reserve(one), Ok(()));
    let next = world.connect(PeerId::random(), "/ip4/192.0.2.2/tcp/1");
    assert_eq!(world.reserve(next), Err(Refusal::ReservationRefused));
    assert_eq!(world.reserve(one), Ok(()), "a renewal");
}

#[test]
fn when_peers_are_counted_in_another_way_those_who_are_there_are_counted_as_before() {
    let mut world = World::new(|config| config.reservations.per_network = Some(1));
    let before = world.connect(PeerId::random(), "/ip4/192.0.2.1/tcp/1");
    world.server.handle_networks(Box::new(|_| None));
    assert_eq!(world.reserve(before), Ok(()));
    world.server.handle_networks(Box::new(Network::of));
    let after = world.connect(PeerId::random(), "/ip4/192.0.2.1/tcp/1");
    assert_eq!(world.reserve(after), Err(Refusal::ReservationRefused));
    world.disconnect(before);
    assert_eq!(world.reserve(after), Ok(()));
}
