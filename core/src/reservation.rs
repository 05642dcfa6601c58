//! Which relays we hold slots on; when to retry, move, or give up.
//!
//! [`Reservations`] keeps one connection and one reservation per relay: it dials the relay's addresses one after the other, asks
//! for a slot once connected, and begins again whenever connection, slot or gossip is lost. Dials towards peers are for
//! [`dial`](crate::dial). It does no I/O, reads no clock, and does not judge addresses: whoever adds a relay did.
//!
//! - A reservation is asked for only over an established connection, and only when it is the only one to that relay and
//!   no earlier listener is open: libp2p would use the oldest connection, and a dial racing a listen closes the listener.
//! - A relay for which there is a token is shown it first: it would refuse what is asked of it before.
//! - Of two connections to a relay the newest is kept: it is the one that the relay's own gossip gate keeps.
//! - The first [`ReservationConfig::quick_for`] after a relay was lost the rounds are short and begin with the address
//!   that worked last, so that a relay that restarts has us back within seconds.

pub use config::{
    GOSSIP_TIMEOUT, PATIENCE, QUICK_FOR, QUICK_MAX, QUICK_PATIENCE, RESERVE_TIMEOUT, RETRY, RETRY_AFTER_REFUSAL,
    ReservationConfig, WAKE_TIMEOUT,
};
pub use event::RelayEvent;
pub use failure::{AddRelayError, RelayFailure};
pub use spec::{RelaySpec, RelaySpecError};

use std::{
    collections::{BTreeMap, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::ConnectionId};
use rand::rngs::SmallRng;

mod config;
mod event;
mod failure;
mod relay;
mod spec;
#[cfg(test)]
mod tests;

use self::relay::Relay;
use crate::{
    access::{AccessToken, TokenAnswer},
    dial::route::without_peer,
    now::Now,
};

/// Relays at a time, merged ones counted. When full, a further one is refused.
pub const MAX_RELAYS: usize = 8;
/// Addresses per relay. When full, further ones are not heard.
pub const MAX_ADDRESSES: usize = 16;

/// Names a relay for as long as the node lives, also before its peer id is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct RelayKey(pub u32);

/// A relay that we are connected to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldRelay {
    /// Which.
    pub peer: PeerId,
    /// The transport address of the live connection, without a final `/p2p`.
    pub address: Multiaddr,
}

/// What the event loop is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum ReservationAction {
    /// Dial this one address of a relay, whatever connections or dials to it there are (`PeerCondition::Always`), and tell
    /// [`Reservations::handle_connected`] or [`Reservations::handle_dial_failed`].
    Dial {
        /// Which relay.
        relay: RelayKey,
        /// Who must answer; whoever answers, if it is not known.
        peer: Option<PeerId>,
        /// Where, without a final `/p2p`.
        address: Multiaddr,
    },
    /// Ask for a reservation: `listen_on(address)`. The end of that listener is [`Reservations::handle_listener_closed`], also
    /// if it could not even be opened.
    Listen {
        /// Which relay.
        relay: RelayKey,
        /// `<address>/p2p/<relay>/p2p-circuit`.
        address: Multiaddr,
    },
    /// Show this relay the token, over any connection to it, and tell [`Reservations::handle_token_answer`].
    Present {
        /// Which relay.
        relay: RelayKey,
        /// Its peer id.
        peer: PeerId,
        /// What it shall see, and nobody else.
        token: AccessToken,
    },
    /// Remove the relay's listener. Never told while its reservation is in flight.
    StopListening {
        /// Which relay.
        relay: RelayKey,
    },
    /// Close this connection.
    Close {
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the reader.
    Report(RelayEvent),
}

/// Keeps reservations. After any `handle_*` drain [`Self::poll_action`].
#[derive(Debug)]
pub struct Reservations {
    config: ReservationConfig,
    rng: SmallRng,
    /// Bounded by [`MAX_RELAYS`].
    relays: BTreeMap<RelayKey, Relay>,
    /// Keys of relays that turned out to be one that has another key, and that key. Events of it are reported for both.
    merged: BTreeMap<RelayKey, RelayKey>,
    next_key: u32,
    actions: VecDeque<ReservationAction>,
}

