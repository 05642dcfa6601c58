//! The copier between streams of memory.

use std::{
    num::{NonZeroU32, NonZeroU64},
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{
    AsyncReadExt, AsyncWriteExt,
    executor::block_on,
    future::{join, poll_fn},
    task::{ArcWake, noop_waker, waker},
};
use proptest::prelude::*;

use super::*;
use crate::config::{Config, Rate};

mod pipe;

use pipe::{End, Endless, duplex};

fn limits(change: impl FnOnce(&mut CircuitLimits)) -> CircuitLimits {
    let mut limits = Config::default().circuits;
    change(&mut limits);
    limits
}

/// A circuit and its two outer ends.
fn circuit(limits: &CircuitLimits, capacity: usize) -> (End, Copier<End, End>, End) {
    let (source, inner_source) = duplex(capacity);
    let (inner_destination, destination) = duplex(capacity);
    let copier = Copier::new(inner_source, inner_destination, limits, Instant::now());
    (source, copier, destination)
}

/// Carries until it ends; then both streams are dropped.
async fn carry(mut copier: Copier<End, End>, tally: &Tally) -> Result<(), CopyError> {
    poll_fn(|cx| copier.poll(tally, cx)).await
}

fn counts(tally: &Tally) -> (u64, u64) {
    (
        tally.to_destination.load(Ordering::Acquire),
        tally.to_source.load(Ordering::Acquire),
    )
}

#[test]
fn when_one_end_closes_the_other_direction_goes_on() {
    let (mut source, copier, mut destination) = circuit(&limits(|_| {}), 1_000);
    let tally = Tally::default();
    let talk = async {
        source.write_all(b"question").await.expect("open");
        source.close().await.expect("open");
        let mut heard = Vec::new();
        destination.read_to_end(&mut heard).await.expect("open");
        assert_eq!(heard, b"question", "the end is passed on");
        destination.write_all(b"answer").await.expect("still open");
        destination.close().await.expect("still open");
        heard.clear();
        source.read_to_end(&mut heard).await.expect("open");
        assert_eq!(heard, b"answer");
    };
    let (result, ()) = block_on(join(carry(copier, &tally), talk));
    assert!(result.is_ok());
    assert_eq!(counts(&tally), (8, 6));
}

#[test]
fn when_a_direction_carries_what_is_allowed_it_may_and_a_byte_more_ends_the_circuit() {
    for (bytes, ends_well) in [(1_000, true), (1_001, false), (5_000, false)] {
        let bound = limits(|limits| limits.bytes = NonZeroU64::new(1_000));
        let (mut source, copier, mut destination) = circuit(&bound, 100_000);
        let tally = Tally::default();
        let talk = async {
            // As much the other way: each direction has a count of its own.
            destination.write_all(&[1; 1_000]).await.expect("open");
            destination.close().await.expect("open");
            let (mut there, mut back) = (Vec::new(), Vec::new());
            source.read_to_end(&mut back).await.expect("open");
            source.write_all(&vec![2; bytes]).await.expect("open");
            source.close().await.expect("open");
            destination.read_to_end(&mut there).await.expect("open");
            (there.len(), back.len())
        };
        let (result, heard) = block_on(join(carry(copier, &tally), talk));
        assert_eq!(heard, (1_000, 1_000), "of {bytes}");
        assert_eq!(result.is_ok(), ends_well, "{bytes}: {result:?}");
        assert_eq!(matches!(result, Err(CopyError::DataLimit)), !ends_well);
        assert_eq!(counts(&tally), (1_000, 1_000));
    }
}

#[test]
fn when_a_rate_is_set_what_exceeds_the_burst_takes_its_time() {
    let paced = limits(|limits| {
        limits.rate = Some(Rate {
            bytes_per_second: NonZeroU32::new(1_000_000).expect("not zero"),
            burst: NonZeroU32::new(100_000).expect("not zero"),
        });
    });
    let (mut source, copier, mut destination) = circuit(&paced, 16_000);
    let tally = Tally::default();
    let send = async {
        source.write_all(&[0; 300_000]).await.expect("open");
        source.close().await.expect("open");
        let mut heard = Vec::new();
        source.read_to_end(&mut heard).await.expect("open");
    };
    let hear = async {
        let mut heard = Vec::new();
        destination.read_to_end(&mut heard).await.expect("open");
        destination.close().await.expect("open");
        heard.len()
    };
    let started = Instant::now();
    let (result, ((), heard)) = block_on(join(carry(copier, &tally), join(send, hear)));
    let took = started.elapsed();
    assert!(result.is_ok());
    assert_eq!(heard, 300_000);
    assert!(took >= Duration::from_millis(200), "{took:?}");
    assert!(took < Duration::from_secs(5), "{took:?}");
}

#[derive(Default)]
struct Woken(AtomicUsize);

impl ArcWake for Woken {
    fn wake_by_ref(this: &Arc<Self>) {
        this.0.fetch_add(1, Ordering::SeqCst);
    }
}

#[test]
fn when_there_is_always_more_a_turn_ends_and_another_is_asked_for() {
    // Whatever the pieces are: large ones are bounded by their bytes, small ones by their number.
    for (piece, most) in [(usize::MAX, TURN_BYTES), (1, TURN_BYTES / READ_COST)] {
        let bound = limits(|limits| limits.bytes = None);
        let now = Instant::now();
        let mut copier = Copier::new(Endless::new(piece), Endless::new(piece), &bound, now);
        let (tally, woken) = (Tally::default(), Arc::new(Woken::default()));
        let waker = waker(Arc::clone(&woken));
        assert!(copier.poll(&tally, &mut Context::from_waker(&waker)).is_pending());
        let (there, back) = counts(&tally);
        assert_eq!(
            (there, back),
            (most as u64, most as u64),
            "neither direction starves the other"
        );
        assert_eq!(woken.0.load(Ordering::SeqCst), 1);
    }
}

#[test]
fn when_a_circuit_is_idle_it_holds_no_buffer_and_when_its_reader_is_slow_one() {
    let (mut source, mut copier, mut destination) = circuit(&limits(|_| {}), 10);
    let (tally, waker) = (Tally::default(), noop_waker());
    let mut cx = Context::from_waker(&waker);
    let mut turn = |copier: &mut Copier<End, End>| assert!(copier.poll(&tally, &mut cx).is_pending());
    turn(&mut copier);
    let idle = |copier: &Copier<End, End>| matches!(copier.to_destination.state, State::Empty);
    assert!(idle(&copier));
    for _ in 0..2 {
        block_on(source.write_all(&[0; 10])).expect("open");
        turn(&mut copier);
    }
    assert!(
        !idle(&copier),
        "the second ten bytes wait for the destination to read the first"
    );
    block_on(destination.read_exact(&mut [0; 10])).expect("open");
    turn(&mut copier);
    assert!(idle(&copier));
}

#[test]
fn when_a_stream_fails_the_circuit_ends_with_that() {
    let (source, copier, destination) = circuit(&limits(|_| {}), 10);
    let mut source = source;
    block_on(source.write_all(&[0; 10])).expect("open");
    destination.fail(io::ErrorKind::ConnectionReset);
    let error = block_on(carry(copier, &Tally::default())).expect_err("a stream failed");
    assert!(matches!(error, CopyError::Io(error) if error.kind() == io::ErrorKind::ConnectionReset));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_the_sizes_every_byte_arrives_in_order(
        capacity in 1usize..200, pieces in prop::collection::vec(1usize..500, 1..40), reads in 1usize..300,
    ) {
        let (mut source, copier, mut destination) = circuit(&limits(|_| {}), capacity);
        let sent: Vec<u8> = (0..pieces.iter().sum::<usize>()).map(|at| at as u8).collect();
        let send = async {
            let mut rest = &sent[..];
            for piece in &pieces {
                let (now, later) = rest.split_at(*piece);
                source.write_all(now).await.expect("open");
                rest = later;
            }
            source.close().await.expect("open");
        };
        let hear = async {
            let mut heard = Vec::new();
            let mut part = vec![0; reads];
            loop {
                match destination.read(&mut part).await.expect("open") {
                    0 => break,
                    count => heard.extend_from_slice(&part[..count]),
                }
            }
            destination.close().await.expect("open");
            heard
        };
        let tally = Tally::default();
        let (result, ((), heard)) = block_on(join(carry(copier, &tally), join(send, hear)));
        prop_assert!(result.is_ok());
        prop_assert_eq!(counts(&tally), (sent.len() as u64, 0));
        prop_assert_eq!(heard, sent);
    }
}
