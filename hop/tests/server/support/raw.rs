//! Clients that speak HOP and STOP by hand: what goes over the wire is what the test says.

use futures::{AsyncReadExt, AsyncWriteExt, StreamExt};
use libp2p::{Multiaddr, PeerId, Stream, identity::Keypair, multiaddr::Protocol};
use peerway_core::behaviours::{OpenError, Streams};
use peerway_hop::{HOP_PROTOCOL, Refusal, STOP_PROTOCOL};
use prost::Message as _;
use tokio::time::timeout;

use super::{Node, PATIENCE};

/// `RESERVE`, with its length.
pub(crate) const RESERVE: [u8; 3] = [2, 8, 0];
/// A STOP message `STATUS: OK`, with its length.
pub(crate) const ACCEPT: [u8; 5] = [4, 8, 1, 32, 100];
/// A HOP message `STATUS: OK`, with its length: nothing that a client sends.
pub(crate) const STATUS: [u8; 5] = [4, 8, 2, 40, 100];

/// `HopMessage` of the specification, as a client reads it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct HopMessage {
    #[prost(int32, optional, tag = "1")]
    pub(crate) r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    pub(crate) reservation: Option<Reservation>,
    #[prost(message, optional, tag = "4")]
    pub(crate) limit: Option<Limit>,
    #[prost(int32, optional, tag = "5")]
    pub(crate) status: Option<i32>,
}

/// `StopMessage` of the specification, as a destination reads it.
#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct StopMessage {
    #[prost(int32, optional, tag = "1")]
    pub(crate) r#type: Option<i32>,
    #[prost(message, optional, tag = "2")]
    pub(crate) peer: Option<Peer>,
    #[prost(message, optional, tag = "3")]
    pub(crate) limit: Option<Limit>,
    #[prost(int32, optional, tag = "4")]
    pub(crate) status: Option<i32>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Peer {
    #[prost(bytes = "vec", optional, tag = "1")]
    pub(crate) id: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Reservation {
    #[prost(uint64, optional, tag = "1")]
    pub(crate) expire: Option<u64>,
    #[prost(bytes = "vec", repeated, tag = "2")]
    pub(crate) addrs: Vec<Vec<u8>>,
    #[prost(bytes = "vec", optional, tag = "3")]
    pub(crate) voucher: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(crate) struct Limit {
    #[prost(uint32, optional, tag = "1")]
    pub(crate) duration: Option<u32>,
    #[prost(uint64, optional, tag = "2")]
    pub(crate) data: Option<u64>,
}

/// A client that is nothing but streams, and its relay.
pub(crate) struct Raw {
    pub(crate) node: Node<Streams>,
    relay: PeerId,
}

impl Raw {
    /// Connected to the relay.
    pub(crate) async fn connect(relay: &Multiaddr) -> Self {
        Self::connect_as(Keypair::generate_ed25519(), relay).await
    }

    /// The same, with these keys.
    pub(crate) async fn connect_as(keys: Keypair, relay: &Multiaddr) -> Self {
        let node = Node::start_as(keys, |_, _| Streams::new());
        node.connect(relay).await;
        let Some(Protocol::P2p(relay)) = relay.iter().last() else {
            panic!("{relay} names nobody");
        };
        Self { node, relay }
    }

    pub(crate) async fn open(&self) -> Result<Stream, OpenError> {
        let relay = self.relay;
        self.node
            .with(move |swarm| swarm.behaviour_mut().open(relay, HOP_PROTOCOL))
            .await
            .await
    }

    /// Says something on a stream of its own, and returns the answer.
    pub(crate) async fn ask(&self, request: &[u8]) -> (HopMessage, Stream) {
        let mut stream = self.open().await.unwrap();
        stream.write_all(request).await.unwrap();
        stream.flush().await.unwrap();
        (read(&mut stream).await, stream)
    }

    /// Asks for a reservation.
    pub(crate) async fn reserve(&self) -> Result<HopMessage, Option<i32>> {
        let (answer, _) = self.ask(&RESERVE).await;
        if answer.status == Some(100) {
            Ok(answer)
        } else {
            Err(answer.status)
        }
    }

    /// Asks for a circuit.
    pub(crate) async fn reach(&self, peer: PeerId) -> Result<Stream, Option<i32>> {
        let (answer, stream) = self.ask(&connect(peer)).await;
        if answer.status == Some(100) {
            Ok(stream)
        } else {
            Err(answer.status)
        }
    }

    /// Serves its end of circuits from now on: accepts each, and hands it to `serve`.
    pub(crate) async fn serve<F>(&self, mut serve: impl FnMut(Stream) -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let incoming = self
            .node
            .with(|swarm| swarm.behaviour_mut().accept(STOP_PROTOCOL))
            .await;
        let mut incoming = incoming.unwrap();
        tokio::spawn(async move {
            while let Some((_, mut stream)) = incoming.next().await {
                let _: StopMessage = read(&mut stream).await;
                stream.write_all(&ACCEPT).await.unwrap();
                stream.flush().await.unwrap();
                tokio::spawn(serve(stream));
            }
        });
    }
}

/// `CONNECT`, with its length.
pub(crate) fn connect(peer: PeerId) -> Vec<u8> {
    let message = HopMessage {
        r#type: Some(1),
        peer: Some(Peer {
            id: Some(peer.to_bytes()),
        }),
        ..HopMessage::default()
    };
    message.encode_length_delimited_to_vec()
}

/// The number that a client sees.
pub(crate) fn told(refusal: Refusal) -> Option<i32> {
    Some(refusal.code())
}

/// Reads one message of at most 16 383 bytes, and nothing after it.
pub(crate) async fn read<M: prost::Message + Default>(stream: &mut Stream) -> M {
    let message = async {
        let mut byte = [0];
        stream.read_exact(&mut byte).await?;
        let mut length = usize::from(byte[0] & 0x7f);
        if byte[0] & 0x80 != 0 {
            stream.read_exact(&mut byte).await?;
            length |= usize::from(byte[0]) << 7;
        }
        let mut body = vec![0; length];
        stream.read_exact(&mut body).await?;
        std::io::Result::Ok(M::decode(&body[..]).unwrap())
    };
    timeout(PATIENCE, message).await.unwrap().unwrap()
}
