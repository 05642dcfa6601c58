//! The application's handle to a node.

use futures::{
    SinkExt,
    channel::{mpsc, oneshot},
    future::BoxFuture,
};
use libp2p::{PeerId, Stream, StreamProtocol};

use super::{Command, Reach, clock::Clock};
use crate::{
    behaviours::{AcceptError, IncomingStreams, OpenError},
    chat::{RoomName, SayError},
    dial::{DialFailure, Route},
    direct::Stats,
    now::Now,
    view::View,
};

/// Resolves to `None` if the browser does not count.
pub(super) type StatsFuture = BoxFuture<'static, Option<Stats>>;

/// The node has shut down: nothing can be asked of it any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the node has shut down")]
pub struct Stopped;

/// Why [`Node::connect`] ended without a connection.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectError {
    /// The last attempt failed; the node goes on trying by itself.
    #[error("the peer cannot be reached now: {0}")]
    Failed(#[from] DialFailure),
    /// Too many calls wait already.
    #[error("too many connections are being waited for")]
    Busy,
    /// See [`Stopped`].
    #[error(transparent)]
    Stopped(#[from] Stopped),
}

/// What the handle asks of the event loop.
pub(super) enum Request {
    Command(Command),
    Connect {
        peer: PeerId,
        reach: Reach,
        reply: oneshot::Sender<Result<Route, ConnectError>>,
    },
    Open {
        peer: PeerId,
        protocol: StreamProtocol,
        reply: oneshot::Sender<crate::behaviours::OpenStream>,
    },
    Accept {
        protocol: StreamProtocol,
        reply: oneshot::Sender<Result<IncomingStreams, AcceptError>>,
    },
    Say {
        room: RoomName,
        text: String,
        reply: oneshot::Sender<Result<String, SayError>>,
    },
    Stats {
        peer: PeerId,
        reply: oneshot::Sender<Option<StatsFuture>>,
    },
    View {
        reply: oneshot::Sender<View>,
    },
}

/// A handle to a running node. Cheap to clone; when the last one is dropped the node shuts down.
#[derive(Clone, Debug)]
pub struct Node {
    local: PeerId,
    clock: Clock,
    requests: mpsc::Sender<Request>,
}

impl Node {
    pub(super) fn new(local: PeerId, clock: Clock, requests: mpsc::Sender<Request>) -> Self {
        Self { local, clock, requests }
    }

    /// Our own peer id.
    #[must_use]
    pub fn local_peer_id(&self) -> PeerId {
        self.local
    }

    /// The time by the node's own clocks: what [`View::apply`] wants.
    #[must_use]
    pub fn now(&self) -> Now {
        self.clock.now()
    }

    /// Tells the node to do something; waits while its queue is full.
    pub async fn send(&self, command: Command) -> Result<(), Stopped> {
        self.request(Request::Command(command)).await
    }

    /// Connects to a peer, on the route that `reach` allows. Done as soon as there is such a connection.
    pub async fn connect(&self, peer: PeerId, reach: Reach) -> Result<Route, ConnectError> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Connect { peer, reach, reply }).await?;
        answer.await.map_err(|_| Stopped)?
    }

    /// Opens a stream on the best connection to a peer. Connect first.
    pub async fn open(&self, peer: PeerId, protocol: StreamProtocol) -> Result<Stream, OpenError> {
        let (reply, answer) = oneshot::channel();
        let request = Request::Open { peer, protocol, reply };
        self.request(request).await.map_err(|Stopped| OpenError::Stopped)?;
        answer.await.map_err(|_| OpenError::Stopped)?.await
    }

    /// What the browser counts of the direct connection to a peer; `None` if the best connection to it is of another kind.
    pub async fn stats(&self, peer: PeerId) -> Result<Option<Stats>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Stats { peer, reply }).await?;
        Ok(match answer.await.map_err(|_| Stopped)? {
            Some(counted) => counted.await,
            None => None,
        })
    }

    /// Accepts streams of this protocol from now on, for as long as the result lives.
    pub async fn accept(&self, protocol: StreamProtocol) -> Result<Result<IncomingStreams, AcceptError>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Accept { protocol, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Says a line in a room that was joined; its id. The line is shown at once ([`Event::MessageReceived`]); whether it
    /// left is told by [`Event::MessageSent`] or [`Event::MessageUndelivered`].
    ///
    /// [`Event::MessageReceived`]: super::Event::MessageReceived
    /// [`Event::MessageSent`]: super::Event::MessageSent
    /// [`Event::MessageUndelivered`]: super::Event::MessageUndelivered
    pub async fn say(&self, room: RoomName, text: String) -> Result<Result<String, SayError>, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::Say { room, text, reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Takes part in a room.
    pub async fn join(&self, room: RoomName) -> Result<(), Stopped> {
        self.send(Command::Join(room)).await
    }

    /// What the node knows now: where to start, and where to go on after `Event::Lagged`.
    pub async fn view(&self) -> Result<View, Stopped> {
        let (reply, answer) = oneshot::channel();
        self.request(Request::View { reply }).await?;
        answer.await.map_err(|_| Stopped)
    }

    /// Says goodbye and stops. Done once the event loop has ended, or at once if it has before.
    pub async fn shutdown(mut self) {
        if self.send(Command::Shutdown).await.is_ok() {
            // The loop drops its end when it is through.
            while !self.requests.is_closed() && self.requests.flush().await.is_ok() {
                let (reply, ended) = oneshot::channel();
                if self.request(Request::View { reply }).await.is_err() || ended.await.is_err() {
                    return;
                }
            }
        }
    }

    async fn request(&self, request: Request) -> Result<(), Stopped> {
        self.requests.clone().send(request).await.map_err(|_| Stopped)
    }
}
