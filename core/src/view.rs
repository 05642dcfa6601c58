//! What a UI needs, folded from [`Event`]s: a bounded model that a screen can draw without asking the node.
//!
//! Never decides anything about the network.

use std::{collections::BTreeMap, time::Duration};

use libp2p::{Multiaddr, PeerId};

use crate::{
    chat::{ChatMessage, RoomName},
    dial::{DialFailure, Route},
    node::Event,
    now::Now,
    reservation::{RelayFailure, RelayKey},
};

/// How the node stands with one relay.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayState {
    /// No connection yet.
    Connecting,
    /// A reservation is held.
    Reserved,
    /// The connection or the reservation is lost; it is tried again.
    Lost {
        /// Why.
        reason: RelayFailure,
    },
    /// The relay answered and refused a reservation; it is tried again, later.
    Refused {
        /// Why.
        reason: RelayFailure,
    },
}

/// One relay, as a UI shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct RelayRow {
    /// Names the relay.
    pub key: RelayKey,
    /// Its peer id, once known.
    pub peer: Option<PeerId>,
    /// The address in use or last tried.
    pub address: Option<Multiaddr>,
    /// How we stand with it.
    pub state: RelayState,
    /// When the next try begins, on the node's monotonic clock.
    pub retry_at: Option<Duration>,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
}

/// One peer, as a UI shows it.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRow {
    /// Who.
    pub peer: PeerId,
    /// The name it announces.
    pub name: Option<String>,
    /// The best connection's route; `None` without a connection.
    pub route: Option<Route>,
    /// Set, on the node's monotonic clock, once the peer is gone; the row is removed `GONE_ROW_KEPT` later.
    pub gone_at: Option<Duration>,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// Why the last attempt to reach it failed, if it did and none succeeded since.
    pub last_failure: Option<DialFailure>,
}

/// One room, as a UI shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomLog {
    /// The lines, in order of arrival, the newest last.
    pub messages: Vec<ChatMessage>,
    /// How many older lines were dropped to keep the log bounded.
    pub dropped: u64,
}

/// Which part of a [`View`] an event changed: what must be drawn again.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// Nothing that is shown.
    Nothing,
    /// One relay's row.
    Relay(RelayKey),
    /// One peer's row.
    Peer(PeerId),
    /// One room's log.
    Room(RoomName),
    /// Everything: take it anew.
    All,
}

/// The model. Bounded by the node's own bounds and by the constants of this module.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Our own peer id.
    pub local: PeerId,
    /// The relays, in the order in which they were added.
    pub relays: Vec<RelayRow>,
    /// The peers we know or are connected to. Relays have no row.
    pub peers: BTreeMap<PeerId, PeerRow>,
    /// The rooms we take part in.
    pub rooms: BTreeMap<RoomName, RoomLog>,
}
