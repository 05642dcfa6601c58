//! How the limits on connections, reservations and circuits are put to those who hold them.
//!
//! Decides nothing: [`peerway_hop`] and core's [`ConnectionLimits`](peerway_core::behaviours::ConnectionLimits) apply it.

use std::num::{NonZeroU32, NonZeroU64};

use libp2p::Multiaddr;
use peerway_core::behaviours::ConnectionBounds;
use peerway_hop::{Network, Rate};

use crate::{
    access::control::ip_of,
    config::{Bytes, Limits},
};

/// The limits on connections: in all, of one peer, and on those that have not said yet who they are.
pub(crate) fn connections(limits: &Limits) -> ConnectionBounds {
    ConnectionBounds {
        pending: Some(count(limits.pending_connections)),
        established: Some(count(limits.connections)),
        per_peer: Some(count(limits.connections_per_peer)),
    }
}

/// The limits on reservations and circuits.
pub(crate) fn relay(limits: &Limits) -> peerway_hop::Config {
    let mut config = peerway_hop::Config::default();
    config.reservations.total = count(limits.reservations);
    config.reservations.per_peer = count(limits.reservations_per_peer);
    config.reservations.per_network = Some(count(limits.reservations_per_address));
    config.reservations.lifetime = limits.reservation_duration.get();
    config.circuits.total = count(limits.circuits);
    config.circuits.per_source = count(limits.circuits_per_peer);
    config.circuits.per_destination = count(limits.circuits_per_peer);
    config.circuits.duration = Some(limits.circuit_duration.get());
    config.circuits.bytes = NonZeroU64::new(limits.circuit_bytes.get());
    config.circuits.rate = rate(limits.circuit_rate, limits.circuit_burst);
    config
}

/// Where reservations are counted per address: everywhere but in the networks that stand for many.
pub(crate) fn networks(limits: &Limits) -> impl Fn(&Multiaddr) -> Option<Network> + Send + 'static {
    let shared = limits.shared_networks.clone();
    move |address| {
        let ip = ip_of(address)?;
        let is_shared = shared.iter().any(|network| network.contains(ip));
        (!is_shared).then(|| Network::from(ip))
    }
}

/// A second of 4 GiB and more is as good as no limit.
fn rate(a_second: Bytes, burst: Bytes) -> Option<Rate> {
    let tokens = |bytes: Bytes| NonZeroU32::new(u32::try_from(bytes.get()).unwrap_or(u32::MAX));
    Some(Rate {
        bytes_per_second: tokens(a_second)?,
        burst: tokens(burst)?,
    })
}

/// The same number where libp2p and collections want it.
pub(crate) fn count(limit: NonZeroU32) -> usize {
    usize::try_from(limit.get()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_limit_on_reservations_and_circuits_is_where_it_holds() {
        let number = |number: u32| NonZeroU32::new(number).unwrap();
        let limits = Limits {
            reservations: number(1),
            reservations_per_peer: number(2),
            reservations_per_address: number(3),
            reservation_duration: "4s".parse().unwrap(),
            circuits: number(5),
            circuits_per_peer: number(6),
            circuit_duration: "7s".parse().unwrap(),
            circuit_bytes: "8B".parse().unwrap(),
            circuit_rate: "9B".parse().unwrap(),
            circuit_burst: "10B".parse().unwrap(),
            ..Limits::default()
        };
        let peerway_hop::Config {
            reservations, circuits, ..
        } = relay(&limits);
        assert_eq!(
            (reservations.total, reservations.per_peer, reservations.per_network),
            (1, 2, Some(3))
        );
        assert_eq!(reservations.lifetime.as_secs(), 4);
        assert_eq!(
            (circuits.total, circuits.per_source, circuits.per_destination),
            (5, 6, 6)
        );
        assert_eq!(circuits.duration.map(|duration| duration.as_secs()), Some(7));
        assert_eq!(circuits.bytes, NonZeroU64::new(8));
        let rate = circuits.rate.unwrap();
        assert_eq!((rate.bytes_per_second, rate.burst), (number(9), number(10)));
    }
}
