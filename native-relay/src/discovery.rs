//! Whether the relay forwards a gossip message, and what it remembers of discovery for newcomers.
//!
//! Never dials and never changes a message: what is forwarded is what its source signed. A message that breaks the rules
//! is rejected; one that is merely old is ignored, because honest peers repeat what they have not seen before.

use std::time::Duration;

use libp2p::{
    PeerId,
    gossipsub::{Message, MessageAcceptance, TopicHash},
};
use peerway_core::{
    announcement::Announcement,
    now::Now,
    protocol::DISCOVERY_TOPIC,
    snapshot::{RecentAnnouncements, Recorded, Snapshot},
};

use crate::{
    config::Limits,
    pace::{Pace, Pacing},
    rooms,
};

/// The largest room message that is forwarded: 4 KiB of text, escaped, and what is around it.
const MAX_ROOM_MESSAGE_BYTES: usize = 12 * 1024;

/// How long one answer is given again, unless something was announced meanwhile: ages in it are in seconds.
const ANSWER_KEPT: Duration = Duration::from_secs(1);

/// What was heard on the discovery topic.
pub(crate) struct Discovery {
    recent: RecentAnnouncements,
    pacing: Pacing,
    /// The last answer and when it was made, on [`Now::mono`].
    answer: Option<(Duration, Snapshot)>,
}

impl Discovery {
    pub(crate) fn new(limits: &Limits) -> Self {
        Self {
            recent: RecentAnnouncements::default(),
            pacing: Pacing::new(limits.announcements_per_minute, limits.announcement_burst),
            answer: None,
        }
    }

    /// A message arrived whose signature is good, on a topic that we follow.
    pub(crate) fn handle_message(&mut self, message: &Message, now: Now) -> MessageAcceptance {
        if message.topic == topic() {
            self.on_announcement(message, now)
        } else if rooms::is_room(&message.topic) && message.data.len() <= MAX_ROOM_MESSAGE_BYTES {
            MessageAcceptance::Accept
        } else {
            MessageAcceptance::Reject
        }
    }

    /// Another relay of our network told what it has recently heard.
    pub(crate) fn handle_snapshot(&mut self, snapshot: &Snapshot, now: Now) {
        for heard in snapshot.verify() {
            if self.recent.handle_hearsay(&heard, now) == Recorded::Kept {
                self.answer = None;
            }
        }
    }

    /// The first connection to a peer is up.
    pub(crate) fn handle_connected(&mut self, peer: PeerId) {
        self.recent.handle_peer_connected(peer);
    }

    /// The last connection to a peer is gone.
    pub(crate) fn handle_disconnected(&mut self, peer: PeerId) {
        self.recent.handle_peer_disconnected(peer);
        self.answer = None;
    }

    /// What to tell a newcomer.
    pub(crate) fn answer(&mut self, now: Now) -> Snapshot {
        match &self.answer {
            Some((made, answer)) if now.mono.saturating_sub(*made) < ANSWER_KEPT => answer.clone(),
            Some(_) | None => {
                let answer = self.recent.answer(now);
                self.answer = Some((now.mono, answer.clone()));
                answer
            }
        }
    }

    fn on_announcement(&mut self, message: &Message, now: Now) -> MessageAcceptance {
        let Some(source) = message.source else {
            return MessageAcceptance::Reject;
        };
        let announcement = match Announcement::decode(source, &message.data) {
            Ok(announcement) => announcement,
            Err(error) => {
                tracing::debug!(%source, %error, "not forwarded");
                return MessageAcceptance::Reject;
            }
        };
        match self
            .recent
            .handle_announcement(&announcement, message.sequence_number, now)
        {
            Recorded::Kept | Recorded::Dropped => self.answer = None,
            Recorded::Stale => return MessageAcceptance::Ignore,
        }
        // After the replays are out: they must not use up what their source may say.
        match self.pacing.handle_message(source, now) {
            Pace::Fine => MessageAcceptance::Accept,
            Pace::TooFast => {
                tracing::debug!(%source, "not forwarded: it announces itself too often");
                MessageAcceptance::Ignore
            }
        }
    }
}

