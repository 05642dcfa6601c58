//! Each limit on connections, memory, frames, queues, announcements and rooms in a running relay: the last that fits is let
//! in, the next is not.

use std::{num::NonZeroU32, time::Duration};

use futures::future::{join_all, select_all};
use libp2p::{Multiaddr, gossipsub, swarm::SwarmEvent};
use native_relay::Limits;
use peerway_core::protocol::DISCOVERY_TOPIC;
use tokio::{io::AsyncWriteExt, net::TcpStream, time::timeout};

use crate::support::{self, PATIENCE, Peer, PeerBehaviourEvent, TestRelay, until_closed, websocket};

const ROOM: &str = "peerway/room/1/0123456789abcdef0123456789abcdef";
const OTHER_ROOM: &str = "peerway/room/1/fedcba9876543210fedcba9876543210";
/// How long the relay gets to close what it should keep.
const A_WHILE: Duration = Duration::from_secs(1);

async fn relay_with(change: impl FnOnce(&mut Limits)) -> TestRelay {
    TestRelay::start_with(|mut config| {
        change(&mut config.limits);
        config
    })
    .await
}

fn n(number: u32) -> NonZeroU32 {
    number.try_into().unwrap()
}

#[derive(Debug, PartialEq, Eq)]
enum Answer {
    LetIn,
    Refused,
}

/// Dials, and waits until the relay says hello or hangs up.
async fn knock(peer: &mut Peer, relay: &Multiaddr) -> Answer {
    peer.swarm.dial(relay.clone()).unwrap();
    peer.until("the relay answers", |event| match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { .. })) => Some(Answer::LetIn),
        SwarmEvent::OutgoingConnectionError { .. } | SwarmEvent::ConnectionClosed { .. } => Some(Answer::Refused),
        _ => None,
    })
    .await
}

/// The same, while those who are in stay there.
async fn knock_beside(others: &mut [Peer], peer: &mut Peer, relay: &Multiaddr) -> Answer {
    if others.is_empty() {
        return knock(peer, relay).await;
    }
    let others = select_all(others.iter_mut().map(|other| Box::pin(stay(other))));
    tokio::select! {
        answer = knock(peer, relay) => answer,
        _ = others => unreachable!("they only stay"),
    }
}

async fn stay(peer: &mut Peer) {
    loop {
        peer.listen_for(PATIENCE).await;
    }
}

/// Waits until the ledger says that a connection was denied, and why.
async fn denied_by(relay: &TestRelay, reason: &str) {
    support::eventually("the ledger says so", async || {
        let stats = support::admin(relay, "/stats").await;
        let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
        let denials = stats["totals"]["denials"]["connection"].as_object().unwrap().clone();
        let others = denials.iter().filter(|(name, count)| *name != reason && **count != 0);
        assert_eq!(others.count(), 0, "{denials:?}");
        (denials[reason] != 0).then_some(())
    })
    .await;
}

/// As many as may are let in, the next is refused, and after one left another is let in.
async fn hold(relay: &TestRelay, limit: usize, reason: &str) {
    let address = relay.address("tcp");
    let mut inside = Vec::new();
    for number in 0..limit {
        let mut peer = Peer::new();
        assert_eq!(
            knock_beside(&mut inside, &mut peer, &address).await,
            Answer::LetIn,
            "{number}"
        );
        inside.push(peer);
    }
    assert_eq!(
        knock_beside(&mut inside, &mut Peer::new(), &address).await,
        Answer::Refused
    );
    denied_by(relay, reason).await;
    inside.pop();
    support::eventually("a place is free", async || {
        (relay.relay.status().await?.connected < limit).then_some(())
    })
    .await;
    assert_eq!(
        knock_beside(&mut inside, &mut Peer::new(), &address).await,
        Answer::LetIn
    );
}

#[tokio::test]
async fn when_there_are_as_many_connections_as_may_be_the_next_is_refused() {
    hold(&relay_with(|limits| limits.connections = n(3)).await, 3, "connections").await;
}

#[tokio::test]
async fn when_an_address_has_as_many_connections_as_it_may_the_next_is_refused() {
    let limit = |limits: &mut Limits| {
        limits.connections_per_address = n(3);
        limits.shared_networks.clear();
    };
    hold(&relay_with(limit).await, 3, "connections_per_address").await;
}

