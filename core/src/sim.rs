//! Many engines on a simulated network, in virtual time: seeded, deterministic, natively and on wasm32 alike.
//!
//! The network is a model, and says which: links have a latency and may lose gossip or fall silent (packets vanish,
//! nobody is told); relays grant reservations, carry circuits, forward every gossip message to all subscribers, answer
//! snapshots, and can be killed (all connections end at once) and started again. Dials are refused one latency after
//! they began; into silence they time out. Pings run every [`PING_INTERVAL`] and fail [`PING_TIMEOUT`] later.

mod network;
mod node;
mod relay;

pub use network::{LinkConfig, Network, NodeId, RelayId};

use std::time::Duration;

/// How often a connection is pinged.
pub const PING_INTERVAL: Duration = crate::config::DEFAULT_PING_INTERVAL;
/// How long a pong is waited for.
pub const PING_TIMEOUT: Duration = crate::config::DEFAULT_PING_TIMEOUT;
/// When a dial into silence is given up.
pub const DIAL_TIMEOUT: Duration = crate::transport::DIAL_TIMEOUT;
/// What gossipsub and its signature add to a message, roughly, in bytes: ids, sequence number, key, signature, framing.
pub const GOSSIP_OVERHEAD: usize = 250;

#[cfg(test)]
mod tests;
