//! Who is in the scope, and who in it knows that we are: the schedule, the announcements and the peer book as one part.
//!
//! Decides what is published and when, whether a message that was heard deserves to be passed on, and what of it is news:
//! who came, changed, left. Never decides who is dialled ([`crate::dial`]), never publishes, and knows no connections
//! but those it is told of. What uses it: the [`Engine`](crate::engine::Engine) behind a node, and
//! [`behaviours::Discovery`](crate::behaviours::Discovery) in anyone's swarm.

use std::{
    collections::{BTreeSet, VecDeque},
    time::Duration,
};

use libp2p::{Multiaddr, PeerId, gossipsub::MessageAcceptance};
use rand::rngs::SmallRng;

use crate::{
    announcement::{
        Announcement,
        schedule::{Schedule, ScheduleAction, ScheduleConfig},
    },
    now::{Now, earlier},
    peer_book::{BookAction, Changed, Heard, Origin, Outcome, PeerBook, PeerBookConfig},
};

/// What is published; comes back with its outcome.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Publication {
    /// Our announcement.
    Announcement,
    /// Our announcement that we have no addresses any more.
    Goodbye,
}

/// What the owner is to do, or to know.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DiscoveryAction {
    /// Publish this in the scope, and tell [`Discovery::handle_published`] or [`Discovery::handle_publish_failed`].
    Publish {
        /// What it is.
        what: Publication,
        /// The message.
        data: Vec<u8>,
    },
    /// A peer was heard of for the first time, or again after it was gone.
    Discovered {
        /// Who.
        peer: PeerId,
        /// What it wants to be called.
        name: Option<String>,
        /// Where it can be reached, best first.
        addrs: Vec<Multiaddr>,
    },
    /// A known peer announced itself again.
    Heard {
        /// Who.
        peer: PeerId,
        /// What it wants to be called.
        name: Option<String>,
        /// Where it can be reached, best first.
        addrs: Vec<Multiaddr>,
        /// Whether the name is another than before.
        renamed: Changed,
        /// Whether the addresses are others than before.
        moved: Changed,
    },
    /// Nothing that this peer announced counts any more: it said goodbye, or was silent for too long.
    Forgotten {
        /// Who.
        peer: PeerId,
    },
    /// A peer is not there any more, and no connection to it is left; also told of a stranger that was connected.
    Gone {
        /// Who.
        peer: PeerId,
    },
}

/// Announces us in one scope and knows who else is there.
///
/// Grammar: `handle_*` in, then drain [`poll_action`](Self::poll_action); call [`handle_timeout`](Self::handle_timeout)
/// no later than [`poll_timeout`](Self::poll_timeout).
#[derive(Debug)]
pub struct Discovery {
    local: PeerId,
    name: Option<String>,
    schedule: Schedule,
    book: PeerBook,
    /// Where we can be reached. Bounded by whoever tells.
    addresses: Vec<Multiaddr>,
    presence: Presence,
    /// Peers reported gone that the book may still know: heard again, they are reported as discovered.
    gone: BTreeSet<PeerId>,
    /// At most a few for each call; its owner drains them after each.
    actions: VecDeque<DiscoveryAction>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Presence {
    Here,
    /// We said goodbye, for good.
    Left,
}

impl Discovery {
    /// Knows nobody, and is silent until there is an address to announce.
    #[must_use]
    pub fn new(local: PeerId, schedule: ScheduleConfig, book: PeerBookConfig, rng: SmallRng) -> Self {
        Self {
            local,
            name: None,
            schedule: Schedule::new(schedule, rng),
            book: PeerBook::new(local, book),
            addresses: Vec::new(),
            presence: Presence::Here,
            gone: BTreeSet::new(),
            actions: VecDeque::new(),
        }
    }

