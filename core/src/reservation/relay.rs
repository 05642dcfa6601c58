//! One relay: which address is tried, which connection is in use, how the slot stands.
//!
//! Knows nothing of other relays.

mod access;
mod timing;

use self::{
    access::{Access, Showing},
    timing::is_refusal,
};

use std::{collections::VecDeque, time::Duration};

use libp2p::{Multiaddr, PeerId, swarm::ConnectionId};
use rand::rngs::SmallRng;

use super::{HeldRelay, MAX_ADDRESSES, RelayFailure, ReservationConfig};
use crate::{access::AccessToken, dial::backoff::Backoff, now::earlier};

/// Reconnections in a row because no gossip came. After them the relay is kept without: circuits are better than nothing.
const MAX_SILENT: u32 = 3;
/// How long after its connection a listener closes. Later it is taken for closed.
const LISTENER_CLOSES: Duration = Duration::from_secs(5);

#[derive(Debug)]
pub(super) struct Relay {
    pub(super) peer: Option<PeerId>,
    /// Bounded by [`MAX_ADDRESSES`].
    pub(super) addrs: Vec<Multiaddr>,
    pub(super) token: Option<AccessToken>,
    last_good: Option<Multiaddr>,
    phase: Phase,
    slot: Slot,
    /// Connections to it that are being closed.
    stale: Vec<ConnectionId>,
    backoff: Backoff,
    refusals: Backoff,
    /// When a working reservation was last lost.
    lost_at: Option<Duration>,
    /// Counts rounds, so that quick ones try another second address each.
    round: usize,
    silent: u32,
    closing: VecDeque<ConnectionId>,
}

#[derive(Debug)]
enum Phase {
    Waiting {
        until: Duration,
    },
    Dialing {
        address: Multiaddr,
        since: Duration,
        rest: VecDeque<Multiaddr>,
        failures: Vec<RelayFailure>,
    },
    Connected(Current),
    /// The round, or the connection, is over; how long to wait is not yet said.
    Over {
        reason: RelayFailure,
        delay: Delay,
    },
}

