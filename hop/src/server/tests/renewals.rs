//! Ten thousand renewals around the end of a slot: around the one that was announced, and around the real one.

use rand::{Rng, SeedableRng, rngs::SmallRng};

use super::*;

const RENEWALS: usize = 10_000;
const PLACES: usize = 100;
const LIFETIME: Duration = Duration::from_secs(60);
/// How far from the end a renewal comes, at most.
const AROUND: Duration = Duration::from_millis(5);

fn full_world() -> (World, Vec<Client>) {
    let mut world = World::new(|config| {
        config.reservations.lifetime = LIFETIME;
        config.reservations.total = PLACES;
        config.reservations.per_peer = 1;
    });
    let holders: Vec<_> = (0..PLACES).map(|_| world.client()).collect();
    for holder in &holders {
        world.reserve(*holder).expect("room");
    }
    (world, holders)
}

#[test]
fn when_ten_thousand_renew_around_the_announced_end_none_is_refused_and_none_is_lost() {
    let (mut world, holders) = full_world();
    for _ in 0..RENEWALS / PLACES {
        // From 5 ms before the end of a lifetime to 5 ms after it, the timer always before the request.
        world.pass(LIFETIME - AROUND);
        for holder in &holders {
            let wanted = world.pass(2 * AROUND / PLACES as u32);
            assert!(wanted.events.is_empty(), "{wanted:?}");
            let request = world.request();
            world.server.handle_reserve(*holder, request, world.now);
            let wanted = world.wanted();
            assert_eq!(answer(&wanted, request), Ok(()));
            assert!(matches!(wanted.events[..], [Event::ReservationRenewed { .. }]));
        }
    }
    assert_eq!(world.server.slots().holders(), PLACES);
}

/// A slot ends when the timer finds it over, not before; a timer may be late, and comes before or after a request of the
/// same moment. Strangers wait for every place that becomes free.
#[test]
fn when_ten_thousand_renew_around_the_real_end_those_in_time_keep_their_slot_and_the_others_ask_as_strangers() {
    const STRANGERS: usize = 10;
    for seed in 0..2 {
        let (mut world, holders) = full_world();
        let mut rng = SmallRng::seed_from_u64(seed);
        let mut peers: Vec<_> = holders
            .into_iter()
            .map(|client| Peer::holding(client, &world, &mut rng))
            .collect();
        for _ in 0..STRANGERS {
            let client = world.client();
            peers.push(Peer::waiting(client, &world, &mut rng));
        }
        let (mut came, mut late) = (Came::default(), Duration::ZERO);
        while came.all() < RENEWALS {
            let (asks, next) = (0..peers.len()).map(|at| (peers[at].asks, at)).min().expect("peers");
            let rings = world.server.poll_timeout().expect("slots") + late;
            if rings < asks || rings == asks && rng.random() {
                ring(&mut world, rings, &mut peers);
                late = lateness(&mut rng);
            } else {
                world.now = asks;
                let held = peers.iter().filter(|peer| peer.slot.is_some()).count();
                peers[next].ask(&mut world, held, &mut came, &mut rng);
            }
            let held = peers.iter().filter(|peer| peer.slot.is_some());
            assert_eq!(world.server.slots().holders(), held.count(), "seed {seed}");
        }
        let Came {
            early,
            kept,
            late,
            lost,
        } = came;
        assert!(early > 0 && kept > 0 && late > 0 && lost > 0, "seed {seed}: {came:?}");
    }
}

/// What came of renewals.
#[derive(Clone, Copy, Debug, Default)]
struct Came {
    /// Before the end: granted.
    early: usize,
    /// At the end or after it, before the timer: granted.
    kept: usize,
    /// After the timer: granted, because there was still a place.
    late: usize,
    /// After the timer: refused, because somebody else had the place.
    lost: usize,
}

impl Came {
    fn all(self) -> usize {
        self.early + self.kept + self.late + self.lost
    }
}

struct Peer {
    client: Client,
    /// When the slot that it holds is over.
    slot: Option<Instant>,
    /// The end that its next request is about, if that is a renewal.
    renews: Option<Instant>,
    asks: Instant,
}

impl Peer {
    /// One that was granted a slot just now.
    fn holding(client: Client, world: &World, rng: &mut SmallRng) -> Self {
        let ends = world.now + 2 * LIFETIME;
        Self {
            client,
            slot: Some(ends),
            renews: Some(ends),
            asks: around(ends, rng),
        }
    }

    /// One that comes around the end of some slot, which may be its luck.
    fn waiting(client: Client, world: &World, rng: &mut SmallRng) -> Self {
        let ends = world.server.poll_timeout().expect("slots");
        Self {
            client,
            slot: None,
            renews: None,
            asks: around(ends, rng).max(world.now + Duration::from_millis(1)),
        }
    }

    fn ask(&mut self, world: &mut World, held: usize, came: &mut Came, rng: &mut SmallRng) {
        let Client { peer, connection } = self.client;
        let request = world.request();
        world.server.handle_reserve(self.client, request, world.now);
        let wanted = world.wanted();
        let (expected, event) = match self.slot {
            Some(_) => (Ok(()), Event::ReservationRenewed { peer, connection }),
            None if held < PLACES => (Ok(()), Event::ReservationAccepted { peer, connection }),
            None => {
                let denial = Denial::Full(Bound::Reservations);
                let denied = Event::ReservationDenied {
                    peer,
                    connection,
                    denial,
                };
                (Err(Refusal::ReservationRefused), denied)
            }
        };
        assert_eq!(answer(&wanted, request), expected);
        assert_eq!(wanted.events, [event]);
        match (self.renews, self.slot, expected) {
            (None, _, _) => {}
            (Some(end), slot, _) if world.now < end => {
                assert!(slot.is_some(), "nothing ends before its time");
                came.early += 1;
            }
            (Some(_), Some(_), _) => came.kept += 1,
            (Some(_), None, Ok(())) => came.late += 1,
            (Some(_), None, Err(_)) => came.lost += 1,
        }
        *self = match expected {
            Ok(()) => Self::holding(self.client, world, rng),
            Err(_) => Self::waiting(self.client, world, rng),
        };
    }
}

/// The timer: exactly those whose slot is over lose it.
fn ring(world: &mut World, at: Instant, peers: &mut [Peer]) {
    world.now = at;
    let wanted = world.pass(Duration::ZERO);
    let mut over = 0;
    for peer in peers.iter_mut().filter(|peer| peer.slot.is_some_and(|ends| ends <= at)) {
        peer.slot = None;
        over += 1;
        assert!(wanted.actions.contains(&Action::Release { client: peer.client }));
        let Client { peer, connection } = peer.client;
        let end = ReservationEnd::Expired;
        let ended = Event::ReservationEnded { peer, connection, end };
        assert!(wanted.events.contains(&ended));
    }
    assert!(over > 0);
    assert_eq!((wanted.actions.len(), wanted.events.len()), (over, over));
}

/// Up to 5 ms before or after, and often in the very moment.
fn around(end: Instant, rng: &mut SmallRng) -> Instant {
    let micros = match rng.random_range(0..4) {
        0 => AROUND.as_micros() as u64,
        _ => rng.random_range(0..=2 * AROUND.as_micros() as u64),
    };
    end - AROUND + Duration::from_micros(micros)
}

/// Every second timer is in time.
fn lateness(rng: &mut SmallRng) -> Duration {
    match rng.random() {
        true => Duration::ZERO,
        false => Duration::from_micros(rng.random_range(0..1_000)),
    }
}
