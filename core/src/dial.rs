//! Reaching a peer: which addresses, in which order, by whom, how often.
//!
//! [`Dialer`] composes one [`ladder`] per peer with the limits that all share. It decides every dial towards a peer and every
//! close of a connection to one; dials towards our own relays are for [`reservation`](crate::reservation). It does no I/O,
//! reads no clock and never looks at a connection's content.
//!
//! - Of two peers that hear of each other the one with the lower id (bytes of the multihash) dials at once, the other after
//!   [`DialConfig::higher_waits`]. A peer that the user opened is dialled at once.
//! - Up to [`SMALL_CROWD`] peers all are dialled; of more, the first [`CHOSEN_OF_MANY`] by SHA-256 of lower id ‖ higher id.
//!   Up to [`MAX_ACCEPTED`] others that dial us are accepted, the next is closed at once.
//! - At most [`MAX_IN_FLIGHT_PER_RELAY`] attempts through one relay at a time; the others wait for a place, those that the
//!   user opened first.
//! - A failed attempt goes on to the next rung; a failed ladder, or a connection lost, begins anew after a [`backoff`].
//! - Rungs and their order: [`plan`]. Relays that are not ours: [`foreign`]. Several connections to one peer: [`links`].

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use rand::{Rng, rngs::SmallRng};
use sha2::{Digest, Sha256};

pub mod backoff;
pub mod foreign;
mod ladder;
pub mod links;
pub mod plan;
pub mod route;
#[cfg(test)]
pub(crate) mod testing;
#[cfg(test)]
mod tests;

use self::{
    backoff::BackoffConfig,
    foreign::{Admission, ForeignRelays},
    ladder::{Candidacy, Ladder, Phase, Told},
    links::{Added, Side},
    plan::{Interest, OurFacts, Rung, Rungs, Through, Vantage},
    route::Scope,
};
use crate::{
    node::{Event, Reach},
    now::{Now, earlier},
    reservation::HeldRelay,
};

/// Peers that the dialer knows. When full, a newcomer is neither dialled nor accepted until one is forgotten; the user's own
/// choice is exempt.
pub const MAX_PEERS: usize = 1024;
/// Announced addresses looked at per peer; those beyond are not seen.
pub const MAX_ADDRESSES: usize = 32;
/// Up to as many other peers, all are dialled.
pub const SMALL_CROWD: usize = 12;
/// Of a larger crowd, as many are dialled.
pub const CHOSEN_OF_MANY: usize = 6;
/// Peers whose connections are accepted although we did not choose them. The next one's is closed at once.
pub const MAX_ACCEPTED: usize = 24;
/// Attempts in flight through one relay; a stock relay client drops requests beyond ten.
pub const MAX_IN_FLIGHT_PER_RELAY: usize = 4;

/// Names one dial attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(pub u64);

/// How a connection reaches its peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Route {
    /// Browser to browser over `/webrtc`.
    WebRtc,
    /// A direct connection of another kind (TCP, QUIC, WebSocket, WebRTC-direct).
    Direct,
    /// Through a relay.
    Circuit {
        /// Which relay carries it.
        relay: PeerId,
    },
}

/// Why an attempt failed, in terms a user can act on.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum DialFailure {
    /// No address was left that the rules allow to be dialled.
    #[error("it announces no address that can be dialled from here")]
    NoUsableAddress,
    /// Nothing answered in time.
    #[error("it did not answer in time")]
    TimedOut,
    /// The relay has no reservation for the peer.
    #[error("the relay does not know it (any more)")]
    NoReservation,
    /// The relay refused to carry the circuit.
    #[error("the relay refused to connect us")]
    RelayRefused,
    /// Somebody else answered at that address.
    #[error("another peer answered at its address")]
    WrongPeer,
    /// The connection limits of this node or the other one forbid it.
    #[error("too many connections")]
    Denied,
    /// The transport failed; the text comes from the transport, for logs and diagnostics.
    #[error("the connection failed: {0}")]
    Transport(String),
}

/// Which side of a connection we are.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// We dialled it.
    Dialer,
    /// The other side dialled it.
    Listener,
}

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Disconnection {
    /// One side closed it on purpose.
    Clean,
    /// It broke, or did not answer any more.
    Lost,
}

