//! Real swarms over the memory transport: a relay, and two peers that try to connect directly.
//!
//! There is no WebRTC outside of a browser, so every session ends when it needs one; everything before and after that is
//! as it is in a page.
#![cfg(not(target_family = "wasm"))]
#![allow(
    clippy::unwrap_used,
    clippy::wildcard_enum_match_arm,
    reason = "a test that cannot set its scene has failed; it waits for one event among many"
)]

use std::time::Duration;

use futures::StreamExt;
use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, MemoryTransport},
        upgrade::Version,
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, relay,
    swarm::{self, NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    yamux,
};
use peerway_webrtc::{
    Config, Error, Event, InboundPolicy, Phase, Role, UpgradeError, multiaddr,
    signaling::{BrowserStep, Cancellation, SessionError},
};
use tokio::time::timeout;

/// The longest that anything here may take; nothing needs a tenth of it.
const PATIENCE: Duration = Duration::from_secs(20);

#[derive(NetworkBehaviour)]
struct Peer {
    relay: relay::client::Behaviour,
    webrtc: Toggle<peerway_webrtc::Behaviour>,
}

/// Three swarms, driven together.
struct Lab {
    relay: Swarm<relay::Behaviour>,
    alice: Swarm<Peer>,
    bob: Swarm<Peer>,
}

#[derive(Debug)]
enum Happened {
    Relay,
    Alice(SwarmEvent<PeerEvent>),
    Bob(SwarmEvent<PeerEvent>),
}

#[tokio::test]
async fn when_there_is_no_webrtc_the_dial_fails_with_the_reason_and_the_circuit_lives_on() {
    let mut lab = Lab::new(Some(Config::default())).await;
    let (bob, address) = (lab.bob_id(), lab.address_of_bob());
    lab.alice.swarm_dial(&address);

    let (mut phases, mut ended, mut reason, mut answered) = (Vec::new(), None, None, None);
    lab.until("both sides know that it failed", |event| {
        match event {
            Happened::Alice(SwarmEvent::Behaviour(PeerEvent::Webrtc(event))) => match event {
                Event::Phase { phase, .. } => phases.push(phase),
                Event::Failed { role, phase, error, .. } => ended = Some((role, phase, error)),
                other => panic!("{other:?}"),
            },
            Happened::Alice(SwarmEvent::OutgoingConnectionError { error, .. }) => reason = Some(format!("{error:?}")),
            Happened::Bob(SwarmEvent::Behaviour(PeerEvent::Webrtc(Event::Failed { role, .. }))) => {
                answered = Some(role)
            }
            _ => {}
        }
        (ended.is_some() && reason.is_some() && answered.is_some()).then_some(())
    })
    .await;
    assert_eq!(phases, [Phase::Circuit, Phase::Signaling, Phase::Offer]);
    let (role, phase, error) = ended.unwrap();
    assert_eq!((role, phase), (Role::Initiator, Phase::Offer));
    let no_connection = |error: &Error| {
        matches!(
            error,
            Error::Session(SessionError::Browser {
                step: BrowserStep::CreateConnection,
                ..
            })
        )
    };
    assert!(no_connection(&error), "{error:?}");
    let reason = reason.unwrap();
    assert!(reason.contains("WebRTC is not available here"), "{reason}");
    assert_eq!(answered, Some(Role::Recipient));
    assert!(lab.alice.is_connected(&bob), "the circuit is still there");
}

#[tokio::test]
async fn when_a_reservation_comes_and_goes_so_does_the_address_with_webrtc() {
    let mut lab = Lab::new(None).await;
    let alice = *lab.alice.local_peer_id();
    let direct = |swarm: &Swarm<Peer>| -> Vec<Multiaddr> {
        let addresses = swarm.external_addresses().cloned();
        addresses.filter(multiaddr::is_direct).collect()
    };
    let advertised = direct(&lab.alice);
    assert_eq!(advertised.len(), 1, "{advertised:?}");
    assert_eq!(multiaddr::split(&advertised[0]).unwrap().peer, alice);
    assert_eq!(direct(&lab.bob), Vec::<Multiaddr>::new(), "bob has no such behaviour");

    let relay = *lab.relay.local_peer_id();
    lab.alice.disconnect_peer_id(relay).unwrap();
    lab.until("alice's slot is gone", |event| match event {
        Happened::Alice(SwarmEvent::ExternalAddrExpired { address }) if multiaddr::is_direct(&address) => Some(()),
        _ => None,
    })
    .await;
    assert_eq!(direct(&lab.alice), Vec::<Multiaddr>::new());
}

