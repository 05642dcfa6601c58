//! What the fold makes of what it is told. `tests/relay/ledger.rs` has it told by a real relay.

use std::io;

use libp2p::{
    gossipsub::TopicHash,
    swarm::{ConnectionDenied, ConnectionId},
};
use peerway_core::protocol::DISCOVERY_TOPIC;
use peerway_hop::{Bound as Full, Denial, OpenError, Outcome, Refusal, ReservationEnd};

use super::{
    report::{PEERS_IN_A_PAGE, Rest},
    *,
};
use crate::admission::Refused;

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

fn at(address: &str) -> ConnectedPoint {
    ConnectedPoint::Listener {
        local_addr: address.parse().unwrap(),
        send_back_addr: "/ip4/192.0.2.1/tcp/1".parse().unwrap(),
    }
}

#[test]
fn when_connections_come_and_go_each_counts_where_it_came() {
    let (mut ledger, now) = (Ledger::default(), Now::default());
    let peer = PeerId::random();
    let all = [
        ("/ip4/127.0.0.1/tcp/4001", Transport::Tcp),
        ("/ip6/::1/tcp/8080/ws", Transport::WebSocket),
        ("/ip4/127.0.0.1/udp/4001/quic-v1", Transport::Quic),
        ("/ip4/127.0.0.1/udp/4003/webrtc-direct", Transport::WebRtcDirect),
        (
            "/ip4/127.0.0.1/tcp/1/p2p/12D3KooWL3XJ9EMCyZvmmGXL2LMiVBtrVa2BuESsJiXkSj7333Jw/p2p-circuit",
            Transport::Circuit,
        ),
        ("/memory/1", Transport::Other),
    ];
    for (number, (address, _)) in all.iter().enumerate() {
        ledger.handle_connected(peer, id(number), &at(address), now);
    }
    let standing = ledger.standing();
    assert_eq!(standing.peers, 1);
    for (number, (_, transport)) in all.into_iter().enumerate() {
        assert_eq!(standing.connections[&transport], 1, "{transport:?}");
        ledger.handle_disconnected(peer, id(number));
        ledger.handle_disconnected(peer, id(number));
        assert_eq!(ledger.standing().connections[&transport], 0, "{transport:?}");
        assert_eq!(ledger.counts().connections_opened.get(transport), 1);
        assert_eq!(ledger.counts().connections_closed.get(transport), 1);
    }
    assert!(ledger.peers.is_empty(), "nothing is kept of who is gone");
}

#[test]
fn when_reservations_and_circuits_end_nothing_is_kept_of_their_peers() {
    let mut ledger = Ledger::default();
    let (host, guest) = (PeerId::random(), PeerId::random());
    for connection in [id(1), id(2)] {
        ledger.handle_relay(&Event::ReservationAccepted { peer: host, connection });
    }
    assert_eq!(
        ledger.standing().reservations,
        1,
        "a peer counts once, over however many connections"
    );
    // Identifiers of circuits are made by the relay server alone; the ledger does not look at them.
    let ended = |connection, end| Event::ReservationEnded {
        peer: host,
        connection,
        end,
    };
    ledger.handle_relay(&ended(id(1), ReservationEnd::Expired));
    assert_eq!(ledger.standing().reservations, 1);
    ledger.handle_relay(&ended(id(2), ReservationEnd::ConnectionClosed));
    assert_eq!(ledger.standing().reservations, 0);
    let denied = Event::CircuitDenied {
        source: guest,
        destination: host,
        denial: Denial::NoReservation,
    };
    ledger.handle_relay(&denied);
    let denial = (Kind::Circuit, Reason::NoReservation);
    assert_eq!(ledger.counts().denials.get(denial), 1);
    let ended: u64 = ledger.counts().reservations_ended.iter().map(|(_, count)| count).sum();
    assert_eq!(ended, 2);
    assert!(ledger.peers.is_empty());
}