/// How a [`Dialer`] goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DialConfig {
    /// Where this node looks at the addresses of strangers from. Default: a native node on the Internet, which dials public
    /// addresses only. Cost of a nearer scope: strangers can have hosts of this network dialled.
    pub vantage: Vantage,
    /// Which rungs ladders have. Default: [`Rungs::CircuitOnly`]. Cost of more: an upgrade per circuit, tried again with
    /// backoff.
    pub webrtc: Rungs,
    /// How long the peer with the higher id waits for the other to dial. Default: [`HIGHER_WAITS`]. Cost of less: both dial,
    /// and one connection is thrown away.
    pub higher_waits: Duration,
    /// Waiting after a failed ladder and after a connection was lost. Default: [`RETRY`].
    pub retry: BackoffConfig,
    /// The least wait after the other side closed the last connection on purpose. Default: [`AFTER_GOODBYE`]. Cost of less:
    /// peers that do not want us are pestered.
    pub after_goodbye: Duration,
    /// When an attempt of which nothing is heard counts as failed. Default: [`ATTEMPT_TIMEOUT`], more than the swarm's own
    /// connection timeout. Cost of more: its place at the relay stays taken.
    pub attempt_timeout: Duration,
    /// How long a relay that is not ours stays connected after its last circuit. Default: [`FOREIGN_LINGER`]. Cost of more:
    /// strangers' relays carry us for nothing.
    pub foreign_linger: Duration,
}

/// Default of [`DialConfig::higher_waits`].
pub const HIGHER_WAITS: Duration = Duration::from_secs(5);
/// Default of [`DialConfig::retry`].
pub const RETRY: BackoffConfig = BackoffConfig {
    first: Duration::from_secs(1),
    max: Duration::from_secs(10 * 60),
};
/// Default of [`DialConfig::after_goodbye`].
pub const AFTER_GOODBYE: Duration = Duration::from_secs(10);
/// Default of [`DialConfig::attempt_timeout`].
pub const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(40);
/// Default of [`DialConfig::foreign_linger`].
pub const FOREIGN_LINGER: Duration = Duration::from_secs(60);

/// The least time between two dials to one peer that begin at the bottom of its ladder: whoever changes its addresses often
/// is not dialled as often.
const MIN_REDIAL: Duration = Duration::from_secs(1);
/// Everybody hears at once that a relay is back: the dials that follow are spread over this time.
const SPREAD: Duration = Duration::from_millis(500);

impl Default for DialConfig {
    fn default() -> Self {
        Self {
            vantage: Vantage::Native { scope: Scope::Public },
            webrtc: Rungs::default(),
            higher_waits: HIGHER_WAITS,
            retry: RETRY,
            after_goodbye: AFTER_GOODBYE,
            attempt_timeout: ATTEMPT_TIMEOUT,
            foreign_linger: FOREIGN_LINGER,
        }
    }
}

/// What the event loop is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum DialAction {
    /// Dial this one address, whatever connections or dials to the peer there are (`PeerCondition::Always`), and tell
    /// [`Dialer::handle_connected`] or [`Dialer::handle_attempt_failed`].
    Dial {
        /// Names the attempt.
        attempt: AttemptId,
        /// Who must answer.
        peer: PeerId,
        /// Where; ends in `/p2p/<peer>`.
        address: Multiaddr,
    },
    /// Close this connection.
    Close {
        /// To whom it leads.
        peer: PeerId,
        /// Which.
        connection: ConnectionId,
    },
    /// Tell the reader.
    Report(Event),
}

/// Decides whom to dial, where and when. After any `handle_*` drain [`Self::poll_action`].
///
/// Relays of our own are to be made known ([`Self::handle_relays`]) before their connections, which are then ignored: a
/// connection that we dialled to a peer nobody asked for is closed.
#[derive(Debug)]
pub struct Dialer {
    local: PeerId,
    config: DialConfig,
    rng: SmallRng,
    /// Bounded by [`MAX_PEERS`] and what the user opened.
    ladders: BTreeMap<PeerId, Ladder>,
    /// Those heard of, by the hash that decides who is dialled in a crowd.
    ranking: BTreeSet<(Affinity, PeerId)>,
    chosen: BTreeSet<PeerId>,
    held: Vec<HeldRelay>,
    foreign: ForeignRelays,
    /// At most one per peer.
    in_flight: BTreeMap<AttemptId, InFlight>,
    next_attempt: u64,
    actions: VecDeque<DialAction>,
}