#[tokio::test]
async fn when_the_other_peer_does_not_speak_of_it_the_attempt_says_so() {
    let mut lab = Lab::new(None).await;
    let address = lab.address_of_bob();
    lab.alice.swarm_dial(&address);
    assert_eq!(lab.failure_of_alice().await, Error::NotSpoken);
}

#[tokio::test]
async fn when_the_other_peer_refuses_offers_the_attempt_ends_and_the_circuit_lives_on() {
    let mut config = Config::default();
    config.inbound = InboundPolicy::Refuse;
    let mut lab = Lab::new(Some(config)).await;
    let bob = lab.bob_id();
    let address = lab.address_of_bob();
    lab.alice.swarm_dial(&address);
    // Whichever is noticed first: that the stream was reset, or that there is no WebRTC here.
    assert!(matches!(lab.failure_of_alice().await, Error::Session(_)));
    assert!(lab.alice.is_connected(&bob));
}

#[tokio::test]
async fn when_there_is_no_circuit_nothing_is_upgraded_and_when_there_is_one_once_at_a_time() {
    let mut lab = Lab::new(Some(Config::default())).await;
    let bob = lab.bob_id();
    let webrtc = |lab: &mut Lab, act: fn(&mut peerway_webrtc::Behaviour, PeerId) -> Result<(), UpgradeError>| {
        act(lab.alice.behaviour_mut().webrtc.as_mut().unwrap(), bob)
    };
    let upgrade = |webrtc: &mut peerway_webrtc::Behaviour, bob| webrtc.upgrade(bob).map(|_| ());
    assert_eq!(webrtc(&mut lab, upgrade), Err(UpgradeError::NoCircuit));

    let circuit = multiaddr::split(&lab.address_of_bob()).unwrap().circuit;
    lab.alice.swarm_dial(&circuit);
    lab.until("the circuit stands", |event| match event {
        Happened::Alice(SwarmEvent::ConnectionEstablished { peer_id, .. }) => (peer_id == bob).then_some(()),
        _ => None,
    })
    .await;
    assert_eq!(webrtc(&mut lab, upgrade), Ok(()));
    assert_eq!(webrtc(&mut lab, upgrade), Err(UpgradeError::AlreadyTrying));
    assert!(matches!(
        lab.failure_of_alice().await,
        Error::Session(SessionError::Browser { .. })
    ));
    assert_eq!(
        webrtc(&mut lab, upgrade),
        Ok(()),
        "it is over, so it can be tried again"
    );
}

#[tokio::test]
async fn when_an_attempt_is_cancelled_it_ends_as_that() {
    let mut lab = Lab::new(Some(Config::default())).await;
    let address = lab.address_of_bob();
    lab.alice.swarm_dial(&address);
    let attempt = lab
        .until("it begins", |event| match event {
            Happened::Alice(SwarmEvent::Behaviour(PeerEvent::Webrtc(Event::Phase { attempt, .. }))) => Some(attempt),
            _ => None,
        })
        .await;
    lab.alice.behaviour_mut().webrtc.as_mut().unwrap().cancel(attempt);
    let unwanted = Error::Session(SessionError::Cancelled(Cancellation::Unwanted));
    assert_eq!(lab.failure_of_alice().await, unwanted);
}

