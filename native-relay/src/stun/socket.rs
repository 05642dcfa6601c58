//! Reads datagrams, asks [`Responder`], sends what it says. Decides nothing but where an answer is sent *from*: the very
//! address that was asked. A socket on all interfaces would otherwise answer from whichever the route prefers, and on a
//! host with several addresses (every one with IPv6) the client's NAT would not let that in.

use std::{
    io::{self, IoSliceMut},
    net::SocketAddr,
    time::Duration,
};

use quinn_udp::{RecvMeta, Transmit, UdpSocketState};
use tokio::{
    io::Interest,
    net::UdpSocket,
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};

use super::Responder;
use crate::{Phase, event_loop::stopping, ledger::StunTally};

/// What one read can bring: the system may join datagrams of one source, up to the size that a datagram can have.
const BUFFER_BYTES: usize = 64 * 1024;
/// How long to wait when a socket cannot be read, before trying again.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound UDP socket.
#[derive(Debug)]
pub(crate) struct Socket {
    io: UdpSocket,
    state: UdpSocketState,
}

impl Socket {
    /// Binds it. An IPv6 socket takes IPv6 only, so that each family can have the same port.
    pub(crate) fn bind(address: SocketAddr) -> io::Result<Self> {
        let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::DGRAM, None)?;
        if address.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_nonblocking(true)?;
        socket.bind(&address.into())?;
        let io = UdpSocket::from_std(socket.into())?;
        let state = UdpSocketState::new((&io).into())?;
        Ok(Self { io, state })
    }

    /// Where it is bound, with the real port.
    pub(crate) fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    async fn serve(self, tally: StunTally) {
        let started = Instant::now();
        let mut responder = Responder::new(tally);
        let mut buffer = vec![0; BUFFER_BYTES];
        loop {
            let meta = match self.receive(&mut buffer).await {
                Ok(meta) => meta,
                Err(error) => {
                    tracing::warn!(%error, "cannot receive STUN requests");
                    sleep(PAUSE).await;
                    continue;
                }
            };
            // An empty datagram has no stride.
            for datagram in buffer[..meta.len].chunks(meta.stride.max(1)) {
                if let Some(answer) = responder.handle_datagram(datagram, meta.addr, started.elapsed())
                    && let Err(error) = self.send(&answer, &meta).await
                {
                    tracing::debug!(%error, "cannot send a STUN answer");
                }
            }
        }
    }

    async fn receive(&self, buffer: &mut [u8]) -> io::Result<RecvMeta> {
        let mut meta = [RecvMeta::default()];
        let receive = || {
            let mut buffers = [IoSliceMut::new(buffer)];
            self.state.recv((&self.io).into(), &mut buffers, &mut meta)
        };
        self.io.async_io(Interest::READABLE, receive).await?;
        let [meta] = meta;
        Ok(meta)
    }

    async fn send(&self, answer: &[u8], request: &RecvMeta) -> io::Result<()> {
        let transmit = Transmit {
            destination: request.addr,
            ecn: None,
            contents: answer,
            segment_size: None,
            src_ip: request.dst_ip,
        };
        let send = || self.state.try_send((&self.io).into(), &transmit);
        self.io.async_io(Interest::WRITABLE, send).await
    }
}

/// Answers on all of them, and counts, until `stop` says so or its sender is gone.
pub(crate) async fn run(sockets: Vec<Socket>, tally: StunTally, mut stop: watch::Receiver<Phase>) {
    let serve = |socket: Socket| socket.serve(tally.clone());
    let mut serving: JoinSet<()> = sockets.into_iter().map(serve).collect();
    tokio::select! {
        () = stopping(&mut stop) => serving.shutdown().await,
        // It serves for ever: this is a panic, reported where it happened.
        Some(_) = serving.join_next() => {}
    }
}