type Affinity = [u8; 32];

#[derive(Debug)]
struct InFlight {
    peer: PeerId,
    route: Route,
    through: Through,
    gives_up: Duration,
}

impl Dialer {
    /// A dialer that knows nobody.
    #[must_use]
    pub fn new(local: PeerId, config: DialConfig, rng: SmallRng) -> Self {
        Self {
            local,
            config,
            rng,
            ladders: BTreeMap::new(),
            ranking: BTreeSet::new(),
            chosen: BTreeSet::new(),
            held: Vec::new(),
            foreign: ForeignRelays::new(config.foreign_linger),
            in_flight: BTreeMap::new(),
            next_attempt: 0,
            actions: VecDeque::new(),
        }
    }

    /// A peer announces these addresses. The same ones again change nothing; others let its ladder begin anew. None at all is
    /// a goodbye: [`Self::handle_forgotten`].
    pub fn handle_candidate(&mut self, peer: PeerId, addrs: &[Multiaddr], now: Now) {
        if addrs.is_empty() {
            return self.handle_forgotten(peer, now);
        }
        let addrs = &addrs[..addrs.len().min(MAX_ADDRESSES)];
        if !self.admits(peer) {
            return;
        }
        let ladder = ladder_of(&mut self.ladders, self.local, peer);
        if ladder.candidacy == Candidacy::Heard && ladder.announced == addrs {
            return;
        }
        addrs.clone_into(&mut ladder.announced);
        ladder.backoff.reset();
        ladder.told_unusable = Told::No;
        let newcomer = std::mem::replace(&mut ladder.candidacy, Candidacy::Heard) == Candidacy::Unheard;
        self.begin_anew(peer, Duration::ZERO, now.mono);
        if newcomer {
            self.ranking.insert((affinity(self.local, peer), peer));
            self.choose(now.mono);
        }
        self.advance(now.mono);
    }

    /// A peer took its addresses back or is not fresh any more. Connections to it stay; it is not dialled again until it is
    /// heard of or opened again.
    pub fn handle_forgotten(&mut self, peer: PeerId, now: Now) {
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        ladder.candidacy = Candidacy::Unheard;
        ladder.announced.clear();
        ladder.opened = None;
        ladder.given = None;
        self.ranking.remove(&(affinity(self.local, peer), peer));
        self.choose(now.mono);
        self.drop_if_idle(peer);
        self.advance(now.mono);
    }

    /// The relays we are connected to, the preferred first. A new one lets every ladder begin anew.
    pub fn handle_relays(&mut self, held: &[HeldRelay], now: Now) {
        if self.held == held {
            return;
        }
        let gained = held
            .iter()
            .any(|relay| self.held.iter().all(|known| known.peer != relay.peer));
        held.clone_into(&mut self.held);
        for relay in held {
            self.foreign.forget(relay.peer);
            if let Some(ladder) = self.ladders.remove(&relay.peer) {
                self.ranking.remove(&(affinity(self.local, relay.peer), relay.peer));
                if ladder.reported.is_some() {
                    self.report(Event::RouteChanged {
                        peer: relay.peer,
                        route: None,
                    });
                }
            }
        }
        self.choose(now.mono);
        if gained {
            self.begin_all_anew(SPREAD, now);
        }
        self.unqueue(now.mono);
        self.advance(now.mono);
    }

    /// A relay of ours names this one: it may be used without counting against the budget for strangers' relays.
    pub fn handle_relay_named(&mut self, relay: PeerId) {
        self.foreign.name(relay);
    }

