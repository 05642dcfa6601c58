//! libp2p's WebRTC transports for a page.
//!
//! * `/webrtc`: two browsers connect to each other, signalled over a circuit that a relay carries for them
//!   (<https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md>).
//! * `/webrtc-direct`: a browser dials a server whose certificate's hash is in its address
//!   (<https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md>).
//!
//! What decides (the signalling, a stream's states) is free of I/O and compiles everywhere; one module knows the
//! browser. Natively there is no WebRTC yet: the same programme builds, and every attempt fails with
//! [`RtcError::Unsupported`] as its reason.
//!
//! # A swarm that connects directly
//!
//! ```
//! use libp2p::{
//!     Multiaddr, PeerId, Swarm, Transport as _,
//!     core::{muxing::StreamMuxerBox, transport::Boxed, upgrade::Version},
//!     identity::Keypair,
//!     noise, relay,
//!     swarm::{self, Executor, NetworkBehaviour, SwarmEvent},
//!     yamux,
//! };
//!
//! #[derive(NetworkBehaviour)]
//! struct Behaviour {
//!     relay: relay::client::Behaviour,
//!     webrtc: peerway_webrtc::Behaviour,
//! }
//!
//! /// `websocket` reaches the relay; `executor` is the page's (`wasm_bindgen_futures::spawn_local`).
//! fn build(
//!     key: &Keypair,
//!     websocket: Boxed<(PeerId, StreamMuxerBox)>,
//!     executor: impl Executor + Send + 'static,
//! ) -> Result<Swarm<Behaviour>, noise::Error> {
//!     let local = PeerId::from(key.public());
//!     let (circuits, relay) = relay::client::new(local);
//!     let mut config = peerway_webrtc::Config::default();
//!     config.ice_servers = vec![peerway_webrtc::IceServer::new("stun:relay.example:3478")];
//!     let (webrtc, webrtc_behaviour) = peerway_webrtc::new(local, config);
//!
//!     let circuits = circuits
//!         .upgrade(Version::V1Lazy)
//!         .authenticate(noise::Config::new(key)?)
//!         .multiplex(yamux::Config::default())
//!         .boxed();
//!     let transport = webrtc
//!         .map(|(peer, connection), _| (peer, StreamMuxerBox::new(connection)))
//!         // The order matters: the relay's transport takes every address with `/p2p-circuit` for its own.
//!         .or_transport(circuits)
//!         .map(|either, _| either.into_inner())
//!         .or_transport(websocket)
//!         .map(|either, _| either.into_inner())
//!         .boxed();
//!     let behaviour = Behaviour { relay, webrtc: webrtc_behaviour };
//!     Ok(Swarm::new(transport, behaviour, local, swarm::Config::with_executor(executor)))
//! }
//!
//! /// Dials somebody whose address another channel told: `<relay>/p2p-circuit/webrtc/p2p/<peer>`.
//! fn reach(swarm: &mut Swarm<Behaviour>, address: Multiaddr) -> Result<(), swarm::DialError> {
//!     swarm.dial(address)
//! }
//!
//! /// What came of it.
//! fn on_event(event: &SwarmEvent<BehaviourEvent>) -> Option<String> {
//!     match event {
//!         SwarmEvent::Behaviour(BehaviourEvent::Webrtc(event)) => Some(match event {
//!             peerway_webrtc::Event::Phase { peer, phase, .. } => format!("{peer}: {phase}"),
//!             peerway_webrtc::Event::Connected { peer, .. } => format!("{peer}: connected directly"),
//!             peerway_webrtc::Event::Failed { peer, error, .. } => format!("{peer}: still relayed, {error}"),
//!             _ => return None,
//!         }),
//!         _ => None,
//!     }
//! }
//! ```
//!
//! After `listen_on("<relay>/p2p-circuit")` the swarm has a circuit address; it is advertised with `/webrtc` too, as an
//! external address, for as long as the circuit address is confirmed.
#![warn(missing_docs)]
#![cfg_attr(
    not(target_family = "wasm"),
    expect(
        dead_code,
        reason = "without a WebRTC implementation nobody calls what listens to one"
    )
)]

mod behaviour;
mod connection;
pub mod direct;
mod exchange;
mod glare;
mod handler;
pub mod multiaddr;
mod rtc;
pub mod signaling;
mod stats;
mod stream;
mod transport;

pub use behaviour::{AttemptId, Behaviour, Config, Error, Event, InboundPolicy, MAX_SESSIONS, UpgradeError};
pub use connection::{Connection, ConnectionError};
pub use rtc::{IceServer, RtcError};
pub use signaling::{Phase, Role};
pub use stats::{Candidate, CandidateKind, Stats};
pub use stream::Stream;
pub use transport::Transport;

use libp2p_identity::PeerId;

/// The transport and the behaviour of `/webrtc`; both go into the same swarm, as those of the relay's client do.
///
/// Compose the transport *before* the relay's: that one takes every address with `/p2p-circuit` for its own.
#[must_use]
pub fn new(local_peer_id: PeerId, config: Config) -> (Transport, Behaviour) {
    let (transport, ends) = transport::Transport::new();
    (transport, Behaviour::new(local_peer_id, config, ends))
}