impl Reservations {
    /// Knows no relay yet.
    #[must_use]
    pub fn new(config: ReservationConfig, rng: SmallRng) -> Self {
        Self {
            config,
            rng,
            relays: BTreeMap::new(),
            merged: BTreeMap::new(),
            next_key: 0,
            actions: VecDeque::new(),
        }
    }

    /// Keep a reservation on this relay. One known already, by its peer id or, if either is without one, by an address, gains the
    /// addresses and keeps its key.
    ///
    /// # Errors
    /// See [`AddRelayError`]; nothing changed then.
    pub fn handle_relay_added(&mut self, spec: RelaySpec, now: Now) -> Result<RelayKey, AddRelayError> {
        let addrs: Vec<Multiaddr> = spec
            .addrs
            .iter()
            .map(without_peer)
            .filter(|address| !address.is_empty())
            .collect();
        if addrs.is_empty() {
            return Err(AddRelayError::NoAddress);
        }
        let by_id = spec.peer.and_then(|peer| self.key_of(peer));
        let shares_address = |relay: &Relay| {
            (relay.peer.is_none() || spec.peer.is_none()) && relay.addrs.iter().any(|known| addrs.contains(known))
        };
        let by_address = || {
            self.relays
                .iter()
                .find(|(_, relay)| shares_address(relay))
                .map(|(key, _)| *key)
        };
        if let Some(key) = by_id.or_else(by_address) {
            if let Some(relay) = self.relays.get_mut(&key) {
                relay.peer = relay.peer.or(spec.peer);
                relay.add_addresses(addrs);
            }
            self.advance(now.mono);
            return Ok(key);
        }
        if self.relays.len() + self.merged.len() >= MAX_RELAYS {
            return Err(AddRelayError::TooMany);
        }
        let key = RelayKey(self.next_key);
        self.next_key += 1;
        self.relays.insert(key, Relay::new(spec.peer, addrs, now.mono));
        self.actions.push_back(ReservationAction::Report(RelayEvent::Added {
            relay: key,
            peer: spec.peer,
        }));
        self.advance(now.mono);
        Ok(key)
    }

    /// Show this relay a token, on every connection, before anything is asked of it. It may be told at any time; a relay
    /// that has already answered is shown it on the next connection.
    pub fn handle_token(&mut self, relay: RelayKey, token: AccessToken, now: Now) {
        let key = self.resolve(relay);
        if let Some(relay) = self.relays.get_mut(&key) {
            relay.token = Some(token);
        }
        self.advance(now.mono);
    }

    /// What a relay makes of the token that it was shown; `None` if it does not ask for tokens, or did not answer.
    pub fn handle_token_answer(&mut self, peer: PeerId, answer: Option<TokenAnswer>, now: Now) {
        if let Some((_, relay)) = self.find(peer) {
            relay.on_token_answer(answer, now.mono);
        }
        self.advance(now.mono);
    }

    /// A connection that was dialled for this relay stands. `address` is the one it was dialled at. A key without
    /// a peer id that turns out to be a relay we have is merged into that one.
    pub fn handle_connected(
        &mut self,
        relay: RelayKey,
        peer: PeerId,
        connection: ConnectionId,
        address: &Multiaddr,
        now: Now,
    ) {
        let key = self.merge(self.resolve(relay), peer);
        match self.relays.get_mut(&key) {
            Some(relay) => relay.on_connected(peer, connection, without_peer(address), now.mono),
            // It was removed while it was being dialled.
            None => self.actions.push_back(ReservationAction::Close { connection }),
        }
        self.advance(now.mono);
    }

    /// The dial of this address came to nothing.
    pub fn handle_dial_failed(&mut self, relay: RelayKey, address: &Multiaddr, reason: RelayFailure, now: Now) {
        let key = self.resolve(relay);
        if let Some(relay) = self.relays.get_mut(&key) {
            relay.on_dial_failed(&without_peer(address), reason);
        }
        self.advance(now.mono);
    }

