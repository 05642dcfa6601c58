//! The rules as they hold right now, for everybody who has to ask: shared, because behaviours ask as well as the event
//! loop. Knows who is connected, from where, and who has presented a token.
//!
//! Closes nothing itself: it says which connections have to be closed, the event loop closes them.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    net::IpAddr,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol, swarm::ConnectionId};
use peerway_core::{access::TokenAnswer, now::Now};
use peerway_hop::{AccessControl, CircuitRequest, Refusal, ReservationRequest};

use super::{Access, Reason, Rules, Token, tokens};

/// How long a connection may stay that has not presented the token it needs.
pub(crate) const GRACE: Duration = Duration::from_secs(10);

/// How long a connection stays whose peer has presented a wrong one: until it has the answer.
const FAREWELL: Duration = Duration::from_secs(1);

/// A handle to the rules.
#[derive(Clone, Default)]
pub(crate) struct Control(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    rules: Rules,
    /// Who is connected from where. Bounded, as the rest, by the limits on connections.
    connections: HashMap<ConnectionId, (PeerId, Option<IpAddr>)>,
    /// The tokens that were presented, by their hashes: a token that is taken out of the file no longer holds.
    presented: BTreeMap<PeerId, tokens::Hash>,
    /// The other relays that the operator named: as good as having presented a token. Bounded by the configuration.
    relays: BTreeSet<PeerId>,
    /// When connections that need a token have to have presented it, on [`Now::mono`].
    waiting: BTreeSet<(Duration, PeerId)>,
}

impl Control {
    pub(crate) fn new(rules: Rules) -> Self {
        let control = Self::default();
        control.replace(rules);
        control
    }

    /// From now on these rules hold. [`Self::refused`] says whom that concerns.
    pub(crate) fn replace(&self, rules: Rules) {
        self.state().rules = rules;
    }

    /// The operator named this relay: it needs no token, and to be on no list but that.
    pub(crate) fn welcome(&self, relay: PeerId) {
        self.state().relays.insert(relay);
    }

    /// It is none of the named relays any more.
    pub(crate) fn dismiss(&self, relay: PeerId) {
        self.state().relays.remove(&relay);
    }

    /// Whether a connection from this address may be tried.
    pub(crate) fn network(&self, remote: &Multiaddr) -> Access {
        self.state().rules.network(ip_of(remote))
    }

    /// Whether a connection of this peer may be there. One that can still present a token may.
    pub(crate) fn connection(&self, peer: PeerId, remote: &Multiaddr) -> Access {
        match self.state().access(peer, ip_of(remote)) {
            Access::Deny {
                reason: Reason::TokenMissing,
            } => Access::Allow,
            access @ (Access::Allow | Access::Deny { .. }) => access,
        }
    }

    /// Whether the relay does something for this peer.
    pub(crate) fn service(&self, peer: PeerId, remote: &Multiaddr) -> Access {
        self.state().access(peer, ip_of(remote))
    }

    /// Whether a connection that this relay dials may be there: whom the operator denies it does not dial either. What else
    /// the rules ask of those who come is not asked of those who are dialled.
    pub(crate) fn dialled(&self, peer: PeerId, remote: &Multiaddr) -> Access {
        match self.state().access(peer, ip_of(remote)) {
            Access::Deny {
                reason: reason @ (Reason::PeerDenied | Reason::NetworkDenied),
            } => Access::Deny { reason },
            Access::Allow | Access::Deny { .. } => Access::Allow,
        }
    }

    /// Whether the relay does something for this peer, wherever it is connected from.
    pub(crate) fn serves(&self, peer: PeerId) -> bool {
        self.state().denied_of(peer).next().is_none()
    }

    /// A connection is established.
    pub(crate) fn handle_established(&self, connection: ConnectionId, peer: PeerId, remote: &Multiaddr) {
        self.state().connections.insert(connection, (peer, ip_of(remote)));
    }

    /// A connection is closed; `remaining` are left of this peer.
    pub(crate) fn handle_closed(&self, connection: ConnectionId, peer: PeerId, remaining: usize) {
        let mut state = self.state();
        state.connections.remove(&connection);
        if remaining == 0 {
            state.presented.remove(&peer);
            state.waiting.retain(|(_, waiting)| *waiting != peer);
        }
    }

    /// The first connection of a peer is up: if it needs a token, its time begins.
    pub(crate) fn handle_connected(&self, peer: PeerId, now: Now) {
        let mut state = self.state();
        if state.denied_of(peer).next().is_some() {
            state.waiting.insert((now.mono.saturating_add(GRACE), peer));
        }
    }

