//! The whole of [`dial`](super): one ladder per peer, and what they share. Here is what the world tells it and what it answers;
//! how ladders go on is in [`climb`].
//!
//! Never judges an address itself.

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use rand::rngs::SmallRng;
use sha2::{Digest, Sha256};

mod climb;

use super::{
    AttemptId, DialAction, DialConfig, DialFailure, Disconnection, MAX_ADDRESSES, Role, Route, SPREAD, UNNOTICED,
    foreign::ForeignRelays,
    ladder::{Candidacy, Ladder, Phase, Told},
    links::{Added, Side},
    plan::Through,
};
use crate::{
    node::{Event, Reach},
    now::{Now, earlier},
    reservation::HeldRelay,
};

/// Decides whom to dial, where and when. After any `handle_*` drain [`Self::poll_action`].
///
/// Relays of our own are to be made known ([`Self::handle_relays`]) before their connections, which are then ignored: a
/// connection that we dialled to a peer nobody asked for is closed.
#[derive(Debug)]
pub struct Dialer {
    local: PeerId,
    pub(super) config: DialConfig,
    rng: SmallRng,
    /// Bounded by [`MAX_PEERS`](super::MAX_PEERS) and what the user opened.
    pub(super) ladders: BTreeMap<PeerId, Ladder>,
    /// Those heard of, by the hash that decides who is dialled in a crowd.
    ranking: BTreeSet<(Affinity, PeerId)>,
    pub(super) chosen: BTreeSet<PeerId>,
    held: Vec<HeldRelay>,
    pub(super) foreign: ForeignRelays,
    /// At most one per peer.
    pub(super) in_flight: BTreeMap<AttemptId, InFlight>,
    next_attempt: u64,
    /// Until then others may take connections to us for alive that we know to be dead.
    unnoticed_until: Duration,
    actions: VecDeque<DialAction>,
}

type Affinity = [u8; 32];

#[derive(Debug)]
pub(super) struct InFlight {
    peer: PeerId,
    route: Route,
    pub(super) through: Through,
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
            unnoticed_until: Duration::ZERO,
            actions: VecDeque::new(),
        }
    }

    /// A peer announces these addresses. The same ones again change nothing; others let its ladder begin anew, but not sooner
    /// after it hung up than otherwise. None at all is a goodbye: [`Self::handle_forgotten`].
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
        let wait = ladder.left_alone_for(self.config.after_goodbye, now.mono);
        self.begin_anew(peer, wait, now.mono);
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
        let rungs = self.config.webrtc;
        let satisfied = |ladder: &Ladder| ladder.is_satisfied(rungs);
        let was_satisfied = self.ladders.get(&peer).is_some_and(satisfied);
        if let Some(ladder) = self.ladders.get_mut(&peer)
            && let Some(link) = ladder.links.remove(connection)
        {
            if link.alive.is_some() {
                ladder.backoff.reset();
            }
            // With a circuit left too: whoever hangs up closes one connection after the other.
            let lost_the_best = was_satisfied && !satisfied(ladder);
            let hung_up = ladder.on_ended(disconnection, now.mono);
            if lost_the_best || ladder.links.open().next().is_none() {
                let wait = ladder.backoff.after_failure(&self.config.retry, &mut self.rng);
                let wait = if hung_up {
                    wait.max(self.config.after_goodbye)
                } else {
                    wait
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
        ladder.on_opened(reach);
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

    /// The user is done with this peer: every connection to it is closed. It is not dialled again until it is heard of or opened
    /// again; an attempt that runs may still come through.
    pub fn handle_closed(&mut self, peer: PeerId, now: Now) {
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        for connection in ladder.links.close_all() {
            self.actions.push_back(DialAction::Close { peer, connection });
        }
        self.report_route(peer);
        self.handle_forgotten(peer, now);
    }

    /// The world may have changed: what waits begins anew.
    pub fn handle_nudge(&mut self, now: Now) {
        self.begin_all_anew(Duration::ZERO, now);
        self.advance(now.mono);
    }

    /// The machine slept, or its network changed. Connections are judged by their pings, as ever; what waits begins anew,
    /// and for a while this side dials without waiting for its turn: the others may not have noticed yet.
    pub fn handle_wake(&mut self, now: Now) {
        self.unnoticed_until = now.mono.saturating_add(UNNOTICED);
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

    /// The best connection to a peer, by the rules of [`links`](super::links). Not a circuit when there is anything better; whether a circuit
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
