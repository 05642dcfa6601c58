//! Two nodes that know one relay find each other by peer id and echo: the whole programme, natively and in a page.
use futures::{AsyncReadExt, AsyncWriteExt, StreamExt, future::select, pin_mut};
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
    stream.close().await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    say(format!("{answer} ({route:?})"));
    Ok(())
}

pub(crate) async fn run(relay: &str, peer: Option<&str>, say: impl Fn(String)) -> Outcome {
    let key = Keypair::generate_ed25519();
    let (node, _events, event_loop) = node::builder(key).relay(relay.parse::<node::RelaySpec>()?).build()?;
    say(format!("{}", node.local_peer_id()));
    let (event_loop, peer) = (async { Ok(event_loop.run().await) }, peer.map(str::parse).transpose()?);
    let work = async {
        if let Some(peer) = peer {
            ask(node, peer, &say).await
        } else {
            serve(node, &say).await
        }
    };
    pin_mut!(event_loop, work);
    select(event_loop, work).await.factor_first().0
}
