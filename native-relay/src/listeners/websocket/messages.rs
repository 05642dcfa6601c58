//! The messages of a WebSocket that a client opened: binary ones carry libp2p's bytes, and there are no others.

use std::{
    io,
    pin::Pin,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use futures::{Sink, SinkExt, Stream, StreamExt};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, accept_async_with_config,
    tungstenite::{Error, Message, protocol::WebSocketConfig},
};
use tokio_util::compat::{Compat, FuturesAsyncReadCompatExt, TokioAsyncReadCompatExt};

use crate::{
    acceptor::Replayed,
    turns::{InTurn, Turns},
};

/// How long the answer to a client's request may take to be written.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);
/// What is allocated for reading from every client, however little it says. More is, while a larger frame comes.
const READ_BUFFER: usize = 2 * 1024;

/// The WebSocket, at the end of the one who was asked for it.
pub(crate) struct Messages {
    socket: WebSocketStream<Compat<InTurn<Compat<Replayed<TcpStream>>>>>,
}

impl Messages {
    /// Answers the request at the beginning of `stream`. `max_frame` bounds a frame, and a message of several.
    pub(super) async fn accept(stream: Replayed<TcpStream>, max_frame: usize, turns: Turns) -> io::Result<Self> {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            // Whoever writes says when it is to be sent, and has put together what belongs together.
            .write_buffer_size(0)
            .max_frame_size(Some(max_frame))
            .max_message_size(Some(max_frame));
        let stream = turns.taken_by(stream.compat()).compat();
        let accepted = timeout(HANDSHAKE_TIMEOUT, accept_async_with_config(stream, Some(config))).await;
        let socket = accepted.map_err(|_| io::ErrorKind::TimedOut)?.map_err(to_io)?;
        Ok(Self { socket })
    }
}

/// Bytes that go into one message, or come out of it.
pub(crate) struct Payload(Bytes);

impl AsRef<[u8]> for Payload {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl From<&[u8]> for Payload {
    fn from(bytes: &[u8]) -> Self {
        Self(Bytes::copy_from_slice(bytes))
    }
}

impl Stream for Messages {
    type Item = io::Result<Payload>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            return Poll::Ready(match ready!(self.socket.poll_next_unpin(cx)) {
                Some(Ok(Message::Binary(bytes))) => Some(Ok(Payload(bytes))),
                // The library has answered them.
                Some(Ok(Message::Ping(_) | Message::Pong(_))) => continue,
                Some(Ok(Message::Text(_) | Message::Frame(_))) => {
                    let why = "libp2p is carried by binary messages only";
                    Some(Err(io::Error::new(io::ErrorKind::InvalidData, why)))
                }
                Some(Ok(Message::Close(_))) | None => None,
                Some(Err(error)) => Some(Err(to_io(error))),
            });
        }
    }
}

impl Sink<Payload> for Messages {
    type Error = io::Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_ready_unpin(cx).map_err(to_io)
    }

    fn start_send(mut self: Pin<&mut Self>, Payload(bytes): Payload) -> io::Result<()> {
        self.socket.start_send_unpin(Message::Binary(bytes)).map_err(to_io)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_flush_unpin(cx).map_err(to_io)
    }

    /// Says that it closes; whether that is answered is not waited for.
    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.socket.poll_close_unpin(cx).map_err(to_io)
    }
}

fn to_io(error: Error) -> io::Error {
    if let Error::Io(error) = error {
        return error;
    }
    io::Error::other(error)
}
