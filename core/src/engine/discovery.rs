//! What is heard: announcements, lines, subscriptions, snapshots.

use libp2p::{PeerId, gossipsub::MessageAcceptance};

use super::{Engine, PublishKey};
use crate::{
    now::Now,
    peer_book::{Heard, Origin},
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
            let relays = |peer| self.reservations.is_relay(peer);
            self.discovery.handle_gossip_but_of(relays, source, sequence, data, now)
        } else {
            self.discovery.handle_heard_in_room(source);
            self.chat
                .handle_message(source, topic, sequence, data, now)
                .acceptance()
        };
        self.settle(now);
        acceptance
    }

    /// A peer subscribed to a topic.
    pub fn handle_subscribed(&mut self, peer: PeerId, topic: &str, now: Now) {
        self.reservations.handle_gossip(peer, now);
        if topic == protocol::DISCOVERY_TOPIC {
            self.discovery.handle_subscriber(now);
        } else {
            self.chat.handle_subscriber(topic, now);
        }
        self.settle(now);
    }

    /// A message left this node.
    pub fn handle_published(&mut self, key: &PublishKey, now: Now) {
        match key {
            PublishKey::Discovery(_) => self.discovery.handle_published(now),
            PublishKey::Line { room, id } => self.chat.handle_published(room, id, now),
        }
        self.settle(now);
    }

    /// A message could not leave this node: nobody is there to take it.
    pub fn handle_publish_failed(&mut self, key: &PublishKey, now: Now) {
        match key {
            PublishKey::Discovery(_) => self.discovery.handle_publish_failed(now),
            PublishKey::Line { room, id } => self.chat.handle_publish_failed(room, id, now),
        }
        self.settle(now);
    }

    /// A relay answered what it has recently heard. It counts for less than gossip: nobody signed it.
    pub fn handle_snapshot(&mut self, snapshot: &Snapshot, now: Now) {
        for heard in snapshot.verify() {
            if self.reservations.is_relay(heard.announcement.peer()) {
                continue;
            }
            let hearsay = Heard {
                sequence: heard.sequence,
                age: heard.age,
                origin: Origin::Snapshot,
            };
            self.discovery.handle_announcement(&heard.announcement, hearsay, now);
        }
        self.settle(now);
    }

    /// The relay did not answer: gossip alone has to do. It is asked again with its next reservation.
    pub fn handle_snapshot_failed(&mut self, relay: PeerId) {
        self.asked.remove(&relay);
    }
}
