//! libp2p over WebSocket on the page's port: a transport whose sockets come from [`crate::acceptor`], and which dials other
//! relays.
//!
//! Listens on no socket of its own: the acceptor decides what is a WebSocket, this end speaks libp2p with it.

use std::{
    collections::VecDeque,
    io,
    net::SocketAddr,
    pin::Pin,
    task::{Context, Poll},
};

use bytes::Bytes;
use futures::{
    FutureExt,
    future::{BoxFuture, Ready, ready},
};
use libp2p::{
    Multiaddr, PeerId, Transport,
    core::{
        muxing::StreamMuxerBox,
        transport::{Boxed, DialOpts, ListenerId, TransportError, TransportEvent},
        upgrade::Version,
    },
    identity::Keypair,
    multiaddr::Protocol,
    noise, websocket, yamux,
};
use tokio::{net::TcpStream, sync::mpsc};
use tokio_util::compat::{Compat, TokioAsyncReadCompatExt};

use crate::{acceptor::Replayed, config, turns::Turns};

/// One accepted socket whose first request asks for a WebSocket; nothing of it has been answered.
pub(crate) struct Upgrade {
    pub(crate) local: SocketAddr,
    pub(crate) remote: SocketAddr,
    pub(crate) stream: Replayed<TcpStream>,
}

/// `max_frame`: the largest frame that is read, before and after authentication. The library would allow 256 MiB to
/// anybody.
pub(crate) fn transport(
    keys: &Keypair,
    max_frame: config::Bytes,
    upgrades: Upgrades,
    turns: Turns,
) -> Result<Boxed<(PeerId, StreamMuxerBox)>, super::TransportsError> {
    let mut transport = websocket::Config::new(super::named(upgrades.map(move |stream, _| turns.taken_by(stream)))?);
    transport.set_max_data_size(usize::try_from(max_frame.get()).unwrap_or(usize::MAX));
    Ok(transport
        .upgrade(Version::V1Lazy)
        .authenticate(noise::Config::new(keys)?)
        .multiplex(yamux::Config::default())
        .map(|(peer, muxer), _| (peer, StreamMuxerBox::new(muxer)))
        .boxed())
}

/// The address of the transport's listener at `socket`, as given to `Swarm::listen_on`.
pub(crate) fn listen_address(socket: SocketAddr) -> Multiaddr {
    tcp_address(socket).with(Protocol::Ws("/".into()))
}

/// There is nothing left to wait for.
type Accepted = Ready<io::Result<Compat<Replayed<TcpStream>>>>;

/// The inner transport: hands on what the acceptor found. Listens only where the acceptor does.
pub(crate) struct Upgrades {
    bound: Vec<SocketAddr>,
    incoming: mpsc::Receiver<Upgrade>,
    listeners: Vec<(ListenerId, SocketAddr)>,
    announced: VecDeque<TransportEvent<Accepted, io::Error>>,
}

impl Upgrades {
    /// `bound`: the acceptor's sockets, with the ports they really got.
    pub(crate) fn new(bound: Vec<SocketAddr>, incoming: mpsc::Receiver<Upgrade>) -> Self {
        Self {
            bound,
            incoming,
            listeners: Vec::new(),
            announced: VecDeque::new(),
        }
    }
}

impl Transport for Upgrades {
    type Output = Compat<Replayed<TcpStream>>;
    type Error = io::Error;
    type ListenerUpgrade = Accepted;
    type Dial = BoxFuture<'static, io::Result<Self::Output>>;

    fn listen_on(&mut self, id: ListenerId, address: Multiaddr) -> Result<(), TransportError<io::Error>> {
        let Some(socket) = self
            .bound
            .iter()
            .copied()
            .find(|socket| tcp_address(*socket) == address)
        else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        self.listeners.push((id, socket));
        self.announced.push_back(TransportEvent::NewAddress {
            listener_id: id,
            listen_addr: address,
        });
        Ok(())
    }

    fn remove_listener(&mut self, id: ListenerId) -> bool {
        let before = self.listeners.len();
        self.listeners.retain(|(listener, _)| *listener != id);
        if self.listeners.len() == before {
            return false;
        }
        self.announced.push_back(TransportEvent::ListenerClosed {
            listener_id: id,
            reason: Ok(()),
        });
        true
    }

    fn dial(&mut self, address: Multiaddr, _: DialOpts) -> Result<Self::Dial, TransportError<io::Error>> {
        let Some(socket) = tcp_socket(&address) else {
            return Err(TransportError::MultiaddrNotSupported(address));
        };
        let dial = async move {
            let stream = TcpStream::connect(socket).await?;
            stream.set_nodelay(true)?;
            Ok(Replayed::new(Bytes::new(), stream).compat())
        };
        Ok(dial.boxed())
    }

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<TransportEvent<Self::ListenerUpgrade, io::Error>> {
        let this = &mut *self;
        if let Some(event) = this.announced.pop_front() {
            return Poll::Ready(event);
        }
        while let Poll::Ready(Some(Upgrade { local, remote, stream })) = this.incoming.poll_recv(cx) {
            // A socket of a listener that was removed meanwhile is dropped, which closes it.
            let Some((id, _)) = this.listeners.iter().find(|(_, socket)| accepts(*socket, local)) else {
                continue;
            };
            return Poll::Ready(TransportEvent::Incoming {
                listener_id: *id,
                upgrade: ready(Ok(stream.compat())),
                local_addr: tcp_address(local),
                send_back_addr: tcp_address(remote),
            });
        }
        // Pending, also when the acceptor is gone: the swarm is told by whoever ends both.
        Poll::Pending
    }
}

/// Whether a connection to `local` came in on the socket bound to `bound`.
fn accepts(bound: SocketAddr, local: SocketAddr) -> bool {
    let same_host = bound.ip() == local.ip() || (bound.ip().is_unspecified() && bound.is_ipv4() == local.is_ipv4());
    same_host && bound.port() == local.port()
}

/// The swarm leaves `/p2p` at the end of what is dialled.
fn tcp_socket(address: &Multiaddr) -> Option<SocketAddr> {
    match address.iter().collect::<Vec<_>>()[..] {
        [Protocol::Ip4(ip), Protocol::Tcp(port)] | [Protocol::Ip4(ip), Protocol::Tcp(port), Protocol::P2p(_)] => {
            Some((ip, port).into())
        }
        [Protocol::Ip6(ip), Protocol::Tcp(port)] | [Protocol::Ip6(ip), Protocol::Tcp(port), Protocol::P2p(_)] => {
            Some((ip, port).into())
        }
        _ => None,
    }
}

fn tcp_address(socket: SocketAddr) -> Multiaddr {
    Multiaddr::from(socket.ip()).with(Protocol::Tcp(socket.port()))
}
