//! Ten thousand renewals over real connections, in the moment of the announced end.
//!
//! How exact a client's clock is, is for the machine to say; so the relay's own clock says which renewals count, and a
//! client whose renewal was on its way for a whole lifetime may find that its slot is gone, and gets another one.

use std::{
    collections::BTreeMap,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use futures::future::join_all;
use libp2p::PeerId;
use peerway_hop::{Access, AccessControl, Event, ReservationEnd, ReservationRequest};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use tokio::time::sleep;

use crate::support::{raw::Raw, relay};

const CLIENTS: usize = 100;
const RENEWALS: usize = 10_000;
/// Nobody tries more often, however few of all renewals come in the moment.
const TRIES: usize = 2 * RENEWALS / CLIENTS;
const LIFETIME: Duration = Duration::from_millis(200);
/// A slot is kept for twice as long as it was announced.
const KEPT: Duration = LIFETIME.saturating_mul(2);
const AROUND: Duration = Duration::from_millis(5);

/// Counts the renewals that come within 5 ms of the announced end, by the relay's clock.
struct Clock {
    granted: BTreeMap<PeerId, Instant>,
    came: Arc<AtomicUsize>,
}

impl AccessControl for Clock {
    fn reservation(&mut self, request: ReservationRequest<'_>) -> Access {
        let now = Instant::now();
        if let Some(granted) = self.granted.insert(request.peer, now) {
            let passed = now - granted;
            if passed.abs_diff(LIFETIME) <= AROUND {
                self.came.fetch_add(1, Ordering::Relaxed);
            }
        }
        Access::Allow
    }
}

/// What one client did.
struct Done {
    peer: PeerId,
    renewals: usize,
    /// Those that may have come after the real end.
    late: usize,
    /// Its reservation stands for as long as it is connected.
    _host: Raw,
}

/// Renews until all have renewed often enough. Every renewal is granted.
async fn renew(host: Raw, came: &AtomicUsize, mut rng: SmallRng) -> Done {
    let (mut renewals, mut late) = (0, 0);
    // So that not all come at once.
    sleep(LIFETIME.mul_f64(rng.random())).await;
    let mut asked = Instant::now();
    host.reserve().await.unwrap();
    let mut answered = Instant::now();
    while came.load(Ordering::Relaxed) < RENEWALS && renewals < TRIES {
        // Granted between the two, as far as the client knows. Its sleep is for whole milliseconds.
        let end = asked + (answered - asked) / 2 + LIFETIME;
        let at = end - AROUND + Duration::from_millis(rng.random_range(0..2 * AROUND.as_millis() as u64));
        tokio::time::sleep_until(at.into()).await;
        let before = std::mem::replace(&mut asked, Instant::now());
        host.reserve().await.unwrap();
        answered = Instant::now();
        renewals += 1;
        late += usize::from(answered - before >= KEPT);
    }
    Done {
        peer: host.node.id,
        renewals,
        late,
        _host: host,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_ten_thousand_renewals_come_in_the_moment_of_the_announced_end_all_are_granted_and_no_slot_is_lost() {
    let (relay, address) = relay(|config| {
        config.reservations.lifetime = LIFETIME;
        // Full, for each of them and for all: a renewal is not one more.
        config.reservations.per_peer = 1;
        config.reservations.total = CLIENTS;
    })
    .await;
    let came = Arc::new(AtomicUsize::new(0));
    let clock = Clock {
        granted: BTreeMap::new(),
        came: Arc::clone(&came),
    };
    relay.with(|swarm| swarm.behaviour_mut().set_access(clock)).await;
    let hosts = join_all((0..CLIENTS).map(|_| Raw::connect(&address))).await;
    let renewing = hosts.into_iter().zip(0..).map(|(host, seed)| {
        let came = Arc::clone(&came);
        tokio::spawn(async move { renew(host, &came, SmallRng::seed_from_u64(seed)).await })
    });
    let done: Vec<_> = join_all(renewing).await.into_iter().map(Result::unwrap).collect();

    assert!(relay.is_running());
    let mut told: BTreeMap<PeerId, (usize, usize)> = BTreeMap::new();
    for event in relay.events() {
        match event {
            Event::ReservationAccepted { peer, .. } => told.entry(peer).or_default().0 += 1,
            Event::ReservationRenewed { peer, .. } => told.entry(peer).or_default().1 += 1,
            // Of one that has done its part, or followed by another one.
            Event::ReservationEnded { end, .. } => assert_eq!(end, ReservationEnd::Expired),
            other => panic!("{other:?}"),
        }
    }
    for one in &done {
        let (accepted, renewed) = told[&one.peer];
        assert_eq!(accepted + renewed, 1 + one.renewals);
        assert!(accepted <= 1 + one.late, "lost a slot before its time");
    }
    let sum = |of: fn(&Done) -> usize| done.iter().map(of).sum::<usize>();
    let (renewals, late) = (sum(|one| one.renewals), sum(|one| one.late));
    println!("{renewals} renewals, {came:?} in the moment, {late} perhaps after the real end");
    assert!(renewals >= RENEWALS);
}