    /// A connection was established.
    pub fn handle_connected(&mut self, peer: PeerId, connection: ConnectionId, route: Route, role: Role, now: Now) {
        if self.is_held(peer) || peer == self.local {
            return;
        }
        if role == Role::Dialer && route == Route::Direct && self.foreign.uses(peer) {
            self.foreign.on_relay_connected(peer, connection);
            return;
        }
        if let Route::Circuit { relay } = route {
            self.foreign.on_circuit(relay, connection);
        }
        if role == Role::Dialer {
            let same = |(_, running): &(&AttemptId, &InFlight)| running.peer == peer && running.route == route;
            let attempt = self.in_flight.iter().find(same).map(|(attempt, _)| *attempt);
            if let Some(attempt) = attempt {
                self.end_attempt(attempt, now.mono);
            } else if !self.ladders.contains_key(&peer) {
                // A foreign relay that answered after it was given up.
                self.actions.push_back(DialAction::Close { peer, connection });
                return self.advance(now.mono);
            }
        }
        if !self.accepts(peer, role) {
            self.actions.push_back(DialAction::Close { peer, connection });
            return self.advance(now.mono);
        }
        let ladder = ladder_of(&mut self.ladders, self.local, peer);
        if ladder.links.add(connection, route, role, now.mono) == Added::TooMany {
            self.actions.push_back(DialAction::Close { peer, connection });
        }
        self.reconsider(peer, now.mono);
        self.report_route(peer);
        self.advance(now.mono);
    }

    /// A connection ended.
    pub fn handle_disconnected(
        &mut self,
        peer: PeerId,
        connection: ConnectionId,
        disconnection: Disconnection,
        now: Now,
    ) {
        self.foreign.on_disconnected(connection, now.mono);
        if let Some(ladder) = self.ladders.get_mut(&peer)
            && let Some(link) = ladder.links.remove(connection)
        {
            if link.alive.is_some() {
                ladder.backoff.reset();
            }
            if ladder.links.open().next().is_none() {
                let wait = ladder.backoff.after_failure(&self.config.retry, &mut self.rng);
                let wait = match disconnection {
                    Disconnection::Lost => wait,
                    Disconnection::Clean => wait.max(self.config.after_goodbye),
                };
                self.begin_anew(peer, wait, now.mono);
            }
            self.reconsider(peer, now.mono);
            self.report_route(peer);
            self.drop_if_idle(peer);
        }
        self.advance(now.mono);
    }

    /// A ping came back over this connection.
    pub fn handle_alive(&mut self, peer: PeerId, connection: ConnectionId, now: Now) {
        if let Some(ladder) = self.ladders.get_mut(&peer) {
            ladder.links.on_alive(connection, now.mono);
        }
        self.advance(now.mono);
    }

    /// A [`DialAction::Dial`] came to nothing.
    pub fn handle_attempt_failed(&mut self, attempt: AttemptId, reason: DialFailure, now: Now) {
        self.fail_attempt(attempt, reason, now.mono);
        self.advance(now.mono);
    }

    /// The user wants this peer: dial it now, whatever the plan says of it, and keep at it until it is forgotten.
    pub fn handle_opened(&mut self, peer: PeerId, reach: Reach, now: Now) {
        if peer == self.local || self.is_held(peer) {
            return;
        }
        let ladder = ladder_of(&mut self.ladders, self.local, peer);
        ladder.opened = Some(reach);
        ladder.backoff.reset();
        ladder.told_unusable = Told::No;
        self.begin_anew(peer, Duration::ZERO, now.mono);
        self.reconsider(peer, now.mono);
        self.report_route(peer);
        self.advance(now.mono);
    }

    /// The user wants this peer and knows an address.
    pub fn handle_opened_at(&mut self, peer: PeerId, address: Multiaddr, now: Now) {
        if peer == self.local || self.is_held(peer) {
            return;
        }
        let ladder = ladder_of(&mut self.ladders, self.local, peer);
        ladder.given = Some(address);
        let reach = ladder.reach();
        self.handle_opened(peer, reach, now);
    }

    /// The world may have changed: what waits begins anew.
    pub fn handle_nudge(&mut self, now: Now) {
        self.begin_all_anew(Duration::ZERO, now);
        self.advance(now.mono);
    }

    /// The machine slept. Connections are judged by their pings, as ever; what waits begins anew.
    pub fn handle_wake(&mut self, now: Now) {
        self.handle_nudge(now);
    }

