//! Each limit on reservations and circuits in a running relay, as clients meet it: the last that fits is admitted, the next
//! is refused with the status that the specification has for it, and a full relay goes on renewing.

use std::{
    num::NonZeroU32,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};

use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use libp2p::{Multiaddr, Stream, identity::Keypair};
use native_relay::Limits;
use peerway_hop::Refusal;
use serde_json::Value;
use tokio::time::timeout;

use crate::{
    clients::raw::{Raw, told},
    support::{self, PATIENCE, TestRelay, eventually},
};

async fn relay_with(change: impl FnOnce(&mut Limits)) -> (TestRelay, Multiaddr) {
    let relay = TestRelay::start_with(|mut config| {
        change(&mut config.limits);
        config
    })
    .await;
    let address = relay.address("tcp");
    (relay, address)
}

fn n(number: u32) -> NonZeroU32 {
    number.try_into().unwrap()
}

async fn clients(count: usize, relay: &Multiaddr) -> Vec<Raw> {
    join_all((0..count).map(|_| Raw::connect(relay))).await
}

/// One that can be reached, and says back what it hears.
async fn host(relay: &Multiaddr) -> Raw {
    let host = Raw::connect(relay).await;
    host.serve(|stream| async move {
        let (reader, mut writer) = stream.split();
        // However the circuit ends.
        let _ = futures::io::copy(reader, &mut writer).await;
        let _ = writer.close().await;
    })
    .await;
    host.reserve().await.unwrap();
    host
}

/// Sends and hears it come back; how long that took.
async fn round_trip(stream: &mut Stream, bytes: usize) -> Duration {
    let started = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&vec![7; bytes]).await.unwrap();
        writer.flush().await.unwrap();
    };
    let read = async { reader.read_exact(&mut vec![0; bytes]).await.unwrap() };
    timeout(PATIENCE, futures::future::join(write, read)).await.unwrap();
    started.elapsed()
}

/// How often the ledger says that this was denied for this reason.
async fn denied(relay: &TestRelay, kind: &str, reason: &str) -> u64 {
    let stats: Value = serde_json::from_slice(&support::admin(relay, "/stats").await.body).unwrap();
    stats["totals"]["denials"][kind][reason].as_u64().unwrap()
}

async fn reservations_are(relay: &TestRelay, count: usize) {
    eventually("there are as many reservations", async || {
        (relay.relay.status().await?.reservations == count).then_some(())
    })
    .await;
}

async fn circuits_are(relay: &TestRelay, count: usize) {
    eventually("there are as many circuits", async || {
        (relay.relay.status().await?.circuits == count).then_some(())
    })
    .await;
}

/// As many as may get a reservation, the next one does not, renewals always do, and one that leaves makes room.
async fn hold_reservations(relay: &TestRelay, address: &Multiaddr, limit: usize, reason: &str) {
    let mut holders = clients(limit, address).await;
    for holder in &holders {
        holder.reserve().await.unwrap();
    }
    let next = Raw::connect(address).await;
    assert_eq!(next.reserve().await, Err(told(Refusal::ReservationRefused)));
    for holder in &holders {
        holder.reserve().await.unwrap();
    }
    assert_eq!(next.reserve().await, Err(told(Refusal::ReservationRefused)));
    assert_eq!(denied(relay, "reservation", reason).await, 2);
    drop(holders.pop());
    reservations_are(relay, limit - 1).await;
    next.reserve().await.unwrap();
}

#[tokio::test]
async fn when_as_many_peers_hold_a_reservation_as_may_the_next_is_refused() {
    let (relay, address) = relay_with(|limits| limits.reservations = n(3)).await;
    hold_reservations(&relay, &address, 3, "reservations").await;
}

#[tokio::test]
async fn when_as_many_peers_of_one_address_hold_a_reservation_as_may_the_next_is_refused() {
    let (relay, address) = relay_with(|limits| {
        limits.reservations_per_address = n(3);
        limits.shared_networks.clear();
    })
    .await;
    hold_reservations(&relay, &address, 3, "reservations_per_address").await;
}