    /// A peer presents what it takes for a token. What to tell it.
    pub(crate) fn handle_token(&self, peer: PeerId, text: &str, now: Now) -> TokenAnswer {
        let mut state = self.state();
        if let Some(hash) = tokens::hash(text).filter(|hash| state.rules.tokens.contains(hash)) {
            state.presented.insert(peer, hash);
        }
        let is_denied = state.denied_of(peer).next().is_some();
        if is_denied {
            // Each peer has one deadline; asking again does not move it back.
            let until = now.mono.saturating_add(FAREWELL);
            if !state
                .waiting
                .iter()
                .any(|(before, waiting)| *waiting == peer && *before <= until)
            {
                state.waiting.retain(|(_, waiting)| *waiting != peer);
                state.waiting.insert((until, peer));
            }
            TokenAnswer::Denied
        } else {
            state.waiting.retain(|(_, waiting)| *waiting != peer);
            TokenAnswer::Allowed
        }
    }

    /// Connections that have to be closed because their peers' time to present a token is over.
    pub(crate) fn handle_timeout(&self, now: Now) -> Vec<ConnectionId> {
        let mut state = self.state();
        let mut late = Vec::new();
        while let Some((_, peer)) = state.waiting.first().copied().filter(|(until, _)| *until <= now.mono) {
            state.waiting.pop_first();
            late.extend(state.denied_of(peer));
        }
        late
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.state().waiting.first().map(|(until, _)| *until)
    }

