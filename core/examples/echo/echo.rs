//! Two nodes that know one relay find each other by peer id and echo: the whole programme, natively and in a page.
use futures::{AsyncReadExt, AsyncWriteExt, FutureExt, StreamExt, future::join};
use libp2p::{PeerId, StreamProtocol, identity::Keypair};
use peerway_core::node::{self, Node, Reach};

const ECHO: StreamProtocol = StreamProtocol::new("/example/echo/1.0.0");
type Outcome = Result<(), Box<dyn std::error::Error>>;

async fn serve(node: Node, say: impl Fn(String)) -> Outcome {
    let mut incoming = node.accept(ECHO).await??;
    while let Some((peer, stream)) = incoming.next().await {
        let (reader, mut writer) = stream.split();
        let bytes = futures::io::copy(reader, &mut writer).await?;
        writer.close().await?;
        say(format!("echoed {bytes} bytes to {peer}"));
    }
    Ok(())
}

async fn ask(node: Node, peer: PeerId, say: impl Fn(String)) -> Outcome {
    let route = node.connect(peer, Reach::PreferDirect).await?;
    let mut stream = node.open(peer, ECHO).await?;
    stream.write_all(b"hello through the relay").await?;
    let mut answer = [0; 23];
    stream.read_exact(&mut answer).await?;
    say(format!("{} ({route:?})", String::from_utf8_lossy(&answer)));
    Ok(())
}

pub(crate) async fn run(relay: &str, peer: Option<&str>, say: impl Fn(String)) -> Outcome {
    let key = Keypair::generate_ed25519();
    let (node, _events, event_loop) = node::builder(key).relay(relay.parse::<node::RelaySpec>()?).build()?;
    say(node.local_peer_id().to_string());
    let work = match peer {
        Some(peer) => ask(node, peer.parse()?, say).left_future(),
        None => serve(node, say).right_future(),
    };
    join(event_loop.run(), work).await.1
}
