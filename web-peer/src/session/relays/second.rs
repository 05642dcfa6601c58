//! On which other relay of its relay's network a page holds its second slot, and when it moves to another one. Pure.
//!
//! 1. It is the nearest of those listed, by the XOR of the ids: pages spread over all of them, and each chooses the same one
//!    again.
//! 2. Through a relay that is itself behind a circuit, strangers do not reach the page: there are no circuits inside
//!    circuits. Then those come first whose addresses reach further, and the rule above chooses among equals.
//! 3. The page stays where it holds a slot, whatever is listed later; unless its relay is behind a circuit, and the other one
//!    reaches further.
//! 4. From a relay that has given no slot for [`PATIENCE`] it moves to another, if one is listed that reaches as far.
//! 5. The old relay is left when the new one has given a slot. A new one that gives none for as long is left, and is left
//!    alone for a while ([`AVOIDED_FOR`]).
//!
//! Never shows anybody a token, and never leaves the relay that serves the page.

#[cfg(test)]
mod tests;

use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    dial::route::{AddressForm, Classified, Scope, classify},
    now::Now,
    reservation::RelaySpec,
};

use super::Reach;

/// How long a relay may take to give a slot, or to give it again. One that restarts has its pages back within seconds.
pub(crate) const PATIENCE: Duration = Duration::from_secs(30);
/// How long a relay that gave no slot is not tried again, unless the world may have changed.
pub(crate) const AVOIDED_FOR: Duration = Duration::from_secs(5 * 60);
/// How often the document is read while there should be a better relay than the one there is.
const LOOKS_EVERY: Duration = Duration::from_secs(60);
/// How often it is read otherwise: the relay may come to be behind a circuit, and others may come.
const LOOKS_RARELY: Duration = Duration::from_secs(5 * 60);

/// What the page is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Keep a slot on this relay, or learn its new addresses. It is shown no token.
    Take(RelaySpec),
    /// Keep none there any more.
    Leave(PeerId),
    /// Read the document again, and tell [`SecondSlot::handle_document`].
    LookAgain,
}

/// The state machine. World in: `handle_*`; decisions out: [`SecondSlot::poll_action`].
#[derive(Debug)]
pub(crate) struct SecondSlot {
    local: PeerId,
    reach: Reach,
    /// Bounded by what is read of a document.
    listed: Vec<Listed>,
    current: Option<Chosen>,
    /// Where the page moves to.
    next: Option<Chosen>,
    /// Until when. Bounded by [`AVOIDED_FOR`] divided by [`PATIENCE`].
    avoided: BTreeMap<PeerId, Duration>,
    /// When the document was last read or asked for.
    looked_at: Option<Duration>,
    now: Duration,
    actions: VecDeque<Action>,
}

/// A relay that could be chosen.
#[derive(Clone, Debug)]
struct Listed {
    peer: PeerId,
    spec: RelaySpec,
    /// Its address that reaches furthest.
    reaches: Option<Scope>,
}

/// One that was.
#[derive(Debug)]
struct Chosen {
    relay: Listed,
    slot: Slot,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Held,
    Awaited { since: Duration },
}

impl SecondSlot {
    pub(crate) fn new(local: PeerId) -> Self {
        Self {
            local,
            reach: Reach::Direct,
            listed: Vec::new(),
            current: None,
            next: None,
            avoided: BTreeMap::new(),
            looked_at: None,
            now: Duration::ZERO,
            actions: VecDeque::new(),
        }
    }

    /// The document was read: who serves the page, how strangers reach that relay, and which others it lists.
    pub(crate) fn handle_document(&mut self, home: PeerId, reach: Reach, others: &[RelaySpec], now: Now) {
        self.looked_at = Some(now.mono);
        self.reach = reach;
        let others = others.iter().filter_map(Listed::new);
        self.listed = others.filter(|other| other.peer != home).collect();
        for place in [&mut self.current, &mut self.next] {
            // Now it serves the page: whoever holds a slot there for that reason keeps it.
            *place = place.take().filter(|chosen| chosen.relay.peer != home);
            if let Some(chosen) = place
                && let Some(listed) = self.listed.iter().find(|listed| listed.peer == chosen.relay.peer)
                && listed.spec != chosen.relay.spec
            {
                chosen.relay = listed.clone();
                self.actions.push_back(Action::Take(listed.spec.clone()));
            }
        }
        self.current = self.current.take().or_else(|| self.next.take());
        self.settle(now);
    }

    /// These are the relays that hold a slot for the page now. To be told at every wake-up, whatever woke the page.
    pub(crate) fn handle_held(&mut self, held: &BTreeSet<PeerId>, now: Now) {
        for chosen in [&mut self.current, &mut self.next].into_iter().flatten() {
            chosen.slot = match (held.contains(&chosen.relay.peer), chosen.slot) {
                (true, _) => Slot::Held,
                (false, Slot::Held) => Slot::Awaited { since: now.mono },
                (false, awaited @ Slot::Awaited { .. }) => awaited,
            };
        }
        self.settle(now);
    }