#[test]
fn when_something_is_denied_its_reason_is_one_of_those_that_are_shown() {
    let access = |reason: access::Reason| Denial::Access {
        refusal: Refusal::PermissionDenied,
        reason: reason.name().into(),
    };
    let unknown = Denial::Access {
        refusal: Refusal::PermissionDenied,
        reason: "the moon is full".into(),
    };
    assert_eq!(Reason::of_request(&unknown), Reason::Other);
    let both = access::Reason::ALL
        .into_iter()
        .map(access)
        .chain([Denial::Relayed, Denial::SourceGone, unknown]);
    let reservations = [Denial::NoAddress].into_iter().chain(
        [
            Full::Reservations,
            Full::ReservationsPerPeer,
            Full::ReservationsPerNetwork,
        ]
        .map(Denial::Full),
    );
    let circuits = [Denial::NoReservation]
        .into_iter()
        .chain([Full::Circuits, Full::CircuitsPerSource, Full::CircuitsPerDestination].map(Denial::Full))
        .chain(
            [
                OpenError::Unsupported,
                OpenError::Refused(Refusal::PermissionDenied),
                OpenError::TimedOut,
                OpenError::Malformed,
                OpenError::Stream(io::ErrorKind::BrokenPipe),
                OpenError::Gone,
            ]
            .map(Denial::Destination),
        );
    for (kind, denials) in [
        (Kind::Reservation, both.clone().chain(reservations).collect::<Vec<_>>()),
        (Kind::Circuit, both.chain(circuits).collect()),
    ] {
        for denial in denials {
            let reason = Reason::of_request(&denial);
            assert!(kind.reasons().contains(&reason), "{kind:?}: {denial}");
        }
    }
    let connection = [
        Refused::Address { limit: 1 },
        Refused::Access(access::Reason::PeerDenied),
        Refused::Access(access::Reason::NetworkDenied),
        Refused::Access(access::Reason::NotAllowed),
    ];
    for refused in connection {
        let reason = Reason::of_connection(&ConnectionDenied::new(refused));
        assert!(Kind::Connection.reasons().contains(&reason), "{refused}");
        assert_ne!(reason, Reason::Other, "{refused}");
    }
    let other = ConnectionDenied::new(io::Error::other("something else"));
    assert_eq!(Reason::of_connection(&other), Reason::Other);
}

#[test]
fn when_gossip_is_judged_it_counts_by_what_it_is_about_never_by_its_topics_name() {
    let mut ledger = Ledger::default();
    for number in 0..1_000 {
        let topic = TopicHash::from_raw(format!("peerway/room/1/{number:032x}"));
        ledger.handle_gossip(&topic, &MessageAcceptance::Accept);
        ledger.handle_gossip(
            &TopicHash::from_raw(format!("elsewhere {number}")),
            &MessageAcceptance::Reject,
        );
    }
    ledger.handle_gossip(&TopicHash::from_raw(DISCOVERY_TOPIC), &MessageAcceptance::Ignore);
    let gossip = &ledger.counts().gossip;
    assert_eq!(gossip.get((Topic::Room, Verdict::Accepted)), 1_000);
    assert_eq!(gossip.get((Topic::Other, Verdict::Rejected)), 1_000);
    assert_eq!(gossip.get((Topic::Discovery, Verdict::Ignored)), 1);
}

#[test]
fn when_a_circuit_ends_its_outcome_has_a_name() {
    for (outcome, end) in [
        (Outcome::Finished, CircuitEnd::Finished),
        (Outcome::DurationLimit, CircuitEnd::DurationLimit),
        (Outcome::DataLimit, CircuitEnd::DataLimit),
        (Outcome::AccessWithdrawn, CircuitEnd::AccessWithdrawn),
        (Outcome::Failed(io::ErrorKind::BrokenPipe), CircuitEnd::Failed),
        (Outcome::ConnectionClosed, CircuitEnd::ConnectionClosed),
    ] {
        assert_eq!(CircuitEnd::of(outcome), end);
    }
}

#[test]
fn when_there_are_more_peers_than_a_page_holds_the_next_page_goes_on_behind_the_last_one() {
    let (mut ledger, now) = (Ledger::default(), Now::default());
    for number in 0..2 * PEERS_IN_A_PAGE + 1 {
        ledger.handle_connected(PeerId::random(), id(number), &at("/ip4/127.0.0.1/tcp/1"), now);
    }
    let (mut seen, mut after) = (Vec::new(), None);
    for (count, rest) in [
        (PEERS_IN_A_PAGE, Rest::More),
        (PEERS_IN_A_PAGE, Rest::More),
        (1, Rest::Nothing),
    ] {
        let page = ledger.page(after, now);
        assert_eq!(
            (page.total, page.peers.len(), page.rest),
            (2 * PEERS_IN_A_PAGE + 1, count, rest)
        );
        seen.extend(page.peers.into_iter().map(|(id, _)| id));
        after = seen.last().copied();
    }
    assert!(seen.is_sorted());
    seen.dedup();
    assert_eq!(seen.len(), 2 * PEERS_IN_A_PAGE + 1);
}

#[test]
fn every_name_is_one_that_prometheus_and_people_can_read() {
    fn check<K: Label>() {
        let mut names: Vec<_> = K::ALL.iter().map(|label| label.name()).collect();
        let is_fine = |c: char| c.is_ascii_lowercase() || c == '_' || c == '-';
        assert!(
            names.iter().all(|name| !name.is_empty() && name.chars().all(is_fine)),
            "{names:?}"
        );
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), K::ALL.len(), "{names:?}");
    }
    check::<Transport>();
    check::<Kind>();
    check::<Reason>();
    check::<SlotEnd>();
    check::<CircuitEnd>();
    check::<Topic>();
    check::<Verdict>();
    check::<Presented>();
    check::<Stun>();
}