#[tokio::test]
async fn when_a_peer_has_as_many_connections_as_it_may_its_next_is_refused() {
    let relay = relay_with(|limits| limits.connections_per_peer = n(1)).await;
    let mut peer = Peer::new();
    assert_eq!(knock(&mut peer, &relay.address("tcp")).await, Answer::LetIn);
    let mut same = Peer::with_keys(peer.keys.clone());
    let mut first = [peer];
    assert_eq!(
        knock_beside(&mut first, &mut same, &relay.address("ws")).await,
        Answer::Refused
    );
    denied_by(&relay, "connections_per_peer").await;
    assert_eq!(
        knock_beside(&mut first, &mut Peer::new(), &relay.address("ws")).await,
        Answer::LetIn
    );
}

#[tokio::test]
async fn when_as_many_connections_as_may_have_not_said_who_they_are_the_next_is_refused() {
    let relay = relay_with(|limits| limits.pending_connections = n(2)).await;
    let address = relay.address("tcp");
    let port = relay.relay.listening().iter().find_map(support::tcp_socket).unwrap();
    let one = TcpStream::connect(port).await.unwrap();
    // It is there before the peer's own is counted, the last that may.
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(knock(&mut Peer::new(), &address).await, Answer::LetIn);
    let another = TcpStream::connect(port).await.unwrap();
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(knock(&mut Peer::new(), &address).await, Answer::Refused);
    denied_by(&relay, "pending_connections").await;
    drop((one, another));
}

#[tokio::test]
async fn when_a_websocket_frame_is_as_large_as_it_may_be_it_is_read_and_a_larger_one_is_not() {
    let relay = relay_with(|limits| limits.websocket_frame = "128KiB".parse().unwrap()).await;
    for (bytes, read) in [(128 * 1024, true), (128 * 1024 + 1, false)] {
        let mut stream = websocket(&relay).await;
        // The head of a binary frame, masked with zeros.
        let mut head = vec![0x82, 0xff];
        head.extend_from_slice(&u64::to_be_bytes(bytes));
        head.extend_from_slice(&[0; 4]);
        stream.write_all(&head).await.unwrap();
        let patience = if read { A_WHILE } else { PATIENCE };
        let closed = timeout(patience, until_closed(stream)).await;
        assert_eq!(closed.is_err(), read, "{bytes}");
    }
}

