//! Circuits as their ends see them: those of rust-libp2p, and some that speak by hand.

use std::{
    num::{NonZeroU32, NonZeroU64},
    time::{Duration, Instant},
};

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, PeerId, Stream, StreamProtocol, relay, swarm::NetworkBehaviour};
use peerway_core::behaviours::OpenError;
use peerway_hop::{
    Access, AccessControl, Bound, CircuitRequest, Config, Denial, Event, HOP_PROTOCOL, OpenError as Unopened, Outcome,
    Rate, Refusal, Stage, Traffic,
};
use tokio::{sync::oneshot, time::timeout};

use crate::support::{self, Client, Node, Relay, eventually, raw, raw::Raw, relay, stock_config, stock_relay};

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1");

/// Reads to the end and says it back, as it comes.
async fn echo(stream: Stream) {
    let (reader, mut writer) = stream.split();
    // However the circuit ends.
    let _ = futures::io::copy(reader, &mut writer).await;
    let _ = writer.close().await;
}

/// A host that accepts circuits by hand and echoes, and a guest, both connected.
async fn pair(address: &Multiaddr) -> (Raw, Raw) {
    let (host, guest) = (Raw::connect(address).await, Raw::connect(address).await);
    host.serve(echo).await;
    host.reserve().await.unwrap();
    (host, guest)
}

/// Writes and reads back, both at once: what is on the way fits nowhere else. Returns how long that took.
async fn round_trip(stream: &mut Stream, bytes: usize) -> Duration {
    let started = Instant::now();
    let (mut reader, mut writer) = stream.split();
    let write = async {
        writer.write_all(&vec![7; bytes]).await.unwrap();
        writer.flush().await.unwrap();
    };
    let read = async { reader.read_exact(&mut vec![0; bytes]).await.unwrap() };
    timeout(support::PATIENCE, futures::future::join(write, read))
        .await
        .unwrap();
    started.elapsed()
}

/// Writes without end, and reads what comes back, until one of it fails. What came back.
async fn flood(stream: Stream) -> usize {
    let (mut reader, mut writer) = stream.split();
    let write = async { while writer.write_all(&[1; 16_384]).await.is_ok() {} };
    let read = async {
        let (mut heard, mut buffer) = (0, vec![0; 65_536]);
        loop {
            match reader.read(&mut buffer).await {
                Ok(count) if count > 0 => heard += count,
                _ => break heard,
            }
        }
    };
    tokio::pin!(write, read);
    match futures::future::select(write, read).await {
        futures::future::Either::Left(((), read)) => read.await,
        futures::future::Either::Right((heard, _)) => heard,
    }
}

fn closed(relay: &Relay) -> Vec<(Outcome, Traffic, Duration)> {
    let closed = |event| match event {
        Event::CircuitClosed {
            outcome,
            traffic,
            duration,
            ..
        } => Some((outcome, traffic, duration)),
        _ => None,
    };
    relay.events().into_iter().filter_map(closed).collect()
}

fn denials(relay: &Relay) -> Vec<Denial> {
    let denied = |event| match event {
        Event::CircuitDenied { denial, .. } => Some(denial),
        _ => None,
    };
    relay.events().into_iter().filter_map(denied).collect()
}

#[tokio::test]
async fn when_stock_clients_meet_they_talk() {
    const BYTES: usize = 1 << 20;
    let (relay, address) = relay(|_| {}).await;
    let (host, guest) = (Client::stock(), Client::stock());
    let incoming = host.with(|swarm| swarm.behaviour_mut().streams.accept(ECHO)).await;
    let mut incoming = incoming.unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(echo(stream));
        }
    });
    host.reserve(&address).await.unwrap();
    guest.reach(&address, host.id).await.unwrap();
    let to = host.id;
    let opening = guest
        .with(move |swarm| swarm.behaviour_mut().streams.open(to, ECHO))
        .await;
    let mut stream = opening.await.unwrap();
    round_trip(&mut stream, BYTES).await;
    assert_eq!(relay.counts().await, (1, 1));
    let live = relay
        .with(|swarm| swarm.behaviour().circuits().collect::<Vec<_>>())
        .await;
    assert_eq!((live[0].source, live[0].destination), (guest.id, host.id));
    let at_least = BYTES as u64;
    assert!(live[0].traffic.to_destination > at_least && live[0].traffic.to_source > at_least);
    drop((stream, guest));
    eventually("the circuit is gone", async || {
        (relay.counts().await == (1, 0)).then_some(())
    })
    .await;
    let ended = closed(&relay);
    assert_eq!(ended.len(), 1);
    assert!(ended[0].1.to_destination >= live[0].traffic.to_destination);
}

