//! `Discovery` in a swarm that is not ours.

use libp2p::{
    Multiaddr, PeerId,
    gossipsub::{self, IdentTopic},
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{SwarmEvent, dial_opts::DialOpts},
};
use peerway_core::{announcement::Announcement, behaviours::DiscoveryEvent, protocol};

use crate::support::{Own, OwnEvent, Relay, Running, Stock, StockEvent, eventually, own, own_with, stock};

pub(crate) async fn until_discovered(peer: &mut Running<Own>, wanted: PeerId) -> Vec<Multiaddr> {
    peer.until("discovered", |event| match event {
        SwarmEvent::Behaviour(OwnEvent::Discovery(DiscoveryEvent::Discovered { peer, addresses, .. }))
            if peer == wanted =>
        {
            Some(addresses)
        }
        _ => None,
    })
    .await
}

async fn until_gone(peer: &mut Running<Own>, wanted: PeerId) {
    peer.until("gone", |event| match event {
        SwarmEvent::Behaviour(OwnEvent::Discovery(DiscoveryEvent::Gone { peer })) if peer == wanted => Some(()),
        _ => None,
    })
    .await;
}

/// What `peer` hears `source` say in the scope.
async fn until_said(peer: &mut Running<Stock>, source: PeerId) -> Vec<u8> {
    peer.until("said", |event| match event {
        SwarmEvent::Behaviour(StockEvent::Gossip(gossipsub::Event::Message { message, .. }))
            if message.source == Some(source) =>
        {
            Some(message.data)
        }
        _ => None,
    })
    .await
}

/// `peer` connects to `address`, and each hears that the other is in the scope.
async fn join(peer: &mut Running<Stock>, host: PeerId, address: &Multiaddr) {
    let options = DialOpts::peer_id(host).addresses(vec![address.clone()]).build();
    peer.with(move |swarm| swarm.dial(options)).await.unwrap();
    peer.until("greeted", |event| match event {
        SwarmEvent::Behaviour(StockEvent::Gossip(gossipsub::Event::Subscribed { peer_id, .. })) => {
            (peer_id == host).then_some(())
        }
        _ => None,
    })
    .await;
}

fn through(relay: &Relay, peer: PeerId) -> Multiaddr {
    Relay::announced()
        .with(Protocol::P2p(relay.running.id))
        .with(Protocol::P2pCircuit)
        .with(Protocol::P2p(peer))
}

#[tokio::test]
async fn two_peers_on_one_relay_hear_where_the_other_is_and_when_it_leaves() {
    let relay = Relay::start().await;
    let (mut a, mut b) = (own(&relay), own(&relay));
    let (a_id, b_id) = (a.id, b.id);
    assert_eq!(until_discovered(&mut a, b_id).await, [through(&relay, b_id)]);
    assert_eq!(until_discovered(&mut b, a_id).await, [through(&relay, a_id)]);
    b.with(|swarm| swarm.behaviour_mut().discovery.leave()).await;
    until_gone(&mut a, b_id).await;
    let left = a.with(|swarm| swarm.behaviour().discovery.peers().count()).await;
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_new_name_is_told_without_waiting_for_the_interval() {
    let relay = Relay::start().await;
    let (mut a, mut b) = (own(&relay), own(&relay));
    let (a_id, b_id) = (a.id, b.id);
    until_discovered(&mut a, b_id).await;
    until_discovered(&mut b, a_id).await;
    b.with(|swarm| swarm.behaviour_mut().discovery.set_name(Some("Ada".to_owned())))
        .await;
    let name = a.until("renamed", |event| match event {
        SwarmEvent::Behaviour(OwnEvent::Discovery(DiscoveryEvent::Updated { peer, name, .. })) if peer == b_id => name,
        _ => None,
    });
    assert_eq!(name.await, "Ada");
}

#[tokio::test]
async fn a_stock_peer_hears_us_and_is_heard() {
    let relay = Relay::start().await;
    let mut ours = own(&relay);
    let mut theirs = stock();
    join(&mut theirs, relay.running.id, &relay.address).await;
    let said = until_said(&mut theirs, ours.id).await;
    let announcement = Announcement::decode(ours.id, &said).unwrap();
    assert_eq!(announcement.addrs(), [through(&relay, ours.id)]);

    let address = through(&relay, theirs.id);
    let text = Announcement::new(theirs.id, [address.clone()], None).encode();
    say(&mut theirs, protocol::DISCOVERY_TOPIC, text).await;
    assert_eq!(until_discovered(&mut ours, theirs.id).await, [address]);
}

async fn say(peer: &mut Running<Stock>, topic: &str, data: Vec<u8>) {
    let topic = IdentTopic::new(topic);
    eventually("published", async || {
        let (topic, data) = (topic.clone(), data.clone());
        let published = peer.with(move |swarm| swarm.behaviour_mut().gossip.publish(topic, data));
        published.await.ok()
    })
    .await;
}

/// A peer without a relay that listens, and two stock ones that know each other only through it.
async fn between() -> (Running<Own>, Running<Stock>, Running<Stock>) {
    let mut middle = own_with(Keypair::generate_ed25519());
    let address = middle.listen().await;
    let (mut speaker, mut listener) = (stock(), stock());
    join(&mut speaker, middle.id, &address).await;
    join(&mut listener, middle.id, &address).await;
    (middle, speaker, listener)
}

#[tokio::test]
async fn what_is_no_announcement_is_not_passed_on_and_what_is_one_is() {
    let (_middle, mut speaker, mut listener) = between().await;
    let relayed = format!("/ip4/192.0.2.1/tcp/1/p2p/{}/p2p-circuit", listener.id);
    let good = Announcement::new(speaker.id, [relayed.parse().unwrap()], None).encode();
    for hostile in [b"not JSON".to_vec(), Announcement::goodbye(listener.id).encode()] {
        say(&mut speaker, protocol::DISCOVERY_TOPIC, hostile).await;
        say(&mut speaker, protocol::DISCOVERY_TOPIC, good.clone()).await;
        // What was said first would have been heard first.
        assert_eq!(until_said(&mut listener, speaker.id).await, good);
    }
}

#[tokio::test]
async fn what_is_said_on_another_topic_is_for_the_owner_to_judge() {
    let (mut middle, mut speaker, mut listener) = between().await;
    let topic = IdentTopic::new("another topic");
    for stock in [&mut speaker, &mut listener] {
        let topic = topic.clone();
        stock
            .with(move |swarm| swarm.behaviour_mut().gossip.subscribe(&topic))
            .await
            .unwrap();
    }
    let subscribed = topic.clone();
    middle
        .with(move |swarm| swarm.behaviour_mut().discovery.gossip_mut().subscribe(&subscribed))
        .await
        .unwrap();
    say(&mut speaker, "another topic", b"anything".to_vec()).await;
    let (from, id) = middle
        .until("heard", |event| match event {
            SwarmEvent::Behaviour(OwnEvent::Discovery(DiscoveryEvent::Gossip(gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            }))) if message.data == b"anything" => Some((propagation_source, message_id)),
            _ => None,
        })
        .await;
    let accepted = middle.with(move |swarm| {
        let gossip = swarm.behaviour_mut().discovery.gossip_mut();
        gossip.report_message_validation_result(&id, &from, gossipsub::MessageAcceptance::Accept)
    });
    assert!(accepted.await, "nobody had judged it before");
    assert_eq!(until_said(&mut listener, speaker.id).await, b"anything");
}
