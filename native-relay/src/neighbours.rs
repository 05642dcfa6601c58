//! The relays that this one makes one network with: when each is dialled, which are there, what is told of them.
//!
//! 1. A relay that is named is dialled until it is connected, whoever of the two began. Its addresses are tried one after
//!    the other; after a round of failures it waits, longer each time, and begins anew.
//! 2. Of two that name each other both may dial at once, and each closes what it takes for the older connection. So that
//!    this does not go on, the one with the higher id waits for the other ([`YIELD`]) before it dials again.
//! 3. Named without an id, a relay is whoever answers at its address, today this one and tomorrow another. Named with an id
//!    it is nobody else.
//! 4. If this relay is a client of those that it names, it holds a slot on each, and who keeps the slots dials
//!    ([`Dialling::Elsewhere`]): one connection carries both. What comes of it is told here.
//! 5. Pages are told of those only that are named, connected, say that they are relays, and have an address that pages
//!    speak and that reaches as far as this relay's own: who merely connects here is not sent anybody.
//!
//! Never dials itself, never closes a connection, and knows nothing of gossip: relays subscribe to what they carry, as
//! anybody else, and [`crate::rooms`] says what that is.

mod neighbour;
mod published;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, VecDeque},
    fmt,
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use peerway_core::{
    dial::{Role, backoff::BackoffConfig, route::Scope},
    now::Now,
    reservation::{RelayFailure, RelaySpec},
};
use rand::rngs::SmallRng;

use self::neighbour::{Joined, Neighbour, Step};
pub(crate) use self::published::Published;
use crate::{
    config::{MAX_NAMED_RELAYS, RelayAddress},
    relay::NameRelayError,
    rooms::Kind,
};

/// How long an address may take before it counts as one where nothing answers, and the next is tried. An answer that comes
/// later still counts.
const PATIENCE: Duration = Duration::from_secs(5);
/// Waiting between rounds.
const RETRY: BackoffConfig = BackoffConfig {
    first: Duration::from_secs(1),
    max: Duration::from_secs(60),
};
/// Waiting after an answer that will not soon be another: somebody else is there.
const RETRY_AFTER_REFUSAL: BackoffConfig = BackoffConfig {
    first: Duration::from_secs(15),
    max: Duration::from_secs(5 * 60),
};
/// How long, besides, the one of two waits that lets the other dial: longer than a dial takes.
const YIELD: Duration = Duration::from_secs(5);
/// A connection that lasted as long was a good one: after it, waiting begins small again.
const GOOD: Duration = Duration::from_secs(10);

/// Which of the named relays: counted from 1 in the order of the configuration, those with the same id once.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Number(usize);

/// How it stands with a relay that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeighbourStatus {
    /// Who it is: as it was named, else who answered last.
    pub peer: Option<PeerId>,
    /// Where it is tried, without `/p2p`.
    pub addresses: Vec<Multiaddr>,
    /// Whether it is there.
    pub state: NeighbourState,
    /// Whether this relay has a slot on it.
    pub slot: SlotState,
}

/// Whether a relay that was named is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NeighbourState {
    /// It is being dialled, for the first time or for the first time since it was connected.
    Connecting,
    /// A connection stands; it has not said yet what it is.
    Connected,
    /// A connection stands, and it says that it is a relay.
    Joined,
    /// The last try came to nothing, or a connection stands but it is no relay. It is tried again.
    Failed(RelayFailure),
    /// It is this relay itself, which needs no connection.
    Itself,
}

impl NeighbourState {
    /// Every name of [`Self::name`].
    pub(crate) const NAMES: [&'static str; 5] = ["connecting", "connected", "joined", "failed", "itself"];

    /// What metrics and statistics call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::Connecting => "connecting",
            Self::Connected => "connected",
            Self::Joined => "joined",
            Self::Failed(_) => "failed",
            Self::Itself => "itself",
        }
    }
}

impl SlotState {
    /// What statistics call it.
    pub(crate) fn name(&self) -> &'static str {
        match self {
            Self::NotWanted => "not_wanted",
            Self::Awaited => "awaited",
            Self::Held => "held",
            Self::Failed(_) => "failed",
        }
    }
}

/// Whether there is a slot on a relay that was named.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SlotState {
    /// This relay is nobody's client.
    NotWanted,
    /// It was asked for.
    Awaited,
    /// This relay can be reached through it.
    Held,
    /// There is none, or none any more. It is tried again.
    Failed(RelayFailure),
}

/// Who dials the relays that were named.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dialling {
    /// Who reads [`Action::Dial`].
    Here,
    /// Who keeps the slots.
    Elsewhere,
}

