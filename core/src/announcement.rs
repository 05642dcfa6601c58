//! What a peer says of itself on the discovery topic: who it is, where it can be reached, what it wants to be called.
//!
//! Decides what counts as an announcement, which addresses of it are kept, and which of our own addresses we send. An
//! [`Announcement`] exists only decoded, bounded and verified: whoever holds one need not check it again.
//! Never decides whether an announcement is news ([`crate::peer_book`]) nor what is dialled ([`crate::dial`]), and does
//! not depend on where the node runs: two nodes decode the same bytes to the same value.

mod codec;
mod form;
#[cfg(any(test, feature = "test-utils"))]
pub mod hostile;
pub mod schedule;
mod sequence;

use std::fmt;

use libp2p::{Multiaddr, PeerId};

pub(crate) use codec::{FirstValues, MAX_PEER_ID_BYTES};
pub(crate) use sequence::{LastSequence, Novelty};

use form::{Form, Known, Way};

use crate::name::clean_name;

/// The largest announcement that is accepted, in bytes. A stock js-libp2p peer behind a dual-stack relay needs 3 KB.
pub const MAX_ACCEPTED_BYTES: usize = 8 * 1024;

/// The largest announcement that we send, in bytes: every peer of the scope pays for it.
pub const MAX_SENT_BYTES: usize = 2 * 1024;

/// How many addresses of an announcement are looked at; the rest is not read.
pub const MAX_ADDRESSES_READ: usize = 32;

/// How many addresses are kept, and sent: 2 relays × 2 transports × 2 forms.
pub const MAX_ADDRESSES_KEPT: usize = 8;

/// The longest address that is looked at, in bytes of its text, a final `/p2p` included.
pub const MAX_ADDRESS_BYTES: usize = 512;

/// Through how many relays we say that we can be reached.
const MAX_RELAYS_SENT: usize = 2;

/// What a peer said of itself.
///
/// Its addresses all end in `/p2p/<peer>`, have a form we know, are at most [`MAX_ADDRESSES_KEPT`], and come best first.
#[derive(Clone, PartialEq, Eq)]
pub struct Announcement {
    peer: PeerId,
    addrs: Vec<Multiaddr>,
    name: Option<String>,
    standing: Standing,
}

/// Whether a peer says that it can be reached. Not the same as keeping no address: all of them may be of forms unknown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Standing {
    Reachable,
    Leaving,
}

/// Why bytes are no announcement. The message is dropped; whoever forwarded it knowingly broke the protocol.
#[derive(Debug, thiserror::Error)]
pub enum DecodeError {
    /// Longer than [`MAX_ACCEPTED_BYTES`].
    #[error("{bytes} bytes are too many for an announcement")]
    TooLarge {
        /// How long it is.
        bytes: usize,
    },
    /// Not a JSON object in UTF-8 with a string `peerId` and a list `addrs`.
    #[error("not an announcement: {0}")]
    Malformed(#[from] serde_json::Error),
    /// Its `peerId` is not the peer that signed it.
    #[error("it speaks for another peer than the one that signed it")]
    ForeignPeer,
    /// An address ends in the id of another peer than the one that signed it.
    #[error("an address leads to another peer")]
    ForeignAddress,
}

impl Announcement {
    /// Decodes and verifies what `source` signed.
    ///
    /// Only the first [`MAX_ADDRESSES_READ`] addresses are looked at. Those that are too long, do not parse, or have no
    /// form we know are skipped; the best [`MAX_ADDRESSES_KEPT`] are kept. A missing final `/p2p` is added. A name that
    /// is no good is cleaned, cut or dropped, never a reason to refuse.
    ///
    /// # Errors
    /// Whatever [`DecodeError`] names refuses the announcement whole.
    pub fn decode(source: PeerId, bytes: &[u8]) -> Result<Self, DecodeError> {
        if bytes.len() > MAX_ACCEPTED_BYTES {
            return Err(DecodeError::TooLarge { bytes: bytes.len() });
        }
        let wire = codec::read(bytes)?;
        if wire.peer != Some(source) {
            return Err(DecodeError::ForeignPeer);
        }
        let standing = if wire.addrs.is_empty() {
            Standing::Leaving
        } else {
            Standing::Reachable
        };
        let mut known = Vec::new();
        for text in wire.addrs.iter().filter_map(|value| value.as_str()) {
            if text.len() > MAX_ADDRESS_BYTES {
                continue;
            }
            let Ok(address) = text.parse::<Multiaddr>() else {
                continue;
            };
            match form::recognise(source, &address) {
                Form::Known(address) => known.push(address),
                Form::Unknown => {}
                Form::Foreign => return Err(DecodeError::ForeignAddress),
            }
        }
        known.retain(|known| known.address.to_string().len() <= MAX_ADDRESS_BYTES);
        Ok(Self {
            peer: source,
            addrs: form::best(known, MAX_ADDRESSES_KEPT),
            name: wire.name,
            standing,
        })
    }

