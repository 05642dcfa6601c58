//! Which connections are let in: none from an address that has its share already, none while memory is short, and none
//! of those who are denied access.
//!
//! Refuses, and does nothing else: a connection that is in stays. How many there may be in all, of one peer, and of those
//! that have not said yet who they are, is held by core's limits beside this one ([`crate::limits::connections`]).

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    convert::Infallible,
    net::IpAddr,
    task::{Context, Poll},
};

use libp2p::{
    Multiaddr, PeerId,
    core::{Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, ListenFailure, NetworkBehaviour, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished, dummy,
    },
};

use crate::{
    access::{
        Access, Reason,
        control::{Control, ip_of},
    },
    config::{Limits, Network},
    limits::count,
    memory::{Memory, TooMuch},
    source::Source,
};

/// The behaviour. Has no handler: what is let in is not its business.
pub(crate) struct Admission {
    access: Control,
    memory: Memory,
    counts: Counts,
}

/// Why a connection is refused. Found in the [`ConnectionDenied`] that the swarm reports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Refused {
    /// Its address has as many as one may have.
    #[error("its address has {limit} connections already")]
    Address {
        /// How many that is.
        limit: usize,
    },
    /// There is no memory for it.
    #[error(transparent)]
    Memory(#[from] TooMuch),
    /// It may not be here.
    #[error("no access: {0}")]
    Access(#[from] Reason),
}

impl Admission {
    pub(crate) fn new(limits: &Limits, memory: Memory, access: Control) -> Self {
        Self {
            access,
            memory,
            counts: Counts::new(limits),
        }
    }

    /// The operator named this relay: where it connected from last is not counted. (Who knocks does not say who it is,
    /// so that is all that can be known in time.)
    pub(crate) fn welcome(&mut self, relay: PeerId) {
        self.counts.relays.entry(relay).or_default();
    }

    /// It is none of the named relays any more.
    pub(crate) fn dismiss(&mut self, relay: PeerId) {
        self.counts.relays.remove(&relay);
    }

    /// The operator named a relay with this address: it is not counted.
    pub(crate) fn welcome_address(&mut self, ip: IpAddr) {
        self.counts.addresses_of_relays.insert(ip);
    }

    fn admit(&mut self, connection: ConnectionId, remote: &Multiaddr) -> Result<(), Refused> {
        if let Access::Deny { reason } = self.access.network(remote) {
            tracing::info!(reason = reason.name(), "connection denied");
            tracing::debug!(%remote, reason = reason.name(), "connection denied");
            return Err(reason.into());
        }
        self.memory.check()?;
        match ip_of(remote) {
            Some(ip) => self.counts.admit(connection, ip),
            // Nothing that this relay listens on.
            None => Ok(()),
        }
    }

    fn recognise(peer: PeerId, remote: &Multiaddr, access: Access) -> Result<(), Refused> {
        match access {
            Access::Allow => Ok(()),
            Access::Deny { reason } => {
                tracing::info!(%peer, reason = reason.name(), "connection denied");
                tracing::debug!(%peer, %remote, reason = reason.name(), "connection denied");
                Err(reason.into())
            }
        }
    }
}

impl NetworkBehaviour for Admission {
    type ConnectionHandler = dummy::ConnectionHandler;
    type ToSwarm = Infallible;

    fn handle_pending_inbound_connection(
        &mut self,
        connection: ConnectionId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<(), ConnectionDenied> {
        self.admit(connection, remote).map_err(ConnectionDenied::new)
    }

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        remote: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let access = self.access.connection(peer, remote);
        Self::recognise(peer, remote, access).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        remote: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        let access = self.access.dialled(peer, remote);
        Self::recognise(peer, remote, access).map_err(ConnectionDenied::new)?;
        Ok(dummy::ConnectionHandler)
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: all other events begin and end no connection"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => {
                let remote = endpoint.get_remote_address();
                self.access.handle_established(connection_id, peer_id, remote);
                if let Some(last) = self.counts.relays.get_mut(&peer_id) {
                    *last = ip_of(remote).or(*last);
                }
            }
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id,
                connection_id,
                remaining_established,
                ..
            }) => {
                self.access.handle_closed(connection_id, peer_id, remaining_established);
                self.counts.remove(connection_id);
            }
            FromSwarm::ListenFailure(ListenFailure { connection_id, .. }) => self.counts.remove(connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        Poll::Pending
    }
}

