use libp2p::multihash::Multihash;
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;
use crate::{
    announcement::hostile::{self, peer},
    now::Now,
};

const RELAY: u8 = 250;

fn at(seconds: u64) -> Now {
    Now::default().after(Duration::from_secs(seconds))
}

/// As many peers as wanted, without a key each.
fn many(n: usize) -> PeerId {
    PeerId::from_multihash(Multihash::wrap(0, &n.to_be_bytes()).expect("eight bytes fit")).expect("an identity hash")
}

fn said_by(peer_id: PeerId) -> Announcement {
    Announcement::new(peer_id, [hostile::honest_address(peer_id, peer(RELAY))], Some("Ada"))
}

/// Through the wire.
fn read(snapshot: &Snapshot) -> Vec<HeardAnnouncement> {
    let bytes = serde_json::to_vec(snapshot).unwrap();
    assert!(bytes.len() <= MAX_SNAPSHOT_SIZE, "{}", bytes.len());
    serde_json::from_slice::<Snapshot>(&bytes).unwrap().verify().collect()
}

fn who(snapshot: &Snapshot) -> Vec<PeerId> {
    read(snapshot).iter().map(|heard| heard.announcement.peer()).collect()
}

#[wasm_bindgen_test(unsupported = test)]
fn the_wire_format_is_the_documented_one() {
    assert_eq!(serde_json::to_string(&SnapshotRequest {}).unwrap(), "{}");
    assert_eq!(
        serde_json::from_str::<SnapshotRequest>(r#"{"since":7}"#).unwrap(),
        SnapshotRequest {}
    );
    let mut recent = RecentAnnouncements::new();
    recent.handle_announcement(&said_by(peer(1)), Some(u64::MAX), at(10));
    let said: Value = serde_json::from_slice(&said_by(peer(1)).encode()).unwrap();
    let wanted = json!({
        "announcements": [{ "announcement": said, "sequence": "18446744073709551615", "ageSeconds": 5 }],
    });
    assert_eq!(serde_json::to_value(recent.answer(at(15))).unwrap(), wanted);
    assert_eq!(
        serde_json::to_string(&Snapshot::default()).unwrap(),
        r#"{"announcements":[]}"#
    );
    assert!(serde_json::from_str::<Snapshot>("{}").unwrap().is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn what_was_heard_is_answered_newest_first_once_per_peer() {
    let mut recent = RecentAnnouncements::new();
    for (seed, seconds) in [(1, 10), (2, 20), (3, 30), (1, 40)] {
        recent.handle_announcement(&said_by(peer(seed)), Some(seconds), at(seconds));
    }
    let answer = recent.answer(at(41));
    assert_eq!(who(&answer), [peer(1), peer(3), peer(2)]);
    let first = &read(&answer)[0];
    assert_eq!(first.announcement, said_by(peer(1)));
    assert_eq!((first.sequence, first.age), (Some(40), Duration::from_secs(1)));
}

#[wasm_bindgen_test(unsupported = test)]
fn who_left_or_expired_is_not_named_and_a_recording_does_not_bring_it_back() {
    let mut recent = RecentAnnouncements::new();
    let goodbye = Announcement::goodbye(peer(1));
    assert_eq!(
        recent.handle_announcement(&said_by(peer(1)), Some(5), at(0)),
        Recorded::Kept
    );
    assert_eq!(recent.handle_announcement(&goodbye, Some(5), at(0)), Recorded::Stale);
    assert_eq!(recent.handle_announcement(&goodbye, None, at(0)), Recorded::Stale);
    assert_eq!(recent.handle_announcement(&goodbye, Some(6), at(1)), Recorded::Dropped);
    assert_eq!(
        recent.handle_announcement(&said_by(peer(1)), Some(5), at(2)),
        Recorded::Stale
    );
    assert!(recent.answer(at(2)).is_empty());

    recent.handle_peer_connected(peer(2));
    recent.handle_announcement(&said_by(peer(2)), Some(5), at(3));
    assert_eq!(recent.answer(at(4)).len(), 1);
    recent.handle_peer_disconnected(peer(2));
    assert!(recent.answer(at(4)).is_empty());
    assert_eq!(
        recent.handle_announcement(&said_by(peer(2)), Some(5), at(5)),
        Recorded::Stale
    );
    assert_eq!(
        recent.handle_announcement(&said_by(peer(2)), Some(6), at(5)),
        Recorded::Kept
    );
    assert_eq!(recent.answer(at(5 + 899)).len(), 1);
    assert!(recent.answer(at(5 + 900)).is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn an_answer_holds_a_hundred_and_connected_peers_come_first() {
    let mut recent = RecentAnnouncements::new();
    for seed in 1..=3 {
        recent.handle_peer_connected(peer(seed));
        recent.handle_announcement(&said_by(peer(seed)), Some(1), at(u64::from(seed)));
    }
    for n in 0..CAPACITY + 200 {
        recent.handle_announcement(&said_by(many(n)), Some(1), at(10));
    }
    let named = who(&recent.answer(at(11)));
    assert_eq!(named.len(), MAX_ANNOUNCEMENTS);
    assert_eq!(
        named[..3],
        [peer(3), peer(2), peer(1)],
        "names without connections crowd nobody out"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn when_announcements_are_large_all_are_named_with_fewer_addresses() {
    let mut recent = RecentAnnouncements::new();
    for n in 0..MAX_ANNOUNCEMENTS {
        let id = many(n);
        let addrs = (0..8).map(|seed| {
            format!(
                "/dns4/{}.example/tcp/1/wss/p2p/{}/p2p-circuit",
                "x".repeat(60),
                peer(seed)
            )
        });
        let body = json!({ "peerId": id.to_base58(), "addrs": addrs.collect::<Vec<_>>() }).to_string();
        let announcement = Announcement::decode(id, body.as_bytes()).unwrap();
        assert_eq!(announcement.addrs().len(), 8);
        recent.handle_announcement(&announcement, Some(1), at(0));
    }
    let answer = read(&recent.answer(at(0)));
    assert_eq!(answer.len(), MAX_ANNOUNCEMENTS);
    assert!(
        answer
            .iter()
            .all(|heard| (1..8).contains(&heard.announcement.addrs().len()))
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn an_announcement_without_an_address_we_know_is_not_passed_on_as_a_goodbye() {
    let mut recent = RecentAnnouncements::new();
    let body = json!({ "peerId": peer(1).to_base58(), "addrs": ["/memory/1"] }).to_string();
    let announcement = Announcement::decode(peer(1), body.as_bytes()).unwrap();
    assert_eq!(
        recent.handle_announcement(&announcement, Some(1), at(0)),
        Recorded::Kept
    );
    assert!(recent.answer(at(0)).is_empty());
}

#[wasm_bindgen_test(unsupported = test)]
fn one_bad_entry_spoils_no_other_and_a_long_answer_is_cut() {
    let good = json!({ "announcement": serde_json::from_slice::<Value>(&said_by(peer(1)).encode()).unwrap() });
    let mut entries = vec![good.clone()];
    for bad in [
        "null",
        "7",
        "\"\"",
        "[]",
        "{}",
        r#"{"announcement":null}"#,
        r#"{"announcement":{"peerId":"x","addrs":[]}}"#,
    ] {
        entries.push(serde_json::from_str(bad).unwrap());
    }
    for hostile in hostile::announcements(peer(2), peer(1)) {
        if let Ok(body) = serde_json::from_slice::<Value>(&hostile.payload) {
            entries.push(json!({ "announcement": body, "sequence": "-1", "ageSeconds": -5 }));
        }
    }
    entries.truncate(MAX_ANNOUNCEMENTS - 1);
    entries.push(good.clone());
    entries.extend(vec![good; 400]);
    let snapshot: Snapshot = serde_json::from_value(json!({ "announcements": entries, "later": [[]] })).unwrap();
    assert_eq!(snapshot.len(), MAX_ANNOUNCEMENTS);
    let verified: Vec<HeardAnnouncement> = snapshot.verify().collect();
    assert_eq!(
        verified
            .iter()
            .filter(|heard| heard.announcement == said_by(peer(1)))
            .count(),
        2
    );
    for heard in &verified {
        assert_eq!((heard.sequence, heard.age), (None, Duration::ZERO));
        let own = format!("/p2p/{}", heard.announcement.peer());
        assert!(
            heard
                .announcement
                .addrs()
                .iter()
                .all(|address| address.to_string().ends_with(&own))
        );
    }
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_crash_a_reader(bytes in vec(any::<u8>(), 0..2_000)) {
            if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&bytes) {
                prop_assert!(snapshot.verify().count() <= MAX_ANNOUNCEMENTS);
            }
            let _ = serde_json::from_slice::<SnapshotRequest>(&bytes);
        }

        #[test]
        fn no_mutation_of_a_good_answer_crashes_a_reader(
            edits in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3u8), 1..10),
        ) {
            let mut recent = RecentAnnouncements::new();
            for seed in 1..4 {
                recent.handle_announcement(&said_by(peer(seed)), Some(u64::from(seed)), at(0));
            }
            let mut bytes = serde_json::to_vec(&recent.answer(at(1))).unwrap();
            for (at, byte, edit) in edits {
                let at = at.index(bytes.len());
                match edit {
                    0 => bytes[at] = byte,
                    1 => bytes.insert(at, byte),
                    _ => bytes.extend_from_within(at..),
                }
                bytes.truncate(60_000);
            }
            if let Ok(snapshot) = serde_json::from_slice::<Snapshot>(&bytes) {
                prop_assert!(snapshot.verify().count() <= MAX_ANNOUNCEMENTS);
            }
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn what_another_relay_tells_fills_gaps_and_gives_way_to_what_is_heard() {
    let told = |seed, sequence, age| HeardAnnouncement {
        announcement: said_by(peer(seed)),
        sequence: Some(sequence),
        age: Duration::from_secs(age),
    };
    let mut recent = RecentAnnouncements::new();
    // Soon after a start: what it is told of is older than itself.
    assert_eq!(recent.handle_hearsay(&told(1, 1 << 61, 100), at(10)), Recorded::Kept);
    let ages = |recent: &mut RecentAnnouncements, now| -> Vec<u64> {
        read(&recent.answer(now))
            .iter()
            .map(|heard| heard.age.as_secs())
            .collect()
    };
    assert_eq!(ages(&mut recent, at(15)), [105]);
    assert_eq!(recent.handle_hearsay(&told(1, u64::MAX, 0), at(15)), Recorded::Stale);
    assert_eq!(recent.handle_hearsay(&told(2, 1, 899), at(15)), Recorded::Kept);
    assert_eq!(recent.handle_hearsay(&told(3, 1, 900), at(15)), Recorded::Stale);
    assert_eq!(ages(&mut recent, at(15)), [105, 899]);
    assert_eq!(ages(&mut recent, at(16)), [106]);

    // Its own word counts, although the number that was told is higher.
    assert_eq!(
        recent.handle_announcement(&said_by(peer(1)), Some(5), at(20)),
        Recorded::Kept
    );
    assert_eq!(ages(&mut recent, at(21)), [1]);
    assert_eq!(
        recent.handle_announcement(&said_by(peer(1)), Some(5), at(22)),
        Recorded::Stale
    );

    for n in 0..CAPACITY {
        recent.handle_announcement(&said_by(many(n)), Some(1), at(23));
    }
    assert_eq!(
        recent.handle_hearsay(&told(4, 1, 0), at(23)),
        Recorded::Stale,
        "nobody makes room for it"
    );
}
