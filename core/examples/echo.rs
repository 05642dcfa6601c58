//! Two nodes that know one relay find each other by peer id and echo. The same source runs natively and in a page.
//!
//! `cargo run --example echo -- RELAY` prints a peer id; `cargo run --example echo -- RELAY PEER` talks to it.
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::select, pin_mut};
use libp2p::{PeerId, StreamProtocol, identity::Keypair};
use peerway_core::node::{self, Node, Reach};

const ECHO: StreamProtocol = StreamProtocol::new("/example/echo/1.0.0");

async fn serve(node: Node) -> Result<(), Box<dyn std::error::Error>> {
    let mut incoming = node.accept(ECHO).await??;
    while let Some((peer, stream)) = incoming.next().await {
        let (reader, mut writer) = stream.split();
        let bytes = futures::io::copy(reader, &mut writer).await?;
        writer.close().await?;
        println!("echoed {bytes} bytes to {peer}");
    }
    Ok(())
}

async fn ask(node: Node, peer: PeerId) -> Result<(), Box<dyn std::error::Error>> {
    let route = node.connect(peer, Reach::PreferDirect).await?;
    let mut stream = node.open(peer, ECHO).await?;
    stream.write_all(b"hello through the relay").await?;
    stream.close().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("{answer} ({route:?})");
    Ok(())
}

async fn run(relay: &str, peer: Option<&str>) -> Result<(), Box<dyn std::error::Error>> {
    let relay: peerway_core::reservation::RelaySpec = relay.parse()?;
    let (node, _events, event_loop) = node::builder(Keypair::generate_ed25519()).relay(relay).build()?;
    println!("{}", node.local_peer_id());
    let event_loop = async { Ok(event_loop.run().await) };
    let peer = peer.map(str::parse).transpose()?;
    let work = async { if let Some(peer) = peer { ask(node, peer).await } else { serve(node).await } };
    pin_mut!(event_loop, work);
    select(event_loop, work).await.factor_first().0
}
