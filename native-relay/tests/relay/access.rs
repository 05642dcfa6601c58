//! Who may use a running relay: lists, tokens, and what a SIGHUP changes.

use std::{fs, path::PathBuf, time::Duration};

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, gossipsub,
    identity::Keypair,
    multiaddr::Protocol,
    request_response::{self, Message},
    swarm::SwarmEvent,
};
use native_relay::AccessRules;
use peerway_core::{
    access::{TokenAnswer, TokenRequest},
    node::{self, Command, Event, RelaySpec},
    reservation::RelayFailure,
};
use tokio::time::timeout;

use crate::support::{self, PATIENCE, Peer, PeerBehaviourEvent, TestRelay};

const TOKEN: &str = "a-token-of-some-length";
const OTHER: &str = "another-token-of-some-length";

async fn relay_with(rules: AccessRules) -> TestRelay {
    TestRelay::start_with(|mut config| {
        config.access = rules;
        config
    })
    .await
}

/// With tokens in a file that is there as long as the directory.
fn asking_for_a_token() -> (tempfile::TempDir, PathBuf, AccessRules) {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("tokens");
    fs::write(&file, format!("{TOKEN}\n{OTHER}\n")).unwrap();
    let rules = AccessRules {
        token_file: Some(file.clone()),
        ..AccessRules::default()
    };
    (dir, file, rules)
}

#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Reserved,
    Refused,
    HungUp,
}

/// Connects, presents a token if it has one, and asks for a reservation.
async fn reserve(peer: &mut Peer, relay: &Multiaddr, token: Option<&str>) -> Outcome {
    peer.swarm.dial(relay.clone()).unwrap();
    let connected = peer.until("the relay answers", |event| match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Gossip(gossipsub::Event::Subscribed { peer_id, .. })) => {
            Some(Ok(peer_id))
        }
        SwarmEvent::OutgoingConnectionError { .. } | SwarmEvent::ConnectionClosed { .. } => Some(Err(())),
        _ => None,
    });
    let Ok(relay_id) = connected.await else {
        return Outcome::HungUp;
    };
    if let Some(token) = token
        && present(peer, relay_id, token).await != TokenAnswer::Allowed
    {
        return Outcome::Refused;
    }
    peer.swarm.listen_on(relay.clone().with(Protocol::P2pCircuit)).unwrap();
    peer.until("the relay answers", |event| match event {
        SwarmEvent::NewListenAddr { .. } => Some(Outcome::Reserved),
        SwarmEvent::ListenerClosed { reason, .. } => {
            let reason = reason.unwrap_err().to_string();
            assert!(!reason.is_empty());
            Some(Outcome::Refused)
        }
        _ => None,
    })
    .await
}

async fn present(peer: &mut Peer, relay: PeerId, token: &str) -> TokenAnswer {
    let token = token.to_owned();
    let tokens = &mut peer.swarm.behaviour_mut().tokens;
    tokens.send_request(&relay, TokenRequest { token });
    peer.until("the relay judges the token", |event| match event {
        SwarmEvent::Behaviour(PeerBehaviourEvent::Tokens(request_response::Event::Message {
            message: Message::Response { response, .. },
            ..
        })) => Some(response),
        _ => None,
    })
    .await
}

async fn hung_up(peer: &mut Peer) {
    peer.until("the relay hangs up", |event| match event {
        SwarmEvent::ConnectionClosed { num_established: 0, .. } => Some(()),
        _ => None,
    })
    .await;
}

/// Waits until the ledger has counted something, among what it says has happened.
async fn counts(relay: &TestRelay, pointer: &str) {
    support::eventually("the ledger says so", async || {
        let stats = support::admin(relay, "/stats").await;
        let stats: serde_json::Value = serde_json::from_slice(&stats.body).unwrap();
        let count = stats["totals"].pointer(pointer).unwrap().as_u64().unwrap();
        (count > 0).then_some(())
    })
    .await;
}

async fn is_left_alone(peer: &mut Peer) {
    let closed = timeout(Duration::from_secs(2), hung_up(peer)).await;
    assert!(closed.is_err(), "the relay hung up");
}

#[tokio::test]
async fn when_a_peer_is_denied_it_cannot_stay_and_others_can() {
    let mut denied = Peer::new();
    let relay = relay_with(AccessRules {
        deny_peers: vec![denied.id()],
        ..AccessRules::default()
    })
    .await;
    for transport in ["tcp", "ws", "quic-v1"] {
        let address = relay.address(transport);
        assert_eq!(
            reserve(&mut denied, &address, None).await,
            Outcome::HungUp,
            "{transport}"
        );
        assert_eq!(
            reserve(&mut Peer::new(), &address, None).await,
            Outcome::Reserved,
            "{transport}"
        );
    }
}

#[tokio::test]
async fn when_a_network_is_denied_nobody_in_it_gets_in() {
    let relay = relay_with(AccessRules {
        deny_networks: vec!["127.0.0.0/8".parse().unwrap()],
        ..AccessRules::default()
    })
    .await;
    assert_eq!(
        reserve(&mut Peer::new(), &relay.address("tcp"), None).await,
        Outcome::HungUp
    );
    counts(&relay, "/denials/connection/network_denied").await;
    counts(&relay, "/connectionsRefused/tcp").await;
}

