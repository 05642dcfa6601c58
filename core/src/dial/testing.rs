//! What the tests of this folder share: ids in order, addresses with placeholders.

use libp2p::{Multiaddr, PeerId, identity::Keypair};

/// As many ids, the same every time, in the order of their bytes.
pub(crate) fn ids(count: u8) -> Vec<PeerId> {
    let mut ids: Vec<PeerId> = (0..count)
        .map(|seed| Keypair::ed25519_from_bytes([seed; 32]).unwrap().public().to_peer_id())
        .collect();
    ids.sort_by_key(|id| id.to_bytes());
    ids
}

/// An address in which `<n>` stands for the n-th of `ids`.
pub(crate) fn parse(text: &str, ids: &[PeerId]) -> Multiaddr {
    let replace = |text: String, (at, id): (usize, &PeerId)| text.replace(&format!("<{at}>"), &id.to_string());
    let text = ids.iter().enumerate().fold(text.to_owned(), replace);
    text.parse().unwrap_or_else(|error| panic!("{text}: {error}"))
}
