//! What is known of one peer. Decides nothing.

use std::time::Duration;

use libp2p::Multiaddr;

use crate::{
    announcement::{Announcement, LastSequence},
    now::Now,
};

use super::{Changed, Heard, Origin, Outcome};

/// What is known of one peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerEntry {
    addrs: Vec<Multiaddr>,
    name: Option<String>,
    standing: Standing,
    pub(super) origin: Origin,
    /// On [`Now::mono`].
    pub(super) heard_at: Duration,
    /// How old it was when it was heard.
    pub(super) age: Duration,
    /// On [`Now::mono`].
    pub(super) known_since: Duration,
    /// The last number it signed.
    pub(super) sequence: LastSequence,
    /// The highest number that a relay ascribed to it.
    pub(super) hearsay_sequence: Option<u64>,
    pub(super) touch: Touch,
    pub(super) room: RoomPresence,
}

/// Whether it said goodbye.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Here,
    Left,
}

/// Whether there ever was a connection to it since it is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Touch {
    Never,
    Reached,
}

/// Whether it spoke in a room of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum RoomPresence {
    Silent,
    Heard,
}

impl PeerEntry {
    pub(super) fn new(
        announcement: &Announcement,
        heard: Heard,
        now: Now,
        sequence: LastSequence,
        hearsay_sequence: Option<u64>,
        touch: Touch,
    ) -> Self {
        Self {
            addrs: announcement.addrs().to_vec(),
            name: announcement.name().map(str::to_owned),
            standing: Standing::Here,
            origin: heard.origin,
            heard_at: now.mono,
            age: heard.age,
            known_since: now.mono,
            sequence,
            hearsay_sequence,
            touch,
            room: RoomPresence::Silent,
        }
    }

    /// Where it said it can be reached, best first. Empty after a goodbye.
    #[must_use]
    pub fn addrs(&self) -> &[Multiaddr] {
        &self.addrs
    }

    /// What it wants to be called. Display only.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whose word the addresses are.
    #[must_use]
    pub fn origin(&self) -> Origin {
        self.origin
    }

    /// Whether it said goodbye: then only the connection to it keeps it in the book.
    #[must_use]
    pub fn has_left(&self) -> bool {
        self.standing == Standing::Left
    }

    /// Until when it is believed to be there, on [`Now::mono`].
    pub(super) fn fresh_until(&self, freshness: Duration) -> Duration {
        self.heard_at.saturating_add(freshness.saturating_sub(self.age))
    }

    pub(super) fn take_over(&mut self, announcement: &Announcement, heard: Heard, now: Now) -> Outcome {
        let addresses = Changed::between(&(self.standing, self.addrs()), &(Standing::Here, announcement.addrs()));
        let name = Changed::between(&self.name(), &announcement.name());
        self.addrs = announcement.addrs().to_vec();
        self.name = announcement.name().map(str::to_owned);
        self.standing = Standing::Here;
        (self.origin, self.heard_at, self.age) = (heard.origin, now.mono, heard.age);
        Outcome::Updated { addresses, name }
    }

    pub(super) fn leave(&mut self) {
        self.addrs.clear();
        self.standing = Standing::Left;
    }
}
