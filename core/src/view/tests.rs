//! The fold by hand, and over long random histories.

mod random;

use libp2p::{Multiaddr, PeerId};
use rand::{Rng, SeedableRng, rngs::SmallRng};
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::{
    chat::{MAX_ROOMS, tests::peer},
    dial::AttemptId,
    node::Event,
    now::{Now, UnixMillis},
};

const US: u32 = 0;
const RELAY: u32 = 1_000_000;
const KEY: RelayKey = RelayKey(0);

fn at(secs: u64) -> Now {
    Now::default().after(Duration::from_secs(secs))
}

fn view() -> View {
    View::new(peer(US))
}

fn discovered(n: u32) -> Event {
    Event::PeerDiscovered {
        peer: peer(n),
        name: None,
    }
}

fn routed(n: u32, route: impl Into<Option<Route>>) -> Event {
    Event::RouteChanged {
        peer: peer(n),
        route: route.into(),
    }
}

fn gone(n: u32) -> Event {
    Event::PeerGone { peer: peer(n) }
}

fn circuit() -> Route {
    Route::Circuit { relay: peer(RELAY) }
}

fn address() -> Multiaddr {
    "/ip4/127.0.0.1/tcp/8080/ws".parse().unwrap()
}

fn reserved(relay: RelayKey, n: u32) -> Event {
    Event::RelayReserved {
        relay,
        peer: peer(n),
        address: address(),
    }
}

fn lost(relay: RelayKey, reason: RelayFailure) -> Event {
    let retry_in = Duration::from_secs(2);
    Event::RelayLost {
        relay,
        reason,
        retry_in,
    }
}

fn message(room: &RoomName, id: impl ToString, from: u32) -> Event {
    Event::MessageReceived {
        room: room.clone(),
        message: ChatMessage {
            id: id.to_string(),
            from: peer(from),
            name: None,
            text: "hi".to_owned(),
            sent_at: None,
            received_at: UnixMillis(1),
            own: from == US,
        },
    }
}