/// How many connections each address has, from its first packet to its end.
struct Counts {
    limit: usize,
    shared: Vec<Network>,
    /// Of relays that the operator named, as is the next one: bounded by the configuration.
    addresses_of_relays: BTreeSet<IpAddr>,
    /// Where each connected from last.
    relays: BTreeMap<PeerId, Option<IpAddr>>,
    /// Bounded, as the other one, by the limits on all connections and on those that are pending.
    sources: HashMap<ConnectionId, Source>,
    counts: BTreeMap<Source, usize>,
}

impl Counts {
    fn new(limits: &Limits) -> Self {
        Self {
            limit: count(limits.connections_per_address),
            shared: limits.shared_networks.clone(),
            addresses_of_relays: BTreeSet::new(),
            relays: BTreeMap::new(),
            sources: HashMap::new(),
            counts: BTreeMap::new(),
        }
    }

    fn admit(&mut self, connection: ConnectionId, ip: IpAddr) -> Result<(), Refused> {
        if self.shared.iter().any(|network| network.contains(ip)) || self.is_of_a_relay(ip) {
            return Ok(());
        }
        let source = Source::of(ip);
        let count = self.counts.get(&source).copied().unwrap_or_default();
        if count >= self.limit {
            return Err(Refused::Address { limit: self.limit });
        }
        self.counts.insert(source, count + 1);
        self.sources.insert(connection, source);
        Ok(())
    }

    fn is_of_a_relay(&self, ip: IpAddr) -> bool {
        self.addresses_of_relays.contains(&ip) || self.relays.values().any(|last| *last == Some(ip))
    }

