//! The parts of a node as [`NetworkBehaviour`](libp2p::swarm::NetworkBehaviour)s, for anyone's swarm.
//!
//! * [`Reservations`]: holds reservations on relays, and gets them back.
//! * [`Discovery`]: announces where we can be reached, and knows who else is there.
//! * [`Streams`]: raw streams, opened on the best connection to a peer.
//! * [`GossipGate`]: gossipsub that runs on one connection per peer, never on a circuit. `Discovery` owns one.
//! * [`snapshots`]: asks relays for what they have recently heard.
//! * [`access_tokens`]: shows relays that ask for it that one may use them.
//!
//! They decide nothing that the machines of this crate do not decide, start no task, and need no [`node`](crate::node).
//! None of them dials a peer: that is for whoever owns the swarm, who knows why.
//!
//! A swarm of one's own that is found by pages and finds them, and opens a stream to each:
//!
//! ```no_run
//! use futures::StreamExt;
//! use libp2p::{
//!     PeerId, StreamProtocol, Swarm, gossipsub, identify, identity::Keypair, ping,
//!     swarm::{self, NetworkBehaviour, SwarmEvent, dial_opts::DialOpts},
//! };
//! use peerway_core::{
//!     behaviours::{
//!         self, Discovery, DiscoveryConfig, DiscoveryEvent, GossipGate, OlderConnections, Reservations, Streams,
//!     },
//!     reservation::{RelaySpec, ReservationConfig},
//!     transport,
//! };
//!
//! #[derive(NetworkBehaviour)]
//! struct Behaviour {
//!     reservations: Reservations,
//!     identify: identify::Behaviour,
//!     ping: ping::Behaviour,
//!     streams: Streams,
//!     // Last, so that no other part can deny a connection on which it has begun to gossip.
//!     discovery: Discovery,
//! }
//!
//! # async fn example(seed: u64) -> Result<(), Box<dyn std::error::Error>> {
//! let key = Keypair::generate_ed25519();
//! let local = PeerId::from(key.public());
//! let transports = transport::native(&key)?;
//! let gate = GossipGate::new(behaviours::gossip(&key)?, OlderConnections::Keep);
//! let behaviour = Behaviour {
//!     reservations: Reservations::new(transports.relay, ReservationConfig::default(), seed),
//!     identify: identify::Behaviour::new(identify::Config::new("/example/1.0.0".into(), key.public())),
//!     ping: ping::Behaviour::default(),
//!     streams: Streams::new(),
//!     discovery: Discovery::new(local, gate, DiscoveryConfig::default(), seed)?,
//! };
//! let config = swarm::Config::with_tokio_executor();
//! let mut swarm = Swarm::new(transports.transport, behaviour, local, config);
//! let relay: RelaySpec = "/dns4/relay.example.org/tcp/443/tls/ws".parse()?;
//! swarm.behaviour_mut().reservations.add_relay(relay)?;
//!
//! loop {
//!     match swarm.select_next_some().await {
//!         // Reservations see neither gossip nor pings: they are told.
//!         SwarmEvent::Behaviour(BehaviourEvent::Discovery(DiscoveryEvent::Gossip(
//!             gossipsub::Event::Subscribed { peer_id, .. },
//!         ))) => swarm.behaviour_mut().reservations.handle_gossip(peer_id),
//!         SwarmEvent::Behaviour(BehaviourEvent::Ping(ping::Event { connection, result: Ok(_), .. })) => {
//!             swarm.behaviour_mut().reservations.handle_alive(connection);
//!         }
//!         SwarmEvent::Behaviour(BehaviourEvent::Discovery(DiscoveryEvent::Discovered {
//!             peer, addresses, ..
//!         })) => {
//!             if let Err(error) = swarm.dial(DialOpts::peer_id(peer).addresses(addresses).build()) {
//!                 println!("{peer} is not dialled: {error}");
//!             }
//!         }
//!         SwarmEvent::ConnectionEstablished { peer_id, .. } => {
//!             let protocol = StreamProtocol::new("/example/1.0.0");
//!             let opening = swarm.behaviour_mut().streams.open(peer_id, protocol);
//!             tokio::spawn(async move {
//!                 if let Ok(stream) = opening.await {
//!                     // Talk.
//!                     drop(stream);
//!                 }
//!             });
//!         }
//!         _ => {}
//!     }
//! }
//! # }
//! ```
//!
//! What a `Node` adds is the judgement whom to dial, where, and when: the example takes every address that is announced
//! for good, which a program that strangers can reach must not ([`dial::plan`](crate::dial::plan) has the rules).

