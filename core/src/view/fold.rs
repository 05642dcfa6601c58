//! The fold: one event in, the rows it touches changed, and what changed out.

use std::time::Duration;

use libp2p::PeerId;

use super::{
    Changed, PEER_ROWS, PeerRow, Presence, RELAY_ROWS, ROOM_LINES, RelayRow, RelayState, RoomLog, Unsent, View,
};
use crate::{
    chat::{ChatMessage, MAX_ROOMS, RoomName},
    dial::{DialFailure, Route},
    node::Event,
    now::Now,
    reservation::{RelayFailure, RelayKey},
};

impl View {
    /// Folds one event in.
    pub fn apply(&mut self, event: &Event, now: Now) -> Changed {
        match event {
            Event::RelayAdded { relay, peer } => self.on_relay_added(*relay, *peer),
            Event::RelayDialed { relay, address } => self.change_relay(*relay, |row| {
                row.address = Some(address.clone());
                row.retry_at = None;
            }),
            Event::RelayReserved { relay, peer, address } => {
                let changed = self.change_relay(*relay, |row| {
                    row.peer = Some(*peer);
                    row.address = Some(address.clone());
                    row.state = RelayState::Reserved;
                    row.retry_at = None;
                });
                changed.and(self.remove_row(peer))
            }
            Event::RelayLost {
                relay,
                reason,
                retry_in,
            } => self.change_relay(*relay, |row| {
                row.state = failed(reason);
                row.retry_at = Some(now.mono.saturating_add(*retry_in));
                row.round_trip = None;
            }),
            Event::RelayRemoved { relay } => self.on_relay_removed(*relay),
            Event::RelayMeasured { relay, round_trip } => {
                self.change_relay(*relay, |row| row.round_trip = Some(*round_trip))
            }
            Event::PeerDiscovered { peer, name } => self.upsert_peer(*peer, Claim::Heard, |row| {
                row.name.clone_from(name);
                row.gone_at = None;
            }),
            Event::PeerRenamed { peer, name } => self.change_peer(peer, |row| row.name.clone_from(name)),
            Event::PeerGone { peer } => self.change_peer(peer, |row| row.leave(now.mono)),
            Event::RouteChanged {
                peer,
                route: Some(route),
            } => self.on_route(*peer, *route),
            Event::RouteChanged { peer, route: None } => self.change_peer(peer, |row| {
                row.route = None;
                row.round_trip = None;
            }),
            Event::PeerMeasured { peer, round_trip } => self.change_peer(peer, |row| {
                // A pong that outlives its connection measures nothing.
                row.round_trip = row.route.map(|_| *round_trip);
            }),
            Event::AttemptStarted { .. } => Changed::Nothing,
            // No failure of ours: the other side's attempt decides.
            Event::AttemptFailed {
                reason: DialFailure::Superseded,
                ..
            }
            | Event::OfferFailed {
                reason: DialFailure::Superseded,
                ..
            } => Changed::Nothing,
            Event::AttemptFailed { peer, reason, .. } => {
                self.change_peer(peer, |row| row.last_failure = Some(reason.clone()))
            }
            // Without a circuit it says nothing about how the peer is reached.
            Event::OfferFailed { peer, reason } => self.change_peer(peer, |row| {
                if matches!(row.route, Some(Route::Circuit { .. })) {
                    row.last_failure = Some(reason.clone());
                }
            }),
            Event::RoomJoined { room } => self.on_room_joined(room),
            Event::RoomLeft { room } => match self.rooms.remove(room) {
                Some(_) => Changed::Room(room.clone()),
                None => Changed::Nothing,
            },
            Event::MessageReceived { room, message } => self.change_room(room, |log| log.push(message)),
            Event::MessageSent { room, id } => self.change_room(room, |log| log.unsent.remove(id).is_some()),
            Event::MessageUndelivered { room, id } => self.change_room(room, |log| log.give_up(id)),
            Event::Lagged { .. } => Changed::All,
            Event::Stopped => self.on_stopped(now),
        }
    }