#[tokio::test]
async fn when_one_end_closes_the_other_may_go_on_and_both_closed_it_is_finished() {
    let (relay, address) = relay(|_| {}).await;
    let (host, guest) = pair(&address).await;
    let mut stream = guest.reach(host.node.id).await.unwrap();
    stream.write_all(b"all that I have").await.unwrap();
    stream.close().await.unwrap();
    let mut heard = Vec::new();
    stream.read_to_end(&mut heard).await.unwrap();
    assert_eq!(heard, b"all that I have");
    let ended = eventually("the circuit is over", async || closed(&relay).pop()).await;
    let traffic = Traffic {
        to_destination: 15,
        to_source: 15,
    };
    assert_eq!((ended.0, ended.1), (Outcome::Finished, traffic));
}

#[tokio::test]
async fn when_a_circuit_is_busy_its_time_is_over_all_the_same() {
    let (relay, address) = relay(|config| {
        config.circuits.duration = Some(Duration::from_secs(1));
        config.circuits.bytes = None;
    })
    .await;
    let (host, guest) = pair(&address).await;
    let stream = guest.reach(host.node.id).await.unwrap();
    let started = Instant::now();
    assert!(timeout(support::PATIENCE, flood(stream)).await.unwrap() > 0);
    let took = started.elapsed();
    assert!(
        took >= Duration::from_millis(900) && took < Duration::from_secs(3),
        "{took:?}"
    );
    let ended = eventually("it is told", async || closed(&relay).pop()).await;
    assert_eq!(ended.0, Outcome::DurationLimit);
    assert!(ended.2 >= Duration::from_secs(1));
}

#[tokio::test]
async fn when_a_direction_has_carried_what_it_may_the_circuit_ends_exactly_there() {
    const LIMIT: usize = 300_000;
    let (relay, address) = relay(|config| config.circuits.bytes = NonZeroU64::new(LIMIT as u64)).await;
    let (host, guest) = (Raw::connect(&address).await, Raw::connect(&address).await);
    let (tell, heard) = oneshot::channel();
    let mut tell = Some(tell);
    host.serve(move |mut stream| {
        let tell = tell.take().unwrap();
        async move {
            let mut all = Vec::new();
            let _ = stream.read_to_end(&mut all).await;
            let _ = tell.send(all.len());
        }
    })
    .await;
    host.reserve().await.unwrap();
    let mut stream = guest.reach(host.node.id).await.unwrap();
    let _ = stream.write_all(&vec![0; LIMIT + 1]).await;
    let _ = stream.flush().await;
    assert_eq!(timeout(support::PATIENCE, heard).await.unwrap().unwrap(), LIMIT);
    let ended = eventually("it is told", async || closed(&relay).pop()).await;
    assert_eq!(ended.0, Outcome::DataLimit);
    assert_eq!(ended.1.to_destination, LIMIT as u64);
}

#[tokio::test]
async fn when_each_direction_carries_less_than_its_limit_their_sum_does_not_matter() {
    let config = |bytes| move |config: &mut Config| config.circuits.bytes = NonZeroU64::new(bytes);
    let (_relay, address) = relay(config(100_000)).await;
    let (host, guest) = pair(&address).await;
    let mut stream = guest.reach(host.node.id).await.unwrap();
    round_trip(&mut stream, 100_000).await;
}

/// Against stock: libp2p-relay counts both directions together, though it announces a limit for each.
#[tokio::test]
async fn when_both_directions_carry_half_of_it_libp2ps_relay_ends_the_circuit() {
    let (_relay, address) = stock_relay(relay::Config {
        max_circuit_bytes: 100_000,
        ..stock_config()
    })
    .await;
    let (host, guest) = pair(&address).await;
    let stream = guest.reach(host.node.id).await.unwrap();
    let heard = timeout(support::PATIENCE, flood(stream)).await.unwrap();
    assert!(heard < 100_000, "{heard}");
}

#[tokio::test]
async fn when_a_rate_is_set_it_holds() {
    let (_relay, address) = relay(|config| {
        config.circuits.rate = Some(Rate {
            bytes_per_second: NonZeroU32::new(1_000_000).unwrap(),
            burst: NonZeroU32::new(200_000).unwrap(),
        });
    })
    .await;
    let (host, guest) = pair(&address).await;
    let mut stream = guest.reach(host.node.id).await.unwrap();
    assert!(
        round_trip(&mut stream, 150_000).await < Duration::from_millis(500),
        "a burst"
    );
    // 250 000 more than what may be left of the burst.
    let took = round_trip(&mut stream, 450_000).await;
    assert!(
        took >= Duration::from_millis(250) && took < Duration::from_secs(5),
        "{took:?}"
    );
}

