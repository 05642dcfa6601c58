//! Real swarms over the memory transport: what the gate is for.

use std::time::Duration;

use futures::{FutureExt, StreamExt, select};
use futures_timer::Delay;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    gossipsub::{self, IdentTopic},
    identity::Keypair,
    multiaddr::Protocol,
    swarm::{
        self, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use super::{GossipGate, OlderConnections};
use crate::transport;

const TOPIC: &str = "test";
const DEADLINE: Duration = Duration::from_secs(10);

fn swarm(key: &Keypair, older: OlderConnections) -> Swarm<GossipGate> {
    let config = gossipsub::ConfigBuilder::default()
        .heartbeat_initial_delay(Duration::from_millis(50))
        .build()
        .unwrap();
    let mut gossip = gossipsub::Behaviour::new(gossipsub::MessageAuthenticity::Signed(key.clone()), config).unwrap();
    gossip.subscribe(&IdentTopic::new(TOPIC)).unwrap();
    let transports = transport::memory(key).unwrap();
    let config = swarm::Config::with_tokio_executor().with_idle_connection_timeout(Duration::from_secs(600));
    Swarm::new(
        transports.transport,
        GossipGate::new(gossip, older),
        PeerId::from(key.public()),
        config,
    )
}

async fn listen(swarm: &mut Swarm<GossipGate>) -> Multiaddr {
    swarm.listen_on(Multiaddr::empty().with(Protocol::Memory(0))).unwrap();
    loop {
        if let SwarmEvent::NewListenAddr { address, .. } = swarm.select_next_some().await {
            return address;
        }
    }
}

fn dial(swarm: &mut Swarm<GossipGate>, peer: PeerId, address: &Multiaddr) {
    let options = DialOpts::peer_id(peer)
        .condition(PeerCondition::Always)
        .addresses(vec![address.clone()])
        .build();
    swarm.dial(options).unwrap();
}

/// Drives both until `done` says so of an event of either.
async fn drive(
    a: &mut Swarm<GossipGate>,
    b: &mut Swarm<GossipGate>,
    mut done: impl FnMut(&mut Swarm<GossipGate>, Side, SwarmEvent<gossipsub::Event>) -> bool,
) {
    let mut deadline = Delay::new(DEADLINE).fuse();
    loop {
        let finished = select! {
            event = a.select_next_some() => done(a, Side::A, event),
            event = b.select_next_some() => done(b, Side::B, event),
            () = deadline => panic!("not done within {DEADLINE:?}"),
        };
        if finished {
            return;
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Side {
    A,
    B,
}

/// Until each has heard that the other is subscribed.
async fn drive_until_greeted(a: &mut Swarm<GossipGate>, b: &mut Swarm<GossipGate>) {
    let (mut a_greeted, mut b_greeted) = (false, false);
    drive(a, b, |_, side, event| {
        if let SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }) = event {
            match side {
                Side::A => a_greeted = true,
                Side::B => b_greeted = true,
            }
        }
        a_greeted && b_greeted
    })
    .await;
}

async fn drive_until_heard(speaker: &mut Swarm<GossipGate>, listener: &mut Swarm<GossipGate>, text: &str) {
    speaker
        .behaviour_mut()
        .gossip_mut()
        .publish(IdentTopic::new(TOPIC), text.as_bytes())
        .unwrap();
    drive(speaker, listener, |_, side, event| {
        matches!(event, SwarmEvent::Behaviour(gossipsub::Event::Message { message, .. })
            if side == Side::B && message.data == text.as_bytes())
    })
    .await;
}

#[tokio::test]
async fn when_a_peer_returns_while_its_dead_connection_is_believed_in_gossip_flows_both_ways() {
    let relay_key = Keypair::generate_ed25519();
    let page_key = Keypair::generate_ed25519();
    let relay_id = PeerId::from(relay_key.public());
    for older in [OlderConnections::Keep, OlderConnections::Close] {
        let mut relay = swarm(&relay_key, older);
        let address = listen(&mut relay).await;
        let mut before = swarm(&page_key, OlderConnections::Keep);
        dial(&mut before, relay_id, &address);
        drive_until_greeted(&mut relay, &mut before).await;

        // From here nobody drives `before`: it answers nothing, and its connection never ends.
        let mut after = swarm(&page_key, OlderConnections::Keep);
        dial(&mut after, relay_id, &address);
        let mut greeted = false;
        drive(&mut relay, &mut after, |_, side, event| {
            greeted |= side == Side::B && matches!(event, SwarmEvent::Behaviour(gossipsub::Event::Subscribed { .. }));
            greeted
        })
        .await;
        drive_until_heard(&mut relay, &mut after, "to the one that returned").await;
        drive_until_heard(&mut after, &mut relay, "from the one that returned").await;
        drop(before);
    }
}

#[tokio::test]
async fn when_a_peer_opens_a_second_connection_its_subscriptions_are_kept() {
    let (a_key, b_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let mut a = swarm(&a_key, OlderConnections::Keep);
    let address = listen(&mut a).await;
    let mut b = swarm(&b_key, OlderConnections::Keep);
    let a_id = PeerId::from(a_key.public());
    dial(&mut b, a_id, &address);
    drive_until_greeted(&mut a, &mut b).await;
    dial(&mut b, a_id, &address);
    let mut established = 0;
    drive(&mut a, &mut b, |_, _, event| {
        established += usize::from(matches!(event, SwarmEvent::ConnectionEstablished { .. }));
        established == 2
    })
    .await;
    drive_until_heard(&mut a, &mut b, "on the newer").await;

    // The newer one ends: the older one takes over.
    let shown = b.behaviour().peers[&a_id].shown.unwrap();
    b.close_connection(shown);
    let mut closed = 0;
    drive(&mut a, &mut b, |_, _, event| {
        closed += usize::from(matches!(event, SwarmEvent::ConnectionClosed { .. }));
        closed == 2
    })
    .await;
    drive_until_heard(&mut a, &mut b, "on the older again").await;
    drive_until_heard(&mut b, &mut a, "and back").await;
}

#[tokio::test]
async fn when_the_policy_says_close_the_older_connection_is_closed() {
    let (a_key, b_key) = (Keypair::generate_ed25519(), Keypair::generate_ed25519());
    let mut a = swarm(&a_key, OlderConnections::Close);
    let address = listen(&mut a).await;
    let mut b = swarm(&b_key, OlderConnections::Keep);
    let a_id = PeerId::from(a_key.public());
    dial(&mut b, a_id, &address);
    drive_until_greeted(&mut a, &mut b).await;
    dial(&mut b, a_id, &address);
    drive(&mut a, &mut b, |_, _, event| {
        matches!(event, SwarmEvent::ConnectionClosed { num_established: 1, .. })
    })
    .await;
    drive_until_heard(&mut a, &mut b, "on the one that is left").await;
}
