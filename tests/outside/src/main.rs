//! What somebody writes who has a swarm of their own and wants it to connect browsers directly. Nothing of Peerway but the
//! published crate is in it; that it builds, natively and for a page, is the test.

use libp2p::{
    Multiaddr, PeerId, Swarm, Transport as _,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    identity::Keypair,
    noise, relay,
    swarm::{self, Executor, NetworkBehaviour, SwarmEvent},
    yamux,
};

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::client::Behaviour,
    webrtc: peerway_webrtc::Behaviour,
}

fn main() {
    let key = Keypair::generate_ed25519();
    let mut swarm = build(&key, to_the_relay(&key), |_| {}).expect("a key signs");
    let address: Multiaddr = std::env::args()
        .nth(1)
        .unwrap_or_else(|| "/dns/relay.example/tcp/443/tls/ws".to_owned())
        .parse()
        .expect("an address");
    match swarm.dial(address) {
        Ok(()) => println!("dialling"),
        Err(error) => println!("{error}"),
    }
}

fn build(
    key: &Keypair,
    to_the_relay: Boxed<(PeerId, StreamMuxerBox)>,
    executor: impl Executor + Send + 'static,
) -> Result<Swarm<Behaviour>, noise::Error> {
    let local = PeerId::from(key.public());
    let (circuits, relay) = relay::client::new(local);
    let mut config = peerway_webrtc::Config::default();
    config.ice_servers = vec![peerway_webrtc::IceServer::new("stun:relay.example:3478")];
    let (webrtc, webrtc_behaviour) = peerway_webrtc::new(local, config);
    let transport = webrtc
        .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
        .or_transport(secured(circuits, key)?)
        .map(|either, _| either.into_inner())
        .or_transport(to_the_relay)
        .map(|either, _| either.into_inner())
        .boxed();
    let behaviour = Behaviour {
        relay,
        webrtc: webrtc_behaviour,
    };
    Ok(Swarm::new(
        transport,
        behaviour,
        local,
        swarm::Config::with_executor(executor),
    ))
}

fn secured<T>(transport: T, key: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error>
where
    T: libp2p::Transport + Send + Unpin + 'static,
    T::Output: futures_io::AsyncRead + futures_io::AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(key)?)
        .multiplex(yamux::Config::default())
        .boxed())
}

#[cfg(target_family = "wasm")]
fn to_the_relay(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    secured(libp2p_websocket_websys::Transport::default(), key).expect("a key signs")
}

#[cfg(not(target_family = "wasm"))]
fn to_the_relay(key: &Keypair) -> Boxed<(PeerId, StreamMuxerBox)> {
    secured(libp2p::core::transport::MemoryTransport::default(), key).expect("a key signs")
}

/// Keeps what the public events say in use: a change of theirs breaks this build, as it would break others'.
#[expect(dead_code, reason = "it is compiled, which is the test")]
fn told(event: SwarmEvent<BehaviourEvent>) -> Option<String> {
    let SwarmEvent::Behaviour(BehaviourEvent::Webrtc(event)) = event else {
        return None;
    };
    Some(match event {
        peerway_webrtc::Event::Phase { peer, role, phase, .. } => format!("{peer}, {role:?}: {phase}"),
        peerway_webrtc::Event::Connected { peer, connection, .. } => format!("{peer}: {connection}"),
        peerway_webrtc::Event::Failed { peer, error, .. } => format!("{peer}: {error}"),
        _ => return None,
    })
}
