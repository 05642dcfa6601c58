//! What the relay spreads, to whom, and what it does not spread.

use std::{collections::BTreeSet, time::Duration};

use futures::future::join_all;
use libp2p::{PeerId, gossipsub, request_response, swarm::SwarmEvent};
use peerway_core::{announcement::Announcement, protocol::DISCOVERY_TOPIC, snapshot::SnapshotRequest};

use crate::support::{Peer, PeerBehaviourEvent, TestRelay, eventually};

const ROOM: &str = "peerway/room/1/0123456789abcdef0123456789abcdef";

/// Of stock peers at one relay, more than its mesh would hold with gossipsub's own bounds (at most 12).
const CROWD: usize = 40;

#[tokio::test(flavor = "multi_thread")]
async fn when_forty_peers_share_a_relay_every_announcement_reaches_every_peer() {
    let relay = TestRelay::start().await;
    let address = relay.address("tcp");
    let mut peers: Vec<Peer> = (0..CROWD).map(|_| Peer::new()).collect();
    join_all(peers.iter_mut().map(|peer| peer.join(&address, &[DISCOVERY_TOPIC]))).await;

    // With stock bounds this stays at 12 or below, and whoever is off the mesh gets only what gossipsub's lazy gossip
    // happens to advertise to it.
    let run = join_all(peers.iter_mut().map(|peer| peer.until("never", |_| None::<()>)));
    tokio::select! {
        _ = run => unreachable!("peers only serve here"),
        () = eventually("all are on the relay's mesh", async || {
            let status = relay.relay.status().await?;
            (status.mesh.get(DISCOVERY_TOPIC) == Some(&CROWD)).then_some(())
        }) => {}
    }

    let everybody: BTreeSet<PeerId> = peers.iter().map(Peer::id).collect();
    let told = join_all(peers.iter_mut().map(async |peer| {
        let announcement = peer.announcement();
        peer.publish(DISCOVERY_TOPIC, announcement).unwrap();
        let mut missing = everybody.clone();
        missing.remove(&peer.id());
        while !missing.is_empty() {
            let (source, data) = peer.hear().await;
            assert_eq!(Announcement::decode(source, &data).unwrap().peer(), source);
            missing.remove(&source);
        }
        // Others still need this one to be there.
        peer.listen_for(Duration::from_secs(3)).await
    }));
    told.await;
}

#[tokio::test]
async fn when_a_newcomer_asks_it_learns_who_is_there() {
    let relay = TestRelay::start().await;
    let address = relay.address("ws");
    let mut old = Peer::new();
    old.join(&address, &[DISCOVERY_TOPIC]).await;
    old.publish(DISCOVERY_TOPIC, old.announcement()).unwrap();

    let relay_id = relay.relay.peer_id();
    let mut newcomer = Peer::new();
    newcomer.join(&address, &[DISCOVERY_TOPIC]).await;
    let asks = async {
        loop {
            newcomer
                .swarm
                .behaviour_mut()
                .snapshots
                .send_request(&relay_id, SnapshotRequest {});
            let snapshot = newcomer
                .until("the relay answers", |event| match event {
                    SwarmEvent::Behaviour(PeerBehaviourEvent::Snapshots(request_response::Event::Message {
                        message: request_response::Message::Response { response, .. },
                        ..
                    })) => Some(response),
                    _ => None,
                })
                .await;
            if let Some(heard) = snapshot.verify().next() {
                return heard;
            }
        }
    };
    let old_id = old.id();
    let heard = tokio::select! {
        heard = asks => heard,
        () = old.until("never", |_| None) => unreachable!("it only serves"),
    };
    assert_eq!(heard.announcement.peer(), old_id);
    assert!(heard.sequence.is_some());
}

