//! Reservations as clients see them: those of rust-libp2p, and some that speak by hand.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::future::join_all;
use libp2p::{
    Multiaddr, PeerId,
    core::SignedEnvelope,
    identity::Keypair,
    multiaddr::Protocol,
    relay,
    swarm::{NetworkBehaviour, SwarmEvent},
};
use peerway_hop::{Bound, Denial, Event, Refusal, ReservationEnd};
use prost::Message as _;

use crate::support::{Client, Relay, by_hand::ByHand, eventually, raw, raw::Raw, relay, stock_config, stock_relay};

#[tokio::test]
async fn when_a_stock_client_asks_it_gets_the_relays_addresses() {
    let (relay, address) = relay(|_| {}).await;
    let host = Client::stock();
    host.reserve(&address).await.unwrap();
    let listens = host
        .until("it listens through the relay", |event| match event {
            SwarmEvent::NewListenAddr { address, .. } => Some(address.clone()),
            _ => None,
        })
        .await;
    let expected: Multiaddr = address.with(Protocol::P2pCircuit).with(Protocol::P2p(host.id));
    assert_eq!(listens, expected);
    assert_eq!(relay.counts().await, (1, 0));
    assert!(matches!(relay.events()[..], [Event::ReservationAccepted { peer, .. }] if peer == host.id));
}

#[tokio::test]
async fn when_a_reservation_is_granted_it_says_how_long_how_much_and_is_signed() {
    let (relay, address) = relay(|config| {
        config.reservations.lifetime = Duration::from_secs(100);
        config.circuits.duration = Some(Duration::from_secs(7));
        config.circuits.bytes = NonZeroU64::new(1_000);
    })
    .await;
    let host = Raw::connect(&address).await;
    let granted = host.reserve().await.unwrap();
    let limit = granted.limit.unwrap();
    assert_eq!((limit.duration, limit.data), (Some(7), Some(1_000)));
    let reservation = granted.reservation.unwrap();
    let expire = reservation.expire.unwrap();
    let left = expire - SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs();
    assert!((98..=100).contains(&left), "{left}");
    assert_eq!(reservation.addrs, [address.to_vec()]);

    #[derive(Clone, PartialEq, prost::Message)]
    struct Voucher {
        #[prost(bytes = "vec", optional, tag = "1")]
        relay: Option<Vec<u8>>,
        #[prost(bytes = "vec", optional, tag = "2")]
        peer: Option<Vec<u8>>,
        #[prost(uint64, optional, tag = "3")]
        expiration: Option<u64>,
    }
    let envelope = SignedEnvelope::from_protobuf_encoding(&reservation.voucher.unwrap()).unwrap();
    let (payload, signer) = envelope
        .payload_and_signing_key("libp2p-relay-rsvp".to_owned(), &[3, 2])
        .unwrap();
    assert_eq!(signer.to_peer_id(), relay.id);
    let voucher = Voucher::decode(payload).unwrap();
    assert_eq!(voucher.relay, Some(relay.id.to_bytes()));
    assert_eq!(voucher.peer, Some(host.node.id.to_bytes()));
    assert_eq!(voucher.expiration, Some(expire));
}

/// Against stock: libp2p-relay's reservations carry no voucher. What is in ours, the test above reads.
#[tokio::test]
async fn when_a_reservation_is_granted_ours_carries_a_voucher_and_libp2ps_none() {
    async fn voucher(address: &Multiaddr) -> Option<Vec<u8>> {
        let granted = Raw::connect(address).await.reserve().await.unwrap();
        let reservation = granted.reservation.unwrap();
        assert_eq!(reservation.addrs, [address.to_vec()], "all else is there");
        assert!(reservation.expire.is_some());
        reservation.voucher
    }
    let (ours, address) = relay(|_| {}).await;
    let envelope = SignedEnvelope::from_protobuf_encoding(&voucher(&address).await.unwrap()).unwrap();
    let (_, signer) = envelope
        .payload_and_signing_key("libp2p-relay-rsvp".to_owned(), &[3, 2])
        .unwrap();
    assert_eq!(signer.to_peer_id(), ours.id);
    let (_stock, address) = stock_relay(stock_config()).await;
    assert_eq!(voucher(&address).await, None);
}

#[tokio::test]
async fn when_the_relay_is_full_holders_renew_and_the_next_one_is_refused() {
    const N: usize = 5;
    let (relay, address) = relay(|config| config.reservations.total = N).await;
    let holders = join_all((0..N).map(|_| Raw::connect(&address))).await;
    for holder in &holders {
        holder.reserve().await.unwrap();
    }
    let stranger = Raw::connect(&address).await;
    for _ in 0..3 {
        for holder in &holders {
            holder.reserve().await.unwrap();
            assert_eq!(stranger.reserve().await, Err(raw::told(Refusal::ReservationRefused)));
        }
    }
    assert_eq!(relay.counts().await, (N, 0));
    let full = Denial::Full(Bound::Reservations);
    let denied = |event: &&Event| matches!(event, Event::ReservationDenied { denial, .. } if *denial == full);
    assert_eq!(relay.events().iter().filter(denied).count(), 3 * N);
    drop(holders);
    eventually("there is a place", async || stranger.reserve().await.ok()).await;
}