    /// Removes the rows of peers that have been gone for long enough.
    pub fn handle_timeout(&mut self, now: Now) -> Changed {
        let mut changed = Changed::Nothing;
        self.peers.retain(|peer, row| {
            let stays = row.removed_at().is_none_or(|at| at > now.mono);
            if !stays {
                changed = std::mem::replace(&mut changed, Changed::Nothing).and(Changed::Peer(*peer));
            }
            stays
        });
        changed
    }

    fn on_relay_added(&mut self, key: RelayKey, peer: Option<PeerId>) -> Changed {
        let known = self.relays.iter().any(|row| row.key == key);
        if !known {
            if self.relays.len() >= RELAY_ROWS {
                return Changed::Nothing;
            }
            self.relays.push(RelayRow {
                key,
                peer: None,
                address: None,
                state: RelayState::Connecting,
                retry_at: None,
                round_trip: None,
            });
        }
        let mut changed = self.change_relay(key, |row| row.peer = peer.or(row.peer));
        if !known {
            changed = Changed::Relay(key);
        }
        match peer {
            Some(peer) => changed.and(self.remove_row(&peer)),
            None => changed,
        }
    }

    fn on_relay_removed(&mut self, key: RelayKey) -> Changed {
        let before = self.relays.len();
        self.relays.retain(|row| row.key != key);
        if self.relays.len() < before {
            Changed::Relay(key)
        } else {
            Changed::Nothing
        }
    }

    fn on_route(&mut self, peer: PeerId, route: Route) -> Changed {
        let changed = self.upsert_peer(peer, Claim::Connected, |row| {
            if row.route != Some(route) {
                row.round_trip = None;
            }
            // What failed while a circuit stood was an upgrade: another circuit does not make good for it.
            let circuits = [row.route, Some(route)].map(|route| matches!(route, Some(Route::Circuit { .. })));
            if circuits != [true, true] {
                row.last_failure = None;
            }
            row.route = Some(route);
            row.gone_at = None;
        });
        match route {
            Route::Circuit { relay } => changed.and(self.remove_row(&relay)),
            Route::WebRtc | Route::Direct => changed,
        }
    }

    fn on_room_joined(&mut self, room: &RoomName) -> Changed {
        if self.rooms.contains_key(room) || self.rooms.len() >= MAX_ROOMS {
            return Changed::Nothing;
        }
        self.rooms.insert(room.clone(), RoomLog::default());
        Changed::Room(room.clone())
    }

    /// Nothing is connected any more, whatever was told before.
    fn on_stopped(&mut self, now: Now) -> Changed {
        for row in &mut self.relays {
            row.state = RelayState::Lost {
                reason: RelayFailure::Disconnected,
            };
            row.retry_at = None;
            row.round_trip = None;
        }
        for row in self.peers.values_mut() {
            row.leave(now.mono);
        }
        Changed::All
    }

    fn change_relay(&mut self, key: RelayKey, change: impl FnOnce(&mut RelayRow)) -> Changed {
        match self.relays.iter_mut().find(|row| row.key == key) {
            Some(row) => changed_if(row, change, Changed::Relay(key)),
            None => Changed::Nothing,
        }
    }

    fn change_peer(&mut self, peer: &PeerId, change: impl FnOnce(&mut PeerRow)) -> Changed {
        match self.peers.get_mut(peer) {
            Some(row) => changed_if(row, change, Changed::Peer(*peer)),
            None => Changed::Nothing,
        }
    }

    /// Changes a room's log; `change` says whether it did.
    fn change_room(&mut self, room: &RoomName, change: impl FnOnce(&mut RoomLog) -> bool) -> Changed {
        if self.rooms.get_mut(room).is_some_and(change) {
            Changed::Room(room.clone())
        } else {
            Changed::Nothing
        }
    }