    /// Time passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.advance(now.mono);
    }

    /// The next thing to do.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<DialAction> {
        self.actions.pop_front()
    }

    /// When [`Self::handle_timeout`] is wanted, on the node's monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let due = |ladder: &Ladder| match ladder.phase {
            Phase::Due { at } => Some(at),
            Phase::Resting | Phase::Queued { .. } | Phase::Dialing { .. } => None,
        };
        let of_ladder = |ladder: &Ladder| earlier(due(ladder), ladder.links.next_closing(ladder.reach()));
        let ladders = self.ladders.values().filter_map(of_ladder).min();
        let attempts = self.in_flight.values().map(|attempt| attempt.gives_up).min();
        earlier(earlier(ladders, attempts), self.foreign.next_leave())
    }

    /// The best connection to a peer, by the rules of [`links`]. Not a circuit when there is anything better; whether a circuit
    /// is good enough is for the caller to say.
    #[must_use]
    pub fn best(&self, peer: PeerId) -> Option<(ConnectionId, Route)> {
        let ladder = self.ladders.get(&peer)?;
        ladder
            .links
            .best(ladder.reach())
            .map(|link| (link.connection, link.route))
    }

    /// Whether there is a connection to this peer.
    #[must_use]
    pub fn is_connected(&self, peer: PeerId) -> bool {
        self.best(peer).is_some()
    }

    /// Every connection to a peer, those to relays left out, in the order of peers and then of establishment.
    pub fn connections(&self) -> impl Iterator<Item = (PeerId, ConnectionId, Route)> {
        let of = |(peer, ladder): (&PeerId, &'_ Ladder)| {
            let peer = *peer;
            let links: Vec<_> = ladder
                .links
                .open()
                .map(|link| (peer, link.connection, link.route))
                .collect();
            links
        };
        self.ladders.iter().flat_map(of)
    }

    fn is_held(&self, peer: PeerId) -> bool {
        self.held.iter().any(|relay| relay.peer == peer)
    }

    fn admits(&self, peer: PeerId) -> bool {
        peer != self.local
            && !self.is_held(peer)
            && (self.ladders.contains_key(&peer) || self.ladders.len() < MAX_PEERS)
    }

    fn accepts(&self, peer: PeerId, role: Role) -> bool {
        if !self.admits(peer) {
            return false;
        }
        if role == Role::Dialer || self.interest(peer).is_some() || self.is_connected(peer) {
            return true;
        }
        let accepted = |(peer, ladder): &(&PeerId, &Ladder)| {
            let mut open = ladder.links.open().peekable();
            open.peek().is_some() && open.all(|link| link.role == Role::Listener) && self.interest(**peer).is_none()
        };
        self.ladders.iter().filter(accepted).count() < MAX_ACCEPTED
    }

    fn interest(&self, peer: PeerId) -> Option<Interest> {
        let opened = self.ladders.get(&peer)?.opened.map(Interest::Opened);
        opened.or_else(|| self.chosen.contains(&peer).then_some(Interest::Chosen))
    }

    /// Works out who is dialled, and lets those who newly are begin.
    fn choose(&mut self, now: Duration) {
        let count = if self.ranking.len() <= SMALL_CROWD {
            SMALL_CROWD
        } else {
            CHOSEN_OF_MANY
        };
        let chosen: BTreeSet<PeerId> = self.ranking.iter().take(count).map(|(_, peer)| *peer).collect();
        if chosen == self.chosen {
            return;
        }
        let before = std::mem::replace(&mut self.chosen, chosen);
        let changed: Vec<PeerId> = before.symmetric_difference(&self.chosen).copied().collect();
        for peer in changed {
            self.reconsider(peer, now);
        }
    }

    /// Brings a ladder's phase in line with whether its peer is wanted and how it is connected.
    fn reconsider(&mut self, peer: PeerId, now: Duration) {
        let interest = self.interest(peer);
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        let wanted = interest.is_some() && !ladder.is_satisfied(self.config.webrtc);
        match ladder.phase {
            Phase::Resting if wanted => self.begin_anew(peer, Duration::ZERO, now),
            Phase::Due { .. } | Phase::Queued { .. } if !wanted => ladder.rest(),
            Phase::Resting | Phase::Due { .. } | Phase::Queued { .. } | Phase::Dialing { .. } => {}
        }
    }

    /// Lets a ladder begin at the bottom after `wait`, or after this side's turn has come if that is later.
    fn begin_anew(&mut self, peer: PeerId, wait: Duration, now: Duration) {
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        let turn = match (ladder.opened, ladder.side) {
            (None, Side::Higher) => self.config.higher_waits,
            (Some(_), _) | (None, Side::Lower) => Duration::ZERO,
        };
        let earliest = ladder
            .last_dial
            .map_or(Duration::ZERO, |last| last.saturating_add(MIN_REDIAL));
        let at = now.saturating_add(wait).saturating_add(turn);
        let at = if ladder.opened.is_some() { at } else { at.max(earliest) };
        ladder.begin_anew(at);
        // Who is not wanted rests at once.
        let wanted = ladder.opened.is_some() || self.chosen.contains(&peer);
        if !wanted || ladder.is_satisfied(self.config.webrtc) {
            ladder.rest();
        }
    }

    /// Lets every ladder that waits begin anew, each after a wait of its own within `spread`.
    fn begin_all_anew(&mut self, spread: Duration, now: Now) {
        let waiting = |ladder: &Ladder| matches!(ladder.phase, Phase::Due { .. } | Phase::Queued { .. });
        let peers: Vec<PeerId> = self
            .ladders
            .iter()
            .filter(|(_, ladder)| waiting(ladder))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in peers {
            let wait = spread.mul_f64(self.rng.random_range(0.0..=1.0));
            let Some(ladder) = self.ladders.get_mut(&peer) else {
                continue;
            };
            ladder.backoff.reset();
            ladder.told_unusable = Told::No;
            let before = match ladder.phase {
                Phase::Due { at } => Some(at),
                Phase::Resting | Phase::Queued { .. } | Phase::Dialing { .. } => None,
            };
            self.begin_anew(peer, wait, now.mono);
            // Never later than it would have been.
            if let Some(ladder) = self.ladders.get_mut(&peer)
                && let (Phase::Due { at }, Some(before)) = (ladder.phase, before)
            {
                ladder.phase = Phase::Due { at: at.min(before) };
            }
        }
    }

    /// Everything that is due.
    fn advance(&mut self, now: Duration) {
        let overdue: Vec<AttemptId> = self
            .in_flight
            .iter()
            .filter(|(_, attempt)| attempt.gives_up <= now)
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in overdue {
            self.fail_attempt(attempt, DialFailure::TimedOut, now);
        }
        let mut due: Vec<(Urgency, Duration, PeerId)> = Vec::new();
        for (peer, ladder) in &self.ladders {
            let urgency = if ladder.opened.is_some() {
                Urgency::User
            } else {
                Urgency::Plan
            };
            match ladder.phase {
                Phase::Due { at } if at <= now => due.push((urgency, at, *peer)),
                Phase::Due { .. } | Phase::Resting | Phase::Queued { .. } | Phase::Dialing { .. } => {}
            }
        }
        due.sort_unstable();
        for (_, at, peer) in due {
            self.climb(peer, at, now);
        }
        for (peer, ladder) in &mut self.ladders {
            let peer = *peer;
            while let Some(connection) = ladder.links.take_surplus(ladder.reach(), now) {
                self.actions.push_back(DialAction::Close { peer, connection });
            }
        }
        for (peer, connection) in self.foreign.leave(now) {
            self.actions.push_back(DialAction::Close { peer, connection });
        }
    }

    /// Starts the next rung of a ladder that is due, or says when it goes on.
    fn climb(&mut self, peer: PeerId, due: Duration, now: Duration) {
        let interest = self.interest(peer);
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        let Some(interest) = interest else {
            return ladder.rest();
        };
        let ours = OurFacts {
            local: self.local,
            held: &self.held,
            vantage: self.config.vantage,
            rungs: self.config.webrtc,
        };
        let mut no_place = false;
        for rung in ladder.rungs(peer, interest, ours) {
            match self.gate(&rung, now) {
                Gate::Open => return self.start(peer, rung, now),
                Gate::NoPlace => no_place = true,
                Gate::Shut => {}
            }
        }
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        if no_place {
            ladder.phase = Phase::Queued { since: due };
            return;
        }
        let nothing_to_dial = !ladder.has_tried() && ladder.links.is_empty();
        let wait = ladder.backoff.after_failure(&self.config.retry, &mut self.rng);
        ladder.begin_anew(now.saturating_add(wait));
        if nothing_to_dial && std::mem::replace(&mut ladder.told_unusable, Told::Yes) == Told::No {
            let attempt = self.new_attempt();
            self.report(Event::AttemptFailed {
                peer,
                attempt,
                reason: DialFailure::NoUsableAddress,
            });
        }
    }

    /// Whether a rung may be started now; if so, its foreign relay is taken into use.
    fn gate(&mut self, rung: &Rung, now: Duration) -> Gate {
        if let Some(relay) = rung.through.relay()
            && self
                .in_flight
                .values()
                .filter(|attempt| attempt.through.relay() == Some(relay))
                .count()
                >= MAX_IN_FLIGHT_PER_RELAY
        {
            return Gate::NoPlace;
        }
        match &rung.through {
            Through::Nothing | Through::Held(_) => Gate::Open,
            Through::Foreign {
                relay,
                transport,
                source,
            } => match self.foreign.admit(*relay, transport, *source, now) {
                Admission::Admitted => Gate::Open,
                Admission::Refused => Gate::Shut,
            },
        }
    }

    fn start(&mut self, peer: PeerId, rung: Rung, now: Duration) {
        let attempt = self.new_attempt();
        if let Some(ladder) = self.ladders.get_mut(&peer) {
            ladder.on_started(attempt, &rung, now);
        }
        let Rung {
            route,
            address,
            through,
        } = rung;
        let gives_up = now.saturating_add(self.config.attempt_timeout);
        self.in_flight.insert(
            attempt,
            InFlight {
                peer,
                route,
                through,
                gives_up,
            },
        );
        self.report(Event::AttemptStarted { peer, attempt });
        self.actions.push_back(DialAction::Dial { attempt, peer, address });
    }

    fn fail_attempt(&mut self, attempt: AttemptId, reason: DialFailure, now: Duration) {
        if let Some(peer) = self.end_attempt(attempt, now) {
            self.report(Event::AttemptFailed { peer, attempt, reason });
            self.reconsider(peer, now);
            self.drop_if_idle(peer);
        }
    }

    /// Frees the attempt's place and lets its ladder go on from where it is.
    fn end_attempt(&mut self, attempt: AttemptId, now: Duration) -> Option<PeerId> {
        let InFlight { peer, through, .. } = self.in_flight.remove(&attempt)?;
        match through {
            Through::Nothing | Through::Held(_) => {}
            Through::Foreign { relay, .. } => self.foreign.on_attempt_ended(relay, now),
        }
        if let Some(ladder) = self.ladders.get_mut(&peer)
            && ladder.phase == (Phase::Dialing { attempt })
        {
            ladder.phase = Phase::Due { at: now };
        }
        self.unqueue(now);
        Some(peer)
    }

    /// A place became free: those that wait for one ask again, the longest waiting first.
    fn unqueue(&mut self, now: Duration) {
        for ladder in self.ladders.values_mut() {
            if let Phase::Queued { since } = ladder.phase {
                ladder.phase = Phase::Due { at: since.min(now) };
            }
        }
    }

    fn new_attempt(&mut self) -> AttemptId {
        let attempt = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        attempt
    }

    fn drop_if_idle(&mut self, peer: PeerId) {
        if self.ladders.get(&peer).is_some_and(Ladder::is_idle) {
            self.ladders.remove(&peer);
        } else if let Some(ladder) = self.ladders.get_mut(&peer)
            && ladder.candidacy == Candidacy::Unheard
            && ladder.opened.is_none()
        {
            ladder.rest();
        }
    }

    fn report_route(&mut self, peer: PeerId) {
        let route = self.best(peer).map(|(_, route)| route);
        if let Some(ladder) = self.ladders.get_mut(&peer)
            && ladder.reported != route
        {
            ladder.reported = route;
            self.report(Event::RouteChanged { peer, route });
        }
    }

    fn report(&mut self, event: Event) {
        self.actions.push_back(DialAction::Report(event));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gate {
    Open,
    /// The relay carries as many attempts as it may.
    NoPlace,
    /// Not now, for this rung.
    Shut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    User,
    Plan,
}

fn ladder_of(ladders: &mut BTreeMap<PeerId, Ladder>, local: PeerId, peer: PeerId) -> &mut Ladder {
    let side = if local.to_bytes() < peer.to_bytes() {
        Side::Lower
    } else {
        Side::Higher
    };
    ladders.entry(peer).or_insert_with(|| Ladder::new(side))
}

/// The same for both peers of a pair, and as good as random over pairs.
fn affinity(a: PeerId, b: PeerId) -> Affinity {
    let (a, b) = (a.to_bytes(), b.to_bytes());
    let (lower, higher) = if a < b { (a, b) } else { (b, a) };
    Sha256::new().chain_update(lower).chain_update(higher).finalize().into()
}
