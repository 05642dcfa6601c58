//! A relay that is a client of others: it is reached through them, and says why not if not.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::SwarmEvent};
use native_relay::{Mode, NeighbourState, NeighbourStatus, Reach, SlotState, Status};
use peerway_core::reservation::RelayFailure;

use crate::support::{PATIENCE, Peer, Refuses, TestRelay, eventually, get, try_anew};

/// Within which every cause is told.
const SECONDS: Duration = Duration::from_secs(8);

/// A relay of this mode that names these others.
async fn relay(mode: Mode, others: &[Multiaddr]) -> TestRelay {
    let addresses = others
        .iter()
        .map(|address| address.to_string().parse().unwrap())
        .collect();
    TestRelay::start_with(|mut config| {
        config.relays.addresses = addresses;
        config.relays.mode = mode;
        config
    })
    .await
}

fn without_id(address: Multiaddr) -> Multiaddr {
    address
        .iter()
        .filter(|part| !matches!(part, Protocol::P2p(_)))
        .collect()
}

async fn until(relay: &TestRelay, what: &str, is: impl Fn(&[NeighbourStatus]) -> bool) -> Status {
    until_within(PATIENCE, relay, what, is).await
}

async fn until_within(
    within: Duration,
    relay: &TestRelay,
    what: &str,
    is: impl Fn(&[NeighbourStatus]) -> bool,
) -> Status {
    let seen = async {
        loop {
            let status = relay.relay.status().await.unwrap();
            if is(&status.relays) {
                return status;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    match tokio::time::timeout(within, seen).await {
        Ok(status) => status,
        Err(_) => panic!("not within {within:?}: {what}: {:?}", relay.relay.status().await),
    }
}

fn holds_all(relays: &[NeighbourStatus]) -> bool {
    let fine = |relay: &NeighbourStatus| (&relay.state, &relay.slot) == (&NeighbourState::Joined, &SlotState::Held);
    !relays.is_empty() && relays.iter().all(fine)
}

/// Dials `to` through `through`, as a stranger.
async fn reaches(through: &Multiaddr, to: &TestRelay) {
    let wanted = to.relay.peer_id();
    let mut stranger = Peer::new();
    let circuit = through.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(wanted));
    stranger.swarm.dial(circuit).unwrap();
    let relayed = stranger.until("a circuit", |event| match event {
        SwarmEvent::ConnectionEstablished { peer_id, endpoint, .. } if peer_id == wanted => Some(endpoint.is_relayed()),
        SwarmEvent::OutgoingConnectionError { error, .. } => panic!("{error:?}"),
        _ => None,
    });
    assert!(relayed.await);
}

#[tokio::test(flavor = "multi_thread")]
async fn over_every_transport_a_relay_that_is_a_client_is_reached_through_the_other_and_says_so() {
    let public = TestRelay::start().await;
    for transport in ["tcp", "quic-v1", "ws", "webrtc-direct"] {
        let (inner, status) = try_anew(async || {
            // It becomes known while the other one runs, and its id when it answers.
            let inner = relay(Mode::Both, &[]).await;
            let address = without_id(public.address(transport)).to_string();
            inner.relay.name_relay(address.parse().unwrap()).await.unwrap();
            let status = until(&inner, transport, holds_all).await;
            (inner, status)
        })
        .await;
        assert_eq!(status.reach, Reach::Circuit);
        assert_eq!(status.relays[0].peer, Some(public.relay.peer_id()));
        reaches(&public.address("tcp"), &inner).await;

        let document = get(inner.relay.http_addr(), "/relay.json", "").await;
        let document: serde_json::Value = serde_json::from_slice(&document.body).unwrap();
        assert_eq!(document["reach"], "circuit");
        assert_eq!(document["relays"][0]["peerId"], public.relay.peer_id().to_string());
        let addresses = document["addrs"].to_string();
        assert!(
            !addresses.contains("p2p-circuit"),
            "nobody can reserve there: {addresses}"
        );

        // Its own clients get slots all the same, for those who are as near.
        let mut peer = Peer::new();
        let relayed = peer.reserve(&inner.address("tcp")).await;
        let circuits = relayed.iter().filter(|part| *part == Protocol::P2pCircuit).count();
        assert_eq!(circuits, 1, "no circuits inside circuits: {relayed}");
    }
    assert_eq!(public.relay.status().await.unwrap().reach, Reach::Direct);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_holds_slots_on_two_and_one_dies_it_is_reached_through_the_other() {
    let (first, second) = (TestRelay::start().await, TestRelay::start().await);
    let second_address = second.address("ws");
    let inner = relay(Mode::Both, &[first.address("tcp"), second_address.clone()]).await;
    until(&inner, "both slots", holds_all).await;
    first.relay.shutdown().await;
    let status = until(&inner, "one is lost", |relays| relays[0].slot != SlotState::Held).await;
    assert_eq!(status.relays[1].slot, SlotState::Held);
    reaches(&second_address, &inner).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_two_relays_are_clients_of_each_other_one_connection_carries_both_slots() {
    for with_id in [true, false] {
        // It would take a slot on whoever comes, and the one who comes takes one here.
        let first = TestRelay::start_with(|mut config| {
            config.relays.mode = Mode::Both;
            config.relays.unnamed = 1;
            config.limits.shared_networks.clear();
            config
        })
        .await;
        let name = |relay: &TestRelay| {
            let address = relay.address("tcp");
            if with_id { address } else { without_id(address) }
        };
        let second = relay(Mode::Both, &[name(&first)]).await;
        until(&second, "its slot", holds_all).await;
        eventually("a slot on who came", async || {
            let status = first.relay.status().await?;
            (status.unnamed.len() == 1 && status.unnamed[0].slot == SlotState::Held).then_some(())
        })
        .await;
        first
            .relay
            .name_relay(name(&second).to_string().parse().unwrap())
            .await
            .unwrap();
        for relay in [&first, &second] {
            until(relay, "both slots", holds_all).await;
        }
        let settled = async || {
            let [one, other] = [first.relay.status().await?, second.relay.status().await?];
            (holds_all(&one.relays) && holds_all(&other.relays) && one.connected == 1 && other.connected == 1)
                .then_some(())
        };
        eventually("they have settled", settled).await;
        for _ in 0..50 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            assert_eq!(settled().await, Some(()), "they quarrel, with id: {with_id}");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_is_only_a_client_it_offers_no_slots_and_who_asks_for_one_learns_why() {
    let public = TestRelay::start().await;
    let client = relay(Mode::Client, &[public.address("tcp")]).await;
    until(&client, "its slot", holds_all).await;
    reaches(&public.address("tcp"), &client).await;

    let misled = relay(Mode::Both, &[client.address("tcp"), public.address("tcp")]).await;
    let status = until_within(SECONDS, &misled, "what it is", |relays| {
        matches!(relays[0].state, NeighbourState::Failed(_)) && relays[1].slot == SlotState::Held
    })
    .await;
    assert_eq!(status.relays[0].state, NeighbourState::Failed(RelayFailure::NotARelay));
    assert_eq!(status.relays[0].slot, SlotState::Failed(RelayFailure::NotARelay));
}

#[tokio::test(flavor = "multi_thread")]
async fn when_there_is_no_slot_the_cause_is_in_the_status_within_seconds() {
    let gone = Refuses::new();
    let full = TestRelay::start_with(|mut config| {
        config.limits.reservations = 1.try_into().unwrap();
        config
    })
    .await;
    let mut only = Peer::new();
    only.reserve(&full.address("tcp")).await;
    let serves = tokio::spawn(async move { only.until("never", |_| None::<()>).await });

    let inner = relay(Mode::Both, &[gone.address(PeerId::random()), full.address("tcp")]).await;
    let status = until_within(SECONDS, &inner, "both causes", |relays| {
        relays.iter().all(|relay| matches!(relay.slot, SlotState::Failed(_)))
    })
    .await;
    let [gone, full] = status.relays.as_slice() else {
        panic!("{status:?}");
    };
    assert!(matches!(&gone.slot, SlotState::Failed(RelayFailure::Unreachable(cause)) if cause.contains("refused")));
    assert!(matches!(&full.slot, SlotState::Failed(RelayFailure::Refused(cause)) if cause.contains("refused")));
    assert_eq!(full.state, NeighbourState::Joined, "they are one network all the same");
    assert_eq!(status.reach, Reach::Direct);
    serves.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_holds_slots_on_many_what_it_says_of_itself_still_fits_into_one_message() {
    let others = [
        TestRelay::start().await,
        TestRelay::start().await,
        TestRelay::start().await,
    ];
    let addresses: Vec<Multiaddr> = others.iter().map(|other| other.address("tcp")).collect();
    let inner = relay(Mode::Both, &addresses).await;
    until(&inner, "all slots", holds_all).await;
    // Whoever names it reads what it says of itself.
    let reader = relay(Mode::Server, &[inner.address("tcp")]).await;
    eventually("it is understood", async || {
        let status = reader.relay.status().await?;
        (status.relays[0].state == NeighbourState::Joined).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_asks_for_a_token_its_clients_show_it_theirs_if_it_is_who_was_named() {
    const TOKEN: &str = "0123456789abcdef";
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, token: &str| {
        let path = dir.path().join(name);
        std::fs::write(&path, token).unwrap();
        path
    };
    let (right, wrong) = (file("right", TOKEN), file("wrong", "fedcba9876543210"));
    let asks = TestRelay::start_with(|mut config| {
        config.access.token_file = Some(right.clone());
        config
    })
    .await;
    let address = asks.address("tcp");
    for (name, token, slot) in [
        (address.clone(), Some(&right), SlotState::Held),
        (
            address.clone(),
            Some(&wrong),
            SlotState::Failed(RelayFailure::WrongToken),
        ),
        (address.clone(), None, SlotState::Failed(RelayFailure::NotAllowed)),
        // Whoever is there could collect tokens.
        (
            without_id(address),
            Some(&right),
            SlotState::Failed(RelayFailure::NotAllowed),
        ),
    ] {
        let client = TestRelay::start_with(|mut config| {
            config.relays.addresses = vec![name.to_string().parse().unwrap()];
            config.relays.mode = Mode::Client;
            config.relays.token_file = token.cloned();
            config
        })
        .await;
        let decided = |relays: &[NeighbourStatus]| relays[0].slot == slot;
        until_within(SECONDS, &client, &format!("{slot:?} with {token:?}"), decided).await;
    }
}