    /// Changes a peer's row, or makes one if it may have one and there is room.
    fn upsert_peer(&mut self, peer: PeerId, claim: Claim, change: impl FnOnce(&mut PeerRow)) -> Changed {
        if self.peers.contains_key(&peer) {
            return self.change_peer(&peer, change);
        }
        if peer == self.local || self.is_relay(&peer) {
            return Changed::Nothing;
        }
        let mut changed = Changed::Peer(peer);
        if self.peers.len() >= PEER_ROWS {
            let Some(evicted) = self.least_wanted(claim) else {
                return Changed::Nothing;
            };
            changed = changed.and(self.remove_row(&evicted));
        }
        let mut row = PeerRow {
            peer,
            name: None,
            route: None,
            gone_at: None,
            round_trip: None,
            last_failure: None,
        };
        change(&mut row);
        self.peers.insert(peer, row);
        changed
    }

    fn least_wanted(&self, claim: Claim) -> Option<PeerId> {
        let gone = self
            .peers
            .values()
            .filter_map(|row| Some((row.gone_at?, row.peer)))
            .min();
        let unconnected = || match claim {
            Claim::Connected => self.peers.values().find(|row| row.presence() == Presence::Known),
            Claim::Heard => None,
        };
        gone.map(|(_, peer)| peer).or_else(|| unconnected().map(|row| row.peer))
    }

    fn is_relay(&self, peer: &PeerId) -> bool {
        let carries = |row: &PeerRow| matches!(row.route, Some(Route::Circuit { relay }) if relay == *peer);
        self.relays.iter().any(|row| row.peer == Some(*peer)) || self.peers.values().any(carries)
    }

    fn remove_row(&mut self, peer: &PeerId) -> Changed {
        match self.peers.remove(peer) {
            Some(_) => Changed::Peer(*peer),
            None => Changed::Nothing,
        }
    }
}

/// By what right a peer gets a row when there is hardly room.
#[derive(Clone, Copy)]
enum Claim {
    /// It announced itself.
    Heard,
    /// A connection stands.
    Connected,
}

impl Changed {
    /// Both changes together.
    fn and(self, other: Self) -> Self {
        match (self, other) {
            (Self::Nothing, changed) | (changed, Self::Nothing) => changed,
            (one, other) if one == other => one,
            (_, _) => Self::All,
        }
    }
}

impl PeerRow {
    fn leave(&mut self, at: Duration) {
        self.gone_at.get_or_insert(at);
        self.route = None;
        self.round_trip = None;
    }
}

impl RoomLog {
    fn push(&mut self, message: &ChatMessage) -> bool {
        if message.own {
            self.unsent.insert(message.id.clone(), Unsent::Waiting);
        }
        self.messages.push(message.clone());
        if self.messages.len() > ROOM_LINES {
            let oldest = self.messages.remove(0);
            self.dropped = self.dropped.saturating_add(1);
            if oldest.own {
                self.unsent.remove(&oldest.id);
            }
        }
        true
    }

    fn give_up(&mut self, id: &str) -> bool {
        match self.unsent.get_mut(id) {
            Some(unsent) => std::mem::replace(unsent, Unsent::GivenUp) != Unsent::GivenUp,
            None => false,
        }
    }
}

/// A refusal is told apart from a loss: waiting helps against the one, another relay against the other.
fn failed(reason: &RelayFailure) -> RelayState {
    let reason = reason.clone();
    match reason {
        RelayFailure::Refused(_) | RelayFailure::WrongToken | RelayFailure::NotAllowed | RelayFailure::NotARelay => {
            RelayState::Refused { reason }
        }
        RelayFailure::TimedOut
        | RelayFailure::Unreachable(_)
        | RelayFailure::RefusedByBrowser(_)
        | RelayFailure::WrongPeer
        | RelayFailure::Disconnected
        | RelayFailure::NoGossip => RelayState::Lost { reason },
    }
}

/// `changed` if `change` made a difference.
fn changed_if<T: Clone + PartialEq>(row: &mut T, change: impl FnOnce(&mut T), changed: Changed) -> Changed {
    let before = row.clone();
    change(row);
    if *row == before { Changed::Nothing } else { changed }
}
