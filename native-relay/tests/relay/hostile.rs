//! Clients that do not play by the rules, at the page's port.

use std::time::Duration;

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::timeout,
};

use crate::support::{self, Peer, TestRelay, get, websocket};

/// How much the relay takes before it closes.
async fn write_until_closed(stream: TcpStream, piece: &[u8]) -> usize {
    let (mut reader, mut writer) = stream.into_split();
    let mut rest = Vec::new();
    let mut taken = 0;
    let write = async {
        while writer.write_all(piece).await.is_ok() {
            taken += piece.len();
        }
    };
    let read = async {
        let _ = reader.read_to_end(&mut rest).await;
    };
    // Whichever notices first.
    timeout(support::PATIENCE, async {
        tokio::select! {
            () = write => {}
            () = read => {}
        }
    })
    .await
    .expect("the relay closes the connection");
    taken
}

#[tokio::test]
async fn when_a_frame_announces_more_than_fits_the_connection_is_closed() {
    let relay = TestRelay::start().await;
    let mut stream = websocket(&relay).await;
    // A binary frame of 200 MiB, masked with zeros.
    let mut head = vec![0x82, 0xff];
    head.extend_from_slice(&(200_u64 << 20).to_be_bytes());
    head.extend_from_slice(&[0; 4]);
    stream.write_all(&head).await.unwrap();
    let taken = write_until_closed(stream, &[0; 64 * 1024]).await;
    assert!(taken < 16 << 20, "{taken} bytes were taken");
    assert_eq!(get(relay.relay.http_addr(), "/readyz", "").await.status, 200);
}

#[tokio::test]
async fn when_a_websocket_carries_nonsense_it_is_closed_and_others_go_on() {
    let relay = TestRelay::start().await;
    let mut stream = websocket(&relay).await;
    let mut frame = vec![0x82, 0x80 | 20, 0, 0, 0, 0];
    frame.extend_from_slice(&[0xff; 20]);
    stream.write_all(&frame).await.unwrap();
    let mut rest = Vec::new();
    let _ = timeout(support::PATIENCE, stream.read_to_end(&mut rest))
        .await
        .expect("the relay closes it");
    Peer::new().reserve(&relay.address("ws")).await;
}

#[tokio::test]
async fn when_many_clients_never_finish_their_request_others_are_served() {
    let relay = TestRelay::start().await;
    let mut idle = Vec::new();
    for _ in 0..200 {
        let mut stream = TcpStream::connect(relay.relay.http_addr()).await.unwrap();
        stream.write_all(b"GET / HT").await.unwrap();
        idle.push(stream);
    }
    let served = timeout(Duration::from_secs(5), get(relay.relay.http_addr(), "/healthz", ""))
        .await
        .unwrap();
    assert_eq!(served.status, 200);
    Peer::new().reserve(&relay.address("ws")).await;
    // And they do not stay: ten seconds are all that a client gets for its first request.
    let mut rest = Vec::new();
    let closed = timeout(Duration::from_secs(15), idle[0].read_to_end(&mut rest)).await;
    assert!(closed.is_ok(), "a client that never asks is still there");
}