/// Against stock: libp2p-relay applies its limit to renewals, too, and so loses the clients that it has.
#[tokio::test]
async fn when_libp2ps_relay_is_full_it_refuses_renewals() {
    let (_relay, address) = stock_relay(relay::Config {
        max_reservations: 2,
        ..stock_config()
    })
    .await;
    let holders = [Raw::connect(&address).await, Raw::connect(&address).await];
    for holder in &holders {
        holder.reserve().await.unwrap();
    }
    assert_eq!(
        holders[0].reserve().await,
        Err(raw::told(Refusal::ResourceLimitExceeded))
    );
}

/// Against stock: libp2p-relay lets in one more than its limits for each peer say.
#[tokio::test]
async fn when_a_peer_has_what_one_may_have_ours_refuses_the_next_and_libp2ps_the_one_after() {
    async fn connections_that_get_a_slot(address: &Multiaddr) -> usize {
        let keys = Keypair::generate_ed25519();
        let (mut hosts, mut granted) = (Vec::new(), 0);
        for _ in 0..4 {
            let host = Raw::connect_as(keys.clone(), address).await;
            granted += usize::from(host.reserve().await.is_ok());
            hosts.push(host);
        }
        granted
    }
    let (_ours, address) = relay(|config| config.reservations.per_peer = 2).await;
    assert_eq!(connections_that_get_a_slot(&address).await, 2);
    let (_stock, address) = stock_relay(relay::Config {
        max_reservations_per_peer: 2,
        ..stock_config()
    })
    .await;
    assert_eq!(connections_that_get_a_slot(&address).await, 3);
}

#[tokio::test]
async fn when_many_come_from_one_network_only_so_many_get_a_slot() {
    let relay = Relay::start(|keys, _| {
        let mut config = peerway_hop::Config::default();
        config.reservations.per_network = Some(2);
        peerway_hop::Behaviour::new(keys, config)
    });
    let address = relay.listen("/ip4/127.0.0.1/tcp/0").await;
    let clients = join_all((0..3).map(|_| Raw::connect(&address))).await;
    let answers = join_all(clients.iter().map(Raw::reserve)).await;
    assert_eq!(answers.iter().filter(|answer| answer.is_ok()).count(), 2);
    let refused = answers.into_iter().find_map(Result::err);
    assert_eq!(refused, Some(raw::told(Refusal::ReservationRefused)));
}

/// Against stock: libp2p-relay counts an IPv6 address for itself, of which every household has more than there are clients.
#[test]
fn when_one_ipv6_site_comes_from_many_addresses_ours_counts_it_once_and_libp2ps_each_time() {
    const SITE: [&str; 3] = [
        "/ip6/2001:db8:0:1200::1/tcp/1",
        "/ip6/2001:db8:0:1200::1/tcp/2",
        "/ip6/2001:db8:0:12ff:9::2/tcp/1",
    ];
    const NEIGHBOUR: &str = "/ip6/2001:db8:0:1300::1/tcp/1";

    fn answers<B: NetworkBehaviour>(mut relay: ByHand<B>) -> Vec<Result<(), Option<i32>>> {
        let mut ask = |from| {
            let client = relay.arrive(from, 0);
            relay.reserve(&client)
        };
        SITE.into_iter().chain([NEIGHBOUR]).map(&mut ask).collect()
    }

    let ours = ByHand::ours(|config| config.reservations.per_network = Some(1));
    let refused = Err(raw::told(Refusal::ReservationRefused));
    assert_eq!(answers(ours), [Ok(()), refused, refused, Ok(())]);
    let once = NonZeroU32::new(1).unwrap();
    let stock = ByHand::stock(stock_config().reservation_rate_per_ip(once, Duration::from_secs(3_600)));
    let refused = Err(raw::told(Refusal::ResourceLimitExceeded));
    assert_eq!(answers(stock), [Ok(()), refused, Ok(()), Ok(())]);
}

#[tokio::test]
async fn when_the_relay_has_no_address_it_refuses_and_says_why() {
    let (relay, address) = relay(|_| {}).await;
    let external = address.iter().take(1).collect::<Multiaddr>();
    relay.with(move |swarm| swarm.remove_external_address(&external)).await;
    let host = Raw::connect(&address).await;
    assert_eq!(host.reserve().await, Err(raw::told(Refusal::ReservationRefused)));
    // One that leads through another relay is none: there are no circuits inside circuits.
    let circuit = address.clone().with(Protocol::P2pCircuit).with(Protocol::P2p(relay.id));
    relay.with(move |swarm| swarm.add_external_address(circuit)).await;
    assert_eq!(host.reserve().await, Err(raw::told(Refusal::ReservationRefused)));
    let denials: Vec<_> = relay.events().into_iter().filter_map(denial).collect();
    assert_eq!(denials, [Denial::NoAddress, Denial::NoAddress]);
}

