use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::announcement::hostile::{self, peer};

const RELAY: u8 = 250;

fn at(seconds: u64) -> Now {
    Now::default().after(Duration::from_secs(seconds))
}

fn said_by(seed: u8) -> Announcement {
    Announcement::new(peer(seed), [hostile::honest_address(peer(seed), peer(RELAY))], None)
}

fn gossip(sequence: u64) -> Heard {
    Heard {
        sequence: Some(sequence),
        age: Duration::ZERO,
        origin: Origin::Gossip,
    }
}

fn hearsay(sequence: u64, age: u64) -> Heard {
    Heard {
        sequence: Some(sequence),
        age: Duration::from_secs(age),
        origin: Origin::Snapshot,
    }
}

fn book() -> PeerBook {
    PeerBook::new(peer(0), PeerBookConfig::default())
}

fn small(capacity: usize) -> PeerBook {
    PeerBook::new(
        peer(0),
        PeerBookConfig {
            capacity,
            ..PeerBookConfig::default()
        },
    )
}

fn actions(book: &mut PeerBook) -> Vec<BookAction> {
    std::iter::from_fn(|| book.poll_action()).collect()
}

const SAME: Outcome = Outcome::Updated {
    addresses: Changed::Same,
    name: Changed::Same,
};

#[wasm_bindgen_test(unsupported = test)]
fn what_is_heard_is_a_newcomer_then_an_update_and_we_are_never_in_it() {
    let mut book = book();
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(1), at(0)),
        Outcome::Newcomer
    );
    assert_eq!(book.handle_announcement(&said_by(1), gossip(2), at(1)), SAME);
    let renamed = Announcement::new(peer(1), said_by(1).addrs().to_vec(), Some("Ada"));
    let outcome = Outcome::Updated {
        addresses: Changed::Same,
        name: Changed::Different,
    };
    assert_eq!(book.handle_announcement(&renamed, gossip(3), at(1)), outcome);
    let moved = Announcement::new(peer(1), [hostile::honest_address(peer(1), peer(99))], Some("Ada"));
    let outcome = Outcome::Updated {
        addresses: Changed::Different,
        name: Changed::Same,
    };
    assert_eq!(book.handle_announcement(&moved, gossip(4), at(1)), outcome);
    let entry = book.get(peer(1)).unwrap();
    assert_eq!((entry.addrs(), entry.name()), (moved.addrs(), Some("Ada")));
    assert_eq!(book.handle_announcement(&said_by(0), gossip(1), at(1)), Outcome::Stale);
    assert_eq!((book.len(), book.iter().count()), (1, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_recorded_message_does_not_work_twice() {
    let mut book = book();
    let goodbye = Announcement::goodbye(peer(1));
    book.handle_announcement(&said_by(1), gossip(5), at(0));
    for replayed in [said_by(1), goodbye.clone()] {
        assert_eq!(book.handle_announcement(&replayed, gossip(5), at(1)), Outcome::Stale);
        assert_eq!(book.handle_announcement(&replayed, gossip(4), at(1)), Outcome::Stale);
    }
    assert_eq!(book.handle_announcement(&goodbye, gossip(6), at(2)), Outcome::Goodbye);
    assert!(book.is_empty());
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(5), at(3)),
        Outcome::Stale,
        "it left after that"
    );
    assert_eq!(
        book.handle_announcement(&said_by(1), hearsay(5, 1), at(3)),
        Outcome::Stale,
        "also from a relay"
    );
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(7), at(4)),
        Outcome::Newcomer,
        "it is back"
    );
    assert_eq!(
        book.handle_announcement(&goodbye, gossip(6), at(5)),
        Outcome::Stale,
        "the goodbye was recorded"
    );
    assert_eq!(actions(&mut book), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_goodbye_that_overtakes_an_announcement_wins() {
    let mut book = book();
    assert_eq!(
        book.handle_announcement(&Announcement::goodbye(peer(1)), gossip(9), at(0)),
        Outcome::Stale
    );
    assert_eq!(book.handle_announcement(&said_by(1), gossip(8), at(0)), Outcome::Stale);
    assert!(book.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn who_draws_its_numbers_is_believed_but_not_its_goodbyes() {
    let mut book = book();
    let goodbye = Announcement::goodbye(peer(1));
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(u64::MAX), at(0)),
        Outcome::Newcomer
    );
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(1 << 62), at(1)),
        SAME,
        "lower, and no matter"
    );
    assert_eq!(
        book.handle_announcement(&goodbye, gossip(u64::MAX - 1), at(1)),
        Outcome::Stale
    );
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(7), at(1)),
        SAME,
        "a quarter of them look counted"
    );
    assert_eq!(book.handle_announcement(&goodbye, gossip(8), at(1)), Outcome::Stale);
    let unnumbered = Heard {
        sequence: None,
        ..gossip(0)
    };
    assert_eq!(book.handle_announcement(&goodbye, unnumbered, at(1)), Outcome::Stale);
    assert_eq!(book.handle_announcement(&said_by(1), unnumbered, at(1)), SAME);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_goodbye_leaves_a_live_connection_and_its_entry() {
    let mut book = book();
    book.handle_announcement(&said_by(1), gossip(1), at(0));
    book.handle_connected(peer(1), at(1));
    let goodbye = Announcement::goodbye(peer(1));
    assert_eq!(book.handle_announcement(&goodbye, gossip(2), at(2)), Outcome::Goodbye);
    assert!(
        book.get(peer(1))
            .is_some_and(|entry| entry.has_left() && entry.addrs().is_empty())
    );
    book.handle_disconnected(peer(1), at(3));
    assert_eq!(actions(&mut book), [BookAction::Expired(peer(1))]);
    assert!(book.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn a_peer_is_fresh_for_three_minutes_or_three_intervals() {
    for (interval, fresh_seconds) in [(0, 180), (15, 180), (60, 180), (100, 300), (300, 900)] {
        let mut book = book();
        book.handle_interval(Duration::from_secs(interval));
        book.handle_announcement(&said_by(1), gossip(1), at(0));
        assert_eq!(book.poll_timeout(), Some(Duration::from_secs(fresh_seconds)));
        book.handle_timeout(at(fresh_seconds - 1));
        assert_eq!((book.len(), actions(&mut book)), (1, vec![]));
        book.handle_timeout(at(fresh_seconds));
        assert_eq!(
            (book.len(), actions(&mut book)),
            (0, vec![BookAction::Expired(peer(1))])
        );
        assert_eq!(book.poll_timeout(), None);
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn a_connected_peer_never_expires_and_a_lost_one_does_when_it_is_not_fresh() {
    let mut book = book();
    book.handle_connected(peer(1), at(0));
    book.handle_announcement(&said_by(1), gossip(1), at(0));
    assert_eq!(book.poll_timeout(), None);
    book.handle_timeout(at(100_000));
    assert_eq!(book.len(), 1);
    book.handle_disconnected(peer(1), at(100_000));
    assert_eq!(actions(&mut book), [BookAction::Expired(peer(1))]);
    book.handle_announcement(&said_by(1), gossip(2), at(100_001));
    book.handle_connected(peer(1), at(100_002));
    book.handle_disconnected(peer(1), at(100_003));
    assert_eq!(book.len(), 1, "it may come back");
}

#[wasm_bindgen_test(unsupported = test)]
fn after_a_sleep_everybody_is_believed_for_a_while_and_a_snapshot_is_news() {
    let mut book = book();
    book.handle_announcement(&said_by(1), gossip(5), at(0));
    book.handle_wake(at(9_000));
    book.handle_timeout(at(9_000));
    assert_eq!(book.len(), 1);
    assert_eq!(
        book.handle_announcement(&said_by(1), hearsay(4, 10), at(9_001)),
        Outcome::Stale
    );
    assert_eq!(book.handle_announcement(&said_by(1), hearsay(6, 10), at(9_001)), SAME);
    assert_eq!(book.poll_timeout(), Some(Duration::from_secs(9_001 - 10 + 180)));
    book.handle_wake(at(20_000));
    book.handle_timeout(at(20_000 + DEFAULT_WAKE_GRACE.as_secs()));
    assert!(book.is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn hearsay_introduces_a_peer_and_never_overrules_its_own_word() {
    let mut book = book();
    let forged = Announcement::new(peer(1), [hostile::honest_address(peer(1), peer(66))], Some("Mallory"));
    assert_eq!(
        book.handle_announcement(&said_by(1), hearsay(5, 30), at(100)),
        Outcome::Newcomer
    );
    assert_eq!(
        book.poll_timeout(),
        Some(Duration::from_secs(100 - 30 + 180)),
        "its age counts"
    );
    assert_eq!(
        book.handle_announcement(&said_by(1), hearsay(5, 31), at(101)),
        Outcome::Stale,
        "said before"
    );
    assert_eq!(
        book.handle_announcement(&said_by(1), gossip(5), at(102)),
        SAME,
        "now it is signed"
    );
    for sequence in [4, 5, 6, (1 << 62) - 1, u64::MAX] {
        assert_eq!(
            book.handle_announcement(&forged, hearsay(sequence, 0), at(103)),
            Outcome::Stale
        );
        let goodbye = Announcement::goodbye(peer(1));
        assert_eq!(
            book.handle_announcement(&goodbye, hearsay(sequence, 0), at(103)),
            Outcome::Stale
        );
    }
    assert_eq!(book.get(peer(1)).unwrap().addrs(), said_by(1).addrs());
    assert_eq!(
        book.handle_announcement(&said_by(2), hearsay(1, 180), at(104)),
        Outcome::Stale,
        "too old"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_relay_that_lies_about_numbers_cannot_silence_a_peer() {
    let mut book = book();
    book.handle_announcement(&said_by(1), hearsay((1 << 62) - 1, 0), at(0));
    assert_eq!(book.handle_announcement(&said_by(1), gossip(5), at(1)), SAME);
    let goodbye = Announcement::goodbye(peer(1));
    assert_eq!(
        book.handle_announcement(&goodbye, gossip(6), at(2)),
        Outcome::Stale,
        "all it gains: a row that stays"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_goodbye_recorded_before_the_snapshot_is_not_believed() {
    let mut book = book();
    book.handle_announcement(&said_by(1), hearsay(50, 0), at(0));
    let goodbye = Announcement::goodbye(peer(1));
    assert_eq!(book.handle_announcement(&goodbye, gossip(40), at(1)), Outcome::Stale);
    assert_eq!(book.handle_announcement(&goodbye, gossip(51), at(1)), Outcome::Goodbye);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_book_is_full_the_expired_go_first() {
    let mut book = small(2);
    book.handle_announcement(&said_by(1), gossip(1), at(0));
    book.handle_announcement(&said_by(2), gossip(1), at(100));
    assert_eq!(
        book.handle_announcement(&said_by(3), hearsay(1, 0), at(200)),
        Outcome::Newcomer
    );
    assert_eq!(actions(&mut book), [BookAction::Expired(peer(1))]);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_book_is_full_of_fresh_peers_hearsay_goes_then_the_last_that_came() {
    let mut book = small(3);
    book.handle_announcement(&said_by(1), gossip(1), at(0));
    book.handle_announcement(&said_by(2), hearsay(1, 0), at(1));
    book.handle_announcement(&said_by(3), gossip(1), at(2));
    assert_eq!(
        book.handle_announcement(&said_by(4), hearsay(1, 0), at(3)),
        Outcome::Refused,
        "hearsay displaces nobody"
    );
    assert_eq!(
        book.handle_announcement(&said_by(4), gossip(1), at(3)),
        Outcome::Newcomer
    );
    assert_eq!(
        book.handle_announcement(&said_by(5), gossip(1), at(4)),
        Outcome::Newcomer
    );
    assert_eq!(
        actions(&mut book),
        [BookAction::Expired(peer(2)), BookAction::Expired(peer(4))]
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn when_nobody_may_go_the_newcomer_is_refused() {
    let mut book = small(4);
    for seed in 1..=4 {
        book.handle_announcement(&said_by(seed), gossip(1), at(0));
    }
    book.handle_connected(peer(1), at(1));
    book.pin(peer(2));
    book.handle_heard_in_room(peer(3));
    book.handle_connected(peer(4), at(1));
    book.handle_disconnected(peer(4), at(2));
    assert_eq!(
        book.handle_announcement(&said_by(5), gossip(1), at(3)),
        Outcome::Refused
    );
    assert_eq!((book.len(), actions(&mut book)), (4, vec![]));
}

#[wasm_bindgen_test(unsupported = test)]
fn a_pin_outlives_its_entry() {
    let mut book = small(1);
    book.pin(peer(1));
    book.handle_announcement(&said_by(1), gossip(1), at(0));
    book.handle_timeout(at(500));
    book.handle_announcement(&said_by(1), gossip(2), at(501));
    assert_eq!(
        book.handle_announcement(&said_by(2), gossip(1), at(502)),
        Outcome::Refused
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn a_flood_of_hostile_announcements_displaces_no_honest_peer() {
    let mut book = small(64);
    for seed in 1..=32 {
        book.handle_announcement(&said_by(seed), gossip(100), at(u64::from(seed)));
    }
    let honest: Vec<(PeerId, PeerEntry)> = book.iter().map(|(peer, entry)| (peer, entry.clone())).collect();
    for source in 100..=103 {
        for (n, hostile) in hostile::announcements(peer(source), peer(1)).iter().enumerate() {
            let sequence = n as u64 * 1_000;
            if let Ok(announcement) = Announcement::decode(peer(source), &hostile.payload) {
                book.handle_announcement(&announcement, gossip(sequence), at(40));
            }
            // What honest peers did not sign can only come from a relay that lies.
            for victim in 1..=32 {
                let Ok(announcement) = Announcement::decode(peer(victim), &hostile.payload) else {
                    continue;
                };
                assert_eq!(
                    book.handle_announcement(&announcement, hearsay(sequence, 0), at(40)),
                    Outcome::Stale
                );
            }
        }
    }
    for seed in 40..=240 {
        book.handle_announcement(&said_by(seed), gossip(1), at(41));
        book.handle_announcement(&said_by(seed.wrapping_add(15)), hearsay(1, 0), at(41));
    }
    for seed in 1..=32 {
        let recorded = Announcement::goodbye(peer(seed));
        assert_eq!(book.handle_announcement(&recorded, gossip(99), at(42)), Outcome::Stale);
        assert_eq!(
            book.handle_announcement(&recorded, hearsay(101, 0), at(42)),
            Outcome::Stale
        );
    }
    assert_eq!(book.len(), 64, "full");
    for (peer, entry) in honest {
        assert_eq!(book.get(peer), Some(&entry));
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_departed_peers_signed_is_remembered_for_a_bounded_number_of_them() {
    let mut departed = Departed::default();
    let many = |n: usize| {
        let digest = libp2p::multihash::Multihash::wrap(0, &n.to_be_bytes()).expect("eight bytes fit");
        PeerId::from_multihash(digest).expect("an identity hash")
    };
    for n in 0..=departed::CAPACITY {
        departed.insert(many(n), crate::announcement::LastSequence::Counted(7), at(n as u64));
    }
    assert_eq!(
        departed.last_sequence(&many(0)),
        crate::announcement::LastSequence::Unknown
    );
    assert_eq!(
        departed.last_sequence(&many(1)),
        crate::announcement::LastSequence::Counted(7)
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn only_the_highest_number_so_far_is_news() {
    let mut book = book();
    let mut highest = None;
    for sequence in [3_u64, 1, 9, 9, 4, 10, 2, 11] {
        let outcome = book.handle_announcement(&said_by(1), gossip(sequence), at(0));
        assert_eq!(outcome != Outcome::Stale, highest < Some(sequence), "{sequence}");
        highest = highest.max(Some(sequence));
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    const CAPACITY: usize = 6;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_happens_the_book_stays_bounded_and_the_connected_stay_in_it(
            steps in vec((0..12u8, 1..12u8, 0..50u64, 0..60u64), 1..200),
        ) {
            let mut book = small(CAPACITY);
            let (mut now, mut listed) = (at(0), BTreeSet::new());
            for (what, seed, sequence, seconds) in steps {
                now = now.after(Duration::from_secs(seconds));
                let before: Vec<PeerId> = listed.intersection(&book.connected).copied().collect();
                match what {
                    0 => book.handle_connected(peer(seed), now),
                    1 => book.handle_disconnected(peer(seed), now),
                    2 => book.pin(peer(seed)),
                    3 => book.handle_heard_in_room(peer(seed)),
                    4 => book.handle_interval(Duration::from_secs(sequence * 10)),
                    5 => book.handle_wake(now),
                    6 | 7 => {
                        let heard = if what == 6 { gossip(sequence) } else { hearsay(sequence, seconds) };
                        let outcome = book.handle_announcement(&Announcement::goodbye(peer(seed)), heard, now);
                        if outcome == Outcome::Goodbye && !book.connected.contains(&peer(seed)) {
                            listed.remove(&peer(seed));
                        }
                    }
                    _ => {
                        let heard = if what % 2 == 0 { gossip(sequence) } else { hearsay(sequence, seconds) };
                        if book.handle_announcement(&said_by(seed), heard, now) == Outcome::Newcomer {
                            prop_assert!(listed.insert(peer(seed)), "a newcomer was not known");
                        }
                    }
                }
                book.handle_timeout(now);
                for action in actions(&mut book) {
                    let BookAction::Expired(gone) = action;
                    prop_assert!(listed.remove(&gone), "who goes was known");
                }
                prop_assert_eq!(book.iter().map(|(peer, _)| peer).collect::<BTreeSet<_>>(), listed.clone());
                prop_assert!(book.len() <= CAPACITY);
                for peer in before.iter().filter(|peer| book.connected.contains(peer)) {
                    prop_assert!(book.get(*peer).is_some(), "connected peers stay");
                }
                prop_assert!(book.poll_timeout().is_none_or(|due| due > now.mono));
            }
        }
    }
}