    /// A connection ended, any connection.
    pub fn handle_disconnected(&mut self, connection: ConnectionId, now: Now) {
        for relay in self.relays.values_mut() {
            relay.on_disconnected(connection, now.mono);
        }
        self.advance(now.mono);
    }

    /// A gossip subscription came from this peer.
    pub fn handle_gossip(&mut self, peer: PeerId, now: Now) {
        if let Some((_, relay)) = self.find(peer) {
            relay.on_gossip();
        }
        self.advance(now.mono);
    }

    /// The relay granted or renewed a reservation.
    pub fn handle_reservation_accepted(&mut self, peer: PeerId, now: Now) {
        if let Some((key, relay)) = self.find(peer)
            && let Some(address) = relay.on_reserved()
        {
            self.report(key, |relay| RelayEvent::Reserved {
                relay,
                peer,
                address: address.clone(),
            });
        }
        self.advance(now.mono);
    }

    /// The relay's listener closed: refused, expired, or gone with its connection.
    pub fn handle_listener_closed(&mut self, relay: RelayKey, reason: RelayFailure, now: Now) {
        let key = self.resolve(relay);
        if let Some(relay) = self.relays.get_mut(&key) {
            relay.on_listener_closed(reason);
        }
        self.advance(now.mono);
    }

    /// The world may have changed: what waits is tried now.
    pub fn handle_nudge(&mut self, now: Now) {
        for relay in self.relays.values_mut() {
            relay.on_nudge(now.mono);
        }
        self.advance(now.mono);
    }

    /// The machine slept: every connection must prove anew that it lives ([`Self::handle_alive`]), and what waits is tried now.
    pub fn handle_wake(&mut self, now: Now) {
        for relay in self.relays.values_mut() {
            relay.on_wake(now.mono.saturating_add(self.config.wake_timeout));
        }
        self.handle_nudge(now);
    }

    /// A ping came back over this connection.
    pub fn handle_alive(&mut self, connection: ConnectionId, now: Now) {
        for relay in self.relays.values_mut() {
            relay.on_alive(connection);
        }
        self.advance(now.mono);
    }

    /// Keep no reservation on this relay any more, by whichever of its keys: its slot and its connection are given up.
    pub fn handle_relay_removed(&mut self, relay: RelayKey, now: Now) {
        let key = self.resolve(relay);
        if let Some(relay) = self.relays.remove(&key) {
            self.give_up(key, &relay);
            self.report(key, |relay| RelayEvent::Removed { relay });
        }
        self.merged.retain(|_, kept| *kept != key);
        self.advance(now.mono);
    }

    /// Give everything up, for good.
    pub fn handle_shutdown(&mut self, now: Now) {
        self.advance(now.mono);
        for (key, relay) in std::mem::take(&mut self.relays) {
            self.give_up(key, &relay);
        }
        self.merged.clear();
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance(now.mono);
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<ReservationAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted, on the node's monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        self.relays
            .values()
            .filter_map(|relay| relay.next_timeout(&self.config))
            .min()
    }

    /// The relays we are connected to, those with a reservation first, then in the order in which they were added.
    #[must_use]
    pub fn held(&self) -> Vec<HeldRelay> {
        let mut relays: Vec<&Relay> = self.relays.values().collect();
        relays.sort_by_key(|relay| !relay.is_reserved());
        relays.into_iter().filter_map(Relay::held).collect()
    }

    /// The relays that keep a slot for us, and the address of the connection that carries it.
    pub fn reserved(&self) -> impl Iterator<Item = (PeerId, &Multiaddr)> {
        let reserved = |relay: &&Relay| relay.is_reserved();
        self.relays
            .values()
            .filter(reserved)
            .filter_map(|relay| Some((relay.peer?, relay.address()?)))
    }

