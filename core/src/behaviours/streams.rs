//! Raw streams on the best connection to a peer.
//!
//! `libp2p-stream` picks a random one of a peer's connections; with a circuit and a direct connection open it burns the
//! circuit's byte limit. This behaviour opens on the connection that is direct rather than a circuit, and on the newest of those.
//! It never dials: whoever opens a stream has connected before.

mod handler;

use std::{
    collections::{HashMap, VecDeque},
    future::Future,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll},
};

use futures::{
    StreamExt,
    channel::{mpsc, oneshot},
};
use libp2p::{
    Multiaddr, PeerId, Stream, StreamProtocol,
    core::{ConnectedPoint, Endpoint, transport::PortUse},
    swarm::{
        ConnectionClosed, ConnectionDenied, ConnectionId, FromSwarm, NetworkBehaviour, NotifyHandler, THandler,
        THandlerInEvent, THandlerOutEvent, ToSwarm, behaviour::ConnectionEstablished,
    },
};

use self::handler::{Handler, Open};
use super::is_circuit;

/// Inbound streams of one protocol that wait for the application; when full, a further one is reset.
const INBOUND_QUEUE: usize = 16;

/// Why a stream could not be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum OpenError {
    /// There is no connection to the peer: connect first.
    #[error("not connected to {0}")]
    NotConnected(PeerId),
    /// The peer does not speak the protocol.
    #[error("the peer does not speak {0}")]
    Unsupported(StreamProtocol),
    /// The connection ended, or the negotiation failed on the way.
    #[error("the stream could not be opened")]
    Io(#[source] std::io::Error),
    /// The peer did not answer the negotiation in time.
    #[error("the peer did not answer in time")]
    TimedOut,
    /// Too many streams to this peer are being opened at once: wait for those.
    #[error("too many streams are being opened")]
    Busy,
    /// The node has shut down.
    #[error("the node has shut down")]
    Stopped,
}

/// Why a protocol cannot be accepted.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0} is accepted already: drop its IncomingStreams first")]
pub struct AcceptError(pub StreamProtocol);

/// The inbound streams of one protocol. Dropping it stops accepting the protocol.
#[derive(Debug)]
#[must_use = "dropping it stops accepting the protocol"]
pub struct IncomingStreams {
    receiver: mpsc::Receiver<(PeerId, Stream)>,
}

impl futures::Stream for IncomingStreams {
    type Item = (PeerId, Stream);

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.receiver.poll_next_unpin(cx)
    }
}

/// A stream on its way. Dropping it gives the stream up.
#[derive(Debug)]
#[must_use = "futures do nothing unless polled"]
pub struct OpenStream {
    result: oneshot::Receiver<Result<Stream, OpenError>>,
}

impl Future for OpenStream {
    type Output = Result<Stream, OpenError>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        Pin::new(&mut self.result).poll(cx).map(|result| {
            // The handler goes, with its requests, when the connection ends.
            result.unwrap_or_else(|_| Err(OpenError::Io(std::io::ErrorKind::ConnectionReset.into())))
        })
    }
}

/// The behaviour.
#[derive(Default)]
pub struct Streams {
    accepted: Accepted,
    connections: HashMap<PeerId, Vec<(ConnectionId, Directness)>>,
    actions: VecDeque<ToSwarm<std::convert::Infallible, Open>>,
}

impl Streams {
    /// A behaviour that accepts nothing yet.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Opens a stream on the best connection to `peer`.
    ///
    /// The future ends with [`OpenError::NotConnected`] if there is none.
    pub fn open(&mut self, peer: PeerId, protocol: StreamProtocol) -> OpenStream {
        let (sender, result) = oneshot::channel();
        match self.best(peer) {
            Some(connection) => self.actions.push_back(ToSwarm::NotifyHandler {
                peer_id: peer,
                handler: NotifyHandler::One(connection),
                event: Open { protocol, sender },
            }),
            None => {
                // Whoever dropped the future does not want the answer.
                let _ = sender.send(Err(OpenError::NotConnected(peer)));
            }
        }
        OpenStream { result }
    }

