//! Several relays that are one network: who dials, what is shared, what happens when one fails.

use std::{collections::BTreeMap, time::Duration};

use futures::{StreamExt, future::join_all};
use libp2p::{Multiaddr, PeerId, gossipsub, multiaddr::Protocol, request_response, swarm::SwarmEvent};
use native_relay::{Config, NeighbourState, Relay, RelayAddress};
use peerway_core::{protocol::DISCOVERY_TOPIC, reservation::RelayFailure, snapshot::SnapshotRequest};

use crate::support::{self, Peer, PeerBehaviourEvent, Refuses, TestRelay, admin, eventually, get, try_anew};

const OTHER_ROOM: &str = "peerway/room/1/fedcba9876543210fedcba9876543210";
const ROOM: &str = "peerway/room/1/0123456789abcdef0123456789abcdef";

/// Failures and their causes are known by then.
const SECONDS: Duration = Duration::from_secs(8);

/// A relay that names these others.
async fn relay_with(others: impl IntoIterator<Item = Multiaddr>) -> TestRelay {
    let addresses = others.into_iter().map(|address| named(&address)).collect();
    TestRelay::start_with(|config| naming(config, addresses)).await
}

fn naming(mut config: Config, addresses: Vec<RelayAddress>) -> Config {
    config.relays.addresses = addresses;
    config
}

fn named(address: &Multiaddr) -> RelayAddress {
    address.to_string().parse().unwrap()
}

fn without_id(address: Multiaddr) -> Multiaddr {
    address
        .iter()
        .filter(|part| !matches!(part, Protocol::P2p(_)))
        .collect()
}

async fn states(relay: &Relay) -> Vec<NeighbourState> {
    let status = relay.status().await.unwrap();
    status.relays.into_iter().map(|relay| relay.state).collect()
}