#[tokio::test]
async fn when_a_circuit_cannot_be_had_the_source_is_told_why() {
    struct NotTo(PeerId);

    impl AccessControl for NotTo {
        fn circuit(&mut self, request: CircuitRequest<'_>) -> Access {
            if request.destination == self.0 {
                Access::Deny {
                    refusal: Refusal::PermissionDenied,
                    reason: "not to that one".into(),
                }
            } else {
                Access::Allow
            }
        }
    }

    let (relay, address) = relay(|config| config.circuits.opening = Duration::from_secs(1)).await;
    let guest = Raw::connect(&address).await;
    let told = async |peer| guest.reach(peer).await.err();

    assert_eq!(told(PeerId::random()).await, Some(raw::told(Refusal::NoReservation)));

    let deaf = Raw::connect(&address).await;
    deaf.reserve().await.unwrap();
    assert_eq!(
        told(deaf.node.id).await,
        Some(raw::told(Refusal::ConnectionFailed)),
        "no STOP"
    );

    let incoming = deaf
        .node
        .with(|swarm| swarm.behaviour_mut().accept(peerway_hop::STOP_PROTOCOL))
        .await;
    let mut incoming = incoming.unwrap();
    let silent = tokio::spawn(async move { incoming.next().await.unwrap() });
    assert_eq!(
        told(deaf.node.id).await,
        Some(raw::told(Refusal::ConnectionFailed)),
        "silent"
    );
    silent.await.unwrap();

    let not_to = NotTo(deaf.node.id);
    relay.with(|swarm| swarm.behaviour_mut().set_access(not_to)).await;
    assert_eq!(told(deaf.node.id).await, Some(raw::told(Refusal::PermissionDenied)));

    let denied = Denial::Access {
        refusal: Refusal::PermissionDenied,
        reason: "not to that one".into(),
    };
    let expected = [
        Denial::NoReservation,
        Denial::Destination(Unopened::Unsupported),
        Denial::Destination(Unopened::TimedOut),
        denied,
    ];
    assert_eq!(denials(&relay), expected);
    assert_eq!(relay.counts().await, (1, 0));
}

#[tokio::test]
async fn when_a_peer_has_as_many_circuits_as_it_may_the_next_is_refused() {
    const N: usize = 3;
    let (relay, address) = relay(|config| config.circuits.per_source = N).await;
    let (host, guest) = pair(&address).await;
    let mut streams = Vec::new();
    for _ in 0..N {
        streams.push(guest.reach(host.node.id).await.unwrap());
    }
    let refused = Some(raw::told(Refusal::ResourceLimitExceeded));
    assert_eq!(guest.reach(host.node.id).await.err(), refused);
    assert_eq!(denials(&relay), [Denial::Full(Bound::CircuitsPerSource)]);
    assert_eq!(relay.counts().await, (1, N));
    let other = Raw::connect(&address).await;
    other.reach(host.node.id).await.unwrap();
    streams.pop();
    eventually("there is a place", async || guest.reach(host.node.id).await.ok()).await;
}

/// Against stock: libp2p-relay lets in one circuit more than its limit for each peer says.
#[tokio::test]
async fn when_a_peer_has_the_circuits_it_may_have_ours_refuses_the_next_and_libp2ps_the_one_after() {
    const N: usize = 3;

    async fn circuits_that_stand(address: &Multiaddr) -> usize {
        let (host, guest) = pair(address).await;
        let mut streams = Vec::new();
        loop {
            match guest.reach(host.node.id).await {
                Ok(stream) => streams.push(stream),
                Err(told) => {
                    assert_eq!(told, raw::told(Refusal::ResourceLimitExceeded));
                    return streams.len();
                }
            }
        }
    }

    let (_ours, address) = relay(|config| config.circuits.per_source = N).await;
    assert_eq!(circuits_that_stand(&address).await, N);
    let (_stock, address) = stock_relay(relay::Config {
        max_circuits_per_peer: N,
        ..stock_config()
    })
    .await;
    assert_eq!(circuits_that_stand(&address).await, N + 1);
}

#[tokio::test]
async fn when_either_end_vanishes_the_circuit_is_counted_off() {
    let (relay, address) = relay(|_| {}).await;
    for vanishes in ["guest", "host"] {
        let (host, guest) = pair(&address).await;
        let mut stream = guest.reach(host.node.id).await.unwrap();
        round_trip(&mut stream, 1_000).await;
        assert_eq!(relay.counts().await, (1, 1));
        let rest = match vanishes {
            "guest" => {
                drop(guest);
                host
            }
            _ => {
                drop(host);
                guest
            }
        };
        eventually("it is gone", async || (relay.counts().await.1 == 0).then_some(())).await;
        drop(rest);
        eventually("all are gone", async || (relay.counts().await == (0, 0)).then_some(())).await;
    }
    let opened = |event: &&Event| matches!(event, Event::CircuitAccepted { .. });
    assert_eq!(relay.events().iter().filter(opened).count(), 2);
    assert_eq!(closed(&relay).len(), 2);
}