#[tokio::test]
async fn when_the_frames_of_a_message_are_together_larger_than_one_may_be_its_end_is_not_waited_for() {
    let relay = relay_with(|limits| limits.websocket_frame = "128KiB".parse().unwrap()).await;
    for (bytes, read) in [(64 * 1024, true), (64 * 1024 + 1, false)] {
        let mut stream = websocket(&relay).await;
        // Binary frames that are not the last of their message, masked with zeros.
        let mut frames = Vec::new();
        for head in [[0x02, 0xff], [0x00, 0xff]] {
            frames.extend_from_slice(&head);
            frames.extend_from_slice(&u64::to_be_bytes(bytes));
            frames.extend_from_slice(&vec![0; 4 + usize::try_from(bytes).unwrap()]);
        }
        stream.write_all(&frames).await.unwrap();
        // Long before the relay gives up on who does not say who they are.
        let closed = timeout(A_WHILE * 3, until_closed(stream)).await;
        assert_eq!(closed.is_err(), read, "{bytes}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_more_messages_wait_for_a_slow_peer_than_may_it_misses_some() {
    // More than is on its way between the two besides the queue, in windows and sockets.
    const MESSAGES: usize = 100;
    for (queue, sleeps, misses) in [(1_000, Duration::ZERO, false), (1, A_WHILE, true)] {
        let relay = relay_with(|limits| limits.gossip_queue = n(queue)).await;
        let address = relay.address("tcp");
        let (mut loud, mut slow) = (Peer::new(), Peer::new());
        join_all([&mut loud, &mut slow].map(|peer| peer.join(&address, &[DISCOVERY_TOPIC, ROOM]))).await;
        tokio::join!(loud.listen_for(A_WHILE), slow.listen_for(A_WHILE));

        for number in 0..MESSAGES {
            let mut message = vec![b'x'; 10_000];
            message.extend_from_slice(number.to_string().as_bytes());
            loud.publish(ROOM, message).unwrap();
        }
        loud.listen_for(sleeps).await;
        let (heard, _) = tokio::join!(slow.listen_for(A_WHILE * 3), loud.listen_for(A_WHILE * 3));
        assert_eq!(
            heard.len() < MESSAGES,
            misses,
            "{} of {MESSAGES} with {queue}",
            heard.len()
        );
    }
}

/// While these run.
async fn beside<T>(peers: &mut [Peer], what: impl Future<Output = T>) -> T {
    let all = select_all(peers.iter_mut().map(|peer| Box::pin(stay(peer))));
    tokio::select! {
        done = what => done,
        _ = all => unreachable!("they only stay"),
    }
}

/// Waits until the relay follows exactly these rooms, and a while longer.
async fn follows(relay: &TestRelay, rooms: &[&str]) {
    let followed = async || {
        let mesh = relay.relay.status().await.unwrap().mesh;
        mesh.into_keys()
            .filter(|topic| topic != DISCOVERY_TOPIC)
            .collect::<Vec<_>>()
    };
    support::eventually("the rooms are followed", async || {
        (followed().await == rooms).then_some(())
    })
    .await;
    tokio::time::sleep(A_WHILE).await;
    assert_eq!(followed().await, rooms);
}

async fn members(relay: &TestRelay, room: &str) -> Vec<Peer> {
    let address = relay.address("tcp");
    let (mut one, mut other) = (Peer::new(), Peer::new());
    let topics = [room];
    tokio::join!(one.join(&address, &topics), other.join(&address, &topics));
    vec![one, other]
}

#[tokio::test]
async fn when_as_many_rooms_are_followed_as_may_be_the_next_waits_for_its_place() {
    let relay = relay_with(|limits| limits.rooms = n(1)).await;
    let mut peers = members(&relay, ROOM).await;
    beside(&mut peers, follows(&relay, &[ROOM])).await;
    let newcomers = beside(&mut peers, members(&relay, OTHER_ROOM)).await;
    peers.extend(newcomers);
    beside(&mut peers, follows(&relay, &[ROOM])).await;
    // The first room is empty, and makes way.
    peers.drain(..2);
    let newcomers = beside(&mut peers, members(&relay, OTHER_ROOM)).await;
    peers.extend(newcomers);
    beside(&mut peers, follows(&relay, &[OTHER_ROOM])).await;
}

#[tokio::test]
async fn when_a_peer_is_in_as_many_rooms_as_count_its_next_one_does_not() {
    let relay = relay_with(|limits| limits.rooms_per_peer = n(1)).await;
    let mut peers = members(&relay, ROOM).await;
    beside(&mut peers, follows(&relay, &[ROOM])).await;
    for peer in &mut peers {
        let gossip = &mut peer.swarm.behaviour_mut().gossip;
        gossip.subscribe(&gossipsub::IdentTopic::new(OTHER_ROOM)).unwrap();
    }
    beside(&mut peers, follows(&relay, &[ROOM])).await;
    let newcomers = beside(&mut peers, members(&relay, OTHER_ROOM)).await;
    peers.extend(newcomers);
    beside(&mut peers, follows(&relay, &[ROOM, OTHER_ROOM])).await;
}

#[tokio::test]
async fn when_a_peer_has_announced_itself_as_often_as_it_may_the_next_is_not_passed_on() {
    const BURST: usize = 3;
    let relay = relay_with(|limits| {
        limits.announcements_per_minute = n(1);
        limits.announcement_burst = n(3);
    })
    .await;
    let address = relay.address("tcp");
    let (mut loud, mut other) = (Peer::new(), Peer::new());
    tokio::join!(
        loud.join(&address, &[DISCOVERY_TOPIC]),
        other.join(&address, &[DISCOVERY_TOPIC])
    );
    tokio::join!(loud.listen_for(A_WHILE), other.listen_for(A_WHILE));
    for _ in 0..BURST + 3 {
        let announcement = loud.announcement();
        loud.publish(DISCOVERY_TOPIC, announcement).unwrap();
    }
    let (_, heard) = tokio::join!(loud.listen_for(A_WHILE * 2), other.listen_for(A_WHILE * 2));
    assert_eq!(heard.len(), BURST);
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn when_more_memory_is_in_use_than_may_be_connections_are_refused() {
    let machine = std::fs::read_to_string("/proc/meminfo").unwrap();
    let total = machine.lines().find_map(|line| line.strip_prefix("MemTotal:")).unwrap();
    let total: usize = total.trim().strip_suffix(" kB").unwrap().parse().unwrap();
    // Written to, so that it is there and not only promised.
    let ballast = vec![1_u8; total * 1_024 / 100];
    for (share, answer) in [("1%", Answer::Refused), ("100%", Answer::LetIn)] {
        let relay = relay_with(|limits| limits.memory = share.parse().unwrap()).await;
        assert_eq!(knock(&mut Peer::new(), &relay.address("tcp")).await, answer, "{share}");
        if answer == Answer::Refused {
            denied_by(&relay, "memory").await;
        }
    }
    assert!(ballast.iter().all(|byte| *byte == 1));
}
