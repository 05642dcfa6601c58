//! libp2p's own relay, put together as its example is, over TCP, WebSocket and WebRTC-direct on loopback: what ours is
//! measured beside.
//!
//! Only its limits are raised. With topics for arguments it also passes on what is said about them, with gossipsub at its
//! defaults. Prints one address a line, and ends with its stdin.

use std::time::Duration;

use futures::{AsyncRead, AsyncWrite, StreamExt};
use libp2p::{
    PeerId, Swarm, SwarmBuilder, Transport,
    core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
    gossipsub, identify,
    identity::Keypair,
    multiaddr::Protocol,
    noise, ping, relay,
    swarm::{NetworkBehaviour, SwarmEvent, behaviour::toggle::Toggle},
    tcp, websocket, yamux,
};
use peerway_core::behaviours::message_id;
use tokio::io::AsyncReadExt as _;

/// As good as no limit.
const MANY: usize = 1_000_000;
/// Longer than any measurement.
const LONG: Duration = Duration::from_secs(24 * 60 * 60);

const LISTEN: [&str; 3] = [
    "/ip4/127.0.0.1/tcp/0",
    "/ip4/127.0.0.1/tcp/0/ws",
    "/ip4/127.0.0.1/udp/0/webrtc-direct",
];

#[derive(NetworkBehaviour)]
struct Behaviour {
    relay: relay::Behaviour,
    identify: identify::Behaviour,
    ping: ping::Behaviour,
    gossip: Toggle<gossipsub::Behaviour>,
}

#[tokio::main]
#[expect(clippy::print_stdout, reason = "whoever starts it reads there where it listens")]
async fn main() -> anyhow::Result<()> {
    // libp2p's WebRTC asks the process which one it is to use.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let topics: Vec<String> = std::env::args().skip(1).collect();
    let keys = Keypair::generate_ed25519();
    let mut swarm = swarm(keys, &topics)?;
    for address in LISTEN {
        swarm.listen_on(address.parse()?)?;
    }
    let mut stdin = tokio::io::stdin();
    let mut said = [0; 64];
    loop {
        tokio::select! {
            event = swarm.select_next_some() => {
                if let SwarmEvent::NewListenAddr { address, .. } = event {
                    // Else it refuses to be a relay.
                    swarm.add_external_address(address.clone());
                    println!("{}", address.with(Protocol::P2p(*swarm.local_peer_id())));
                }
            }
            read = stdin.read(&mut said) => {
                if read? == 0 {
                    return Ok(());
                }
            }
        }
    }
}

fn swarm(keys: Keypair, topics: &[String]) -> anyhow::Result<Swarm<Behaviour>> {
    let behaviour = Behaviour {
        relay: relay::Behaviour::new(keys.public().to_peer_id(), limits()),
        identify: identify::Behaviour::new(identify::Config::new("/stock/1.0.0".into(), keys.public())),
        ping: ping::Behaviour::default(),
        gossip: (!topics.is_empty()).then(|| gossip(&keys, topics)).transpose()?.into(),
    };
    let tcp = || tcp::tokio::Transport::new(tcp::Config::default().nodelay(true));
    let certificate = libp2p_webrtc::tokio::Certificate::generate(&mut rand_for_certificates::rng())?;
    let webrtc_direct = libp2p_webrtc::tokio::Transport::new(keys.clone(), certificate)
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)));
    let transport = secured(tcp(), &keys)?
        .or_transport(secured(websocket::Config::new(tcp()), &keys)?)
        .map(|either, _| either.into_inner())
        .or_transport(webrtc_direct)
        .map(|either, _| either.into_inner())
        .boxed();
    let Ok(builder) = SwarmBuilder::with_existing_identity(keys)
        .with_tokio()
        .with_other_transport(|_| transport);
    let Ok(builder) = builder.with_behaviour(|_| behaviour);
    Ok(builder
        .with_swarm_config(|config| config.with_idle_connection_timeout(LONG))
        .build())
}

fn limits() -> relay::Config {
    relay::Config {
        max_reservations: MANY,
        max_reservations_per_peer: MANY,
        reservation_rate_limiters: Vec::new(),
        max_circuits: MANY,
        max_circuits_per_peer: MANY,
        max_circuit_duration: LONG,
        // No limit, to libp2p.
        max_circuit_bytes: 0,
        circuit_src_rate_limiters: Vec::new(),
        ..relay::Config::default()
    }
}

fn gossip(keys: &Keypair, topics: &[String]) -> anyhow::Result<gossipsub::Behaviour> {
    // The names of messages are its peers' affair, not a setting: with others nothing that it advertises is known to them.
    let config = gossipsub::ConfigBuilder::default().message_id_fn(message_id).build()?;
    let authenticity = gossipsub::MessageAuthenticity::Signed(keys.clone());
    let mut gossip = gossipsub::Behaviour::new(authenticity, config).map_err(anyhow::Error::msg)?;
    for topic in topics {
        gossip.subscribe(&gossipsub::IdentTopic::new(topic))?;
    }
    Ok(gossip)
}

fn secured<T>(transport: T, keys: &Keypair) -> Result<Boxed<(PeerId, StreamMuxerBox)>, noise::Error>
where
    T: Transport + Send + Unpin + 'static,
    T::Output: AsyncRead + AsyncWrite + Send + Unpin + 'static,
    T::Error: Send + Sync + 'static,
    T::Dial: Send + 'static,
    T::ListenerUpgrade: Send + 'static,
{
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys)?)
        .multiplex(yamux::Config::default())
        .boxed())
}