    /// What `peer`, we ourselves, should say now, given all the addresses at which it can be reached.
    ///
    /// Selects circuits through at most 2 relays, of each the best WebSocket and the best WebRTC-direct address (or, if
    /// it has neither, its best other one), each plain and in the `/webrtc` form if both are given. Direct addresses are
    /// left out: nobody dials one that gossip told (design, "Reaching a peer"). Without any circuit the result
    /// [is a goodbye](Self::is_goodbye).
    pub fn new(peer: PeerId, addrs: impl IntoIterator<Item = Multiaddr>, name: Option<&str>) -> Self {
        let circuits = addrs
            .into_iter()
            .filter_map(|address| match form::recognise(peer, &address) {
                Form::Known(known) if known.way != Way::Direct => Some(known),
                Form::Known(_) | Form::Unknown | Form::Foreign => None,
            })
            .filter(|known| known.address.to_string().len() <= MAX_ADDRESS_BYTES)
            .collect::<Vec<Known>>();
        let selected = form::select_for_sending(circuits, MAX_RELAYS_SENT);
        let mut announcement = Self {
            peer,
            addrs: form::best(selected, MAX_ADDRESSES_KEPT),
            name: name.and_then(clean_name),
            standing: Standing::Reachable,
        };
        while announcement.encode().len() > MAX_SENT_BYTES {
            if announcement.addrs.pop().is_none() {
                break;
            }
        }
        if announcement.addrs.is_empty() {
            announcement.standing = Standing::Leaving;
        }
        announcement
    }

    /// "No addresses now": what a node says when it leaves.
    #[must_use]
    pub fn goodbye(peer: PeerId) -> Self {
        Self {
            peer,
            addrs: Vec::new(),
            name: None,
            standing: Standing::Leaving,
        }
    }

    /// The bytes that go on the wire: at most [`MAX_ACCEPTED_BYTES`], and at most [`MAX_SENT_BYTES`] if made by
    /// [`Self::new`].
    #[must_use]
    pub fn encode(&self) -> Vec<u8> {
        codec::write(self.peer, &self.addrs, self.name.as_deref())
    }

    /// Who it speaks of, proven by the gossip signature.
    #[must_use]
    pub fn peer(&self) -> PeerId {
        self.peer
    }

    /// Where the peer can be reached, best first. May be empty although it is no goodbye: then every address had a form
    /// that we do not know, and the peer can only reach us.
    #[must_use]
    pub fn addrs(&self) -> &[Multiaddr] {
        &self.addrs
    }

    /// What it wants to be called: cleaned, at most [`NAME_MAX_CHARS`](crate::name::NAME_MAX_CHARS) characters, never empty. Display only.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// Whether it says "no addresses now": forget the ones it had.
    #[must_use]
    pub fn is_goodbye(&self) -> bool {
        self.standing == Standing::Leaving
    }

    /// The same with its best `keep` addresses only, for where space is short.
    pub(crate) fn shortened(&self, keep: usize) -> Self {
        Self {
            addrs: self.addrs.iter().take(keep).cloned().collect(),
            ..self.clone()
        }
    }
}

impl fmt::Debug for Announcement {
    /// Counts the addresses: they never reach a log above DEBUG by accident.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Announcement")
            .field("peer", &self.peer)
            .field("addrs", &self.addrs.len())
            .field("name", &self.name)
            .field("standing", &self.standing)
            .finish()
    }
}

#[cfg(test)]
mod tests;