impl Lab {
    /// Alice makes direct connections; Bob does if he has a configuration for it. Both hold a slot on the relay.
    async fn new(of_bob: Option<Config>) -> Self {
        let key = Keypair::generate_ed25519();
        let relay = relay::Behaviour::new(key.public().to_peer_id(), relay::Config::default());
        let transport = secured(MemoryTransport::default(), &key);
        let mut relay = Swarm::new(transport, relay, key.public().to_peer_id(), lasting());
        relay.listen_on("/memory/0".parse().unwrap()).unwrap();
        let listening = timeout(PATIENCE, async {
            loop {
                if let SwarmEvent::NewListenAddr { address, .. } = relay.select_next_some().await {
                    return address;
                }
            }
        });
        let address = listening.await.unwrap();
        relay.add_external_address(address.clone());
        let slot = address
            .with(Protocol::P2p(*relay.local_peer_id()))
            .with(Protocol::P2pCircuit);

        // A slot each, and the address with `/webrtc` of each who can.
        let expected = if of_bob.is_some() { 4 } else { 3 };
        let mut lab = Self {
            relay,
            alice: peer(Some(Config::default())),
            bob: peer(of_bob),
        };
        lab.alice.listen_on(slot.clone()).unwrap();
        lab.bob.listen_on(slot).unwrap();
        let mut held = 0;
        lab.until("both hold a slot", |event| {
            let event = match event {
                Happened::Relay => return None,
                Happened::Alice(event) | Happened::Bob(event) => event,
            };
            if matches!(event, SwarmEvent::ExternalAddrConfirmed { .. }) {
                held += 1;
            }
            (held == expected).then_some(())
        })
        .await;
        lab
    }

    fn bob_id(&self) -> PeerId {
        *self.bob.local_peer_id()
    }

    fn address_of_bob(&self) -> Multiaddr {
        let circuit = self
            .bob
            .external_addresses()
            .find(|address| !multiaddr::is_direct(address));
        multiaddr::advertise(circuit.unwrap(), self.bob_id()).unwrap()
    }

    async fn failure_of_alice(&mut self) -> Error {
        self.until("alice's attempt fails", |event| match event {
            Happened::Alice(SwarmEvent::Behaviour(PeerEvent::Webrtc(Event::Failed { error, .. }))) => Some(error),
            _ => None,
        })
        .await
    }

    /// Drives all three until `wanted` makes something of an event.
    async fn until<T>(&mut self, what: &str, mut wanted: impl FnMut(Happened) -> Option<T>) -> T {
        let found = timeout(PATIENCE, async {
            loop {
                let happened = tokio::select! {
                    _ = self.relay.select_next_some() => Happened::Relay,
                    event = self.alice.select_next_some() => Happened::Alice(event),
                    event = self.bob.select_next_some() => Happened::Bob(event),
                };
                if let Some(found) = wanted(happened) {
                    return found;
                }
            }
        });
        found.await.unwrap_or_else(|_| panic!("not in time: {what}"))
    }
}

trait SwarmDial {
    fn swarm_dial(&mut self, address: &Multiaddr);
}

impl SwarmDial for Swarm<Peer> {
    fn swarm_dial(&mut self, address: &Multiaddr) {
        self.dial(address.clone()).unwrap();
    }
}

fn peer(webrtc: Option<Config>) -> Swarm<Peer> {
    let key = Keypair::generate_ed25519();
    let local = key.public().to_peer_id();
    let (circuits, relay) = relay::client::new(local);
    let below = secured(circuits, &key)
        .or_transport(secured(MemoryTransport::default(), &key))
        .map(|either, _| either.into_inner());
    let (transport, webrtc) = match webrtc {
        Some(config) => {
            let (transport, behaviour) = peerway_webrtc::new(local, config);
            let transport = transport
                .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
                .or_transport(below)
                .map(|either, _| either.into_inner());
            (transport.boxed(), Some(behaviour))
        }
        None => (below.boxed(), None),
    };
    let behaviour = Peer {
        relay,
        webrtc: webrtc.into(),
    };
    Swarm::new(transport, behaviour, local, lasting())
}

fn lasting() -> swarm::Config {
    swarm::Config::with_tokio_executor().with_idle_connection_timeout(PATIENCE)
}

fn secured<T>(transport: T, key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)>
where
    T: libp2p::Transport + Send + Unpin + 'static,
    T::Output: futures::AsyncRead + futures::AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key).unwrap())
        .multiplex(yamux::Config::default())
        .boxed()
}