    /// Accepts inbound streams of `protocol` from now on.
    pub fn accept(&mut self, protocol: StreamProtocol) -> Result<IncomingStreams, AcceptError> {
        let mut accepted = self.accepted.lock();
        if accepted.get(&protocol).is_some_and(|sender| !sender.is_closed()) {
            return Err(AcceptError(protocol));
        }
        let (sender, receiver) = mpsc::channel(INBOUND_QUEUE);
        accepted.insert(protocol, sender);
        Ok(IncomingStreams { receiver })
    }

    /// The connection on which a stream to `peer` would be opened now.
    #[must_use]
    pub fn best(&self, peer: PeerId) -> Option<ConnectionId> {
        // `max_by_key` returns the last of equals: the newest.
        let (best, _) = self.connections.get(&peer)?.iter().max_by_key(|(_, kind)| *kind)?;
        Some(*best)
    }
}

/// The greater, the better.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Directness {
    Circuit,
    Direct,
}

impl Directness {
    fn of(endpoint: &ConnectedPoint) -> Self {
        if is_circuit(endpoint) {
            Self::Circuit
        } else {
            Self::Direct
        }
    }
}

/// The protocols that the application accepts, shared with the handlers, which live in other tasks.
#[derive(Clone, Default)]
struct Accepted(Arc<Mutex<Acceptors>>);

type Acceptors = HashMap<StreamProtocol, mpsc::Sender<(PeerId, Stream)>>;

impl Accepted {
    fn lock(&self) -> MutexGuard<'_, Acceptors> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn protocols(&self) -> Vec<StreamProtocol> {
        let mut accepted = self.lock();
        accepted.retain(|_, sender| !sender.is_closed());
        accepted.keys().cloned().collect()
    }

    fn deliver(&self, peer: PeerId, protocol: &StreamProtocol, stream: Stream) {
        let Some(mut sender) = self.lock().get(protocol).cloned() else {
            return;
        };
        if sender.try_send((peer, stream)).is_err() {
            tracing::debug!(%peer, %protocol, "inbound stream reset: the application does not take it");
        }
    }
}

impl NetworkBehaviour for Streams {
    type ConnectionHandler = Handler;
    type ToSwarm = std::convert::Infallible;

    fn handle_established_inbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: &Multiaddr,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.accepted.clone()))
    }

    fn handle_established_outbound_connection(
        &mut self,
        _: ConnectionId,
        peer: PeerId,
        _: &Multiaddr,
        _: Endpoint,
        _: PortUse,
    ) -> Result<THandler<Self>, ConnectionDenied> {
        Ok(Handler::new(peer, self.accepted.clone()))
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: only connections matter here"
    )]
    fn on_swarm_event(&mut self, event: FromSwarm) {
        match event {
            FromSwarm::ConnectionEstablished(ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            }) => self.on_established(peer_id, connection_id, endpoint),
            FromSwarm::ConnectionClosed(ConnectionClosed {
                peer_id, connection_id, ..
            }) => self.on_closed(peer_id, connection_id),
            _ => {}
        }
    }

    fn on_connection_handler_event(&mut self, _: PeerId, _: ConnectionId, event: THandlerOutEvent<Self>) {
        match event {}
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ToSwarm<Self::ToSwarm, THandlerInEvent<Self>>> {
        match self.actions.pop_front() {
            Some(action) => Poll::Ready(action),
            None => Poll::Pending,
        }
    }
}

impl Streams {
    fn on_established(&mut self, peer: PeerId, connection: ConnectionId, endpoint: &ConnectedPoint) {
        let connections = self.connections.entry(peer).or_default();
        connections.push((connection, Directness::of(endpoint)));
    }

    fn on_closed(&mut self, peer: PeerId, connection: ConnectionId) {
        if let Some(connections) = self.connections.get_mut(&peer) {
            connections.retain(|(id, _)| *id != connection);
            if connections.is_empty() {
                self.connections.remove(&peer);
            }
        }
    }
}
