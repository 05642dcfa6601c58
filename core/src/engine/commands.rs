//! What the application asks for.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

use super::{Action, Engine};
use crate::{
    access::AccessToken,
    chat::{JoinError, RoomName, SayError},
    node::{Nudge, Reach},
    now::Now,
    reservation::{AddRelayError, RelayKey, RelaySpec},
};

/// An address that the user gave does not say who is there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the address does not end in /p2p/<peer id>: {0}")]
pub struct NoPeerId(pub Multiaddr);

impl Engine {
    /// Keep a reservation on this relay too.
    pub fn add_relay(&mut self, relay: RelaySpec, now: Now) -> Result<RelayKey, AddRelayError> {
        let added = self.reservations.handle_relay_added(relay, now);
        self.settle(now);
        added
    }

    /// Keep a reservation on this relay too, and show it this token before anything is asked of it.
    pub fn add_relay_with_token(
        &mut self,
        relay: RelaySpec,
        token: AccessToken,
        now: Now,
    ) -> Result<RelayKey, AddRelayError> {
        let added = self.reservations.handle_relay_added(relay, now);
        if let Ok(key) = added {
            self.reservations.handle_token(key, token, now);
        }
        self.settle(now);
        added
    }

    /// Keep no reservation on this relay any more.
    pub fn remove_relay(&mut self, relay: RelayKey, now: Now) {
        if let Some(peer) = self.reservations.peer_of(relay) {
            // Added again, it is asked again who is there.
            self.asked.remove(&peer);
        }
        self.reservations.handle_relay_removed(relay, now);
        self.settle(now);
    }

    /// A relay of ours names these as relays of its network.
    pub fn vouch_for_relays(&mut self, relays: Vec<PeerId>, now: Now) {
        for relay in relays {
            self.dialer.handle_relay_named(relay);
        }
        self.settle(now);
    }

    /// Dial this peer whatever the plan says of it.
    pub fn connect(&mut self, peer: PeerId, reach: Reach, now: Now) {
        self.discovery.pin(peer);
        self.dialer.handle_opened(peer, reach, now);
        self.settle(now);
    }

    /// Dial this address, which the user gave.
    pub fn connect_to(&mut self, address: Multiaddr, now: Now) -> Result<PeerId, NoPeerId> {
        let Some(Protocol::P2p(peer)) = address.iter().last() else {
            return Err(NoPeerId(address));
        };
        self.discovery.pin(peer);
        self.dialer.handle_opened_at(peer, address, now);
        self.settle(now);
        Ok(peer)
    }

    /// Close every connection to this peer, and leave it alone for now.
    pub fn disconnect(&mut self, peer: PeerId, now: Now) {
        self.discovery.unpin(peer);
        self.dialer.handle_closed(peer, now);
        self.settle(now);
    }

    /// Take part in a room.
    pub fn join(&mut self, room: RoomName, now: Now) -> Result<(), JoinError> {
        let joined = self.chat.join(room, now);
        self.settle(now);
        joined
    }

    /// Leave a room.
    pub fn leave(&mut self, room: &RoomName, now: Now) {
        self.chat.leave(room, now);
        self.settle(now);
    }

    /// Say a line in a room; its id.
    pub fn say(&mut self, room: &RoomName, text: &str, now: Now) -> Result<String, SayError> {
        let said = self.chat.say(room, text, now);
        self.settle(now);
        said
    }

    /// Announce this name from now on.
    pub fn rename(&mut self, name: Option<String>, now: Now) {
        self.chat.set_name(name.clone());
        self.discovery.handle_renamed(name, now);
        self.settle(now);
    }

    /// Try now what waits for a timer.
    pub fn nudge(&mut self, nudge: Nudge, now: Now) {
        tracing::debug!(?nudge, "looking again");
        match nudge {
            // Connections of the network before may be dead without a sign.
            Nudge::Online => {
                self.liveness.handle_wake(now);
                self.dialer.handle_wake(now);
                self.reservations.handle_wake(now);
            }
            Nudge::Visible => {
                self.dialer.handle_nudge(now);
                self.reservations.handle_nudge(now);
            }
        }
        self.settle(now);
    }

    /// Say goodbye. The owner closes the connections once what this publishes is on its way.
    pub fn shut_down(&mut self, now: Now) {
        self.discovery.handle_left(now);
        self.settle(now);
        self.reservations.handle_shutdown(now);
        // Nothing is begun any more.
        while self.reservations.poll_action().is_some() {}
        self.actions
            .retain(|action| !matches!(action, Action::Dial { .. } | Action::Listen { .. }));
    }
}
