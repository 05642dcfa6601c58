//! What a node decides, whole: announcements, peer book, dialling, reservations and rooms behind one grammar.
//!
//! An [`Engine`] does no I/O, reads no clock and spawns nothing. Its owner tells it what happened (`handle_*(…, now)`),
//! tells it the time whenever it wakes (`handle_timeout(now)`), and after **every** call drains
//! [`poll_action`](Engine::poll_action) before it waits again, at most until [`poll_timeout`](Engine::poll_timeout).
//! The owner is the event loop of [`crate::node`], or a simulated network (`crate::sim`).

mod action;
mod commands;
mod connections;
mod discovery;
mod liveness;
#[cfg(test)]
mod tests;

pub use action::{Action, DialKey, PublishKey};
pub use commands::NoPeerId;
pub use connections::Ping;

use self::liveness::Liveness;

use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, SeedableRng, rngs::SmallRng};

use crate::{
    chat::{Chat, ChatAction},
    config::Config,
    dial::{DialAction, Dialer, plan::Rungs},
    discovery::{Discovery, DiscoveryAction},
    node::Event,
    now::{Now, earlier},
    peer_book::{Changed, PeerBook},
    protocol,
    reservation::{HeldRelay, RelayKey, ReservationAction, Reservations},
};

/// A node without its network. See the module.
pub struct Engine {
    local: PeerId,
    /// How others may reach us.
    rungs: Rungs,
    discovery: Discovery,
    dialer: Dialer,
    reservations: Reservations,
    liveness: Liveness,
    chat: Chat,
    /// The relayed addresses that each relay's reservation gave us. Bounded by the relays and their 4 KiB messages.
    listening: BTreeMap<RelayKey, BTreeSet<Multiaddr>>,
    /// Relays that were asked for a snapshot since their reservation.
    asked: BTreeSet<PeerId>,
    /// What the dialer knows of the relays, to tell it only about changes.
    held: Vec<HeldRelay>,
    actions: VecDeque<Action>,
}

impl Engine {
    /// A node that knows nobody yet. All its randomness comes from `seed`.
    #[must_use]
    pub fn new(local: PeerId, config: &Config, name: Option<String>, seed: u64) -> Self {
        let mut seeds = SmallRng::seed_from_u64(seed);
        let mut rng = || SmallRng::seed_from_u64(seeds.random());
        let mut engine = Self {
            local,
            discovery: Discovery::new(local, config.schedule.clone(), config.peer_book.clone(), rng()),
            dialer: Dialer::new(local, config.dial, rng()),
            reservations: Reservations::new(config.reservation, rng()),
            liveness: Liveness::new(config.ping_interval, config.ping_timeout),
            chat: Chat::new(local, config.chat.clone(), rng()),
            rungs: config.dial.webrtc,
            listening: BTreeMap::new(),
            asked: BTreeSet::new(),
            held: Vec::new(),
            actions: VecDeque::new(),
        };
        engine.actions.push_back(Action::Subscribe {
            topic: protocol::DISCOVERY_TOPIC.to_owned(),
        });
        engine.chat.set_name(name.clone());
        engine.discovery.handle_renamed(name, Now::default());
        engine
    }

    /// Moves every part on to `now`.
    pub fn handle_timeout(&mut self, now: Now) {
        self.discovery.handle_timeout(now);
        self.dialer.handle_timeout(now);
        self.reservations.handle_timeout(now);
        self.chat.handle_timeout(now);
        while let Some(connection) = self.liveness.next_dead(now) {
            self.actions.push_back(Action::Close { connection });
        }
        self.settle(now);
    }

    /// The host slept: the wall clock ran ahead of the monotonic one. Connections may be dead without a sign.
    pub fn handle_wake(&mut self, now: Now) {
        self.liveness.handle_wake(now);
        self.discovery.handle_wake(now);
        self.dialer.handle_wake(now);
        self.reservations.handle_wake(now);
        self.settle(now);
    }