#[derive(Debug)]
struct Current {
    connection: ConnectionId,
    address: Multiaddr,
    since: Duration,
    gossip: Gossip,
    access: Access,
    /// Set after a sleep: no proof of life until then, and it counts as dead.
    suspect_until: Option<Duration>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Gossip {
    Awaited,
    Heard,
    GivenUp,
}

#[derive(Debug)]
enum Slot {
    Free {
        retry_at: Duration,
    },
    Requested {
        since: Duration,
    },
    Held,
    /// The listener closed although the connection stands; how long to wait is not yet said.
    Ended {
        reason: RelayFailure,
        delay: Delay,
    },
    /// The listener is still open although its connection is gone.
    Closing {
        since: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Delay {
    None,
    Normal,
    AfterRefusal,
}

/// What is to be done about one relay.
#[derive(Debug)]
pub(super) enum Step {
    Dial { peer: Option<PeerId>, address: Multiaddr },
    Present { peer: PeerId, token: AccessToken },
    Listen { peer: PeerId, address: Multiaddr },
    Close { connection: ConnectionId },
    Lost { reason: RelayFailure, retry_in: Duration },
}

impl Relay {
    pub(super) fn new(peer: Option<PeerId>, addrs: Vec<Multiaddr>, now: Duration) -> Self {
        let mut relay = Self {
            peer,
            addrs: Vec::new(),
            token: None,
            last_good: None,
            phase: Phase::Waiting { until: now },
            slot: Slot::Free { retry_at: now },
            stale: Vec::new(),
            backoff: Backoff::default(),
            refusals: Backoff::default(),
            lost_at: None,
            round: 0,
            silent: 0,
            closing: VecDeque::new(),
        };
        relay.add_addresses(addrs);
        relay
    }

    pub(super) fn add_addresses(&mut self, addrs: Vec<Multiaddr>) {
        for address in addrs {
            if self.addrs.len() < MAX_ADDRESSES && !self.addrs.contains(&address) {
                self.addrs.push(address);
            }
        }
    }

    pub(super) fn on_connected(&mut self, peer: PeerId, connection: ConnectionId, address: Multiaddr, now: Duration) {
        if self.peer.is_some_and(|known| known != peer) {
            self.closing.push_back(connection);
            return self.on_dial_failed(&address, RelayFailure::WrongPeer);
        }
        self.peer = Some(peer);
        if matches!(&self.phase, Phase::Connected(current) if current.connection == connection) {
            return;
        }
        self.drop_current(now);
        self.last_good = Some(address.clone());
        self.phase = Phase::Connected(Current {
            connection,
            address,
            since: now,
            gossip: Gossip::Awaited,
            access: Access::NotShown,
            suspect_until: None,
        });
    }

    pub(super) fn on_dial_failed(&mut self, failed: &Multiaddr, reason: RelayFailure) {
        match &mut self.phase {
            Phase::Dialing { address, failures, .. } if address == failed => {
                failures.push(reason);
                self.next_address();
            }
            Phase::Dialing { .. } | Phase::Waiting { .. } | Phase::Connected(_) | Phase::Over { .. } => {}
        }
    }

    pub(super) fn on_disconnected(&mut self, connection: ConnectionId, now: Duration) {
        let before = self.stale.len();
        self.stale.retain(|stale| *stale != connection);
        if let Slot::Closing { since } = &mut self.slot
            && self.stale.len() < before
        {
            *since = now;
        }
        if matches!(&self.phase, Phase::Connected(current) if current.connection == connection) {
            self.note_loss(now);
            self.phase = Phase::Over {
                reason: RelayFailure::Disconnected,
                delay: Delay::Normal,
            };
        }
    }

    pub(super) fn on_gossip(&mut self) {
        if let Phase::Connected(current) = &mut self.phase {
            current.gossip = Gossip::Heard;
            self.silent = 0;
            self.note_success();
        }
    }

    /// The address of the connection if the slot is new.
    pub(super) fn on_reserved(&mut self) -> Option<Multiaddr> {
        match (&self.phase, &self.slot) {
            (Phase::Connected(current), Slot::Requested { .. }) => {
                let address = current.address.clone();
                self.slot = Slot::Held;
                self.note_success();
                Some(address)
            }
            (Phase::Connected(_), Slot::Free { .. } | Slot::Held | Slot::Ended { .. } | Slot::Closing { .. })
            | (Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Over { .. }, _) => None,
        }
    }

    pub(super) fn on_listener_closed(&mut self, reason: RelayFailure) {
        self.slot = match &self.slot {
            Slot::Requested { .. } => {
                let delay = if is_refusal(&reason) {
                    Delay::AfterRefusal
                } else {
                    Delay::Normal
                };
                Slot::Ended { reason, delay }
            }
            Slot::Held => Slot::Ended {
                reason,
                delay: Delay::None,
            },
            Slot::Closing { .. } => Slot::Free {
                retry_at: Duration::ZERO,
            },
            Slot::Free { .. } | Slot::Ended { .. } => return,
        };
    }

    pub(super) fn on_nudge(&mut self, now: Duration) {
        self.backoff.reset();
        self.refusals.reset();
        if let Phase::Waiting { until } = &mut self.phase {
            *until = now;
        }
        if let Slot::Free { retry_at } = &mut self.slot {
            *retry_at = now;
        }
    }

    pub(super) fn on_wake(&mut self, suspect_until: Duration) {
        if let Phase::Connected(current) = &mut self.phase {
            current.suspect_until = Some(suspect_until);
        }
    }

    pub(super) fn on_alive(&mut self, connection: ConnectionId) {
        if let Phase::Connected(current) = &mut self.phase
            && current.connection == connection
        {
            current.suspect_until = None;
        }
    }

    /// The next thing to do at this time. Ask until there is none.
    pub(super) fn step(&mut self, config: &ReservationConfig, rng: &mut SmallRng, now: Duration) -> Option<Step> {
        if let Some(connection) = self.closing.pop_front() {
            return Some(Step::Close { connection });
        }
        if let Slot::Ended { reason, delay } = &self.slot {
            let (reason, delay) = (reason.clone(), *delay);
            let retry_in = self.delay(delay, config, rng, now);
            self.slot = Slot::Free {
                retry_at: now.saturating_add(retry_in),
            };
            return Some(Step::Lost { reason, retry_in });
        }
        if let Slot::Closing { since } = self.slot
            && self.stale.is_empty()
            && now >= since.saturating_add(LISTENER_CLOSES)
        {
            self.slot = Slot::Free { retry_at: now };
        }
        match &self.phase {
            Phase::Over { reason, delay } => {
                let (reason, delay) = (reason.clone(), *delay);
                let retry_in = self.delay(delay, config, rng, now);
                self.phase = Phase::Waiting {
                    until: now.saturating_add(retry_in),
                };
                Some(Step::Lost { reason, retry_in })
            }
            Phase::Waiting { until } if *until <= now => {
                let mut rest = self.addresses_of_round(config, now);
                // There is always one: a relay without addresses is refused.
                let address = rest.pop_front()?;
                let dial = Step::Dial {
                    peer: self.peer,
                    address: address.clone(),
                };
                self.phase = Phase::Dialing {
                    address,
                    since: now,
                    rest,
                    failures: Vec::new(),
                };
                self.round = self.round.wrapping_add(1);
                Some(dial)
            }
            Phase::Waiting { .. } => None,
            Phase::Dialing { since, address, .. } => {
                // A next address was chosen, and is not yet dialled.
                if *since == Duration::MAX {
                    let address = address.clone();
                    if let Phase::Dialing { since, .. } = &mut self.phase {
                        *since = now;
                    }
                    return Some(Step::Dial {
                        peer: self.peer,
                        address,
                    });
                }
                if now < since.saturating_add(self.patience(config, *since)) {
                    return None;
                }
                if let Phase::Dialing { failures, .. } = &mut self.phase {
                    failures.push(RelayFailure::TimedOut);
                }
                self.next_address();
                self.step(config, rng, now)
            }
            Phase::Connected(current) => {
                let overdue = |since: Duration, limit: Duration| now >= since.saturating_add(limit);
                if current.suspect_until.is_some_and(|until| now >= until) {
                    self.give_up_connection(RelayFailure::TimedOut, now);
                    return self.step(config, rng, now);
                }
                let silent = |timeout| current.gossip == Gossip::Awaited && overdue(current.since, timeout);
                if config.gossip_timeout.is_some_and(silent) {
                    if self.silent < MAX_SILENT {
                        self.silent += 1;
                        self.give_up_connection(RelayFailure::NoGossip, now);
                        return self.step(config, rng, now);
                    }
                    if let Phase::Connected(current) = &mut self.phase {
                        current.gossip = Gossip::GivenUp;
                    }
                    self.note_success();
                    return self.step(config, rng, now);
                }
                match self.show_token(config, now) {
                    Showing::Begins(step) => return Some(step),
                    Showing::Waits => return None,
                    Showing::Failed => return self.step(config, rng, now),
                    Showing::Done => {}
                }
                let Phase::Connected(current) = &self.phase else {
                    return None;
                };
                match self.slot {
                    Slot::Requested { since } if overdue(since, config.reserve_timeout) => {
                        self.give_up_connection(RelayFailure::TimedOut, now);
                        self.step(config, rng, now)
                    }
                    Slot::Free { retry_at } if retry_at <= now && self.stale.is_empty() => {
                        let listen = Step::Listen {
                            peer: self.peer?,
                            address: current.address.clone(),
                        };
                        self.slot = Slot::Requested { since: now };
                        Some(listen)
                    }
                    Slot::Free { .. }
                    | Slot::Requested { .. }
                    | Slot::Held
                    | Slot::Ended { .. }
                    | Slot::Closing { .. } => None,
                }
            }
        }
    }

    pub(super) fn next_timeout(&self, config: &ReservationConfig) -> Option<Duration> {
        let closing = match self.slot {
            Slot::Closing { since } if self.stale.is_empty() => Some(since.saturating_add(LISTENER_CLOSES)),
            Slot::Closing { .. } | Slot::Free { .. } | Slot::Requested { .. } | Slot::Held | Slot::Ended { .. } => None,
        };
        let phase = match &self.phase {
            Phase::Waiting { until } => Some(*until),
            Phase::Dialing { since, .. } => Some(since.saturating_add(self.patience(config, *since))),
            Phase::Connected(current) => {
                let gossip = config
                    .gossip_timeout
                    .filter(|_| current.gossip == Gossip::Awaited)
                    .map(|timeout| current.since.saturating_add(timeout));
                let slot = match self.slot {
                    Slot::Requested { since } => Some(since.saturating_add(config.reserve_timeout)),
                    Slot::Free { retry_at } if self.stale.is_empty() => Some(retry_at),
                    Slot::Free { .. } | Slot::Held | Slot::Ended { .. } | Slot::Closing { .. } => None,
                };
                let shown = current.access.answers_until(config);
                earlier(earlier(current.suspect_until, gossip), shown.or(slot))
            }
            Phase::Over { .. } => None,
        };
        earlier(closing, phase)
    }

    pub(super) fn is_reserved(&self) -> bool {
        matches!((&self.phase, &self.slot), (Phase::Connected(_), Slot::Held))
    }

    pub(super) fn held(&self) -> Option<HeldRelay> {
        Some(HeldRelay {
            peer: self.peer?,
            address: self.address()?.clone(),
        })
    }

    /// Of the live connection.
    pub(super) fn address(&self) -> Option<&Multiaddr> {
        match &self.phase {
            Phase::Connected(current) => Some(&current.address),
            Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Over { .. } => None,
        }
    }

    pub(super) fn connection(&self) -> Option<ConnectionId> {
        match &self.phase {
            Phase::Connected(current) => Some(current.connection),
            Phase::Waiting { .. } | Phase::Dialing { .. } | Phase::Over { .. } => None,
        }
    }

    /// Goes on to the next address of the round, or ends it.
    fn next_address(&mut self) {
        let Phase::Dialing {
            address,
            since,
            rest,
            failures,
        } = &mut self.phase
        else {
            return;
        };
        if let Some(next) = rest.pop_front() {
            *address = next;
            *since = Duration::MAX;
            return;
        }
        // Silence says least.
        let tells = |failure: &&RelayFailure| **failure != RelayFailure::TimedOut;
        let reason = failures.iter().find(tells).cloned().unwrap_or(RelayFailure::TimedOut);
        let delay = if failures.iter().all(is_refusal) {
            Delay::AfterRefusal
        } else {
            Delay::Normal
        };
        self.phase = Phase::Over { reason, delay };
    }

    fn give_up_connection(&mut self, reason: RelayFailure, now: Duration) {
        self.drop_current(now);
        self.phase = Phase::Over {
            reason,
            delay: Delay::Normal,
        };
    }

    /// Closes the connection in use, if there is one.
    fn drop_current(&mut self, now: Duration) {
        if let Some(connection) = self.connection() {
            self.note_loss(now);
            self.stale.push(connection);
            self.closing.push_back(connection);
        }
    }
}