    /// What `source` signed and published in the scope. The answer says whether it deserves to be passed on.
    pub fn handle_gossip(&mut self, source: PeerId, sequence: Option<u64>, data: &[u8], now: Now) -> MessageAcceptance {
        self.handle_gossip_but_of(|_| false, source, sequence, data, now)
    }

    /// The same, but those that are `passed_over` are not remembered: what is good of theirs is only passed on.
    pub fn handle_gossip_but_of(
        &mut self,
        passed_over: impl FnOnce(PeerId) -> bool,
        source: PeerId,
        sequence: Option<u64>,
        data: &[u8],
        now: Now,
    ) -> MessageAcceptance {
        match Announcement::decode(source, data) {
            Ok(announcement) if passed_over(announcement.peer()) => MessageAcceptance::Accept,
            Ok(announcement) => {
                let heard = Heard {
                    sequence,
                    age: Duration::ZERO,
                    origin: Origin::Gossip,
                };
                self.handle_announcement(&announcement, heard, now)
            }
            Err(error) => {
                tracing::debug!(%source, %error, "announcement refused");
                MessageAcceptance::Reject
            }
        }
    }

    /// Somebody says something of itself, or a relay repeats it.
    pub fn handle_announcement(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> MessageAcceptance {
        let peer = announcement.peer();
        if peer == self.local {
            return MessageAcceptance::Accept;
        }
        let acceptance = match self.book.handle_announcement(announcement, heard, now) {
            Outcome::Newcomer => {
                self.gone.remove(&peer);
                self.discovered(announcement);
                self.schedule.handle_newcomer(now);
                MessageAcceptance::Accept
            }
            Outcome::Updated { addresses, name } => {
                if self.gone.remove(&peer) {
                    self.discovered(announcement);
                } else {
                    self.actions.push_back(DiscoveryAction::Heard {
                        peer,
                        name: announcement.name().map(str::to_owned),
                        addrs: announcement.addrs().to_vec(),
                        renamed: name,
                        moved: addresses,
                    });
                }
                MessageAcceptance::Accept
            }
            Outcome::Goodbye => {
                self.actions.push_back(DiscoveryAction::Forgotten { peer });
                self.handle_unreachable(peer);
                MessageAcceptance::Accept
            }
            Outcome::Stale => MessageAcceptance::Ignore,
            Outcome::Refused => MessageAcceptance::Accept,
        };
        self.settle(now);
        acceptance
    }

    /// We can be reached at these addresses, the preferred first, and at no others.
    pub fn handle_addresses(&mut self, addresses: Vec<Multiaddr>, now: Now) {
        if self.presence == Presence::Left || self.addresses == addresses {
            return;
        }
        if !addresses.is_empty() {
            // The first address ever is our joining; later ones are a change.
            self.schedule.handle_joined(now);
        }
        self.addresses = addresses;
        self.schedule.handle_addresses_changed(now);
        self.settle(now);
    }

    /// Somebody we are connected to subscribed to the scope.
    pub fn handle_subscriber(&mut self, now: Now) {
        self.schedule.handle_subscriber(now);
        self.settle(now);
    }

    /// What was to be published left this node.
    pub fn handle_published(&mut self, now: Now) {
        self.schedule.handle_published(now);
        self.settle(now);
    }

    /// Nobody is there to publish to.
    pub fn handle_publish_failed(&mut self, now: Now) {
        self.schedule.handle_publish_failed(now);
        self.settle(now);
    }

    /// The first connection to a peer stands.
    pub fn handle_connected(&mut self, peer: PeerId, now: Now) {
        self.gone.remove(&peer);
        self.book.handle_connected(peer, now);
        self.settle(now);
    }

    /// The last connection to a peer ended.
    pub fn handle_disconnected(&mut self, peer: PeerId, now: Now) {
        let stranger = self.book.get(peer).is_none();
        self.book.handle_disconnected(peer, now);
        // Of those that the book knew, it tells itself who is gone with its connection.
        if stranger {
            self.handle_unreachable(peer);
        }
        self.settle(now);
    }

    /// A peer cannot be reached where it said: unless a connection to it stands, it is gone until it is heard again.
    pub fn handle_unreachable(&mut self, peer: PeerId) {
        if self.book.is_connected(peer) || self.gone.contains(&peer) {
            return;
        }
        // Whom the book does not know is not remembered as gone either: the book's bound is ours.
        if self.book.get(peer).is_some() {
            self.gone.insert(peer);
        }
        self.actions.push_back(DiscoveryAction::Gone { peer });
    }

    /// The user opened this peer: it makes room for nobody.
    pub fn pin(&mut self, peer: PeerId) {
        self.book.pin(peer);
    }

    /// The user is done with this peer.
    pub fn unpin(&mut self, peer: PeerId) {
        self.book.unpin(peer);
    }

    /// This peer spoke in a room of ours.
    pub fn handle_heard_in_room(&mut self, peer: PeerId) {
        self.book.handle_heard_in_room(peer);
    }

    /// We are called this; announced if it is another name than before.
    pub fn handle_renamed(&mut self, name: Option<String>, now: Now) {
        self.name = name;
        self.schedule.handle_addresses_changed(now);
        self.settle(now);
    }

    /// Say goodbye if anybody heard of us, and announce nothing any more.
    pub fn handle_left(&mut self, now: Now) {
        self.presence = Presence::Left;
        self.schedule.handle_left(now);
        self.settle(now);
    }

    /// The host slept.
    pub fn handle_wake(&mut self, now: Now) {
        self.schedule.handle_wake(now);
        self.book.handle_wake(now);
        self.settle(now);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Now) {
        self.schedule.handle_timeout(now);
        self.book.handle_timeout(now);
        self.settle(now);
    }

    /// What to do next, until there is nothing.
    #[must_use]
    pub fn poll_action(&mut self) -> Option<DiscoveryAction> {
        self.actions.pop_front()
    }

    /// When [`handle_timeout`](Self::handle_timeout) is due at the latest, on the monotonic clock.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Duration> {
        earlier(self.schedule.poll_timeout(), self.book.poll_timeout())
    }