#[tokio::test]
async fn when_some_are_allowed_nobody_else_gets_in() {
    let mut allowed = Peer::new();
    let relay = relay_with(AccessRules {
        allow_peers: vec![allowed.id()],
        allow_networks: vec!["192.0.2.0/24".parse().unwrap()],
        ..AccessRules::default()
    })
    .await;
    assert_eq!(
        reserve(&mut allowed, &relay.address("tcp"), None).await,
        Outcome::Reserved
    );
    assert_eq!(
        reserve(&mut Peer::new(), &relay.address("tcp"), None).await,
        Outcome::HungUp
    );
}

#[tokio::test]
async fn when_a_token_is_asked_for_whoever_presents_one_reserves_and_others_do_not() {
    let (_dir, _, rules) = asking_for_a_token();
    let relay = relay_with(rules).await;
    for transport in ["tcp", "ws"] {
        let address = relay.address(transport);
        for token in [TOKEN, OTHER] {
            assert_eq!(
                reserve(&mut Peer::new(), &address, Some(token)).await,
                Outcome::Reserved,
                "{transport}"
            );
        }
        let (mut without, mut wrong) = (Peer::new(), Peer::new());
        assert_eq!(
            reserve(&mut without, &address, None).await,
            Outcome::Refused,
            "{transport}"
        );
        assert_eq!(
            reserve(&mut wrong, &address, Some("wrong-token-wrong-token")).await,
            Outcome::Refused
        );
        hung_up(&mut wrong).await;
        timeout(PATIENCE, hung_up(&mut without)).await.unwrap();
    }
    for what in [
        "/denials/reservation/token_missing",
        "/tokens/allowed",
        "/tokens/denied",
        "/accessWithdrawn/token_missing",
    ] {
        counts(&relay, what).await;
    }
    let metrics = support::admin(&relay, "/metrics").await.text();
    let sample = "peerway_relay_access_withdrawn_total{reason=\"token_missing\"} ";
    assert!(metrics.contains(sample), "{metrics}");
}

#[tokio::test]
async fn when_a_node_is_given_a_token_it_shows_it_first_and_a_wrong_one_or_none_is_a_failure_of_its_own() {
    let (_dir, _, rules) = asking_for_a_token();
    let relay = relay_with(rules).await;
    for transport in ["tcp", "ws"] {
        let spec: RelaySpec = relay.address(transport).to_string().parse().unwrap();
        for (token, expected) in [
            (Some(TOKEN), None),
            (Some("wrong-token-wrong-token"), Some(RelayFailure::WrongToken)),
            (None, Some(RelayFailure::NotAllowed)),
        ] {
            let (node, mut events, event_loop) = node::builder(Keypair::generate_ed25519()).build().unwrap();
            tokio::spawn(event_loop.run());
            let relay = spec.clone();
            let command = match token {
                Some(token) => Command::AddRelayWithToken {
                    relay,
                    token: token.parse().unwrap(),
                },
                None => Command::AddRelay(relay),
            };
            node.send(command).await.unwrap();
            let outcome = async {
                loop {
                    match events.next().await.unwrap() {
                        Event::RelayReserved { .. } => return None,
                        Event::RelayLost { reason, .. } => return Some(reason),
                        _ => {}
                    }
                }
            };
            let outcome = timeout(PATIENCE, outcome).await.unwrap();
            assert_eq!(outcome, expected, "{transport}");
        }
    }
}

#[tokio::test]
async fn when_a_peer_has_no_token_nobody_is_reached_through_the_relay_by_it() {
    let (_dir, _, rules) = asking_for_a_token();
    let relay = relay_with(rules).await;
    let address = relay.address("tcp");
    let mut host = Peer::new();
    assert_eq!(reserve(&mut host, &address, Some(TOKEN)).await, Outcome::Reserved);
    let circuit = address.with(Protocol::P2pCircuit).with(Protocol::P2p(host.id()));
    let mut guest = Peer::new();
    guest.swarm.dial(circuit).unwrap();
    let host_id = host.id();
    let refused = guest.until("the relay refuses the circuit", |event| match event {
        SwarmEvent::OutgoingConnectionError { .. } => Some(()),
        SwarmEvent::ConnectionEstablished { peer_id, .. } if peer_id == host_id => panic!("it got through"),
        _ => None,
    });
    tokio::select! {
        () = refused => {}
        () = hung_up(&mut host) => panic!("the relay hung up on the host"),
    }
}

#[tokio::test]
async fn when_other_rules_hold_those_who_are_denied_now_are_gone_and_the_others_are_not_disturbed() {
    let (_dir, file, rules) = asking_for_a_token();
    let relay = relay_with(rules.clone()).await;
    let address = relay.address("tcp");
    let (mut one, mut other) = (Peer::new(), Peer::new());
    assert_eq!(reserve(&mut one, &address, Some(TOKEN)).await, Outcome::Reserved);
    assert_eq!(reserve(&mut other, &address, Some(OTHER)).await, Outcome::Reserved);

    fs::write(&file, "").unwrap();
    assert!(relay.relay.replace_access(&rules).await.is_err());
    tokio::join!(is_left_alone(&mut one), is_left_alone(&mut other));

    fs::write(&file, TOKEN).unwrap();
    relay.relay.replace_access(&rules).await.unwrap();
    tokio::join!(is_left_alone(&mut one), hung_up(&mut other));

    let rules = AccessRules {
        deny_peers: vec![one.id()],
        ..rules
    };
    relay.relay.replace_access(&rules).await.unwrap();
    hung_up(&mut one).await;
    counts(&relay, "/accessWithdrawn/peer_denied").await;
}