/// What the event loop is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// Dial this address unless the peer is connected, and tell [`Neighbours::handle_dialled`],
    /// [`Neighbours::handle_dial_failed`] or [`Neighbours::handle_is_itself`].
    Dial {
        relay: Number,
        /// Who has to answer.
        peer: Option<PeerId>,
        /// Without `/p2p`.
        address: Multiaddr,
    },
    /// From now on this peer is one of the relays that were named.
    Welcome { peer: PeerId },
    /// This peer is none of them any more: another one answered at its address.
    Dismiss { peer: PeerId },
    /// Ask this relay for what it has recently heard: what is announced from now on, it passes on by itself.
    AskWhoIsThere { peer: PeerId },
    /// This is what pages are told from now on.
    Publish(Vec<Published>),
}

/// The state machine. World in: `handle_*`; decisions out: [`Neighbours::poll_action`].
pub(crate) struct Neighbours {
    local: PeerId,
    /// How near an address may be that pages are told.
    nearest: Scope,
    dialling: Dialling,
    rng: SmallRng,
    /// How many were named. Bounded by [`MAX_NAMED_RELAYS`].
    addresses: usize,
    /// Bounded by those.
    neighbours: BTreeMap<Number, Neighbour>,
    published: Vec<Published>,
    actions: VecDeque<Action>,
}

impl Neighbours {
    /// `nearest` is the scope of this relay's own addresses.
    pub(crate) fn new(
        local: PeerId,
        named: &[RelayAddress],
        nearest: Scope,
        dialling: Dialling,
        rng: SmallRng,
    ) -> Self {
        let mut this = Self {
            local,
            nearest,
            dialling,
            rng,
            addresses: 0,
            neighbours: BTreeMap::new(),
            published: Vec::new(),
            actions: VecDeque::new(),
        };
        for address in named {
            this.name(address);
        }
        this
    }

    /// One more relay is named, or one more address of one that is. Its number, and what is new of it if a slot is wanted
    /// there. `is_connected` says whether a connection to the peer that is named stands already.
    pub(crate) fn handle_named(
        &mut self,
        address: &RelayAddress,
        is_connected: bool,
        now: Now,
    ) -> Result<(Number, Option<RelaySpec>), NameRelayError> {
        if self.addresses >= MAX_NAMED_RELAYS {
            return Err(NameRelayError::TooMany);
        }
        let number = self.name(address);
        if is_connected && let Some(neighbour) = self.neighbours.get_mut(&number) {
            neighbour.on_connected(number, Role::Listener, now.mono);
        }
        self.settle(now);
        let neighbour = self.neighbours.get(&number).filter(|neighbour| neighbour.wants_slot());
        Ok((number, neighbour.map(Neighbour::spec)))
    }

    fn name(&mut self, address: &RelayAddress) -> Number {
        self.addresses += 1;
        let peer = address.peer();
        let same = |known: &Neighbour| match peer {
            Some(_) => known.named == peer,
            // Who has to answer there was said with another one.
            None => known.has_address(address.transport()),
        };
        if let Some((number, known)) = self.neighbours.iter_mut().find(|(_, known)| same(known)) {
            known.add_address(address.transport());
            return *number;
        }
        let number = Number(self.neighbours.len() + 1);
        let mut neighbour = Neighbour::new(self.local, address, self.dialling);
        let answers = |other: &&Neighbour| peer.is_some() && other.peer == peer;
        if let Some(other) = self.neighbours.values().find(answers) {
            neighbour.is_the_same_as(other);
        }
        self.neighbours.insert(number, neighbour);
        let others = peer.filter(|peer| *peer != self.local);
        self.actions.extend(others.map(|peer| Action::Welcome { peer }));
        number
    }

    /// A connection that was dialled for this relay stands, and this peer is at its end. Also tell
    /// [`Self::handle_connected`], after this.
    pub(crate) fn handle_dialled(&mut self, relay: Number, peer: PeerId) {
        let Some(neighbour) = self.neighbours.get_mut(&relay) else {
            return;
        };
        let before = neighbour.peer.replace(peer);
        if before == Some(peer) {
            return;
        }
        self.actions.push_back(Action::Welcome { peer });
        if let Some(gone) = before
            && !self.neighbours.values().any(|other| other.peer == Some(gone))
        {
            tracing::warn!(%relay, %peer, before = %gone, "another relay answers at its address than before");
            self.actions.push_back(Action::Dismiss { peer: gone });
        }
    }

    /// A connection that was dialled elsewhere stands, at this address: see [`Self::handle_dialled`].
    pub(crate) fn handle_dialled_at(&mut self, address: &Multiaddr, peer: PeerId) {
        let at = |(number, neighbour): (&Number, &Neighbour)| neighbour.is_at(address).then_some(*number);
        let there: Vec<Number> = self.neighbours.iter().filter_map(at).collect();
        for number in there {
            self.handle_dialled(number, peer);
        }
    }