/// The discovery topic.
pub(crate) fn topic() -> TopicHash {
    TopicHash::from_raw(DISCOVERY_TOPIC)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn discovery() -> Discovery {
        Discovery::new(&Limits::default())
    }

    fn message(source: PeerId, sequence: u64, topic: TopicHash, data: impl Into<Vec<u8>>) -> Message {
        Message {
            source: Some(source),
            data: data.into(),
            sequence_number: Some(sequence),
            topic,
        }
    }

    fn announcement(peer: PeerId, relay: PeerId) -> Vec<u8> {
        let address = format!("/ip4/203.0.113.1/tcp/8080/ws/p2p/{relay}/p2p-circuit/p2p/{peer}")
            .parse()
            .unwrap();
        Announcement::new(peer, [address], None).encode()
    }

    #[test]
    fn when_an_announcement_is_good_it_is_forwarded_and_told_to_newcomers() {
        let (mut discovery, now, peer) = (discovery(), Now::default(), PeerId::random());
        assert!(discovery.answer(now).is_empty());
        let said = message(peer, 1, topic(), announcement(peer, PeerId::random()));
        assert!(matches!(
            discovery.handle_message(&said, now),
            MessageAcceptance::Accept
        ));
        let told: Vec<_> = discovery
            .answer(now)
            .verify()
            .map(|heard| heard.announcement.peer())
            .collect();
        assert_eq!(told, [peer]);

        discovery.handle_disconnected(peer);
        assert!(discovery.answer(now).is_empty());
    }

    #[test]
    fn when_another_relay_tells_what_it_has_heard_newcomers_are_told_unless_it_was_heard_here() {
        let (mut here, mut there, now) = (discovery(), discovery(), Now::default());
        let (known, gone, unknown) = (PeerId::random(), PeerId::random(), PeerId::random());
        for peer in [known, gone, unknown] {
            let said = message(peer, 1, topic(), announcement(peer, PeerId::random()));
            there.handle_message(&said, now);
        }
        let later = now.after(Duration::from_secs(30));
        let newer = message(known, 2, topic(), announcement(known, PeerId::random()));
        here.handle_message(&newer, later);
        here.handle_message(&message(gone, 1, topic(), announcement(gone, PeerId::random())), now);
        here.handle_message(&message(gone, 2, topic(), Announcement::goodbye(gone).encode()), later);

        assert_eq!(here.answer(later).len(), 1);
        here.handle_snapshot(&there.answer(later), later);
        let told: Vec<_> = here.answer(later).verify().collect();
        let seconds = |peer| {
            let of_peer = told.iter().find(|heard| heard.announcement.peer() == peer);
            of_peer.map(|heard| heard.age.as_secs())
        };
        assert_eq!(told.len(), 2);
        assert_eq!(
            (seconds(known), seconds(gone), seconds(unknown)),
            (Some(0), None, Some(30))
        );
    }

    /// The relay is another's neighbour: it hears of hundreds from one peer, within a moment.
    #[test]
    fn when_one_relay_passes_on_what_many_announce_each_is_held_to_its_own_pace_alone() {
        let (mut discovery, now) = (discovery(), Now::default());
        for _ in 0..500 {
            let peer = PeerId::random();
            let said = message(peer, 1, topic(), announcement(peer, PeerId::random()));
            assert!(matches!(
                discovery.handle_message(&said, now),
                MessageAcceptance::Accept
            ));
        }
    }

    #[test]
    fn when_an_announcement_breaks_the_rules_it_is_rejected_and_told_to_nobody() {
        let (mut discovery, now) = (discovery(), Now::default());
        let (liar, victim) = (PeerId::random(), PeerId::random());
        for data in [
            announcement(victim, PeerId::random()),
            b"{}".to_vec(),
            b"\xff\xfe".to_vec(),
            "[".repeat(8_000).into_bytes(),
            vec![b' '; 9_000],
        ] {
            let said = message(liar, 1, topic(), data);
            assert!(matches!(
                discovery.handle_message(&said, now),
                MessageAcceptance::Reject
            ));
        }
        assert!(discovery.answer(now).is_empty());
    }

    #[test]
    fn when_an_announcement_is_replayed_it_is_ignored() {
        let (mut discovery, now, peer) = (discovery(), Now::default(), PeerId::random());
        let bytes = announcement(peer, PeerId::random());
        for (sequence, accepted) in [(5, true), (5, false), (4, false), (6, true)] {
            let verdict = discovery.handle_message(&message(peer, sequence, topic(), bytes.clone()), now);
            assert_eq!(matches!(verdict, MessageAcceptance::Accept), accepted, "{sequence}");
        }
    }

    #[test]
    fn when_a_room_message_is_too_large_or_elsewhere_it_is_rejected() {
        let (mut discovery, now, peer) = (discovery(), Now::default(), PeerId::random());
        let room = TopicHash::from_raw("peerway/room/1/0123456789abcdef0123456789abcdef");
        for (topic, bytes, accepted) in [
            (room.clone(), MAX_ROOM_MESSAGE_BYTES, true),
            (room, MAX_ROOM_MESSAGE_BYTES + 1, false),
            (TopicHash::from_raw("elsewhere"), 1, false),
        ] {
            let verdict = discovery.handle_message(&message(peer, 1, topic, vec![0xff; bytes]), now);
            assert_eq!(matches!(verdict, MessageAcceptance::Accept), accepted, "{bytes}");
        }
    }

    #[test]
    fn when_a_peer_announces_itself_more_often_than_it_may_the_next_is_not_forwarded() {
        let limits = Limits {
            announcements_per_minute: 6.try_into().unwrap(),
            announcement_burst: 2.try_into().unwrap(),
            ..Limits::default()
        };
        let (mut discovery, mut now, peer) = (Discovery::new(&limits), Now::default(), PeerId::random());
        let bytes = announcement(peer, PeerId::random());
        let mut accepts = |sequence, now| {
            let verdict = discovery.handle_message(&message(peer, sequence, topic(), bytes.clone()), now);
            matches!(verdict, MessageAcceptance::Accept)
        };
        assert_eq!([accepts(1, now), accepts(2, now), accepts(3, now)], [true, true, false]);
        now = now.after(Duration::from_secs(10));
        assert_eq!([accepts(4, now), accepts(5, now)], [true, false]);
    }
}
