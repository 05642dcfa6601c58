//! Clients that do not play by the rules.

use std::time::{Duration, Instant};

use futures::{AsyncReadExt, AsyncWriteExt, future::join_all};
use libp2p::Stream;
use peerway_hop::{Event, Refusal};
use rand::{RngCore, SeedableRng, rngs::SmallRng};
use tokio::time::timeout;

use crate::support::{self, eventually, raw, raw::Raw, relay};

/// Whether the stream is closed or reset, when that is due.
async fn ends(stream: &mut Stream) -> bool {
    let mut rest = Vec::new();
    timeout(support::PATIENCE, stream.read_to_end(&mut rest)).await.is_ok()
}

#[tokio::test]
async fn when_what_comes_is_no_request_the_client_is_told_and_the_relay_goes_on() {
    let (relay, address) = relay(|_| {}).await;
    let client = Raw::connect(&address).await;
    let too_long = [0x81, 0x20];
    let no_peer = [2, 8, 1];
    for (bytes, refusal) in [
        (&[1, 0xff][..], Refusal::MalformedMessage),
        (&too_long, Refusal::MalformedMessage),
        (&[0xff; 10], Refusal::MalformedMessage),
        (&no_peer, Refusal::MalformedMessage),
        (&[2, 8, 9], Refusal::MalformedMessage),
        (&raw::STATUS, Refusal::UnexpectedMessage),
    ] {
        relay.forget();
        let (answer, mut stream) = client.ask(bytes).await;
        assert_eq!(answer.status, raw::told(refusal), "{bytes:?}");
        assert!(ends(&mut stream).await);
        let told = eventually("it is told", async || relay.events().pop()).await;
        assert!(
            matches!(told, Event::RequestRejected { refusal: told, .. } if told == refusal),
            "{told:?}"
        );
    }
    client.reserve().await.unwrap();
}

#[tokio::test]
async fn when_a_client_says_nothing_its_stream_ends_in_time() {
    let (_relay, address) = relay(|config| config.handshakes.deadline = Duration::from_millis(500)).await;
    let client = Raw::connect(&address).await;
    let mut streams = Vec::new();
    for begun in [&[][..], &[2], &[0x80]] {
        let mut stream = client.open().await.unwrap();
        stream.write_all(begun).await.unwrap();
        stream.flush().await.unwrap();
        streams.push(stream);
    }
    let started = Instant::now();
    for stream in &mut streams {
        assert!(ends(stream).await);
    }
    assert!(started.elapsed() < Duration::from_secs(5));
    client.reserve().await.unwrap();
}

#[tokio::test]
async fn when_a_client_asks_too_much_at_once_what_exceeds_is_reset_and_the_rest_is_served() {
    const N: usize = 4;
    let (_relay, address) = relay(|config| config.handshakes.per_connection = N).await;
    let client = Raw::connect(&address).await;
    let mut waiting = Vec::new();
    for _ in 0..N {
        waiting.push(client.open().await.unwrap());
    }
    for _ in 0..3 {
        let mut exceeds = client.open().await.unwrap();
        let _ = exceeds.write_all(&raw::RESERVE).await;
        let _ = exceeds.flush().await;
        let mut heard = Vec::new();
        let _ = timeout(support::PATIENCE, exceeds.read_to_end(&mut heard))
            .await
            .unwrap();
        assert!(heard.is_empty(), "it gets no answer: {heard:?}");
    }
    for stream in &mut waiting {
        stream.write_all(&raw::RESERVE).await.unwrap();
        stream.flush().await.unwrap();
        let answer: raw::HopMessage = raw::read(stream).await;
        assert_eq!(answer.status, Some(100));
    }
    drop(waiting);
    client.reserve().await.unwrap();
}

#[tokio::test]
async fn when_a_destination_answers_nonsense_the_source_is_told() {
    let (relay, address) = relay(|_| {}).await;
    let (host, guest) = (Raw::connect(&address).await, Raw::connect(&address).await);
    host.reserve().await.unwrap();
    let incoming = host
        .node
        .with(|swarm| swarm.behaviour_mut().accept(peerway_hop::STOP_PROTOCOL))
        .await;
    let mut incoming = incoming.unwrap();
    // Nonsense, nothing, a refusal that is passed on, and one that is not.
    let answers: [(&[u8], Refusal); 4] = [
        (&[3, 1, 2, 3], Refusal::ConnectionFailed),
        (&[], Refusal::ConnectionFailed),
        (&[5, 8, 1, 32, 0xca, 0x01], Refusal::PermissionDenied),
        (&[5, 8, 1, 32, 0xcc, 0x01], Refusal::ConnectionFailed),
    ];
    for (answer, told) in answers {
        let reach = guest.reach(host.node.id);
        let (reached, ()) = futures::join!(reach, async {
            use futures::StreamExt;
            let (_, mut stream) = incoming.next().await.unwrap();
            stream.write_all(answer).await.unwrap();
            stream.flush().await.unwrap();
        });
        assert_eq!(reached.err(), Some(raw::told(told)), "{answer:?}");
    }
    assert_eq!(relay.counts().await, (1, 0));
}

#[tokio::test]
async fn when_clients_send_whatever_the_relay_lives() {
    const SEED: u64 = 7;
    let (relay, address) = relay(|config| config.handshakes.deadline = Duration::from_secs(2)).await;
    let mut rng = SmallRng::seed_from_u64(SEED);
    let clients = join_all((0..4).map(|_| Raw::connect(&address))).await;
    for round in 0..100 {
        for client in &clients {
            let mut bytes = vec![0; (rng.next_u32() % 600) as usize];
            rng.fill_bytes(&mut bytes);
            if round % 2 == 0 && !bytes.is_empty() {
                // A sound length, or nothing else would ever be read.
                bytes[0] = u8::try_from(bytes.len().saturating_sub(1).min(127)).unwrap();
            }
            let Ok(mut stream) = client.open().await else {
                continue;
            };
            let _ = stream.write_all(&bytes).await;
            let _ = stream.close().await;
        }
    }
    assert!(relay.is_running(), "seed {SEED}");
    let honest = Raw::connect(&address).await;
    honest.reserve().await.unwrap();
}