    /// There is a slot on this relay.
    pub(crate) fn handle_slot(&mut self, relay: Number) {
        if let Some(neighbour) = self.neighbours.get_mut(&relay) {
            neighbour.on_slot(relay);
        }
    }

    /// There is no slot on this relay, or no connection to it.
    pub(crate) fn handle_slot_lost(&mut self, relay: Number, reason: RelayFailure, now: Now) {
        if let Some(neighbour) = self.neighbours.get_mut(&relay) {
            neighbour.on_slot_lost(relay, reason);
        }
        self.settle(now);
    }

    /// A connection to this peer stands, perhaps one of many.
    pub(crate) fn handle_connected(&mut self, peer: PeerId, role: Role, now: Now) {
        for (number, neighbour) in self.of(peer) {
            neighbour.on_connected(number, role, now.mono);
        }
        self.settle(now);
    }

    /// The last connection to this peer is gone.
    pub(crate) fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        for (number, neighbour) in self.of(peer) {
            neighbour.on_disconnected(number, now.mono);
        }
        self.settle(now);
    }

    /// The dial of this address came to nothing.
    pub(crate) fn handle_dial_failed(&mut self, relay: Number, address: &Multiaddr, reason: RelayFailure, now: Now) {
        if let Some(neighbour) = self.neighbours.get_mut(&relay) {
            neighbour.on_dial_failed(relay, address, reason);
        }
        self.settle(now);
    }

    /// We answered ourselves: the list is the same at every relay of the network.
    pub(crate) fn handle_is_itself(&mut self, relay: Number, now: Now) {
        if let Some(neighbour) = self.neighbours.get_mut(&relay) {
            neighbour.on_is_itself();
        }
        self.settle(now);
    }

    /// Identify told what a peer is, and where.
    pub(crate) fn handle_identified(&mut self, peer: PeerId, kind: Kind, addresses: &[Multiaddr], now: Now) {
        let nearest = self.nearest;
        let mut joined = Joined::No;
        for (number, neighbour) in self.of(peer) {
            let usable = || published::usable(peer, addresses, nearest);
            if neighbour.on_identified(number, kind, usable) == Joined::Now {
                joined = Joined::Now;
            }
        }
        if joined == Joined::Now {
            self.actions.push_back(Action::AskWhoIsThere { peer });
        }
        self.settle(now);
    }

    /// Time has passed.
    pub(crate) fn handle_timeout(&mut self, now: Now) {
        self.settle(now);
    }

    /// When to call [`Self::handle_timeout`] at the latest.
    pub(crate) fn poll_timeout(&self) -> Option<Duration> {
        self.neighbours.values().filter_map(Neighbour::poll_timeout).min()
    }

    /// The next thing to do.
    pub(crate) fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Whether this peer is one of the relays that were named.
    pub(crate) fn is_named(&self, peer: PeerId) -> bool {
        self.neighbours.values().any(|neighbour| neighbour.peer == Some(peer))
    }

    /// Those on which slots are wanted, as they are named.
    pub(crate) fn specs(&self) -> impl Iterator<Item = (Number, RelaySpec)> {
        let wanted = self.neighbours.iter().filter(|(_, neighbour)| neighbour.wants_slot());
        wanted.map(|(number, neighbour)| (*number, neighbour.spec()))
    }

    /// Whether there is a slot on any of them.
    pub(crate) fn has_slot(&self) -> bool {
        self.neighbours.values().any(Neighbour::has_slot)
    }

    /// How it stands with each.
    pub(crate) fn statuses(&self) -> Vec<NeighbourStatus> {
        self.neighbours.values().map(Neighbour::status).collect()
    }

    fn of(&mut self, peer: PeerId) -> impl Iterator<Item = (Number, &mut Neighbour)> {
        self.neighbours
            .iter_mut()
            .filter(move |(_, neighbour)| neighbour.peer == Some(peer))
            .map(|(number, neighbour)| (*number, neighbour))
    }

    /// Everybody's next step, and what follows for pages.
    fn settle(&mut self, now: Now) {
        for (number, neighbour) in &mut self.neighbours {
            while let Some(step) = neighbour.step(*number, self.local, &mut self.rng, now.mono) {
                match step {
                    Step::Dial { peer, address } => self.actions.push_back(Action::Dial {
                        relay: *number,
                        peer,
                        address,
                    }),
                }
            }
        }
        let mut published: Vec<Published> = Vec::new();
        for one in self.neighbours.values().filter_map(Neighbour::published) {
            if !published.iter().any(|other| other.peer == one.peer) {
                published.push(one.clone());
            }
        }
        if published != self.published {
            self.published.clone_from(&published);
            self.actions.push_back(Action::Publish(published));
        }
    }
}

impl fmt::Display for Number {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
