//! What is heard: announcements, lines, subscriptions, snapshots.

use std::time::Duration;

use libp2p::{Multiaddr, PeerId, gossipsub::MessageAcceptance};

use super::{Engine, PublishKey};
use crate::{
    announcement::Announcement,
    dial::plan::Rungs,
    node::Event,
    now::Now,
    peer_book::{Changed, Heard, Origin, Outcome},
    protocol,
    snapshot::Snapshot,
};

impl Engine {
    /// A gossip message with a valid signature of `source`. The answer says whether it deserves to be forwarded.
    pub fn handle_gossip(
        &mut self,
        source: PeerId,
        sequence: Option<u64>,
        topic: &str,
        data: &[u8],
        now: Now,
    ) -> MessageAcceptance {
        let acceptance = if topic == protocol::DISCOVERY_TOPIC {
            match Announcement::decode(source, data) {
                Ok(announcement) => {
                    let heard = Heard {
                        sequence,
                        age: Duration::ZERO,
                        origin: Origin::Gossip,
                    };
                    self.hear(&announcement, heard, now)
                }
                Err(error) => {
                    tracing::debug!(%source, %error, "announcement refused");
                    MessageAcceptance::Reject
                }
            }
        } else {
            self.book.handle_heard_in_room(source);
            self.chat
                .handle_message(source, topic, sequence, data, now)
                .acceptance()
        };
        self.settle(now);
        acceptance
    }

    fn hear(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> MessageAcceptance {
        let peer = announcement.peer();
        if peer == self.local || self.reservations.is_relay(peer) {
            return MessageAcceptance::Accept;
        }
        match self.book.handle_announcement(announcement, heard, now) {
            Outcome::Newcomer => {
                self.gone.remove(&peer);
                self.discovered(announcement);
                self.schedule.handle_newcomer(now);
                self.dialer.handle_candidate(peer, announcement.addrs(), now);
            }
            Outcome::Updated { name, .. } => {
                if self.gone.remove(&peer) {
                    self.discovered(announcement);
                } else if name == Changed::Different {
                    self.report(Event::PeerRenamed {
                        peer,
                        name: announcement.name().map(str::to_owned),
                    });
                }
                self.dialer.handle_candidate(peer, announcement.addrs(), now);
            }
            Outcome::Goodbye => {
                self.dialer.handle_forgotten(peer, now);
                self.report_gone_unless_connected(peer);
            }
            Outcome::Stale => return MessageAcceptance::Ignore,
            Outcome::Refused => {}
        }
        MessageAcceptance::Accept
    }

    fn discovered(&mut self, announcement: &Announcement) {
        self.report(Event::PeerDiscovered {
            peer: announcement.peer(),
            name: announcement.name().map(str::to_owned),
        });
    }

    /// A peer subscribed to a topic.
    pub fn handle_subscribed(&mut self, peer: PeerId, topic: &str, now: Now) {
        self.reservations.handle_gossip(peer, now);
        if topic == protocol::DISCOVERY_TOPIC {
            self.schedule.handle_subscriber(now);
        } else {
            self.chat.handle_subscriber(topic, now);
        }
        self.settle(now);
    }

    /// A message left this node.
    pub fn handle_published(&mut self, key: &PublishKey, now: Now) {
        match key {
            PublishKey::Announcement | PublishKey::Goodbye => self.schedule.handle_published(now),
            PublishKey::Line { room, id } => self.chat.handle_published(room, id, now),
        }
        self.settle(now);
    }

    /// A message could not leave this node: nobody is there to take it.
    pub fn handle_publish_failed(&mut self, key: &PublishKey, now: Now) {
        match key {
            PublishKey::Announcement | PublishKey::Goodbye => self.schedule.handle_publish_failed(now),
            PublishKey::Line { room, id } => self.chat.handle_publish_failed(room, id, now),
        }
        self.settle(now);
    }

    /// A relay answered what it has recently heard. It counts for less than gossip: nobody signed it.
    pub fn handle_snapshot(&mut self, snapshot: &Snapshot, now: Now) {
        for heard in snapshot.verify() {
            self.hear(
                &heard.announcement,
                Heard {
                    sequence: heard.sequence,
                    age: heard.age,
                    origin: Origin::Snapshot,
                },
                now,
            );
        }
        self.settle(now);
    }

    /// The relay did not answer: gossip alone has to do. It is asked again with its next reservation.
    pub fn handle_snapshot_failed(&mut self, relay: PeerId) {
        self.asked.remove(&relay);
    }

    pub(super) fn announcement(&self) -> Announcement {
        let circuits = self.listening.values().flatten();
        let addresses: Vec<Multiaddr> = match self.rungs {
            Rungs::CircuitOnly => circuits.cloned().collect(),
            Rungs::WebRtcAndCircuit => circuits
                .flat_map(|circuit| {
                    let direct = peerway_webrtc::multiaddr::advertise(circuit, self.local);
                    direct.into_iter().chain([circuit.clone()])
                })
                .collect(),
        };
        Announcement::new(self.local, addresses, self.name.as_deref())
    }

    pub(super) fn goodbye(&self) -> Announcement {
        Announcement::goodbye(self.local)
    }
}