    /// The peers we know of.
    #[must_use]
    pub fn book(&self) -> &PeerBook {
        &self.book
    }

    /// How many peers were reported gone that the book still knows.
    #[cfg(test)]
    pub(crate) fn gone(&self) -> usize {
        self.gone.len()
    }

    fn discovered(&mut self, announcement: &Announcement) {
        self.actions.push_back(DiscoveryAction::Discovered {
            peer: announcement.peer(),
            name: announcement.name().map(str::to_owned),
            addrs: announcement.addrs().to_vec(),
        });
    }

    /// Tells each part what the other did, and carries their actions into ours.
    fn settle(&mut self, now: Now) {
        while let Some(action) = self.book.poll_action() {
            match action {
                BookAction::Expired(peer) => {
                    self.actions.push_back(DiscoveryAction::Forgotten { peer });
                    self.handle_unreachable(peer);
                    self.gone.remove(&peer);
                }
            }
        }
        self.schedule.handle_known_peers(self.book.len(), now);
        self.book.handle_interval(self.schedule.interval());
        while let Some(action) = self.schedule.poll_action() {
            let (what, announcement) = match action {
                ScheduleAction::Publish => (Publication::Announcement, self.announcement()),
                ScheduleAction::PublishGoodbye => (Publication::Goodbye, Announcement::goodbye(self.local)),
            };
            // Between two reservations we have no address. To say so would be a goodbye, and we are not leaving.
            if what == Publication::Announcement && announcement.is_goodbye() {
                continue;
            }
            let data = announcement.encode();
            self.actions.push_back(DiscoveryAction::Publish { what, data });
        }
    }

    fn announcement(&self) -> Announcement {
        Announcement::new(self.local, self.addresses.iter().cloned(), self.name.as_deref())
    }
}

#[cfg(test)]
mod tests;