#[tokio::test]
async fn when_announcements_are_hostile_nobody_hears_them_and_the_honest_one_is_heard() {
    let relay = TestRelay::start().await;
    let address = relay.address("tcp");
    let (mut liar, mut victim) = (Peer::new(), Peer::new());
    liar.join(&address, &[DISCOVERY_TOPIC]).await;
    victim.join(&address, &[DISCOVERY_TOPIC]).await;

    let someone = PeerId::random();
    let foreign = format!(
        r#"{{"peerId":"{}","addrs":["/ip4/203.0.113.1/tcp/1/p2p/{someone}"]}}"#,
        liar.id()
    );
    for hostile in [
        victim.announcement(),
        foreign.into_bytes(),
        b"{".to_vec(),
        b"\xff\xfe\xfd".to_vec(),
        "[".repeat(7_000).into_bytes(),
        vec![b' '; 10_000],
        Vec::new(),
    ]
    .into_iter()
    // The largest that stock peers pass on.
    .chain((0..3).map(|_| vec![b' '; 65_000]))
    {
        liar.publish(DISCOVERY_TOPIC, hostile).unwrap();
    }
    let honest = liar.announcement();
    liar.publish(DISCOVERY_TOPIC, honest.clone()).unwrap();

    let liar_id = liar.id();
    let heard = tokio::select! {
        heard = victim.hear() => heard,
        () = liar.until("never", |_| None) => unreachable!("it only serves"),
    };
    assert_eq!(heard, (liar_id, honest));
    let (later, ()) = tokio::join!(victim.listen_for(Duration::from_secs(2)), async {
        liar.listen_for(Duration::from_secs(2)).await;
    });
    assert_eq!(later, []);
}

#[tokio::test]
async fn when_two_peers_share_a_room_the_relay_carries_it_and_when_one_is_alone_it_does_not() {
    let relay = TestRelay::start().await;
    let address = relay.address("ws");
    let (mut a, mut b) = (Peer::new(), Peer::new());
    a.join(&address, &[DISCOVERY_TOPIC, ROOM]).await;
    a.listen_for(Duration::from_millis(500)).await;
    assert!(
        !relay.relay.status().await.unwrap().mesh.contains_key(ROOM),
        "one member is no room"
    );

    b.join(&address, &[DISCOVERY_TOPIC, ROOM]).await;
    let follows = |event| match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { topic, .. })) => {
            (topic.as_str() == ROOM).then_some(())
        }
        _ => None,
    };
    tokio::join!(
        a.until("the relay follows the room", follows),
        b.until("the relay follows the room", follows)
    );

    a.publish(ROOM, b"hello".to_vec()).unwrap();
    let a_id = a.id();
    let heard = tokio::select! {
        heard = b.hear() => heard,
        () = a.until("never", |_| None) => unreachable!("it only serves"),
    };
    assert_eq!(heard, (a_id, b"hello".to_vec()));
}

#[tokio::test]
async fn when_a_peer_has_as_many_rooms_as_it_may_its_greeting_is_understood() {
    let relay = TestRelay::start().await;
    let address = relay.address("tcp");
    let rooms: Vec<String> = (1..1_024).map(|n| format!("peerway/room/1/{n:032x}")).collect();
    let mut topics: Vec<&str> = rooms.iter().map(String::as_str).collect();
    topics.push(DISCOVERY_TOPIC);
    let (mut collector, mut newcomer) = (Peer::new(), Peer::new());
    collector.join(&address, &topics).await;
    newcomer.join(&address, &[DISCOVERY_TOPIC]).await;

    let newcomer_id = newcomer.id();
    let announcement = newcomer.announcement();
    newcomer.publish(DISCOVERY_TOPIC, announcement.clone()).unwrap();
    let heard = tokio::select! {
        heard = collector.hear() => heard,
        () = newcomer.until("never", |_| None) => unreachable!("it only serves"),
    };
    assert_eq!(heard, (newcomer_id, announcement));
}

#[tokio::test]
async fn when_a_peer_has_other_topics_the_relay_remembers_only_ours() {
    let relay = TestRelay::start().await;
    let (mut a, mut b) = (Peer::new(), Peer::new());
    for peer in [&mut a, &mut b] {
        peer.join(
            &relay.address("tcp"),
            &["elsewhere", "peerway/room/1/not-a-hash", DISCOVERY_TOPIC, ROOM],
        )
        .await;
    }
    let mesh = tokio::select! {
        mesh = eventually("the room is followed", async || {
            let mesh = relay.relay.status().await?.mesh;
            mesh.contains_key(ROOM).then_some(mesh)
        }) => mesh,
        _ = futures::future::join(a.until("never", |_| None::<()>), b.until("never", |_| None::<()>)) => unreachable!(),
    };
    assert_eq!(mesh.keys().collect::<Vec<_>>(), [DISCOVERY_TOPIC, ROOM]);
}