fn apply_all(view: &mut View, events: impl IntoIterator<Item = Event>, now: Now) {
    for event in events {
        let _ = view.apply(&event, now);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_goes_from_connecting_to_reserved_to_lost_and_back() {
    let mut view = view();
    assert_eq!(view.relay_status(), RelayStatus::Connecting);
    let added = Event::RelayAdded { relay: KEY, peer: None };
    assert_eq!(view.apply(&added, at(0)), Changed::Relay(KEY));
    assert_eq!(view.apply(&added, at(0)), Changed::Nothing);
    let dialed = Event::RelayDialed {
        relay: KEY,
        address: address(),
    };
    assert_eq!(view.apply(&dialed, at(0)), Changed::Relay(KEY));
    assert_eq!(view.relay_status(), RelayStatus::Connecting);
    assert_eq!(view.apply(&reserved(KEY, RELAY), at(1)), Changed::Relay(KEY));
    assert_eq!(view.relay_status(), RelayStatus::Reserved);
    assert_eq!(view.relays[0].peer, Some(peer(RELAY)));

    let _ = view.apply(&lost(KEY, RelayFailure::Disconnected), at(5));
    assert_eq!(view.relays[0].retry_at, Some(at(7).mono));
    let _ = view.apply(&dialed, at(7));
    assert_eq!(view.relay_status(), RelayStatus::Lost, "a try is no success yet");
    assert_eq!(view.relays[0].retry_at, None);
    let _ = view.apply(&reserved(KEY, RELAY), at(8));
    assert_eq!(view.relay_status(), RelayStatus::Reserved);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_is_removed_has_no_row_and_how_we_stand_is_what_the_others_say() {
    let mut view = view();
    let other = RelayKey(KEY.0 + 1);
    apply_all(
        &mut view,
        [KEY, other].map(|relay| Event::RelayAdded { relay, peer: None }),
        at(0),
    );
    apply_all(
        &mut view,
        [lost(KEY, RelayFailure::TimedOut), reserved(other, RELAY)],
        at(1),
    );
    let removed = Event::RelayRemoved { relay: other };
    assert_eq!(view.apply(&removed, at(2)), Changed::Relay(other));
    assert_eq!(view.apply(&removed, at(2)), Changed::Nothing);
    assert_eq!((view.relays.len(), view.relay_status()), (1, RelayStatus::Lost));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_refusal_shows_as_refused_and_every_other_failure_as_lost() {
    let cases = [
        (RelayFailure::Refused("full".to_owned()), RelayStatus::Refused),
        (RelayFailure::NotARelay, RelayStatus::Refused),
        (RelayFailure::TimedOut, RelayStatus::Lost),
        (RelayFailure::Unreachable("no route".to_owned()), RelayStatus::Lost),
        (RelayFailure::RefusedByBrowser("no".to_owned()), RelayStatus::Lost),
        (RelayFailure::WrongPeer, RelayStatus::Lost),
        (RelayFailure::Disconnected, RelayStatus::Lost),
        (RelayFailure::NoGossip, RelayStatus::Lost),
    ];
    for (reason, status) in cases {
        let mut view = view();
        let added = Event::RelayAdded { relay: KEY, peer: None };
        apply_all(&mut view, [added, lost(KEY, reason.clone())], at(0));
        assert_eq!(view.relay_status(), status, "{reason}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn with_several_relays_the_best_one_tells_how_we_stand() {
    let mut view = view();
    let relays = [RelayKey(0), RelayKey(1), RelayKey(2)];
    let added = relays.map(|relay| Event::RelayAdded { relay, peer: None });
    apply_all(&mut view, added, at(0));
    let refused = RelayFailure::Refused("full".to_owned());
    let steps = [
        (lost(relays[0], refused.clone()), RelayStatus::Connecting),
        (lost(relays[1], RelayFailure::TimedOut), RelayStatus::Connecting),
        (lost(relays[2], refused.clone()), RelayStatus::Lost),
        (lost(relays[1], refused), RelayStatus::Refused),
        (reserved(relays[1], RELAY), RelayStatus::Reserved),
    ];
    for (event, status) in steps {
        let _ = view.apply(&event, at(1));
        assert_eq!(view.relay_status(), status, "{event:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_is_known_then_connected_then_gone_and_its_row_stays_a_while() {
    let mut view = view();
    assert_eq!(view.apply(&discovered(2), at(0)), Changed::Peer(peer(2)));
    assert_eq!(view.peers[&peer(2)].presence(), Presence::Known);
    assert_eq!(view.apply(&routed(2, Route::WebRtc), at(1)), Changed::Peer(peer(2)));
    assert_eq!(view.apply(&routed(2, Route::WebRtc), at(1)), Changed::Nothing);
    assert_eq!(view.peers[&peer(2)].presence(), Presence::Connected);
    assert_eq!(view.poll_timeout(), None);

    assert_eq!(view.apply(&gone(2), at(10)), Changed::Peer(peer(2)));
    assert_eq!(view.apply(&gone(2), at(30)), Changed::Nothing, "gone once");
    assert_eq!(
        (view.peers[&peer(2)].presence(), view.peers[&peer(2)].route),
        (Presence::Gone, None)
    );
    assert_eq!(view.poll_timeout(), Some(at(70).mono));
    assert_eq!(view.handle_timeout(at(69)), Changed::Nothing);
    assert_eq!(view.handle_timeout(at(70)), Changed::Peer(peer(2)));
    assert_eq!(view.peers.len(), 0);
    assert_eq!(view.poll_timeout(), None);
}

#[wasm_bindgen_test(unsupported = test)]
fn who_comes_back_within_the_minute_keeps_the_row() {
    let mut view = view();
    apply_all(&mut view, [discovered(2), gone(2)], at(0));
    apply_all(&mut view, [discovered(2)], at(30));
    apply_all(&mut view, [routed(3, circuit()), gone(3)], at(30));
    apply_all(&mut view, [routed(3, circuit())], at(40));
    assert_eq!(view.handle_timeout(at(1000)), Changed::Nothing);
    assert_eq!(view.peers.len(), 2);
}

#[wasm_bindgen_test(unsupported = test)]
fn while_a_peer_is_relayed_the_failure_of_its_upgrade_stays_until_it_is_direct() {
    let failed = |n: u32| Event::AttemptFailed {
        peer: peer(n),
        attempt: AttemptId(1),
        reason: DialFailure::TimedOut,
    };
    let through = |relay| Route::Circuit { relay: peer(relay) };
    let mut view = view();
    apply_all(&mut view, [discovered(2), failed(2), routed(2, through(RELAY))], at(0));
    assert_eq!(view.peers[&peer(2)].last_failure, None, "the circuit made good for it");
    apply_all(&mut view, [failed(2), routed(2, through(RELAY + 1))], at(1));
    assert_eq!(view.peers[&peer(2)].last_failure, Some(DialFailure::TimedOut));
    apply_all(&mut view, [routed(2, Route::WebRtc)], at(2));
    assert_eq!(view.peers[&peer(2)].last_failure, None);
}

#[wasm_bindgen_test(unsupported = test)]
fn while_a_peer_is_relayed_the_failure_of_its_own_attempt_to_do_better_is_shown() {
    let failed = |reason: DialFailure| Event::OfferFailed { peer: peer(2), reason };
    let through = Route::Circuit { relay: peer(RELAY) };
    let mut view = view();
    apply_all(&mut view, [discovered(2), failed(DialFailure::TimedOut)], at(0));
    assert_eq!(
        view.peers[&peer(2)].last_failure,
        None,
        "there was nothing to do better than"
    );
    apply_all(&mut view, [routed(2, through), failed(DialFailure::Superseded)], at(1));
    assert_eq!(view.peers[&peer(2)].last_failure, None, "our own attempt goes on");
    apply_all(&mut view, [failed(DialFailure::TimedOut)], at(2));
    assert_eq!(view.peers[&peer(2)].last_failure, Some(DialFailure::TimedOut));
    apply_all(
        &mut view,
        [routed(2, Route::WebRtc), failed(DialFailure::TimedOut)],
        at(3),
    );
    assert_eq!(view.peers[&peer(2)].last_failure, None);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_several_rows_go_at_once_everything_changed() {
    let mut view = view();
    apply_all(&mut view, [discovered(2), discovered(3), gone(2), gone(3)], at(0));
    assert_eq!(view.handle_timeout(at(60)), Changed::All);
    assert_eq!(view.peers.len(), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn names_measurements_and_failures_belong_to_a_row_that_is_there() {
    let mut view = view();
    let renamed = Event::PeerRenamed {
        peer: peer(2),
        name: Some("Ada".to_owned()),
    };
    let measured = Event::PeerMeasured {
        peer: peer(2),
        round_trip: Duration::from_millis(40),
    };
    let failed = Event::AttemptFailed {
        peer: peer(2),
        attempt: AttemptId(1),
        reason: DialFailure::NoReservation,
    };
    for event in [&renamed, &measured, &failed, &routed(2, None), &gone(2)] {
        assert_eq!(view.apply(event, at(0)), Changed::Nothing);
    }
    apply_all(&mut view, [discovered(2), renamed, failed, measured.clone()], at(0));
    let row = &view.peers[&peer(2)];
    assert_eq!(row.name.as_deref(), Some("Ada"));
    assert_eq!(row.last_failure, Some(DialFailure::NoReservation));
    assert_eq!(row.round_trip, None, "without a connection nothing is measured");

    apply_all(&mut view, [routed(2, circuit()), measured], at(1));
    let row = &view.peers[&peer(2)];
    assert_eq!(
        (row.last_failure.clone(), row.round_trip),
        (None, Some(Duration::from_millis(40)))
    );
    apply_all(&mut view, [routed(2, Route::WebRtc)], at(2));
    assert_eq!(
        view.peers[&peer(2)].round_trip,
        None,
        "another connection has another round trip"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn neither_we_nor_a_relay_have_a_row() {
    let mut view = view();
    assert_eq!(view.apply(&discovered(US), at(0)), Changed::Nothing);

    // Heard before it turned out to be our relay.
    let added = Event::RelayAdded { relay: KEY, peer: None };
    apply_all(&mut view, [added, discovered(RELAY), discovered(2)], at(0));
    assert_eq!(view.apply(&reserved(KEY, RELAY), at(1)), Changed::All);
    assert_eq!(view.apply(&routed(RELAY, Route::Direct), at(1)), Changed::Nothing);
    assert_eq!(view.peers.keys().collect::<Vec<_>>(), [&peer(2)]);

    // Known from the start.
    let known = Event::RelayAdded {
        relay: RelayKey(1),
        peer: Some(peer(3)),
    };
    apply_all(&mut view, [discovered(3), known, discovered(3)], at(2));
    assert!(!view.peers.contains_key(&peer(3)));

    // Somebody else's, which carries a circuit of ours.
    let foreign = Route::Circuit { relay: peer(4) };
    apply_all(&mut view, [discovered(4), routed(2, foreign), discovered(4)], at(3));
    assert_eq!(view.peers.keys().collect::<Vec<_>>(), [&peer(2)]);
}

#[wasm_bindgen_test(unsupported = test)]
fn rows_are_ordered_by_presence_then_by_peer() {
    let mut view = view();
    apply_all(&mut view, (2..=6).map(discovered), at(0));
    apply_all(
        &mut view,
        [gone(2), routed(6, circuit()), routed(4, Route::WebRtc)],
        at(0),
    );
    let order: Vec<PeerId> = view.peers_by_presence().iter().map(|row| row.peer).collect();
    assert_eq!(order, [4, 6, 3, 5, 2].map(peer));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_rows_are_full_the_gone_go_first_then_the_connected_displace_the_known() {
    let mut view = view();
    let full = PEER_ROWS as u32;
    apply_all(&mut view, (1..=full).map(discovered), at(0));
    assert_eq!(
        view.apply(&discovered(full + 1), at(1)),
        Changed::Nothing,
        "no room for hearsay"
    );

    apply_all(&mut view, [gone(7)], at(2));
    apply_all(&mut view, [gone(5)], at(3));
    assert_eq!(view.apply(&discovered(full + 1), at(4)), Changed::All);
    assert!(
        !view.peers.contains_key(&peer(7)) && view.peers.contains_key(&peer(5)),
        "the longest gone goes first"
    );
    apply_all(&mut view, [routed(full + 2, circuit())], at(4));
    assert!(!view.peers.contains_key(&peer(5)));

    assert_eq!(view.apply(&routed(full + 3, circuit()), at(5)), Changed::All);
    assert!(view.peers.contains_key(&peer(full + 3)));
    assert_eq!(view.peers.len(), PEER_ROWS);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_log_keeps_the_newest_lines_and_counts_the_rest() {
    let mut view = view();
    let room = RoomName::default();
    assert_eq!(
        view.apply(&message(&room, 0, 2), at(0)),
        Changed::Nothing,
        "not in this room"
    );
    let joined = Event::RoomJoined { room: room.clone() };
    assert_eq!(view.apply(&joined, at(0)), Changed::Room(room.clone()));
    for n in 0..ROOM_LINES + 3 {
        assert_eq!(view.apply(&message(&room, n, 2), at(0)), Changed::Room(room.clone()));
    }
    let log = &view.rooms[&room];
    assert_eq!((log.messages.len(), log.dropped), (ROOM_LINES, 3));
    assert_eq!(log.messages[0].id, "3");

    let left = Event::RoomLeft { room: room.clone() };
    assert_eq!(view.apply(&left, at(1)), Changed::Room(room.clone()));
    assert_eq!(view.apply(&left, at(1)), Changed::Nothing);
    assert!(view.rooms.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_line_of_ours_is_unsent_until_it_leaves_or_is_given_up() {
    let mut view = view();
    let room = RoomName::default();
    let joined = Event::RoomJoined { room: room.clone() };
    apply_all(
        &mut view,
        [
            joined,
            message(&room, "a", US),
            message(&room, "b", US),
            message(&room, "a", 2),
        ],
        at(0),
    );
    let unsent = |view: &View| {
        view.rooms[&room]
            .messages
            .iter()
            .map(|m| view.rooms[&room].unsent(m))
            .collect::<Vec<_>>()
    };
    assert_eq!(unsent(&view), [Some(Unsent::Waiting), Some(Unsent::Waiting), None]);

    let sent = |id: &str| Event::MessageSent {
        room: room.clone(),
        id: id.to_owned(),
    };
    let undelivered = Event::MessageUndelivered {
        room: room.clone(),
        id: "b".to_owned(),
    };
    assert_eq!(view.apply(&sent("a"), at(1)), Changed::Room(room.clone()));
    assert_eq!(view.apply(&sent("a"), at(1)), Changed::Nothing);
    assert_eq!(view.apply(&undelivered, at(2)), Changed::Room(room.clone()));
    assert_eq!(view.apply(&undelivered, at(2)), Changed::Nothing);
    assert_eq!(unsent(&view), [None, Some(Unsent::GivenUp), None]);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_node_that_stopped_is_connected_to_nobody() {
    let mut view = view();
    let added = Event::RelayAdded { relay: KEY, peer: None };
    apply_all(&mut view, [added, reserved(KEY, RELAY), routed(2, circuit())], at(0));
    assert_eq!(view.apply(&Event::Stopped, at(1)), Changed::All);
    assert_eq!(view.relay_status(), RelayStatus::Lost);
    assert_eq!(view.peers[&peer(2)].presence(), Presence::Gone);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_reader_that_lagged_takes_everything_anew() {
    let mut view = view();
    let before = view.clone();
    assert_eq!(view.apply(&Event::Lagged { missed: 3 }, at(0)), Changed::All);
    assert_eq!(view, before);
}