    /// Connections that have to be closed now that other rules hold, each with the peer and the reason. Those whose time
    /// to present a token still runs are not among them.
    pub(crate) fn refused(&self) -> Vec<(ConnectionId, PeerId, Reason)> {
        let state = self.state();
        let waiting: BTreeSet<PeerId> = state.waiting.iter().map(|(_, peer)| *peer).collect();
        let refused = state
            .connections
            .iter()
            .filter_map(|(connection, (peer, ip))| match state.access(*peer, *ip) {
                Access::Deny {
                    reason: Reason::TokenMissing,
                } if waiting.contains(peer) => None,
                Access::Deny { reason } => Some((*connection, *peer, reason)),
                Access::Allow => None,
            });
        refused.collect()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Nothing panics while it holds the lock, and there is no half-done state to protect.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The relay server asks for every reservation, renewals too, and for every circuit.
impl AccessControl for Control {
    fn reservation(&mut self, request: ReservationRequest<'_>) -> peerway_hop::Access {
        self.service(request.peer, request.address).into()
    }

    fn circuit(&mut self, request: CircuitRequest<'_>) -> peerway_hop::Access {
        self.service(request.source, request.address).into()
    }
}

impl From<Access> for peerway_hop::Access {
    fn from(access: Access) -> Self {
        match access {
            Access::Allow => Self::Allow,
            Access::Deny { reason } => Self::Deny {
                refusal: Refusal::PermissionDenied,
                reason: reason.name().into(),
            },
        }
    }
}

impl State {
    fn access(&self, peer: PeerId, ip: Option<IpAddr>) -> Access {
        let holds = |hash: &tokens::Hash| self.rules.tokens.contains(hash);
        let token = match self.presented.get(&peer) {
            Some(hash) if holds(hash) => Token::Presented,
            Some(_) | None if self.relays.contains(&peer) => Token::Presented,
            Some(_) | None => Token::Missing,
        };
        self.rules.access(peer, ip, token)
    }

    fn denied_of(&self, peer: PeerId) -> impl Iterator<Item = ConnectionId> {
        let own = self.connections.iter().filter(move |(_, (of, _))| *of == peer);
        own.filter(move |(_, (_, ip))| self.access(peer, *ip) != Access::Allow)
            .map(|(connection, _)| *connection)
    }
}

/// The address that a connection comes from.
pub(crate) fn ip_of(remote: &Multiaddr) -> Option<IpAddr> {
    match remote.iter().next() {
        Some(Protocol::Ip4(ip)) => Some(ip.into()),
        Some(Protocol::Ip6(ip)) => Some(ip.into()),
        Some(_) | None => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::AccessRules;

    const TOKEN: &str = "0123456789abcdef";
    const OTHER: &str = "fedcba9876543210";

    fn with_tokens(text: &str) -> Rules {
        Rules {
            lists: AccessRules::default(),
            tokens: tokens::Tokens::parse(text).unwrap(),
        }
    }

    fn connects(control: &Control, number: usize, now: Now) -> (ConnectionId, PeerId) {
        let (connection, peer) = (ConnectionId::new_unchecked(number), PeerId::random());
        control.handle_established(connection, peer, &address());
        control.handle_connected(peer, now);
        (connection, peer)
    }

    fn address() -> Multiaddr {
        "/ip4/203.0.113.7/tcp/1".parse().unwrap()
    }

    #[test]
    fn when_a_peer_presents_a_token_in_time_it_is_served_and_stays() {
        let (control, now) = (Control::new(with_tokens(TOKEN)), Now::default());
        let (_, peer) = connects(&control, 1, now);
        assert_eq!(control.connection(peer, &address()), Access::Allow);
        assert_ne!(control.service(peer, &address()), Access::Allow);
        assert_eq!(control.handle_token(peer, TOKEN, now), TokenAnswer::Allowed);
        assert_eq!(control.service(peer, &address()), Access::Allow);
        assert_eq!(control.poll_timeout(), None);
        assert_eq!(control.handle_timeout(now.after(GRACE)), []);
    }

    #[test]
    fn when_a_peer_presents_no_token_in_time_its_connection_is_closed() {
        let (control, now) = (Control::new(with_tokens(TOKEN)), Now::default());
        let (silent, _) = connects(&control, 1, now);
        assert_eq!(control.poll_timeout(), Some(GRACE));
        assert_eq!(control.handle_timeout(now.after(GRACE - Duration::from_millis(1))), []);
        assert_eq!(control.handle_timeout(now.after(GRACE)), [silent]);
        assert_eq!(control.poll_timeout(), None);
    }

    #[test]
    fn when_a_peer_presents_a_wrong_token_it_is_told_and_its_connection_is_closed_soon() {
        let (control, now) = (Control::new(with_tokens(TOKEN)), Now::default());
        let (wrong, peer) = connects(&control, 1, now);
        for (text, after) in [(OTHER, 0), ("", 100), ("no token", 900)] {
            let now = now.after(Duration::from_millis(after));
            assert_eq!(control.handle_token(peer, text, now), TokenAnswer::Denied, "{text}");
            assert_eq!(control.poll_timeout(), Some(FAREWELL));
        }
        assert_eq!(control.handle_timeout(now.after(FAREWELL)), [wrong]);
    }

    #[test]
    fn when_the_operator_named_a_relay_it_needs_no_token_unless_it_is_denied() {
        let (control, now) = (Control::new(with_tokens(TOKEN)), Now::default());
        let (_, relay) = connects(&control, 1, now);
        control.welcome(relay);
        assert_eq!(control.service(relay, &address()), Access::Allow);
        assert_eq!(control.handle_timeout(now.after(GRACE)), []);
        control.dismiss(relay);
        assert_ne!(control.service(relay, &address()), Access::Allow);

        control.welcome(relay);
        let lists = AccessRules {
            deny_peers: vec![relay],
            ..AccessRules::default()
        };
        control.replace(Rules::load(&lists).unwrap());
        assert_ne!(control.connection(relay, &address()), Access::Allow);
    }

    #[test]
    fn when_a_peer_is_gone_its_token_has_to_be_presented_again() {
        let (control, now) = (Control::new(with_tokens(TOKEN)), Now::default());
        let (connection, peer) = connects(&control, 1, now);
        control.handle_token(peer, TOKEN, now);
        control.handle_closed(connection, peer, 0);
        assert_ne!(control.service(peer, &address()), Access::Allow);
        let state = control.state();
        assert!(state.connections.is_empty() && state.presented.is_empty() && state.waiting.is_empty());
    }

    #[test]
    fn when_other_rules_hold_only_those_are_refused_whom_they_deny() {
        let (control, now) = (Control::new(with_tokens(&format!("{TOKEN}\n{OTHER}"))), Now::default());
        let (_, keeps) = connects(&control, 1, now);
        let (loses, loser) = connects(&control, 2, now);
        connects(&control, 3, now);
        control.handle_token(keeps, TOKEN, now);
        control.handle_token(loser, OTHER, now);
        assert_eq!(control.refused(), []);

        control.replace(with_tokens(TOKEN));
        assert_eq!(
            control.refused(),
            [(loses, loser, Reason::TokenMissing)],
            "one still has time"
        );

        let lists = AccessRules {
            deny_peers: vec![keeps],
            ..AccessRules::default()
        };
        control.replace(Rules::load(&lists).unwrap());
        assert_eq!(
            control.refused(),
            [(ConnectionId::new_unchecked(1), keeps, Reason::PeerDenied)]
        );
    }
}
