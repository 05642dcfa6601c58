//! One TCP port for the page and for libp2p: looks at the first request of every connection and hands it on.
//!
//! `Upgrade: websocket` goes to [`crate::listeners::websocket`], everything else to the HTTP service. Decides nothing
//! else: what a path means is [`crate::http`]'s business, who a peer is libp2p's.
//!
//! A connection is judged by its *first* request. A proxy that keeps connections to us open must open a new one for a
//! WebSocket (they do); an upgrade asked for later is refused by the HTTP service.

mod head;
mod replay;

pub(crate) use replay::Replayed;

use std::{io, net::SocketAddr, sync::Arc, time::Duration};

use axum::Router;
use futures::stream::{SelectAll, StreamExt};
use hyper_util::{
    rt::{TokioIo, TokioTimer},
    service::TowerToHyperService,
};
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    task::JoinSet,
    time::timeout,
};

use self::head::Verdict;
use crate::listeners::{self, websocket::Upgrade};

/// The longest request head (request line and headers) that is read; a longer one is answered with 431.
pub(crate) const MAX_HEAD_BYTES: usize = 16 * 1024;

/// How long a client may take to send its first request head: all that a slow-loris client gets. The same again for
/// every later one on a kept connection.
pub(crate) const HEAD_TIMEOUT: Duration = Duration::from_secs(10);

/// How many connections may be reading their first head or be served HTTP at once. Beyond it, new ones are closed
/// unanswered: a browser asks again, and WebSockets that are through do not count.
pub(crate) const MAX_HTTP_CONNECTIONS: usize = 1_024;

/// How long one HTTP connection may last in all: the page over a very slow line fits in, a reader that never reads is
/// not kept.
const MAX_HTTP_DURATION: Duration = Duration::from_secs(600);

/// How many WebSockets may wait for the swarm to take them. Beyond it, new ones are closed: the swarm is stuck.
pub(crate) const MAX_WAITING_UPGRADES: usize = 256;

/// How long to wait when the system gives no more sockets, before trying again.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Bound, not yet accepting: connections made meanwhile wait in the system's queue.
pub(crate) struct Acceptor {
    listeners: Vec<TcpListener>,
    upgrades: mpsc::Sender<Upgrade>,
}

impl Acceptor {
    /// Takes over bound sockets; the second half is what [`crate::listeners::websocket::Upgrades`] reads.
    pub(crate) fn new(listeners: Vec<TcpListener>) -> (Self, mpsc::Receiver<Upgrade>) {
        let (upgrades, incoming) = mpsc::channel(MAX_WAITING_UPGRADES);
        (Self { listeners, upgrades }, incoming)
    }

    /// Accepts until `stop` says so or its sender is gone, then closes what is still served.
    pub(crate) async fn run(self, service: Router, mut stop: watch::Receiver<crate::Phase>) {
        let slots = Arc::new(Semaphore::new(MAX_HTTP_CONNECTIONS));
        let mut connections = JoinSet::new();
        let mut incoming: SelectAll<_> = self.listeners.into_iter().map(incoming).collect();
        loop {
            let accepted = tokio::select! {
                accepted = incoming.next() => accepted,
                Some(_) = connections.join_next() => continue,
                () = crate::event_loop::stopping(&mut stop) => break,
            };
            let Some((stream, remote)) = accepted else { break };
            let Ok(slot) = Arc::clone(&slots).try_acquire_owned() else {
                tracing::debug!("no slot for another HTTP connection");
                continue;
            };
            connections.spawn(handle(stream, remote, slot, self.upgrades.clone(), service.clone()));
        }
        connections.shutdown().await;
    }
}

/// Binds one socket of the page's port.
pub(crate) fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    /// As many as may wait for us while a reload storm hits.
    const BACKLOG: i32 = 1_024;
    let socket = listeners::tcp_socket(address)?;
    socket.set_nonblocking(true)?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// Connections, one after the other. What goes wrong is tried again.
pub(crate) fn incoming(listener: TcpListener) -> impl futures::Stream<Item = (TcpStream, SocketAddr)> + Unpin {
    Box::pin(futures::stream::unfold(listener, |listener| async move {
        loop {
            match listener.accept().await {
                Ok(accepted) => return Some((accepted, listener)),
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }))
}

/// One connection, to its end or until it is libp2p's.
async fn handle(
    mut stream: TcpStream,
    remote: SocketAddr,
    slot: OwnedSemaphorePermit,
    upgrades: mpsc::Sender<Upgrade>,
    service: Router,
) {
    // An unanswered small write would wait for the previous one's acknowledgement; failing to say so is only slower.
    let _ = stream.set_nodelay(true);
    let read = timeout(HEAD_TIMEOUT, read_head(&mut stream)).await;
    match read {
        Ok(Ok((Verdict::WebSocket { request }, head))) => {
            drop(slot);
            let Ok(local) = stream.local_addr() else { return };
            let rest = head.get(request.end..).unwrap_or_default();
            let replay = [request.essential.as_slice(), rest].concat();
            let upgrade = Upgrade {
                local,
                remote,
                stream: Replayed::new(replay, stream),
            };
            if upgrades.try_send(upgrade).is_err() {
                tracing::warn!("the swarm does not take WebSockets; dropped one");
            }
        }
        Ok(Ok((Verdict::Http, head))) => {
            let _slot = slot;
            serve(Replayed::new(head, stream), service).await;
        }
        Ok(Ok((Verdict::TooLong, _))) => {
            let refusal =
                b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
            refuse(&mut stream, refusal).await;
        }
        Ok(Ok((Verdict::NotHttp, _))) => tracing::debug!("a connection to the page's port did not speak HTTP"),
        Ok(Ok((Verdict::Incomplete, _)) | Err(_)) => tracing::debug!("a connection ended before its first request"),
        Err(_) => tracing::debug!("a connection did not send a request in time"),
    }
}

async fn read_head(stream: &mut TcpStream) -> io::Result<(Verdict, Vec<u8>)> {
    let mut bytes = Vec::with_capacity(1_024);
    loop {
        let room = u64::try_from(MAX_HEAD_BYTES + 1 - bytes.len()).unwrap_or(0);
        let read = (&mut *stream).take(room).read_buf(&mut bytes).await?;
        let verdict = head::judge(&bytes);
        if read == 0 || !matches!(verdict, Verdict::Incomplete) {
            return Ok((verdict, bytes));
        }
    }
}

/// HTTP on one connection, to its end.
pub(crate) async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin, service: Router) {
    let served = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD_TIMEOUT)
        .max_buf_size(MAX_HEAD_BYTES)
        .serve_connection(TokioIo::new(stream), TowerToHyperService::new(service));
    match timeout(MAX_HTTP_DURATION, served).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!(%error, "an HTTP connection ended early"),
        Err(_) => tracing::debug!("an HTTP connection was too slow"),
    }
}

/// Says no, and reads a little of what is still coming: closing over unread bytes would reset the connection before
/// the client has read the answer.
async fn refuse(stream: &mut TcpStream, answer: &[u8]) {
    const DRAIN: Duration = Duration::from_secs(1);
    const DRAIN_BYTES: u64 = 256 * 1024;
    if stream.write_all(answer).await.is_err() || stream.shutdown().await.is_err() {
        return;
    }
    let mut rest = stream.take(DRAIN_BYTES);
    let _ = timeout(DRAIN, tokio::io::copy(&mut rest, &mut tokio::io::sink())).await;
}