fn denial(event: Event) -> Option<Denial> {
    match event {
        Event::ReservationDenied { denial, .. } => Some(denial),
        _ => None,
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn when_stock_clients_renew_in_the_very_moment_of_the_end_none_loses_its_slot() {
    const CLIENTS: usize = 20;
    const RENEWALS: usize = 5;
    // Told in whole seconds: such a client waits for exactly one before it renews.
    let (relay, address) = relay(|config| config.reservations.lifetime = Duration::from_secs(1)).await;
    let clients: Vec<_> = (0..CLIENTS).map(|_| Client::stock()).collect();
    for answer in join_all(clients.iter().map(|client| client.reserve(&address))).await {
        answer.unwrap();
    }
    for client in &clients {
        eventually("it has renewed", async || {
            assert!(!client.has_lost_its_slot());
            (client.renewals() >= RENEWALS).then_some(())
        })
        .await;
    }
    assert!(relay.is_running());
    assert_eq!(relay.counts().await, (CLIENTS, 0));
    let ended = |event: &&Event| matches!(event, Event::ReservationEnded { .. });
    assert_eq!(relay.events().iter().filter(ended).count(), 0);
}

#[tokio::test]
async fn when_a_client_renews_again_and_again_around_the_end_the_relay_lives_and_keeps_the_slot() {
    let (relay, address) = relay(|config| config.reservations.lifetime = Duration::from_millis(10)).await;
    let host = Raw::connect(&address).await;
    // Kept for twice as long: requests fall before, at and after the end.
    for round in 0..150 {
        host.reserve().await.unwrap();
        tokio::time::sleep(Duration::from_millis(15 + round % 10)).await;
    }
    host.reserve().await.unwrap();
    assert_eq!(relay.counts().await, (1, 0));
    let (mut begun, mut ended) = (0, 0);
    for event in relay.events() {
        match event {
            Event::ReservationAccepted { .. } => begun += 1,
            Event::ReservationEnded { end, .. } => {
                assert_eq!(end, ReservationEnd::Expired);
                ended += 1;
            }
            Event::ReservationRenewed { .. } => assert_eq!(begun, ended + 1),
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(begun, ended + 1);
}

#[tokio::test]
async fn when_a_clients_clock_is_slow_it_stays_reachable_beyond_the_announced_end() {
    let (relay, address) = relay(|config| config.reservations.lifetime = Duration::from_secs(1)).await;
    let (host, guest) = (Raw::connect(&address).await, Raw::connect(&address).await);
    host.serve(|stream| async move { drop(stream) }).await;
    host.reserve().await.unwrap();
    tokio::time::sleep(Duration::from_millis(1_400)).await;
    guest.reach(host.node.id).await.unwrap();
    eventually("it is over", async || (relay.counts().await.0 == 0).then_some(())).await;
    assert_eq!(
        guest.reach(host.node.id).await.err(),
        Some(raw::told(Refusal::NoReservation))
    );
}

#[tokio::test]
async fn when_a_holder_vanishes_its_slot_is_free() {
    let (relay, address) = relay(|_| {}).await;
    let hosts = join_all((0..10).map(|_| Raw::connect(&address))).await;
    for host in &hosts {
        host.reserve().await.unwrap();
    }
    assert_eq!(relay.counts().await, (10, 0));
    let ids: Vec<PeerId> = hosts.iter().map(|host| host.node.id).collect();
    drop(hosts);
    eventually("all are gone", async || (relay.counts().await == (0, 0)).then_some(())).await;
    let mut ended: Vec<_> = relay
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::ReservationEnded { peer, end, .. } => {
                assert_eq!(end, ReservationEnd::ConnectionClosed);
                Some(peer)
            }
            _ => None,
        })
        .collect();
    let mut ids = ids;
    ids.sort();
    ended.sort();
    assert_eq!(ended, ids);
}

/// Against stock: pins the defect of libp2p-relay 0.22 that made us write a relay. While a renewal is on its way from the
/// connection's task to the behaviour and back, the old reservation ends, the behaviour forgets the connection, and takes
/// for impossible what comes next.
#[tokio::test]
#[should_panic(expected = "valid connection")]
async fn when_a_reservation_ends_while_it_is_renewed_libp2ps_relay_panics() {
    let mut asked = 0;
    let think = move |_: PeerId, _: &Multiaddr, _: web_time::Instant| {
        asked += 1;
        if asked == 2 {
            std::thread::sleep(Duration::from_secs(2));
        }
        true
    };
    let config = relay::Config {
        reservation_duration: Duration::from_secs(2),
        reservation_rate_limiters: vec![Box::new(think)],
        ..stock_config()
    };
    let (relay, address) = stock_relay(config).await;
    let host = Raw::connect(&address).await;
    host.reserve().await.unwrap();
    let renewal = tokio::spawn(async move { host.reserve().await });
    let panicked = relay.panicked().await;
    drop(renewal);
    panicked
}
