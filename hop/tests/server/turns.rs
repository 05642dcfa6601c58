//! What a greedy circuit leaves to others: here and in libp2p's relay, polled by hand, with streams that are always ready.
//!
//! Between real ends a multiplexer stops either of them now and then. What is shown here is what the relay does by itself.

use std::time::Duration;

use libp2p::{relay, swarm::NetworkBehaviour};
use peerway_hop::BUFFER_BYTES;

use crate::support::{by_hand::ByHand, raw, stock_config};

/// What each end of a greedy circuit has to say.
const FLOOD: u64 = 64 << 20;
/// What ours carries of one circuit in one turn: four buffers each way.
const TURN: u64 = 2 * 4 * BUFFER_BYTES as u64;

/// One without a limit of bytes.
fn stock(duration: Duration) -> ByHand<relay::Behaviour> {
    ByHand::stock(relay::Config {
        max_circuit_bytes: 0,
        max_circuit_duration: duration,
        ..stock_config()
    })
}

fn ours(duration: Duration) -> ByHand<peerway_hop::Behaviour> {
    ByHand::ours(|config| {
        config.circuits.bytes = None;
        config.circuits.duration = Some(duration);
    })
}

#[derive(Debug, PartialEq, Eq)]
struct Greed {
    /// What one task carried before any other had its turn.
    in_one_turn: u64,
    /// What the greedy circuit carried before a word on the quiet one beside it was passed on.
    before_the_word: u64,
    /// How large the pieces are.
    piece: usize,
}

fn greed<B: NetworkBehaviour>(mut relay: ByHand<B>) -> Greed {
    let host = relay.arrive("/ip4/192.0.2.1/tcp/1", 0);
    let guest = relay.arrive("/ip4/192.0.2.2/tcp/1", 0);
    relay.reserve(&host).unwrap();
    let (quiet, listener) = relay.circuit(&guest, &host);
    let greedy = relay.circuit(&guest, &host);
    greedy.0.flood(FLOOD);
    greedy.1.flood(FLOOD);
    quiet.say(b"a word");
    Greed {
        in_one_turn: relay.until("the word is passed on", || listener.has_heard(b"a word")),
        before_the_word: listener.heard_after(),
        piece: greedy.0.asked_for(),
    }
}

#[test]
fn when_a_circuit_is_greedy_a_word_on_another_waits_for_one_turn_and_no_more() {
    let expected = Greed {
        in_one_turn: TURN,
        before_the_word: TURN,
        piece: BUFFER_BYTES,
    };
    assert_eq!(greed(ours(Duration::from_secs(600))), expected);
}

/// Against stock: libp2p-relay copies 8 KiB at a time for as long as either end has something to say. Until then nothing
/// else on the connection has its turn, and no other task of the thread.
#[test]
fn when_a_circuit_is_greedy_libp2ps_relay_leaves_no_turn_to_others_before_all_is_carried() {
    let expected = Greed {
        in_one_turn: 2 * FLOOD,
        before_the_word: 2 * FLOOD,
        piece: 8 * 1024,
    };
    assert_eq!(greed(stock(Duration::from_secs(600))), expected);
}

/// How much is carried of a circuit both of whose ends always have something to say, and whose time is over with the first
/// byte.
fn beyond_the_deadline<B: NetworkBehaviour>(mut relay: ByHand<B>, duration: Duration) -> u64 {
    let host = relay.arrive("/ip4/192.0.2.1/tcp/1", FLOOD);
    let guest = relay.arrive("/ip4/192.0.2.2/tcp/1", 0);
    relay.reserve(&host).unwrap();
    let source = guest.ask(&raw::connect(host.id));
    source.flood(FLOOD);
    source.stall(2 * duration);
    assert_eq!(relay.answer(&source).status, Some(100));
    relay.until("the circuit is over", || {
        std::thread::sleep(Duration::from_millis(1));
        source.is_dropped()
    });
    relay.carried()
}

#[test]
fn when_a_circuits_time_is_over_in_the_middle_of_a_flood_it_ends_with_its_turn() {
    let duration = Duration::from_millis(100);
    let carried = beyond_the_deadline(ours(duration), duration);
    assert!(carried <= 2 * TURN, "{carried}");
}

/// Against stock: libp2p-relay looks at the clock only when neither end has anything to say.
#[test]
fn when_a_circuits_time_is_over_in_the_middle_of_a_flood_libp2ps_relay_carries_all_of_it() {
    let duration = Duration::from_millis(100);
    assert_eq!(beyond_the_deadline(stock(duration), duration), 2 * FLOOD);
}