#[tokio::test]
async fn when_a_network_is_shared_its_reservations_are_not_counted_per_address() {
    for networks in [&["127.0.0.0/8"][..], &["203.0.113.7", "127.0.0.1"]] {
        let (relay, address) = relay_with(|limits| {
            limits.reservations_per_address = n(1);
            limits.shared_networks = networks.iter().map(|network| network.parse().unwrap()).collect();
        })
        .await;
        for client in clients(4, &address).await.iter().collect::<Vec<_>>() {
            client.reserve().await.unwrap();
        }
        assert_eq!(denied(&relay, "reservation", "reservations_per_address").await, 0);
    }
}

#[tokio::test]
async fn when_a_reservation_is_granted_it_lasts_as_long_as_is_set() {
    let (_relay, address) = relay_with(|limits| limits.reservation_duration = "100s".parse().unwrap()).await;
    let granted = Raw::connect(&address).await.reserve().await.unwrap();
    let expires = granted.reservation.unwrap().expire.unwrap();
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((95..=100).contains(&(expires - now)), "{}", expires - now);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_relay_is_full_all_renewals_succeed_while_ten_times_as_many_strangers_ask() {
    const HOLDERS: usize = 12;
    const ROUNDS: usize = 10;
    let (relay, address) = relay_with(|limits| limits.reservations = n(HOLDERS as u32)).await;
    let holders = clients(HOLDERS, &address).await;
    for holder in &holders {
        holder.reserve().await.unwrap();
    }
    let strangers = clients(10 * HOLDERS, &address).await;
    for _ in 0..ROUNDS {
        let renewals = join_all(holders.iter().map(Raw::reserve));
        let others = join_all(strangers.iter().map(Raw::reserve));
        let (renewals, others) = tokio::join!(renewals, others);
        assert!(renewals.iter().all(Result::is_ok), "{renewals:?}");
        let refused = Err(told(Refusal::ReservationRefused));
        assert!(others.iter().all(|answer| *answer == refused), "{others:?}");
    }
    let status = relay.relay.status().await.unwrap();
    assert_eq!(status.reservations, HOLDERS);
    let strangers_asked = (10 * HOLDERS * ROUNDS) as u64;
    assert_eq!(denied(&relay, "reservation", "reservations").await, strangers_asked);
}

#[tokio::test]
async fn when_there_are_as_many_circuits_as_may_be_the_next_is_refused() {
    let (relay, address) = relay_with(|limits| limits.circuits = n(3)).await;
    let host = host(&address).await;
    let guests = clients(4, &address).await;
    let mut streams = Vec::new();
    for guest in &guests[..3] {
        streams.push(guest.reach(host.node.id).await.unwrap());
    }
    let refused = guests[3].reach(host.node.id).await.err();
    assert_eq!(refused, Some(told(Refusal::ResourceLimitExceeded)));
    assert_eq!(denied(&relay, "circuit", "circuits").await, 1);
    streams.pop();
    circuits_are(&relay, 2).await;
    guests[3].reach(host.node.id).await.unwrap();
}

#[tokio::test]
async fn when_a_peer_comes_anew_its_slot_goes_over_to_its_new_connection() {
    let (relay, address) = relay_with(|limits| limits.reservations = n(1)).await;
    let keys = Keypair::generate_ed25519();
    let first = Raw::connect_as(keys.clone(), &address).await;
    first.reserve().await.unwrap();
    let second = Raw::connect_as(keys, &address).await;
    // Whether the first connection is gone already or not: it is the same peer, and holds one of one.
    second.reserve().await.unwrap();
    eventually("the older connection is closed", async || {
        (relay.relay.status().await?.connected == 1 && first.open().await.is_err()).then_some(())
    })
    .await;
    assert_eq!(relay.relay.status().await.unwrap().reservations, 1);
    second.reserve().await.unwrap();
}

#[tokio::test]
async fn when_a_peer_has_as_many_circuits_as_it_may_at_either_end_the_next_is_refused() {
    let (relay, address) = relay_with(|limits| limits.circuits_per_peer = n(2)).await;
    let hosts = [host(&address).await, host(&address).await];
    let guests = clients(2, &address).await;
    let refused = Some(told(Refusal::ResourceLimitExceeded));
    let mut streams = Vec::new();
    for host in &hosts {
        streams.push(guests[0].reach(host.node.id).await.unwrap());
    }
    assert_eq!(
        guests[0].reach(hosts[0].node.id).await.err(),
        refused,
        "the source has as many"
    );
    streams.push(guests[1].reach(hosts[0].node.id).await.unwrap());
    assert_eq!(
        guests[1].reach(hosts[0].node.id).await.err(),
        refused,
        "the destination has as many"
    );
    streams.push(guests[1].reach(hosts[1].node.id).await.unwrap());
    assert_eq!(denied(&relay, "circuit", "circuits_per_peer").await, 2);
    streams.clear();
    circuits_are(&relay, 0).await;
    guests[0].reach(hosts[0].node.id).await.unwrap();
}

#[tokio::test]
async fn when_a_circuit_has_lasted_as_long_as_it_may_it_ends() {
    let (relay, address) = relay_with(|limits| limits.circuit_duration = "1s".parse().unwrap()).await;
    let host = host(&address).await;
    let guest = Raw::connect(&address).await;
    let started = Instant::now();
    let mut stream = guest.reach(host.node.id).await.unwrap();
    round_trip(&mut stream, 10).await;
    let ended = timeout(PATIENCE, stream.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    assert!(started.elapsed() >= Duration::from_secs(1));
    circuits_are(&relay, 0).await;
    let stats: Value = serde_json::from_slice(&support::admin(&relay, "/stats").await.body).unwrap();
    assert_eq!(stats["totals"]["circuitsClosed"]["duration_limit"], 1, "{stats}");
}

#[tokio::test]
async fn when_a_circuit_has_carried_what_it_may_in_a_direction_the_next_byte_ends_it() {
    const LIMIT: usize = 100_000;
    let (relay, address) = relay_with(|limits| limits.circuit_bytes = format!("{LIMIT}B").parse().unwrap()).await;
    let host = host(&address).await;
    let guest = Raw::connect(&address).await;
    let mut stream = guest.reach(host.node.id).await.unwrap();
    round_trip(&mut stream, LIMIT).await;
    assert_eq!(
        relay.relay.status().await.unwrap().circuits,
        1,
        "each direction has its own"
    );
    let _ = stream.write_all(b"!").await;
    let _ = stream.flush().await;
    circuits_are(&relay, 0).await;
    let stats: Value = serde_json::from_slice(&support::admin(&relay, "/stats").await.body).unwrap();
    let totals = &stats["totals"];
    assert_eq!(totals["circuitsClosed"]["data_limit"], 1, "{stats}");
    assert_eq!(
        (&totals["bytesToDestination"], &totals["bytesToSource"]),
        (&LIMIT.into(), &LIMIT.into())
    );
}

#[tokio::test]
async fn when_a_circuit_has_carried_its_burst_its_rate_holds() {
    let (_relay, address) = relay_with(|limits| {
        limits.circuit_burst = "200kB".parse().unwrap();
        limits.circuit_rate = "200kB".parse().unwrap();
    })
    .await;
    let host = host(&address).await;
    let guest = Raw::connect(&address).await;
    let mut stream = guest.reach(host.node.id).await.unwrap();
    let burst = round_trip(&mut stream, 190_000).await;
    let rest = round_trip(&mut stream, 200_000).await;
    assert!(
        burst < Duration::from_millis(900),
        "{burst:?} for what fits into the burst"
    );
    assert!(
        rest >= Duration::from_millis(900) - burst,
        "{rest:?} for a second's worth"
    );
}
