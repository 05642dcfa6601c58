//! Which of the addresses that a stranger says it has are dialled. Pure.

use std::net::IpAddr;

use libp2p::{Multiaddr, PeerId, multiaddr::Protocol};
use peerway_core::dial::route::{AddressForm, Classified, Host, Scope, Transport, TransportAddress, classify};

use crate::config::Network;

/// Addresses of one relay that are tried: one for each transport.
pub(super) const MAX_ADDRESSES: usize = 4;

/// Where this relay is, and what is around it.
pub(crate) struct Here {
    /// How near an address may be.
    pub(crate) nearest: Scope,
    /// Networks in which many are behind one address.
    pub(crate) shared: Vec<Network>,
    /// The addresses of this host: what is dialled there comes from within, past what keeps others out.
    pub(crate) own: Vec<IpAddr>,
}

impl Here {
    /// Those that are of use and that a peer which came from this address may make us dial, those on its own host first;
    /// none of those that are of relays which were `named`.
    pub(super) fn usable(
        &self,
        peer: PeerId,
        addresses: &[Multiaddr],
        ip: IpAddr,
        named: &[Multiaddr],
    ) -> Vec<Multiaddr> {
        let ip = ip.to_canonical();
        let is_shared = self.shared.iter().any(|network| network.contains(ip));
        let (mut own, mut elsewhere) = (Vec::new(), Vec::new());
        for address in addresses {
            let Some(Classified {
                target,
                form: AddressForm::Direct(direct),
            }) = classify(address)
            else {
                continue;
            };
            let Host::Ip(host) = direct.host else {
                continue;
            };
            if direct.scope < self.nearest
                || target.is_some_and(|target| target != peer)
                || named.contains(&direct.address)
                || !is_plain(&direct)
            {
                continue;
            }
            let to = match direct.scope {
                _ if host == ip && !is_shared => &mut own,
                Scope::Public if !self.own.contains(&host) => &mut elsewhere,
                Scope::Public => continue,
                Scope::Loopback | Scope::Private => continue,
            };
            if to.len() < MAX_ADDRESSES && !to.contains(&direct.address) {
                to.push(direct.address);
            }
        }
        own.append(&mut elsewhere);
        own.truncate(MAX_ADDRESSES);
        own
    }
}

/// Whether nothing of the address is a text that its owner chose. (Nobody's certificate names an IP address.)
fn is_plain(direct: &TransportAddress) -> bool {
    direct.transport != Transport::Wss
        && !direct
            .address
            .iter()
            .any(|part| matches!(part, Protocol::Ws(path) if path != "/"))
}
