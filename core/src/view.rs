//! What a UI needs, folded from [`Event`]s: a bounded model that a screen can draw without asking the node.
//!
//! Never decides anything about the network, and holds no words for the screen.

mod fold;
#[cfg(test)]
mod tests;

use std::{collections::BTreeMap, time::Duration};

use libp2p::{Multiaddr, PeerId};

use crate::{
    chat::{ChatMessage, RoomName},
    dial::{DialFailure, Route},
    reservation::{RelayFailure, RelayKey},
};
// The doc links of this module.
#[cfg(doc)]
use crate::node::Event;

/// How many relays have a row. When full, a further one has none.
pub const RELAY_ROWS: usize = 64;

/// How many peers have a row. When full, the one gone for the longest time makes room, then, if the newcomer is
/// connected, one that is not; else the newcomer has none.
pub const PEER_ROWS: usize = 1024;

/// How many lines a room's log keeps. When full, the oldest is dropped and counted.
pub const ROOM_LINES: usize = 500;

/// How long a peer that is gone keeps its row.
pub const GONE_ROW_KEPT: Duration = Duration::from_secs(60);

/// How the node stands with one relay.
#[derive(Clone, Debug, PartialEq)]
pub enum RelayState {
    /// No connection yet.
    Connecting,
    /// A reservation is held.
    Reserved,
    /// The connection or the reservation is lost, or never came about. It is tried again, and stays lost until a
    /// reservation is granted.
    Lost {
        /// Why.
        reason: RelayFailure,
    },
    /// The relay answered and refused a reservation; it is tried again, and stays refused until one is granted or
    /// the connection is lost.
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
    /// Set, on the node's monotonic clock, once the peer is gone; the row is removed [`GONE_ROW_KEPT`] later.
    pub gone_at: Option<Duration>,
    /// The last measured round trip.
    pub round_trip: Option<Duration>,
    /// Why the last attempt to reach it failed, if it did and none succeeded since. Beside a circuit: why it is not a direct
    /// connection.
    pub last_failure: Option<DialFailure>,
}

/// Whether somebody is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Presence {
    /// A connection stands.
    Connected,
    /// Heard of, not connected.
    Known,
    /// Gone: the row is shown a little longer.
    Gone,
}

/// How we stand with all relays together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RelayStatus {
    /// No reservation yet, and a relay that has not failed yet; or no relay at all.
    Connecting,
    /// At least one reservation is held: we can be reached.
    Reserved,
    /// No reservation, and at least one relay is lost.
    Lost,
    /// Every relay refused.
    Refused,
}

/// One room, as a UI shows it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RoomLog {
    /// The lines, in order of arrival, the newest last.
    pub messages: Vec<ChatMessage>,
    /// How many older lines were dropped to keep the log bounded.
    pub dropped: u64,
    /// Our own lines among them that have not left, by their id.
    pub unsent: BTreeMap<String, Unsent>,
}

/// Why a line of ours has not left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unsent {
    /// It waits for somebody to be there.
    Waiting,
    /// Nobody came: it was given up.
    GivenUp,
}

/// Which part of a [`View`] changed: what must be drawn again.
#[must_use = "tells what must be drawn again"]
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Changed {
    /// Nothing that is shown.
    Nothing,
    /// One relay's row, or that it has one.
    Relay(RelayKey),
    /// One peer's row, or whether it has one.
    Peer(PeerId),
    /// One room's log, or whether we take part in the room.
    Room(RoomName),
    /// Everything: take it anew.
    All,
}

/// The model. Bounded by the constants of this module and [`MAX_ROOMS`](crate::chat::MAX_ROOMS).
///
/// The node folds one of its own. An application that folds another from the same [`Event`]s sees the same, until
/// [`Event::Lagged`] tells it to take the node's.
#[derive(Clone, Debug, PartialEq)]
pub struct View {
    /// Our own peer id.
    pub local: PeerId,
    /// The relays, in the order in which they were added.
    pub relays: Vec<RelayRow>,
    /// The peers we know or are connected to. Relays have no row: neither those added nor those that carry a circuit.
    pub peers: BTreeMap<PeerId, PeerRow>,
    /// The rooms we take part in.
    pub rooms: BTreeMap<RoomName, RoomLog>,
}

impl View {
    /// The model of a node that has just started.
    #[must_use]
    pub fn new(local: PeerId) -> Self {
        Self {
            local,
            relays: Vec::new(),
            peers: BTreeMap::new(),
            rooms: BTreeMap::new(),
        }
    }

    /// How we stand with all relays together.
    #[must_use]
    pub fn relay_status(&self) -> RelayStatus {
        let any = |is: fn(&RelayState) -> bool| self.relays.iter().any(|relay| is(&relay.state));
        if any(|state| matches!(state, RelayState::Reserved)) {
            RelayStatus::Reserved
        } else if self.relays.is_empty() || any(|state| matches!(state, RelayState::Connecting)) {
            RelayStatus::Connecting
        } else if any(|state| matches!(state, RelayState::Lost { .. })) {
            RelayStatus::Lost
        } else {
            RelayStatus::Refused
        }
    }

    /// The rows in the order for a screen: the connected, the known, the gone; each by peer id, so that no row jumps
    /// when a name or a round trip changes.
    #[must_use]
    pub fn peers_by_presence(&self) -> Vec<&PeerRow> {
        let mut rows: Vec<&PeerRow> = self.peers.values().collect();
        rows.sort_by_key(|row| row.presence());
        rows
    }

    /// When the next row of a peer that is gone must go, on the node's monotonic clock: call
    /// [`View::handle_timeout`] then.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.peers.values().filter_map(PeerRow::removed_at).min()
    }
}

impl PeerRow {
    /// Whether the peer is there.
    #[must_use]
    pub fn presence(&self) -> Presence {
        match (self.gone_at, self.route) {
            (Some(_), _) => Presence::Gone,
            (None, Some(_)) => Presence::Connected,
            (None, None) => Presence::Known,
        }
    }

    fn removed_at(&self) -> Option<Duration> {
        Some(self.gone_at?.saturating_add(GONE_ROW_KEPT))
    }
}

impl RoomLog {
    /// Why this line has not left; `None` for lines that did, and for those of others.
    #[must_use]
    pub fn unsent(&self, message: &ChatMessage) -> Option<Unsent> {
        if !message.own {
            return None;
        }
        self.unsent.get(&message.id).copied()
    }
}