    /// The world may have changed: what failed may succeed.
    pub(crate) fn handle_nudge(&mut self, now: Now) {
        self.avoided.clear();
        self.settle(now);
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Self::handle_held`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        let chosen = [&self.current, &self.next].into_iter().flatten();
        let moments = chosen
            .filter_map(Chosen::overdue_at)
            .chain(self.avoided.values().copied())
            .chain(self.looks_at());
        // What is past was dealt with as far as it could be.
        moments.filter(|at| *at > self.now).min()
    }

    fn settle(&mut self, now: Now) {
        self.now = now.mono;
        self.avoided.retain(|_, until| *until > now.mono);
        self.end_move();
        self.begin_move();
        if self.looks_at().is_some_and(|at| at <= now.mono) {
            self.looked_at = Some(now.mono);
            self.actions.push_back(Action::LookAgain);
        }
    }

    fn end_move(&mut self) {
        let (Some(current), Some(next)) = (&self.current, &self.next) else {
            return;
        };
        let (from, to) = (current.relay.peer, next.relay.peer);
        if current.slot == Slot::Held && !self.reaches_further(&next.relay) {
            // It is back.
            self.next = None;
            self.actions.push_back(Action::Leave(to));
        } else if next.slot == Slot::Held {
            if current.slot != Slot::Held {
                self.avoid(from);
            }
            self.current = self.next.take();
            self.actions.push_back(Action::Leave(from));
        } else if next.is_overdue(self.now) {
            self.avoid(to);
            self.next = None;
            self.actions.push_back(Action::Leave(to));
        }
    }

    fn begin_move(&mut self) {
        let (None, Some(best)) = (&self.next, self.best()) else {
            return;
        };
        let chosen = Chosen {
            relay: best.clone(),
            slot: Slot::Awaited { since: self.now },
        };
        match &self.current {
            Some(current) if !current.is_overdue(self.now) && !self.reaches_further(&chosen.relay) => return,
            Some(_) => self.next = Some(chosen),
            None => self.current = Some(chosen),
        }
        let chosen = self.next.as_ref().or(self.current.as_ref());
        let take = chosen.map(|chosen| Action::Take(chosen.relay.spec.clone()));
        self.actions.extend(take);
    }

    /// Which other relay is the first choice now.
    fn best(&self) -> Option<&Listed> {
        let current = self.current.as_ref().map(|current| &current.relay);
        let others = self.listed.iter().filter(|listed| {
            let is_current = current.is_some_and(|current| current.peer == listed.peer);
            !is_current && !self.avoided.contains_key(&listed.peer)
        });
        match self.reach {
            Reach::Direct => others.min_by_key(|listed| listed.distance(self.local)),
            Reach::Circuit => {
                let far_enough = |listed: &&Listed| current.is_none_or(|current| listed.reaches >= current.reaches);
                let order = |listed: &&Listed| (Reverse(listed.reaches), listed.distance(self.local));
                others.filter(far_enough).min_by_key(order)
            }
        }
    }

    /// Whether that is worth leaving a relay that holds a slot.
    fn reaches_further(&self, other: &Listed) -> bool {
        let further = |current: &Chosen| other.reaches > current.relay.reaches;
        self.reach == Reach::Circuit && self.current.as_ref().is_some_and(further)
    }

    fn avoid(&mut self, peer: PeerId) {
        self.avoided.insert(peer, self.now.saturating_add(AVOIDED_FOR));
    }

    fn looks_at(&self) -> Option<Duration> {
        let reached = match (&self.current, self.reach) {
            (None, Reach::Direct) => true,
            (None, Reach::Circuit) => false,
            (Some(current), Reach::Direct) => !current.is_overdue(self.now),
            (Some(current), Reach::Circuit) => {
                !current.is_overdue(self.now) && current.relay.reaches == Some(Scope::Public)
            }
        };
        let pause = if reached { LOOKS_RARELY } else { LOOKS_EVERY };
        Some(self.looked_at?.saturating_add(pause))
    }
}

impl Listed {
    /// `None` without an id: a document names everybody by it.
    fn new(spec: &RelaySpec) -> Option<Self> {
        Some(Self {
            peer: spec.peer?,
            reaches: spec.addrs.iter().filter_map(scope).max(),
            spec: spec.clone(),
        })
    }

    fn distance(&self, local: PeerId) -> Vec<u8> {
        let pairs = self.peer.to_bytes().into_iter().zip(local.to_bytes());
        pairs.map(|(one, other)| one ^ other).collect()
    }
}

impl Chosen {
    fn overdue_at(&self) -> Option<Duration> {
        match self.slot {
            Slot::Held => None,
            Slot::Awaited { since } => Some(since.saturating_add(PATIENCE)),
        }
    }

    fn is_overdue(&self, now: Duration) -> bool {
        self.overdue_at().is_some_and(|at| at <= now)
    }
}

fn scope(address: &Multiaddr) -> Option<Scope> {
    match classify(address) {
        Some(Classified {
            form: AddressForm::Direct(direct),
            ..
        }) => Some(direct.scope),
        Some(Classified {
            form: AddressForm::Circuit(_) | AddressForm::WebRtc(_),
            ..
        })
        | None => None,
    }
}
