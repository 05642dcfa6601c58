//! What a relay has recently heard, for those who just came: who asks knows everybody within a round trip.
//!
//! Decides what goes on the wire of [`SNAPSHOT_PROTOCOL`](crate::protocol::SNAPSHOT_PROTOCOL), what of an answer is
//! believed to be an announcement, and what a relay keeps to answer ([`RecentAnnouncements`]). Never decides whether an
//! announcement is news: a relay's word is hearsay, and [`crate::peer_book`] treats it as such.

mod recent;

use std::time::Duration;

use libp2p::PeerId;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

pub use recent::{CAPACITY, RecentAnnouncements, Recorded};

use crate::announcement::{Announcement, FirstValues, MAX_PEER_ID_BYTES};

/// The largest request that is read, in bytes.
pub const MAX_REQUEST_SIZE: usize = 1024;

/// The largest answer that is made or read, in bytes.
pub const MAX_SNAPSHOT_SIZE: usize = 64 * 1024;

/// How many announcements an answer holds; of a longer one the rest is passed over.
pub const MAX_ANNOUNCEMENTS: usize = 100;

/// "What have you heard?" On the wire: `{}`; whatever else is in it is ignored.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotRequest {}

/// An answer as it comes from the wire, nothing of it verified: see [`Self::verify`].
///
/// On the wire: `{"announcements":[{"announcement":{…},"sequence":"<decimal>","ageSeconds":n},…]}`, newest first. The
/// sequence number is text because JavaScript's numbers end at 2^53.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Snapshot {
    #[serde(default)]
    announcements: FirstValues<MAX_ANNOUNCEMENTS>,
}

/// One announcement of a snapshot: decoded, bounded and verified but for its signature, which nobody has seen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeardAnnouncement {
    /// What was said.
    pub announcement: Announcement,
    /// The number that the relay says its source gave it.
    pub sequence: Option<u64>,
    /// How long ago the relay says it heard it.
    pub age: Duration,
}

impl Snapshot {
    /// What of it is an announcement, by the very rules that gossip must keep. One bad entry spoils no other.
    pub fn verify(&self) -> impl Iterator<Item = HeardAnnouncement> {
        self.announcements.0.iter().filter_map(verify)
    }

    /// How many entries it has, good or bad.
    #[must_use]
    pub fn len(&self) -> usize {
        self.announcements.0.len()
    }

    /// Whether it has no entries.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.announcements.0.is_empty()
    }
}

fn verify(entry: &Value) -> Option<HeardAnnouncement> {
    let body = entry.get("announcement")?;
    let claimed = body
        .get("peerId")?
        .as_str()
        .filter(|text| text.len() <= MAX_PEER_ID_BYTES)?;
    let source: PeerId = claimed.parse().ok()?;
    let announcement = Announcement::decode(source, &serde_json::to_vec(body).ok()?).ok()?;
    let sequence = entry
        .get("sequence")
        .and_then(Value::as_str)
        .and_then(|text| text.parse().ok());
    // Without an age it counts as just said: whoever lies about the age can say that as well.
    let age = Duration::from_secs(entry.get("ageSeconds").and_then(Value::as_u64).unwrap_or_default());
    Some(HeardAnnouncement {
        announcement,
        sequence,
        age,
    })
}

/// The entry of a snapshot that [`verify`] reads.
fn entry(announcement: &Announcement, sequence: Option<u64>, age: Duration) -> Value {
    let body: Value = serde_json::from_slice(&announcement.encode()).expect("what we encode is JSON");
    let mut entry = json!({ "announcement": body, "ageSeconds": age.as_secs() });
    if let Some(sequence) = sequence {
        entry["sequence"] = Value::String(sequence.to_string());
    }
    entry
}

#[cfg(test)]
mod tests;