    /// Whether this peer is one of our relays, connected or not.
    #[must_use]
    pub fn is_relay(&self, peer: PeerId) -> bool {
        self.key_of(peer).is_some()
    }

    /// The key of the relay with this id.
    #[must_use]
    pub fn key_of(&self, peer: PeerId) -> Option<RelayKey> {
        let (key, _) = self.relays.iter().find(|(_, relay)| relay.peer == Some(peer))?;
        Some(*key)
    }

    /// The id of this relay, by whichever of its keys, once it is known.
    #[must_use]
    pub fn peer_of(&self, relay: RelayKey) -> Option<PeerId> {
        self.relays.get(&self.resolve(relay))?.peer
    }

    /// A listener whose reservation is in flight is left to end with its connection.
    fn give_up(&mut self, key: RelayKey, relay: &Relay) {
        if relay.is_reserved() {
            self.actions.push_back(ReservationAction::StopListening { relay: key });
        }
        let close = |connection| ReservationAction::Close { connection };
        self.actions.extend(relay.connection().map(close));
    }

    fn find(&mut self, peer: PeerId) -> Option<(RelayKey, &mut Relay)> {
        let (key, relay) = self.relays.iter_mut().find(|(_, relay)| relay.peer == Some(peer))?;
        Some((*key, relay))
    }

    fn resolve(&self, key: RelayKey) -> RelayKey {
        self.merged.get(&key).copied().unwrap_or(key)
    }

    /// Merges `key` into another key of the same peer, if there is one, and says which key it has from now on.
    fn merge(&mut self, key: RelayKey, peer: PeerId) -> RelayKey {
        let unknown = self.relays.get(&key).is_some_and(|relay| relay.peer.is_none());
        let (true, Some(kept)) = (unknown, self.key_of(peer)) else {
            return key;
        };
        if let Some(gone) = self.relays.remove(&key)
            && let Some(into) = self.relays.get_mut(&kept)
        {
            into.add_addresses(gone.addrs);
            into.token = into.token.take().or(gone.token);
            for target in self.merged.values_mut().filter(|target| **target == key) {
                *target = kept;
            }
            self.merged.insert(key, kept);
        }
        kept
    }

    fn advance(&mut self, now: Duration) {
        let keys: Vec<RelayKey> = self.relays.keys().copied().collect();
        for key in keys {
            while let Some(step) = self
                .relays
                .get_mut(&key)
                .and_then(|relay| relay.step(&self.config, &mut self.rng, now))
            {
                self.act(key, step);
            }
        }
    }

    fn act(&mut self, key: RelayKey, step: relay::Step) {
        match step {
            relay::Step::Dial { peer, address } => {
                self.report(key, |relay| RelayEvent::Dialed {
                    relay,
                    address: address.clone(),
                });
                self.actions.push_back(ReservationAction::Dial {
                    relay: key,
                    peer,
                    address,
                });
            }
            relay::Step::Listen { peer, address } => {
                let address = address.with(Protocol::P2p(peer)).with(Protocol::P2pCircuit);
                self.actions
                    .push_back(ReservationAction::Listen { relay: key, address });
            }

            relay::Step::Present { peer, token } => {
                self.actions.push_back(ReservationAction::Present {
                    relay: key,
                    peer,
                    token,
                });
            }
            relay::Step::Close { connection } => self.actions.push_back(ReservationAction::Close { connection }),
            relay::Step::Lost { reason, retry_in } => {
                self.report(key, |relay| RelayEvent::Lost {
                    relay,
                    reason: reason.clone(),
                    retry_in,
                });
            }
        }
    }

    /// Reports an event of a relay, for its key and for those merged into it.
    fn report(&mut self, key: RelayKey, event: impl Fn(RelayKey) -> RelayEvent) {
        let merged = self
            .merged
            .iter()
            .filter(|(_, kept)| **kept == key)
            .map(|(merged, _)| *merged);
        let events = std::iter::once(key)
            .chain(merged)
            .map(event)
            .map(ReservationAction::Report);
        self.actions.extend(events);
    }
}