mod alarm;
mod connection_limits;
mod discovery;
mod gossip;
mod gossip_gate;
mod reservations;
mod streams;

pub use connection_limits::{ConnectionBounds, ConnectionLimits, LimitExceeded};
pub use discovery::{Discovery, DiscoveryConfig, DiscoveryEvent};
pub use gossip::{GossipError, GossipFilter, gossip};
pub use gossip_gate::{GossipGate, OlderConnections};
pub use reservations::{Reservations, ReservationsEvent};
pub use streams::{AcceptError, IncomingStreams, OpenError, OpenStream, Streams};

use libp2p::{
    StreamProtocol,
    core::ConnectedPoint,
    gossipsub::{self, MessageId},
    multiaddr::Protocol,
    request_response::{self, ProtocolSupport},
};

use crate::{access, protocol, snapshot as wire};

/// Request-response behaviour of `/peerway/snapshot/1.0.0`.
pub type Snapshots = request_response::json::Behaviour<wire::SnapshotRequest, wire::Snapshot>;

/// The snapshot behaviour, asking or answering, with both sizes bounded.
#[must_use]
pub fn snapshots(support: ProtocolSupport) -> Snapshots {
    let codec = request_response::json::codec::Codec::default()
        .set_request_size_maximum(wire::MAX_REQUEST_SIZE as u64)
        .set_response_size_maximum(wire::MAX_SNAPSHOT_SIZE as u64);
    let protocols: [(StreamProtocol, ProtocolSupport); 1] = [(protocol::SNAPSHOT_PROTOCOL, support)];
    Snapshots::with_codec(codec, protocols, request_response::Config::default())
}

/// Request-response behaviour of `/peerway/access/1.0.0`.
pub type AccessTokens = request_response::json::Behaviour<access::TokenRequest, access::TokenAnswer>;

/// The behaviour that presents a token to a relay, or takes it, with both sizes bounded.
#[must_use]
pub fn access_tokens(support: ProtocolSupport) -> AccessTokens {
    let codec = request_response::json::codec::Codec::default()
        .set_request_size_maximum(access::MAX_TOKEN_REQUEST_SIZE as u64)
        .set_response_size_maximum(access::MAX_TOKEN_ANSWER_SIZE as u64);
    let protocols: [(StreamProtocol, ProtocolSupport); 1] = [(protocol::ACCESS_PROTOCOL, support)];
    AccessTokens::with_codec(codec, protocols, request_response::Config::default())
}

/// The message id that js-libp2p computes by default for ed25519 sources: the source's multihash digest, then the
/// sequence number, big-endian. With the same ids on both sides IHAVE and IDONTWANT work between the two.
#[must_use]
pub fn message_id(message: &gossipsub::Message) -> MessageId {
    let mut id = message.source.map(|source| source.to_bytes()).unwrap_or_default();
    id.drain(..id.len().min(MULTIHASH_HEADER));
    id.extend_from_slice(&message.sequence_number.unwrap_or_default().to_be_bytes());
    MessageId::from(id)
}

/// Multihash code and length in front of the digest of an ed25519 peer id.
const MULTIHASH_HEADER: usize = 2;

/// Whether the connection is carried by a relay. `/p2p-circuit/webrtc` only names the relay that signals for it.
fn is_circuit(endpoint: &ConnectedPoint) -> bool {
    let address = match endpoint {
        ConnectedPoint::Dialer { address, .. } => address,
        ConnectedPoint::Listener { local_addr, .. } => local_addr,
    };
    let mut parts = address.iter().skip_while(|part| *part != Protocol::P2pCircuit);
    parts.next().is_some() && !parts.any(|part| part == Protocol::WebRTC)
}
