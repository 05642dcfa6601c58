//! What pages are told of a neighbour: which of the addresses that it says it has.
//!
//! Pure. It says so over a connection of a relay that the operator named, so what is left out is what is of no use.

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::dial::route::{AddressForm, Classified, Scope, Transport, classify};

/// Addresses of one neighbour that are told: what fits into the messages of HOP is what a relay announces at most.
const MAX_ADDRESSES: usize = crate::config::MAX_EXTERNAL_ADDRESSES;

/// A neighbour as `/relay.json` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Published {
    pub(crate) peer: PeerId,
    /// Each ends in `/p2p/<peer>`. Never empty.
    pub(crate) addresses: Vec<Multiaddr>,
}

/// Those of its addresses that pages speak and that reach as far as ours, in its own order; `None` if there are none: it is
/// behind a relay itself, or meant for others than we are.
pub(super) fn usable(peer: PeerId, addresses: &[Multiaddr], nearest: Scope) -> Option<Published> {
    let mut usable: Vec<Multiaddr> = Vec::new();
    for address in addresses {
        let Some(Classified {
            target,
            form: AddressForm::Direct(direct),
        }) = classify(address)
        else {
            continue;
        };
        let speaks = match direct.transport {
            Transport::Wss | Transport::Ws | Transport::WebRtcDirect => true,
            Transport::QuicV1 | Transport::Tcp => false,
        };
        let address = direct.address.with(Protocol::P2p(peer));
        if speaks
            && direct.scope >= nearest
            && target.is_none_or(|target| target == peer)
            && usable.len() < MAX_ADDRESSES
            && !usable.contains(&address)
        {
            usable.push(address);
        }
    }
    (!usable.is_empty()).then_some(Published {
        peer,
        addresses: usable,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_pages_can_use_from_where_this_relay_is_told() {
        const HASH: &str = "uEiDikp5KVUgkLta1EjUN-IKbHk-dUBg8VzKgf5nXxLK46w";
        let (peer, other) = (PeerId::random(), PeerId::random());
        let told = |addresses: &[String], nearest| {
            let addresses: Vec<Multiaddr> = addresses.iter().map(|address| address.parse().unwrap()).collect();
            let published = usable(peer, &addresses, nearest);
            published.map_or_else(Vec::new, |published| {
                let text = published.addresses.iter().map(Multiaddr::to_string);
                text.map(|text| text.strip_suffix(&format!("/p2p/{peer}")).unwrap().to_owned())
                    .collect()
            })
        };
        let [loopback, private, public] =
            ["127.0.0.1", "192.168.1.7", "203.0.113.7"].map(|ip| format!("/ip4/{ip}/tcp/8080/ws"));
        let direct = format!("/ip4/203.0.113.7/udp/4003/webrtc-direct/certhash/{HASH}");
        let all = [
            loopback.clone(),
            private.clone(),
            format!("{public}/p2p/{peer}"),
            public.clone(),
            direct.clone(),
            "/ip4/203.0.113.7/tcp/4001".into(),
            "/ip4/203.0.113.7/udp/4001/quic-v1".into(),
            format!("/ip4/203.0.113.8/tcp/8080/ws/p2p/{other}"),
            format!("{public}/p2p/{other}/p2p-circuit"),
        ];
        assert_eq!(told(&all, Scope::Public), [public.as_str(), &direct]);
        assert_eq!(told(&all, Scope::Private), [private.as_str(), &public, &direct]);
        assert_eq!(told(&all, Scope::Loopback).len(), 4);
        assert_eq!(told(&all[8..], Scope::Loopback), Vec::<String>::new());
        let many: Vec<String> = (1..100).map(|port| format!("/ip4/203.0.113.7/tcp/{port}/ws")).collect();
        assert_eq!(told(&many, Scope::Public).len(), MAX_ADDRESSES);
    }
}