    /// What to do next, until there is nothing.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due at the latest, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        let parts = [
            self.discovery.poll_timeout(),
            self.dialer.poll_timeout(),
            self.reservations.poll_timeout(),
            self.chat.poll_timeout(),
            self.liveness.poll_timeout(),
        ];
        parts.into_iter().fold(None, earlier)
    }

    /// Our own peer id.
    #[must_use]
    pub fn local(&self) -> PeerId {
        self.local
    }

    /// The peers we know of.
    #[must_use]
    pub fn book(&self) -> &PeerBook {
        self.discovery.book()
    }

    /// Who is reached how.
    #[must_use]
    pub fn dialer(&self) -> &Dialer {
        &self.dialer
    }

    /// Which relays we hold.
    #[must_use]
    pub fn reservations(&self) -> &Reservations {
        &self.reservations
    }

    /// Carries the parts' actions into ours, and what one part did to the parts that follow it, until nothing moves.
    fn settle(&mut self, now: Now) {
        loop {
            let before = self.actions.len();
            self.settle_reservations();
            self.settle_held(now);
            self.settle_discovery(now);
            self.settle_dialer();
            self.settle_chat();
            if self.actions.len() == before {
                return;
            }
        }
    }

    fn settle_reservations(&mut self) {
        while let Some(action) = self.reservations.poll_action() {
            match action {
                ReservationAction::Dial { relay, peer, address } => self.actions.push_back(Action::Dial {
                    key: DialKey::Relay(relay),
                    peer,
                    address,
                }),
                ReservationAction::Listen { relay, address } => {
                    self.actions.push_back(Action::Listen { relay, address });
                }
                ReservationAction::Present { peer, token, .. } => {
                    self.actions.push_back(Action::Present { relay: peer, token });
                }
                ReservationAction::StopListening { relay } => self.actions.push_back(Action::StopListening { relay }),
                ReservationAction::Close { connection } => self.actions.push_back(Action::Close { connection }),
                ReservationAction::Report(event) => self.report(event.into()),
            }
        }
    }

    /// Tells the dialer which relays are held, and the peers that wait for one.
    fn settle_held(&mut self, now: Now) {
        let held = self.reservations.held();
        if held != self.held {
            self.dialer.handle_relays(&held, now);
            self.held = held;
        }
    }

    fn settle_discovery(&mut self, now: Now) {
        while let Some(action) = self.discovery.poll_action() {
            match action {
                DiscoveryAction::Publish { what, data } => self.actions.push_back(Action::Publish {
                    key: PublishKey::Discovery(what),
                    topic: protocol::DISCOVERY_TOPIC.to_owned(),
                    data,
                }),
                DiscoveryAction::Discovered { peer, name, addrs } => {
                    self.report(Event::PeerDiscovered { peer, name });
                    self.dialer.handle_candidate(peer, &addrs, now);
                }
                DiscoveryAction::Heard {
                    peer,
                    name,
                    addrs,
                    renamed,
                    ..
                } => {
                    if renamed == Changed::Different {
                        self.report(Event::PeerRenamed { peer, name });
                    }
                    self.dialer.handle_candidate(peer, &addrs, now);
                }
                DiscoveryAction::Forgotten { peer } => self.dialer.handle_forgotten(peer, now),
                DiscoveryAction::Gone { peer } => self.report(Event::PeerGone { peer }),
            }
        }
    }

    fn settle_dialer(&mut self) {
        while let Some(action) = self.dialer.poll_action() {
            match action {
                DialAction::Dial { attempt, peer, address } => self.actions.push_back(Action::Dial {
                    key: DialKey::Peer(attempt),
                    peer: Some(peer),
                    address,
                }),
                DialAction::Close { connection, .. } => self.actions.push_back(Action::Close { connection }),
                DialAction::Report(event) => self.report(event),
            }
        }
    }

    fn settle_chat(&mut self) {
        while let Some(action) = self.chat.poll_action() {
            match action {
                ChatAction::Subscribe { topic } => self.actions.push_back(Action::Subscribe { topic }),
                ChatAction::Unsubscribe { topic } => self.actions.push_back(Action::Unsubscribe { topic }),
                ChatAction::Publish { room, id, topic, data } => self.actions.push_back(Action::Publish {
                    key: PublishKey::Line { room, id },
                    topic,
                    data,
                }),
                ChatAction::Report(event) => self.report(event),
            }
        }
    }

    fn report(&mut self, event: Event) {
        self.actions.push_back(Action::Report(event));
    }
}

#[cfg(any(test, feature = "test-utils"))]
impl Engine {
    /// Whether [`poll_action`](Self::poll_action) would return something.
    pub(crate) fn has_actions(&self) -> bool {
        !self.actions.is_empty()
    }
}
