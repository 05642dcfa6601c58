//! How a relay is named by those who know it.

use std::str::FromStr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};

/// A relay to hold a reservation on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RelaySpec {
    /// Its peer id; without it, the first connection tells.
    pub peer: Option<PeerId>,
    /// Transport addresses without a final `/p2p`, in the order in which they are tried.
    pub addrs: Vec<Multiaddr>,
}

/// Why a text names no relay.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RelaySpecError {
    /// It is not a multiaddr.
    #[error("this is not a multiaddr")]
    NotAMultiaddr(#[from] libp2p::multiaddr::Error),
    /// It leads through a relay itself: circuits inside circuits do not exist.
    #[error("this is an address behind a relay, not one of a relay")]
    Circuit,
    /// It says who, but not where.
    #[error("this does not say where the relay is")]
    NoAddress,
}

impl FromStr for RelaySpec {
    type Err = RelaySpecError;

    /// Reads a relay's multiaddr, with or without a final `/p2p/<peer id>`.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let mut address: Multiaddr = text.parse()?;
        if address.iter().any(|part| part == Protocol::P2pCircuit) {
            return Err(RelaySpecError::Circuit);
        }
        let peer = match address.iter().last() {
            Some(Protocol::P2p(peer)) => {
                address.pop();
                Some(peer)
            }
            Some(_) | None => None,
        };
        if address.is_empty() {
            return Err(RelaySpecError::NoAddress);
        }
        Ok(Self {
            peer,
            addrs: vec![address],
        })
    }
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    const PEER: &str = "12D3KooWD3eckifWpRn9wQpMG9R9hX3sD158z7EqHWmweQAJU5SA";

    #[wasm_bindgen_test(unsupported = test)]
    fn a_relay_is_named_by_its_address_with_or_without_its_id() {
        let with: RelaySpec = format!("/ip4/192.0.2.1/tcp/80/ws/p2p/{PEER}").parse().unwrap();
        let without: RelaySpec = "/ip4/192.0.2.1/tcp/80/ws".parse().unwrap();
        assert_eq!(with.peer.map(|peer| peer.to_string()).as_deref(), Some(PEER));
        assert_eq!(without.peer, None);
        assert_eq!(with.addrs, without.addrs);
    }

    #[wasm_bindgen_test(unsupported = test)]
    fn what_is_no_relays_address_is_refused_with_the_reason() {
        let read = |text: &str| text.parse::<RelaySpec>().unwrap_err();
        assert!(matches!(read("relay.example"), RelaySpecError::NotAMultiaddr(_)));
        assert!(matches!(read(&format!("/p2p/{PEER}")), RelaySpecError::NoAddress));
        let behind = format!("/ip4/192.0.2.1/tcp/80/ws/p2p/{PEER}/p2p-circuit");
        assert!(matches!(read(&behind), RelaySpecError::Circuit));
    }
}
