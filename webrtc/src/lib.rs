//! libp2p's WebRTC transports for a page.
//!
//! * `/webrtc`: two browsers connect to each other, signalled over a circuit that a relay carries for them
//!   (<https://github.com/libp2p/specs/blob/master/webrtc/webrtc.md>).
//! * `/webrtc-direct`: a browser dials a server whose certificate's hash is in its address
//!   (<https://github.com/libp2p/specs/blob/master/webrtc/webrtc-direct.md>).
//!
//! What decides (the signalling, a stream's states) is free of I/O and compiles everywhere; one module knows the
//! browser.
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