    fn remove(&mut self, connection: ConnectionId) {
        let Some(source) = self.sources.remove(&connection) else {
            return;
        };
        match self.counts.get_mut(&source) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => {
                self.counts.remove(&source);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use libp2p::{
        multiaddr::Protocol,
        swarm::{ConnectionError, ListenError},
    };

    use super::*;
    use crate::{access::Rules, config::AccessRules};

    fn admission(per_address: u32, memory: Memory) -> Admission {
        let limits = Limits {
            connections_per_address: per_address.try_into().unwrap(),
            ..Limits::default()
        };
        Admission::new(&limits, memory, Control::default())
    }

    fn plenty() -> Memory {
        Memory::new(1, || Some(1))
    }

    fn from(ip: &str) -> Multiaddr {
        Multiaddr::from(ip.parse::<IpAddr>().unwrap()).with(Protocol::Tcp(1))
    }

    fn knock(admission: &mut Admission, number: usize, ip: &str) -> Result<(), Refused> {
        let (local, remote) = (from("192.0.2.200"), from(ip));
        let knocked = admission.handle_pending_inbound_connection(ConnectionId::new_unchecked(number), &local, &remote);
        knocked.map_err(refusal)
    }

    fn refusal(denied: ConnectionDenied) -> Refused {
        denied.downcast().unwrap()
    }

    fn closes(admission: &mut Admission, number: usize) {
        let endpoint = libp2p::core::ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: Multiaddr::empty(),
        };
        admission.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
            peer_id: PeerId::random(),
            connection_id: ConnectionId::new_unchecked(number),
            endpoint: &endpoint,
            cause: Some(&ConnectionError::KeepAliveTimeout),
            remaining_established: 0,
        }));
    }

    fn fails(admission: &mut Admission, number: usize) {
        admission.on_swarm_event(FromSwarm::ListenFailure(ListenFailure {
            local_addr: &Multiaddr::empty(),
            send_back_addr: &Multiaddr::empty(),
            error: &ListenError::Aborted,
            connection_id: ConnectionId::new_unchecked(number),
            peer_id: None,
        }));
    }

    #[test]
    fn when_a_named_relay_shares_an_address_with_as_many_as_may_be_it_is_let_in() {
        let mut admission = admission(1, plenty());
        assert_eq!(knock(&mut admission, 1, "203.0.113.1"), Ok(()));
        assert_eq!(
            knock(&mut admission, 2, "203.0.113.1"),
            Err(Refused::Address { limit: 1 })
        );
        admission.welcome_address("203.0.113.1".parse().unwrap());
        assert_eq!(knock(&mut admission, 3, "203.0.113.1"), Ok(()));

        // Named by its name or its id, it is known by where it comes from once it has come.
        let relay = PeerId::random();
        admission.welcome(relay);
        assert_eq!(knock(&mut admission, 4, "203.0.113.2"), Ok(()));
        let endpoint = libp2p::core::ConnectedPoint::Listener {
            local_addr: Multiaddr::empty(),
            send_back_addr: from("203.0.113.2"),
        };
        admission.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
            peer_id: relay,
            connection_id: ConnectionId::new_unchecked(4),
            endpoint: &endpoint,
            failed_addresses: &[],
            other_established: 0,
        }));
        assert_eq!(knock(&mut admission, 5, "203.0.113.2"), Ok(()));
        admission.dismiss(relay);
        assert_eq!(
            knock(&mut admission, 6, "203.0.113.2"),
            Err(Refused::Address { limit: 1 })
        );
    }

    #[test]
    fn when_an_address_has_its_share_its_next_connection_is_refused_until_one_ends() {
        let mut admission = admission(2, plenty());
        let full = Err(Refused::Address { limit: 2 });
        assert_eq!(knock(&mut admission, 1, "203.0.113.1"), Ok(()));
        assert_eq!(knock(&mut admission, 2, "203.0.113.1"), Ok(()));
        assert_eq!(knock(&mut admission, 3, "203.0.113.1"), full);
        fails(&mut admission, 3);
        assert_eq!(
            knock(&mut admission, 4, "203.0.113.1"),
            full,
            "a refused one was never counted"
        );
        assert_eq!(knock(&mut admission, 5, "203.0.113.2"), Ok(()));

        closes(&mut admission, 1);
        assert_eq!(knock(&mut admission, 6, "203.0.113.1"), Ok(()));
        assert_eq!(knock(&mut admission, 7, "203.0.113.1"), full);
        fails(&mut admission, 6);
        assert_eq!(
            knock(&mut admission, 8, "203.0.113.1"),
            Ok(()),
            "one that came to nothing makes room"
        );

        for number in [2, 5, 8] {
            closes(&mut admission, number);
        }
        assert!(admission.counts.sources.is_empty() && admission.counts.counts.is_empty());
    }

    #[test]
    fn when_ipv6_addresses_are_of_one_56_bit_network_they_share_one_share() {
        let mut admission = admission(1, plenty());
        assert_eq!(knock(&mut admission, 1, "2001:db8::1"), Ok(()));
        assert!(knock(&mut admission, 2, "2001:db8:0:ff:ffff::9").is_err());
        assert_eq!(knock(&mut admission, 3, "2001:db8:0:100::1"), Ok(()));
    }

    #[test]
    fn when_a_network_is_shared_by_many_its_connections_are_not_counted() {
        let mut admission = admission(1, plenty());
        for number in 0..10 {
            assert_eq!(knock(&mut admission, number, "127.0.0.1"), Ok(()));
            assert_eq!(knock(&mut admission, number, "::1"), Ok(()));
        }
    }

    #[test]
    fn when_memory_is_short_nobody_new_is_let_in() {
        let mut admission = admission(1, Memory::new(10, || Some(11)));
        assert!(matches!(
            knock(&mut admission, 1, "203.0.113.1"),
            Err(Refused::Memory(_))
        ));
        assert!(matches!(knock(&mut admission, 2, "127.0.0.1"), Err(Refused::Memory(_))));
    }

    #[test]
    fn when_a_network_or_a_peer_is_denied_its_connections_are_refused_as_early_as_that_shows() {
        let (ann, bob) = (PeerId::random(), PeerId::random());
        let lists = AccessRules {
            deny_peers: vec![ann],
            deny_networks: vec!["203.0.113.0/24".parse().unwrap()],
            ..AccessRules::default()
        };
        let control = Control::new(Rules::load(&lists).unwrap());
        let mut admission = Admission::new(&Limits::default(), plenty(), control);
        let network_denied = Err(Refused::Access(Reason::NetworkDenied));
        assert_eq!(knock(&mut admission, 1, "203.0.113.1"), network_denied);
        assert_eq!(knock(&mut admission, 2, "198.51.100.1"), Ok(()));

        let remote = from("198.51.100.1");
        let mut says_it_is = |peer| {
            let connection = ConnectionId::new_unchecked(2);
            let said = admission.handle_established_inbound_connection(connection, peer, &remote, &remote);
            said.map(|_| ()).map_err(refusal)
        };
        assert_eq!(says_it_is(ann), Err(Refused::Access(Reason::PeerDenied)));
        assert_eq!(says_it_is(bob), Ok(()));
    }
}
