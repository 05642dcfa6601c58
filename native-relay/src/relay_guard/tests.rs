//! The guard and libp2p's behaviour, told what a swarm could tell them in any order. Requests cannot be made here (their
//! types hold streams): those are in `tests/renewal.rs`, with real swarms.

use std::collections::{BTreeMap, BTreeSet};

use futures::task::noop_waker_ref;
use libp2p::swarm::behaviour::ConnectionClosed;
use proptest::prelude::*;

use super::*;

/// What happens to one of a few connections.
#[derive(Clone, Copy, Debug)]
enum Step {
    Establish,
    /// A reservation, or a renewal, was answered.
    Accept,
    TimeOut,
    Close,
}

/// What the relay said, in the words of the test.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Said {
    Accepted(PeerId),
    TimedOut(PeerId),
    Closed(PeerId),
}

const PEERS: usize = 3;
const CONNECTIONS: usize = 3;

proptest! {
    #[test]
    fn whatever_the_order_of_events_the_relay_lives_and_says_each_once(
        steps in prop::collection::vec((0..PEERS, 0..CONNECTIONS, step()), 0..200),
    ) {
        let peers: Vec<PeerId> = (0..PEERS).map(|_| PeerId::random()).collect();
        let mut relay = guarded();
        let mut live = BTreeMap::<PeerId, BTreeSet<ConnectionId>>::new();
        for (peer, connection, step) in steps {
            let id = ConnectionId::new_unchecked(1 + peer * CONNECTIONS + connection);
            let peer = peers[peer];
            let of_peer = live.entry(peer).or_default();
            let lives = of_peer.contains(&id);
            let mut expected = None;
            match step {
                // A swarm does not use a connection's number twice while it lives, and closes only what lives.
                Step::Establish if lives => continue,
                Step::Close if !lives => continue,
                Step::Establish => {
                    of_peer.insert(id);
                    establish(&mut relay, peer, id, of_peer.len() - 1);
                }
                Step::Close => {
                    of_peer.remove(&id);
                    close(&mut relay, peer, id, of_peer.len());
                    expected = Some(Said::Closed(peer));
                }
                Step::Accept => {
                    relay.on_connection_handler_event(peer, id, accepted());
                    expected = lives.then_some(Said::Accepted(peer));
                }
                Step::TimeOut => {
                    relay.on_connection_handler_event(peer, id, timed_out());
                    expected = lives.then_some(Said::TimedOut(peer));
                }
            }
            prop_assert_eq!(said(&mut relay), expected.into_iter().collect::<Vec<_>>());
        }
        prop_assert_eq!(relay.live.len(), live.values().map(BTreeSet::len).sum::<usize>());
    }
}

#[test]
fn when_a_renewal_is_answered_after_its_reservation_ended_it_counts() {
    let (mut relay, peer, id) = (guarded(), PeerId::random(), ConnectionId::new_unchecked(1));
    establish(&mut relay, peer, id, 0);
    for event in [accepted(), timed_out(), accepted(), timed_out(), timed_out()] {
        relay.on_connection_handler_event(peer, id, event);
    }
    let (yes, no) = (Said::Accepted(peer), Said::TimedOut(peer));
    assert_eq!(said(&mut relay), [yes, no, yes, no, no]);
    close(&mut relay, peer, id, 0);
    assert_eq!(said(&mut relay), [Said::Closed(peer)]);
    assert!(relay.live.is_empty());
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        Just(Step::Establish),
        Just(Step::Accept),
        Just(Step::TimeOut),
        Just(Step::Close),
    ]
}

fn guarded() -> RelayGuard {
    RelayGuard::new(relay::Behaviour::new(PeerId::random(), relay::Config::default()))
}

fn endpoint() -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: Multiaddr::empty(),
        send_back_addr: Multiaddr::empty(),
    }
}

fn establish(relay: &mut RelayGuard, peer_id: PeerId, connection_id: ConnectionId, other_established: usize) {
    relay.on_swarm_event(FromSwarm::ConnectionEstablished(ConnectionEstablished {
        peer_id,
        connection_id,
        endpoint: &endpoint(),
        failed_addresses: &[],
        other_established,
    }));
}

fn close(relay: &mut RelayGuard, peer_id: PeerId, connection_id: ConnectionId, remaining_established: usize) {
    relay.on_swarm_event(FromSwarm::ConnectionClosed(ConnectionClosed {
        peer_id,
        connection_id,
        endpoint: &endpoint(),
        cause: None,
        remaining_established,
    }));
}

fn accepted() -> THandlerOutEvent<RelayGuard> {
    Either::Left(HopEvent::ReservationReqAccepted { renewed: false })
}

fn timed_out() -> THandlerOutEvent<RelayGuard> {
    Either::Left(HopEvent::ReservationTimedOut {})
}

/// Everything that the relay has to say.
#[expect(clippy::wildcard_enum_match_arm, reason = "nothing else may come: it fails the test")]
fn said(relay: &mut RelayGuard) -> Vec<Said> {
    let mut all = Vec::new();
    while let Poll::Ready(action) = relay.poll(&mut Context::from_waker(noop_waker_ref())) {
        all.push(match action {
            ToSwarm::GenerateEvent(relay::Event::ReservationReqAccepted { src_peer_id, .. }) => {
                Said::Accepted(src_peer_id)
            }
            ToSwarm::GenerateEvent(relay::Event::ReservationTimedOut { src_peer_id }) => Said::TimedOut(src_peer_id),
            ToSwarm::GenerateEvent(relay::Event::ReservationClosed { src_peer_id }) => Said::Closed(src_peer_id),
            other => panic!("{other:?}"),
        });
    }
    all
}
