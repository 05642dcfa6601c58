use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

/// The lower id, and the higher.
fn peers() -> (PeerId, PeerId) {
    let a: PeerId = "12D3KooWDpJ7As7BWAwRMfu1VU2WCqNjvq387JEYKDBj4kx6nXTN".parse().unwrap();
    let b: PeerId = "12D3KooWPjceQrSwdWXPyLLeABRXmuqt69Rg3sBYbU1Nft9HyQ6X".parse().unwrap();
    if a.to_bytes() < b.to_bytes() { (a, b) } else { (b, a) }
}

fn id(number: usize) -> ConnectionId {
    ConnectionId::new_unchecked(number)
}

const MOMENT: Duration = Duration::from_millis(1);

#[wasm_bindgen_test(unsupported = test)]
fn for_each_phase_of_our_own_attempt_an_offer_is_answered_or_refused() {
    use Decision::{Answer, Refuse, YieldAndAnswer};
    let (lower, higher) = peers();
    let cases = [
        (None, Answer, Answer),
        (Some(Phase::Circuit), YieldAndAnswer, YieldAndAnswer),
        (Some(Phase::Signaling), Refuse, YieldAndAnswer),
        (Some(Phase::Offer), Refuse, YieldAndAnswer),
        (Some(Phase::Answer), Refuse, YieldAndAnswer),
        (Some(Phase::Candidates), Refuse, YieldAndAnswer),
        (Some(Phase::Connected), Answer, Answer),
    ];
    for (own, of_lower, of_higher) in cases {
        assert_eq!(decide(lower, higher, own), of_lower, "the lower, in {own:?}");
        assert_eq!(decide(higher, lower, own), of_higher, "the higher, in {own:?}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn whenever_both_offer_exactly_one_session_stays() {
    let (lower, higher) = peers();
    let offered = [Phase::Offer, Phase::Answer, Phase::Candidates];
    for (of_lower, of_higher) in offered.into_iter().flat_map(|a| offered.map(|b| (a, b))) {
        assert_eq!(decide(lower, higher, Some(of_lower)), Decision::Refuse);
        assert_eq!(decide(higher, lower, Some(of_higher)), Decision::YieldAndAnswer);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_both_got_through_the_higher_closes_what_it_dialled_at_once() {
    let (lower, higher) = peers();
    for order in [[Role::Initiator, Role::Recipient], [Role::Recipient, Role::Initiator]] {
        let now = Instant::now();
        let mut connections = Connections::new(higher, lower);
        for (role, at) in order.into_iter().zip([now, now + GRACE]) {
            assert_eq!(connections.poll_close(), None);
            connections.handle_established(id(role as usize), role, at);
        }
        assert_eq!(connections.poll_close(), Some(id(Role::Initiator as usize)));
        assert_eq!((connections.poll_close(), connections.poll_timeout()), (None, None));
        connections.handle_closed(id(Role::Initiator as usize));
        connections.handle_closed(id(Role::Recipient as usize));
        assert!(connections.is_empty());
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_higher_does_not_close_what_it_dialled_the_lower_does_after_the_grace() {
    let (lower, higher) = peers();
    let now = Instant::now();
    let mut connections = Connections::new(lower, higher);
    connections.handle_established(id(1), Role::Recipient, now);
    assert_eq!(connections.poll_timeout(), None);
    connections.handle_established(id(2), Role::Initiator, now + MOMENT);
    let due = now + MOMENT + GRACE;
    assert_eq!(
        (connections.poll_close(), connections.poll_timeout()),
        (None, Some(due))
    );
    connections.handle_timeout(due - MOMENT);
    assert_eq!(connections.poll_close(), None);
    connections.handle_timeout(due);
    assert_eq!(connections.poll_close(), Some(id(1)));
    assert_eq!((connections.poll_close(), connections.poll_timeout()), (None, None));
    assert!(!connections.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn when_either_ends_before_the_grace_is_over_the_other_stays() {
    let (lower, higher) = peers();
    for gone in [id(1), id(2)] {
        let now = Instant::now();
        let mut connections = Connections::new(lower, higher);
        connections.handle_established(id(1), Role::Recipient, now);
        connections.handle_established(id(2), Role::Initiator, now);
        connections.handle_closed(gone);
        connections.handle_timeout(now + 2 * GRACE);
        assert_eq!((connections.poll_close(), connections.poll_timeout()), (None, None));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_connection_comes_long_after_the_other_or_from_the_same_side_nothing_is_closed() {
    let (lower, higher) = peers();
    for (local, remote) in [(lower, higher), (higher, lower)] {
        let now = Instant::now();
        let mut connections = Connections::new(local, remote);
        connections.handle_established(id(1), Role::Initiator, now);
        connections.handle_established(id(2), Role::Initiator, now + MOMENT);
        assert_eq!((connections.poll_close(), connections.poll_timeout()), (None, None));
        connections.handle_established(id(3), Role::Recipient, now + GRACE + 2 * MOMENT);
        connections.handle_timeout(now + 9 * GRACE);
        assert_eq!((connections.poll_close(), connections.poll_timeout()), (None, None));
    }
}
