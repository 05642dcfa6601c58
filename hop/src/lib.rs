//! A [circuit relay v2](https://github.com/libp2p/specs/blob/master/relay/circuit-v2.md) server for any libp2p swarm, with
//! limits that hold.
//!
//! The part of a relay that lets peers reserve a slot and carries circuits to them: the server's side of HOP and STOP. It
//! serves the clients of rust-libp2p, js-libp2p and go-libp2p.
//!
//! * The N-th is admitted, the N+1-th is refused, with the status that the specification has for it.
//! * Renewals succeed also when the relay is full, and a reservation is kept longer than it was announced.
//! * A circuit's duration, bytes and rate are bounded, and hold on busy circuits too; bytes and rate in each direction.
//! * One busy circuit takes its turn like all others, and an idle one holds no buffer.
//! * [`Event`]s make a ledger in which every beginning has one end; the [`Behaviour`]'s getters say what is.
//! * The application may have a word ([`AccessControl`]), and change it at run time.
//!
//! ```
//! use libp2p::{
//!     Multiaddr, Swarm, SwarmBuilder, noise,
//!     swarm::{NetworkBehaviour, SwarmEvent},
//!     tcp, yamux,
//! };
//! use peerway_hop::{Config, Event};
//!
//! #[derive(NetworkBehaviour)]
//! struct Behaviour {
//!     relay: peerway_hop::Behaviour,
//! }
//!
//! fn build(public: Multiaddr) -> Result<Swarm<Behaviour>, noise::Error> {
//!     let mut config = Config::default();
//!     config.reservations.total = 1_000;
//!     let mut swarm = SwarmBuilder::with_new_identity()
//!         .with_tokio()
//!         .with_tcp(tcp::Config::default(), noise::Config::new, yamux::Config::default)?
//!         .with_behaviour(|keys| Behaviour { relay: peerway_hop::Behaviour::new(keys, config) })
//!         .expect("nothing here can fail")
//!         .build();
//!     // Until it has one, clients are refused.
//!     swarm.add_external_address(public);
//!     Ok(swarm)
//! }
//!
//! fn on_event(event: &SwarmEvent<BehaviourEvent>) -> Option<String> {
//!     match event {
//!         SwarmEvent::Behaviour(BehaviourEvent::Relay(event)) => Some(match event {
//!             Event::ReservationAccepted { peer, .. } => format!("{peer} can be reached"),
//!             Event::CircuitDenied { source, denial, .. } => format!("{source}: {denial}"),
//!             Event::CircuitClosed { circuit, outcome, traffic, .. } => {
//!                 format!("circuit {circuit}: {outcome:?}, {} bytes", traffic.to_destination + traffic.to_source)
//!             }
//!             _ => return None,
//!         }),
//!         _ => None,
//!     }
//! }
//! ```
//!
//! # How it is made
//!
//! `server` decides: a state machine without I/O and without a clock. `behaviour` is its shell in the swarm, `handler` its
//! hands on each connection, `copy` what carries the bytes. A `ticket` goes with each circuit, so that none ends untold.

#![warn(missing_docs)]

mod access;
mod behaviour;
mod buffer;
pub mod config;
mod copy;
mod event;
mod flow;
mod frame;
mod handler;
mod message;
mod network;
mod rate;
mod refusal;
mod server;
mod ticket;
mod voucher;

pub use access::{Access, AccessControl, CircuitRequest, Everybody, ReservationRequest};
pub use behaviour::{Behaviour, Circuit, Offer, Reservation, Stage};
pub use buffer::{BUFFER_BYTES, Buffer};
pub use config::{CircuitLimits, Config, HandshakeLimits, Rate, ReservationLimits};
pub use event::{CircuitId, Event, Outcome, ReservationEnd, Traffic};
pub use message::MAX_MESSAGE_BYTES;
pub use network::Network;
pub use refusal::{Bound, Denial, OpenError, Refusal};

use libp2p_swarm::StreamProtocol;

/// What clients speak with a relay.
pub const HOP_PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/hop");
/// What a relay speaks with the destination of a circuit.
pub const STOP_PROTOCOL: StreamProtocol = StreamProtocol::new("/libp2p/circuit/relay/0.2.0/stop");