/// Waits until every relay that this one names has joined.
async fn joined(relay: &TestRelay) {
    let all = async {
        while !states(&relay.relay)
            .await
            .iter()
            .all(|state| *state == NeighbourState::Joined)
        {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    };
    if tokio::time::timeout(support::PATIENCE, all).await.is_err() {
        panic!("not all have joined: {:?}", states(&relay.relay).await);
    }
}

/// Three relays, of which each later one names those before it, without their ids.
async fn triangle() -> [TestRelay; 3] {
    let first = TestRelay::start().await;
    let second = relay_with([without_id(first.address("tcp"))]).await;
    let third = relay_with([&first, &second].map(|relay| without_id(relay.address("tcp")))).await;
    for relay in [&second, &third] {
        joined(relay).await;
    }
    [first, second, third]
}

/// What `/relay.json` lists: peer ids and addresses.
async fn listed(relay: &TestRelay) -> BTreeMap<String, Vec<String>> {
    let answer = get(relay.relay.http_addr(), "/relay.json", "").await;
    let document: serde_json::Value = serde_json::from_slice(&answer.body).unwrap();
    let relays = document["relays"].as_array().unwrap().iter().map(|relay| {
        let addrs = relay["addrs"].as_array().unwrap().iter();
        let addrs = addrs.map(|address| address.as_str().unwrap().to_owned()).collect();
        (relay["peerId"].as_str().unwrap().to_owned(), addrs)
    });
    relays.collect()
}

/// Runs swarms that have nothing to do but to answer.
async fn idle(peers: impl IntoIterator<Item = &mut Peer>) {
    join_all(peers.into_iter().map(|peer| peer.until("never", |_| None::<()>))).await;
}

/// Publishes as soon as somebody takes it.
async fn announce(peer: &mut Peer) {
    let data = peer.announcement();
    loop {
        match peer.publish(DISCOVERY_TOPIC, data.clone()) {
            Ok(_) => return,
            Err(_) => drop(peer.swarm.select_next_some().await),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn those_who_run_a_relay_see_how_it_stands_with_the_others() {
    let other = TestRelay::start().await;
    let (gone, gone_id) = (Refuses::new(), PeerId::random());
    let relay = relay_with([other.address("tcp"), gone.address(gone_id)]).await;
    let stats = eventually("both are told", async || {
        let stats: serde_json::Value = serde_json::from_slice(&admin(&relay, "/stats").await.body).unwrap();
        let states: Vec<_> = stats["relays"]
            .as_array()
            .unwrap()
            .iter()
            .map(|one| &one["state"])
            .collect();
        (states == ["joined", "failed"]).then(|| stats.clone())
    })
    .await;
    let ids = [other.relay.peer_id(), gone_id].map(|peer| peer.to_string());
    for (shown, id) in stats["relays"].as_array().unwrap().iter().zip(ids) {
        assert_eq!((&shown["peerId"], &shown["slot"]), (&id.into(), &"not_wanted".into()));
    }
    assert_eq!(stats["reach"], "direct");
    let metrics = String::from_utf8(admin(&relay, "/metrics").await.body).unwrap();
    for line in ["joined\"} 1", "failed\"} 1", "connecting\"} 0"] {
        assert!(
            metrics.contains(&format!("peerway_relay_relays{{state=\"{line}")),
            "{line}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_is_named_that_is_connected_already_they_become_one_network() {
    let (first, second) = (TestRelay::start().await, TestRelay::start().await);
    first
        .relay
        .name_relay(second.address("tcp").to_string().parse().unwrap())
        .await
        .unwrap();
    joined(&first).await;
    // To the second the first one has been anybody until now.
    second
        .relay
        .name_relay(first.address("tcp").to_string().parse().unwrap())
        .await
        .unwrap();
    joined(&second).await;
    let listed = listed(&second).await;
    assert!(listed.contains_key(&first.relay.peer_id().to_string()), "{listed:?}");
    joined(&first).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whichever_transport_a_relay_is_named_by_they_become_one_network_and_pages_are_told() {
    let other = TestRelay::start().await;
    for transport in ["tcp", "quic-v1", "ws", "webrtc-direct"] {
        let relay = try_anew(async || {
            let relay = relay_with([other.address(transport)]).await;
            joined(&relay).await;
            relay
        })
        .await;
        let listed = listed(&relay).await;
        let addresses = &listed[&other.relay.peer_id().to_string()];
        for page_transport in ["ws", "webrtc-direct"] {
            assert!(
                addresses.contains(&other.address(page_transport).to_string()),
                "{addresses:?}"
            );
        }
        assert_eq!(addresses.len(), 2, "pages speak nothing else: {addresses:?}");
    }
    assert_eq!(listed(&other).await, BTreeMap::new(), "it named nobody");
}

#[tokio::test(flavor = "multi_thread")]
async fn when_three_relays_are_one_network_every_announcement_reaches_every_peer_once() {
    const PEERS_EACH: usize = 4;
    let relays = triangle().await;
    // Without a memory of what it has seen, a peer delivers each copy that reaches it.
    let forgetful = || Peer::with_gossip(|gossip| gossip.duplicate_cache_time(Duration::from_nanos(1)));
    let mut peers: Vec<Peer> = Vec::new();
    for relay in &relays {
        for _ in 0..PEERS_EACH {
            let mut peer = forgetful();
            peer.join(&relay.address("tcp"), &[DISCOVERY_TOPIC]).await;
            peers.push(peer);
        }
    }
    let meshes = eventually("everybody is on the meshes", async || {
        let mut meshes = Vec::new();
        for relay in &relays {
            meshes.push(*relay.relay.status().await?.mesh.get(DISCOVERY_TOPIC)?);
        }
        meshes.iter().all(|mesh| *mesh == PEERS_EACH + 2).then_some(())
    });
    tokio::select! {
        () = meshes => {}
        () = idle(&mut peers) => unreachable!("they only serve"),
    }

    let all = PEERS_EACH * relays.len();
    let deliveries = join_all(peers.iter_mut().map(async |peer| {
        announce(peer).await;
        let mut heard: BTreeMap<PeerId, usize> = BTreeMap::new();
        while heard.len() < all - 1 {
            *heard.entry(peer.hear().await.0).or_default() += 1;
        }
        // What comes now is too much.
        for (source, _) in peer.listen_for(Duration::from_secs(3)).await {
            *heard.entry(source).or_default() += 1;
        }
        assert!(!heard.contains_key(&peer.id()), "its own came back");
        heard.values().sum::<usize>()
    }))
    .await;
    assert_eq!(deliveries, vec![all - 1; all]);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_comes_late_its_newcomers_learn_who_announced_itself_elsewhere_before() {
    let first = TestRelay::start().await;
    let mut early = Peer::new();
    early.join(&first.address("tcp"), &[DISCOVERY_TOPIC]).await;
    announce(&mut early).await;
    let early_id = early.id();
    let serves = tokio::spawn(async move { early.until("never", |_| None::<()>).await });

    let second = relay_with([first.address("tcp")]).await;
    let second_id = second.relay.peer_id();
    let mut newcomer = Peer::new();
    newcomer.join(&second.address("ws"), &[DISCOVERY_TOPIC]).await;
    let asks = async {
        loop {
            let snapshots = &mut newcomer.swarm.behaviour_mut().snapshots;
            snapshots.send_request(&second_id, SnapshotRequest {});
            let answer = newcomer.until("the relay answers", |event| match event {
                SwarmEvent::Behaviour(PeerBehaviourEvent::Snapshots(request_response::Event::Message {
                    message: request_response::Message::Response { response, .. },
                    ..
                })) => Some(response),
                _ => None,
            });
            if let Some(heard) = answer.await.verify().next() {
                return heard.announcement.peer();
            }
        }
    };
    let heard = tokio::time::timeout(support::PATIENCE, asks).await.unwrap();
    assert_eq!(heard, early_id);
    serves.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_members_of_a_room_are_at_two_relays_they_hear_each_other_and_then_the_room_is_left() {
    let [first, second, third] = triangle().await;
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.join(&first.address("tcp"), &[DISCOVERY_TOPIC, ROOM]).await;
    b.join(&second.address("ws"), &[DISCOVERY_TOPIC, ROOM]).await;
    let follows = |event| match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { topic, .. })) => {
            (topic.as_str() == ROOM).then_some(())
        }
        _ => None,
    };
    tokio::join!(
        a.until("its relay follows the room", follows),
        b.until("its relay follows the room", follows)
    );
    let meshed = eventually("the room's mesh reaches from relay to relay", async || {
        for relay in [&first, &second] {
            let mesh = relay.relay.status().await?.mesh;
            mesh.get(ROOM).filter(|peers| **peers == 2)?;
        }
        Some(())
    });
    tokio::select! {
        () = meshed => {}
        () = idle([&mut a, &mut b]) => unreachable!("they only serve"),
    }
    assert!(
        !third.relay.status().await.unwrap().mesh.contains_key(ROOM),
        "nobody is there"
    );

    for (line, speaker, listener) in [("hello", 0, 1), ("there", 1, 0)] {
        let both = [&mut a, &mut b];
        let speaker_id = both[speaker].id();
        both[speaker].publish(ROOM, line.into()).unwrap();
        let [a, b] = both;
        let (speaker, listener) = if listener == 1 { (a, b) } else { (b, a) };
        let heard = tokio::select! {
            heard = listener.hear() => heard,
            () = idle([speaker]) => unreachable!("it only serves"),
        };
        assert_eq!(heard, (speaker_id, line.into()));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_members_of_a_room_are_gone_two_relays_do_not_keep_it_for_each_other() {
    // One that is kept by nobody lingers, and makes way for another; one that counts would not.
    let one_room = |mut config: Config| {
        config.limits.rooms = 1.try_into().unwrap();
        config
    };
    let first = TestRelay::start_with(one_room).await;
    let address = named(&first.address("tcp"));
    let second = TestRelay::start_with(|config| naming(one_room(config), vec![address])).await;
    joined(&second).await;
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.join(&first.address("tcp"), &[DISCOVERY_TOPIC, ROOM]).await;
    b.join(&second.address("ws"), &[DISCOVERY_TOPIC, ROOM]).await;
    for (room, before) in [(ROOM, None), (OTHER_ROOM, Some(ROOM))] {
        for peer in [&mut a, &mut b] {
            let gossip = &mut peer.swarm.behaviour_mut().gossip;
            if let Some(before) = before {
                gossip.unsubscribe(&gossipsub::IdentTopic::new(before));
            }
            gossip.subscribe(&gossipsub::IdentTopic::new(room)).unwrap();
        }
        let followed = eventually("both relays follow this room and no other", async || {
            for relay in [&first, &second] {
                let mesh = relay.relay.status().await?.mesh;
                let others = mesh.keys().filter(|topic| *topic != DISCOVERY_TOPIC && *topic != room);
                (others.count() == 0 && mesh.get(room) == Some(&2)).then_some(())?;
            }
            Some(())
        });
        tokio::select! {
            () = followed => {}
            () = idle([&mut a, &mut b]) => unreachable!("they only serve"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_one_named_relay_is_gone_and_one_is_somebody_else_the_causes_are_told_within_seconds_and_the_third_joins()
{
    let (gone, other, good) = (Refuses::new(), TestRelay::start().await, TestRelay::start().await);
    let gone_address = gone.address(PeerId::random());
    let expected = PeerId::random();
    let somebody_else = without_id(other.address("tcp")).with(Protocol::P2p(expected));
    // Nobody answers there: RFC 5737.
    let silent: Multiaddr = "/ip4/192.0.2.7/udp/4001/quic-v1".parse().unwrap();
    let relay = relay_with([gone_address, somebody_else, silent, good.address("tcp")]).await;
    let known = eventually("all four are decided", async || {
        let states = states(&relay.relay).await;
        matches!(
            states.as_slice(),
            [
                NeighbourState::Failed(RelayFailure::Unreachable(_)),
                NeighbourState::Failed(RelayFailure::WrongPeer),
                NeighbourState::Failed(_),
                NeighbourState::Joined
            ]
        )
        .then_some(())
    });
    if tokio::time::timeout(SECONDS, known).await.is_err() {
        panic!("not all are decided: {:?}", states(&relay.relay).await);
    }
    assert_eq!(
        listed(&relay).await.into_keys().collect::<Vec<_>>(),
        [good.relay.peer_id().to_string()]
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn when_a_relay_restarts_the_others_have_it_back_and_pages_are_told_so() {
    let mut first = TestRelay::start().await;
    let http = first.relay.http_addr();
    let address = first.address("ws");
    let second = relay_with([address]).await;
    joined(&second).await;

    let config = Config {
        http: Some(http),
        ..Config::ephemeral(first.dir.path().to_owned())
    };
    first.relay.shutdown().await;
    eventually("it is missed", async || {
        matches!(states(&second.relay).await[..], [NeighbourState::Failed(_)]).then_some(())
    })
    .await;
    assert_eq!(listed(&second).await, BTreeMap::new());
    first.relay = Relay::start(config).await.unwrap();
    joined(&second).await;
    assert_eq!(listed(&second).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn when_both_name_each_other_one_connection_is_kept() {
    let first = TestRelay::start().await;
    let config = Config {
        http: Some(first.relay.http_addr()),
        ..Config::ephemeral(first.dir.path().to_owned())
    };
    let second = relay_with([first.address("ws")]).await;
    joined(&second).await;
    // Now it names the other, too, and both dial as soon as it is back.
    first.relay.shutdown().await;
    let first = TestRelay {
        relay: Relay::start(naming(config, vec![named(&second.address("tcp"))]))
            .await
            .unwrap(),
        dir: first.dir,
    };
    for relay in [&first, &second] {
        joined(relay).await;
    }
    let lasts = async {
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(100)).await;
            for relay in [&first, &second] {
                assert_eq!(states(&relay.relay).await, [NeighbourState::Joined]);
                assert_eq!(relay.relay.status().await.unwrap().connected, 1);
            }
        }
    };
    lasts.await;
    assert_eq!(listed(&first).await.len(), 1);
    assert_eq!(listed(&second).await.len(), 1);
}