#[tokio::test]
async fn when_asked_the_relay_knows_what_all_circuits_have_carried_those_included_that_stand() {
    let (relay, address) = relay(|_| {}).await;
    let (host, guest) = pair(&address).await;
    let carried = async || relay.with(|swarm| swarm.behaviour().traffic()).await;
    let both = |bytes| Traffic {
        to_destination: bytes,
        to_source: bytes,
    };
    assert_eq!(carried().await, both(0));
    let mut first = guest.reach(host.node.id).await.unwrap();
    round_trip(&mut first, 70_000).await;
    assert_eq!(carried().await, both(70_000), "it stands");
    let live = relay.with(|swarm| swarm.behaviour().circuits().next().unwrap()).await;
    assert_eq!((live.stage, live.traffic), (Stage::Open, both(70_000)));

    let mut second = guest.reach(host.node.id).await.unwrap();
    round_trip(&mut second, 30_000).await;
    drop(first);
    eventually("the first is gone", async || {
        (relay.counts().await.1 == 1).then_some(())
    })
    .await;
    assert_eq!(carried().await, both(100_000));
    drop(second);
    eventually("the second is gone", async || {
        (relay.counts().await.1 == 0).then_some(())
    })
    .await;
    assert_eq!(carried().await, both(100_000));
    let told = closed(&relay).into_iter().map(|(_, traffic, _)| traffic.to_destination);
    assert_eq!(told.sum::<u64>(), 100_000);
}

#[tokio::test]
async fn when_access_is_withdrawn_circuits_end_at_once() {
    struct Nobody;

    impl AccessControl for Nobody {
        fn circuit(&mut self, _: CircuitRequest<'_>) -> Access {
            Access::Deny {
                refusal: Refusal::PermissionDenied,
                reason: "closed".into(),
            }
        }
    }

    let (relay, address) = relay(|_| {}).await;
    let (host, guest) = pair(&address).await;
    let mut stream = guest.reach(host.node.id).await.unwrap();
    round_trip(&mut stream, 1_000).await;
    relay.with(|swarm| swarm.behaviour_mut().set_access(Nobody)).await;
    let ended = timeout(support::PATIENCE, stream.read(&mut [0])).await.unwrap();
    assert!(matches!(ended, Ok(0) | Err(_)));
    let ended = eventually("it is told", async || closed(&relay).pop()).await;
    assert_eq!(ended.0, Outcome::AccessWithdrawn);
    assert_eq!(relay.counts().await, (1, 0), "the reservation stays");
}

#[tokio::test]
async fn when_a_connection_is_relayed_hop_is_not_offered_on_it() {
    /// A relay that is reachable through another one only.
    #[derive(NetworkBehaviour)]
    struct Hidden {
        client: relay::client::Behaviour,
        relay: peerway_hop::Behaviour,
    }

    let (_relay, address) = relay(|_| {}).await;
    let hidden = Node::start(|keys, client| Hidden {
        client,
        relay: peerway_hop::Behaviour::new(keys, Config::default()),
    });
    let slot = address.clone().with(libp2p::multiaddr::Protocol::P2pCircuit);
    hidden.with(move |swarm| swarm.listen_on(slot).unwrap()).await;
    hidden
        .until("it is reachable", |event| match event {
            libp2p::swarm::SwarmEvent::NewListenAddr { .. } => Some(()),
            _ => None,
        })
        .await;
    let guest = Client::stock();
    guest.reach(&address, hidden.id).await.unwrap();
    let to = hidden.id;
    let opening = guest
        .with(move |swarm| swarm.behaviour_mut().streams.open(to, HOP_PROTOCOL))
        .await;
    assert!(matches!(opening.await, Err(OpenError::Unsupported(_))));
}

/// A greedy circuit takes its turn: quiet ones over the same connection, and over others, are still served.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn when_circuits_are_greedy_a_quiet_one_is_still_served() {
    const GREEDY: usize = 4;
    let (_relay, address) = relay(|config| config.circuits.bytes = None).await;
    let (host, guest) = pair(&address).await;
    let mut quiet = guest.reach(host.node.id).await.unwrap();
    let mut floods = Vec::new();
    for _ in 0..GREEDY {
        let stream = guest.reach(host.node.id).await.unwrap();
        floods.push(tokio::spawn(flood(stream)));
    }
    let mut slowest = Duration::ZERO;
    for _ in 0..20 {
        slowest = slowest.max(round_trip(&mut quiet, 100).await);
    }
    assert!(slowest < Duration::from_secs(5), "{slowest:?}");
    assert!(floods.iter().all(|flood| !flood.is_finished()));
    floods.iter().for_each(tokio::task::JoinHandle::abort);
}
