//! `Streams` beside a circuit and a direct connection to the same peer.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{
    Multiaddr, PeerId, StreamProtocol,
    swarm::{
        ConnectionId, SwarmEvent,
        dial_opts::{DialOpts, PeerCondition},
    },
};
use tokio::time::timeout;

use super::discovery::until_discovered;
use crate::support::{Own, PATIENCE, Relay, Running, own};

const ECHO: StreamProtocol = StreamProtocol::new("/test/echo/1.0.0");

async fn connect(from: &mut Running<Own>, to: PeerId, address: Multiaddr) -> ConnectionId {
    let options = DialOpts::peer_id(to)
        .condition(PeerCondition::Always)
        .addresses(vec![address])
        .build();
    let connection = options.connection_id();
    from.with(move |swarm| swarm.dial(options)).await.unwrap();
    from.until("connected", |event| match event {
        SwarmEvent::ConnectionEstablished { connection_id, .. } => (connection_id == connection).then_some(()),
        SwarmEvent::OutgoingConnectionError { error, .. } => panic!("not connected: {error}"),
        _ => None,
    })
    .await;
    connection
}

/// Echoes whatever comes.
async fn serve(peer: &mut Running<Own>) {
    let mut incoming = peer
        .with(|swarm| swarm.behaviour_mut().streams.accept(ECHO))
        .await
        .unwrap();
    tokio::spawn(async move {
        while let Some((_, stream)) = incoming.next().await {
            tokio::spawn(async move {
                let (reader, mut writer) = stream.split();
                // A stream that its connection takes with it is what the test is about.
                let _ = futures::io::copy(reader, &mut writer).await;
            });
        }
    });
}

async fn open(from: &mut Running<Own>, to: PeerId) -> libp2p::Stream {
    let opened = from
        .with(move |swarm| swarm.behaviour_mut().streams.open(to, ECHO))
        .await;
    timeout(PATIENCE, opened).await.unwrap().unwrap()
}

async fn echo(stream: &mut libp2p::Stream, text: &[u8]) -> std::io::Result<()> {
    stream.write_all(text).await?;
    stream.flush().await?;
    let mut answer = vec![0; text.len()];
    timeout(PATIENCE, stream.read_exact(&mut answer)).await.unwrap()?;
    assert_eq!(answer, text);
    Ok(())
}

async fn best(peer: &mut Running<Own>, of: PeerId) -> Option<ConnectionId> {
    peer.with(move |swarm| swarm.behaviour().streams.best(of)).await
}

#[tokio::test]
async fn a_stream_goes_over_the_circuit_until_there_is_a_direct_connection() {
    let relay = Relay::start().await;
    let (mut a, mut b) = (own(&relay), own(&relay));
    let (relay_id, b_id) = (relay.running.id, b.id);
    serve(&mut b).await;
    let relayed = until_discovered(&mut a, b_id).await.remove(0);
    let circuit = connect(&mut a, b_id, relayed).await;
    assert_eq!(best(&mut a, b_id).await, Some(circuit));
    let mut over_circuit = open(&mut a, b_id).await;
    echo(&mut over_circuit, b"through the relay").await.unwrap();

    let address = b.listen().await;
    let direct = connect(&mut a, b_id, address).await;
    assert_eq!(best(&mut a, b_id).await, Some(direct));
    let mut over_direct = open(&mut a, b_id).await;
    echo(&mut over_direct, b"directly").await.unwrap();

    // The proof of what went where: the relay dies.
    relay.stop().await;
    a.until("the relay is lost", |event| match event {
        SwarmEvent::ConnectionClosed { peer_id, .. } => (peer_id == relay_id).then_some(()),
        _ => None,
    })
    .await;
    echo(&mut over_circuit, b"through nobody").await.unwrap_err();
    echo(&mut over_direct, b"still directly").await.unwrap();
    assert_eq!(best(&mut a, b_id).await, Some(direct));
}
