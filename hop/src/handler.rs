//! One connection's part in the relay: reads requests, opens the way to a destination, writes answers, carries circuits.
//!
//! Decides nothing but what cannot be understood and what takes too long. Requests wait here, with their streams, until
//! the behaviour says what comes of them.
//!
//! Bounds: [`HandshakeLimits::per_connection`](crate::HandshakeLimits::per_connection) requests at once, of which each has a
//! deadline; a stream beyond them is reset. What the behaviour asks for is bounded by its limits on circuits.

use std::{
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    sync::Arc,
    task::{Context, Poll},
};

use futures::{AsyncWriteExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use libp2p_core::upgrade::ReadyUpgrade;
use libp2p_identity::PeerId;
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
    handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
};
use web_time::Instant;

use crate::{
    HOP_PROTOCOL, OpenError, Outcome, Refusal, STOP_PROTOCOL,
    config::{CircuitLimits, HandshakeLimits},
    copy::{Copier, CopyError},
    frame::{self, ReadError},
    message::{self, Request},
    server::RequestId,
    ticket::{Ending, Ticket},
};

/// What the behaviour asks for.
#[derive(Debug)]
pub enum Command {
    /// Answer, and keep the connection: it carries a reservation.
    Grant { request: RequestId, answer: Vec<u8> },
    /// Answer.
    Refuse { request: RequestId, refusal: Refusal },
    /// The connection carries a reservation no longer.
    Release,
    /// Ask this peer whether it takes a circuit.
    Open { ticket: Ticket, message: Vec<u8> },
    /// Answer, and carry the circuit between the request's stream and this one.
    Bridge {
        request: RequestId,
        answer: Vec<u8>,
        ticket: Ticket,
        destination: Box<Stream>,
        limits: CircuitLimits,
    },
}

/// What the behaviour is told.
#[derive(Debug)]
pub enum Report {
    /// The peer asks for a reservation.
    Reserve { request: RequestId },
    /// The peer asks for a circuit.
    Connect { request: RequestId, destination: PeerId },
    /// What the peer sent is no request. It has been told so.
    Rejected { refusal: Refusal },
    /// The peer takes a circuit, over this stream.
    Accepted { ticket: Ticket, stream: Box<Stream> },
}

type HandlerEvent = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, Opening, Report>;

/// A circuit that waits for a stream to its destination.
#[derive(Debug)]
pub struct Opening {
    ticket: Ticket,
    message: Vec<u8>,
}

pub struct Handler {
    limits: HandshakeLimits,
    reservation: Reservation,
    /// Each request holds one; how many there are is how many requests there are.
    places: Arc<()>,
    waiting: BTreeMap<RequestId, Inbound>,
    last_request: u64,
    handshakes: FuturesUnordered<BoxFuture<'static, Handshake>>,
    bridges: FuturesUnordered<BoxFuture<'static, ()>>,
    /// Bounded by the requests and by what the behaviour asked for.
    events: VecDeque<HandlerEvent>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Reservation {
    None,
    Held,
}

/// A HOP stream and its place among the requests.
struct Inbound {
    stream: Stream,
    place: Arc<()>,
}

/// What comes of a handshake.
enum Handshake {
    Asked(Inbound, Request),
    NotUnderstood(Inbound, Refusal),
    Accepted(Ticket, Box<Stream>),
    Over,
}

impl Handler {
    pub(crate) fn new(limits: HandshakeLimits) -> Self {
        Self {
            limits,
            reservation: Reservation::None,
            places: Arc::new(()),
            waiting: BTreeMap::new(),
            last_request: 0,
            handshakes: FuturesUnordered::new(),
            bridges: FuturesUnordered::new(),
            events: VecDeque::new(),
        }
    }

    fn on_inbound(&mut self, stream: Stream) {
        // One of the references is ours.
        if Arc::strong_count(&self.places) > self.limits.per_connection {
            tracing::debug!("too many requests at once; a stream is reset");
            return;
        }
        let inbound = Inbound {
            stream,
            place: Arc::clone(&self.places),
        };
        self.handshakes.push(Box::pin(ask(inbound, self.limits.deadline)));
    }

    fn answer(&mut self, request: RequestId, message: Vec<u8>) {
        if let Some(inbound) = self.take_waiting(request) {
            self.handshakes
                .push(Box::pin(answer(inbound, message, self.limits.deadline)));
        }
    }

    fn take_waiting(&mut self, request: RequestId) -> Option<Inbound> {
        let inbound = self.waiting.remove(&request);
        if self.waiting.is_empty() {
            // An empty one keeps room for eleven: 1.7 KiB of every peer that ever asked for something.
            self.waiting = BTreeMap::new();
        }
        inbound
    }

    fn on_handshake(&mut self, handshake: Handshake) {
        match handshake {
            Handshake::Asked(inbound, request) => {
                self.last_request += 1;
                let id = RequestId(self.last_request);
                self.waiting.insert(id, inbound);
                self.report(match request {
                    Request::Reserve => Report::Reserve { request: id },
                    Request::Connect { destination } => Report::Connect {
                        request: id,
                        destination,
                    },
                });
            }
            Handshake::NotUnderstood(inbound, refusal) => {
                let answer = answer(inbound, message::refused(refusal), self.limits.deadline);
                self.handshakes.push(Box::pin(answer));
                self.report(Report::Rejected { refusal });
            }
            Handshake::Accepted(ticket, stream) => self.report(Report::Accepted { ticket, stream }),
            Handshake::Over => {}
        }
    }

    fn report(&mut self, report: Report) {
        self.events.push_back(ConnectionHandlerEvent::NotifyBehaviour(report));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Command;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Opening;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(HOP_PROTOCOL), ()).with_timeout(self.limits.deadline)
    }

    fn connection_keep_alive(&self) -> bool {
        self.reservation == Reservation::Held
    }

    fn on_behaviour_event(&mut self, command: Command) {
        match command {
            Command::Grant { request, answer } => {
                self.reservation = Reservation::Held;
                self.answer(request, answer);
            }
            Command::Refuse { request, refusal } => self.answer(request, message::refused(refusal)),
            Command::Release => self.reservation = Reservation::None,
            Command::Open { ticket, message } => {
                let protocol = SubstreamProtocol::new(ReadyUpgrade::new(STOP_PROTOCOL), Opening { ticket, message });
                let protocol = protocol.with_timeout(self.limits.deadline);
                self.events
                    .push_back(ConnectionHandlerEvent::OutboundSubstreamRequest { protocol });
            }
            Command::Bridge {
                request,
                answer,
                ticket,
                destination,
                limits,
            } => match self.take_waiting(request) {
                Some(source) => {
                    let deadline = self.limits.deadline;
                    let bridge = async move {
                        let outcome = bridge(source, answer, deadline, *destination, &limits, &ticket).await;
                        ticket.end(Ending::Closed(outcome));
                    };
                    self.bridges.push(Box::pin(bridge));
                }
                None => ticket.end(Ending::Closed(Outcome::ConnectionClosed)),
            },
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others change nothing here"
    )]
    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), Opening>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                self.on_inbound(protocol);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                self.handshakes
                    .push(Box::pin(offer(info, protocol, self.limits.deadline)));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                info.ticket.end(Ending::NotOpened(stream_error(error)));
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HandlerEvent> {
        loop {
            if let Some(event) = self.events.pop_front() {
                return Poll::Ready(event);
            }
            match self.handshakes.poll_next_unpin(cx) {
                Poll::Ready(Some(handshake)) => self.on_handshake(handshake),
                Poll::Ready(None) | Poll::Pending => break,
            }
        }
        while let Poll::Ready(Some(())) = self.bridges.poll_next_unpin(cx) {}
        Poll::Pending
    }
}

/// Reads what a client wants.
async fn ask(mut inbound: Inbound, deadline: std::time::Duration) -> Handshake {
    match frame::within(deadline, frame::read(&mut inbound.stream)).await {
        Ok(bytes) => match message::decode_request(&bytes) {
            Ok(request) => Handshake::Asked(inbound, request),
            Err(error) => Handshake::NotUnderstood(inbound, error.refusal()),
        },
        Err(ReadError::Length) => Handshake::NotUnderstood(inbound, Refusal::MalformedMessage),
        Err(ReadError::Io(error)) => {
            tracing::debug!(%error, "a request did not come");
            Handshake::Over
        }
    }
}

/// Writes an answer that ends the stream.
async fn answer(mut inbound: Inbound, message: Vec<u8>, deadline: std::time::Duration) -> Handshake {
    let written = async {
        frame::write(&mut inbound.stream, &message).await?;
        inbound.stream.close().await
    };
    if let Err(error) = frame::within(deadline, written).await {
        tracing::debug!(%error, "an answer was not taken");
    }
    Handshake::Over
}

/// Asks a destination.
async fn offer(opening: Opening, mut stream: Stream, deadline: std::time::Duration) -> Handshake {
    let Opening { ticket, message } = opening;
    let asked = async {
        frame::write(&mut stream, &message).await?;
        frame::read(&mut stream).await
    };
    let error = match frame::within(deadline, asked).await {
        Ok(bytes) => match message::decode_answer(&bytes) {
            Ok(Ok(())) => return Handshake::Accepted(ticket, Box::new(stream)),
            Ok(Err(refusal)) => OpenError::Refused(refusal),
            Err(_) => OpenError::Malformed,
        },
        Err(ReadError::Length) => OpenError::Malformed,
        Err(ReadError::Io(error)) if error.kind() == std::io::ErrorKind::TimedOut => OpenError::TimedOut,
        Err(ReadError::Io(error)) => OpenError::Stream(error.kind()),
    };
    ticket.end(Ending::NotOpened(error));
    Handshake::Over
}

/// Answers, and carries the circuit until it ends or is cut. Its streams are dropped, and so reset, before it returns.
async fn bridge(
    mut source: Inbound,
    answer: Vec<u8>,
    deadline: std::time::Duration,
    destination: Stream,
    limits: &CircuitLimits,
    ticket: &Ticket,
) -> Outcome {
    if let Err(error) = frame::within(deadline, frame::write(&mut source.stream, &answer)).await {
        return Outcome::Failed(std::io::Error::kind(&error));
    }
    // From here on it is no request any more, and its place is free.
    let Inbound { stream, place } = source;
    drop(place);
    let mut copier = Copier::new(stream, destination, limits, Instant::now());
    let carried = std::future::poll_fn(|cx| match ticket.poll_cut(cx) {
        Poll::Ready(()) => Poll::Ready(None),
        Poll::Pending => copier.poll(ticket.tally(), cx).map(Some),
    });
    match carried.await {
        Some(Ok(())) => Outcome::Finished,
        Some(Err(CopyError::DataLimit)) => Outcome::DataLimit,
        Some(Err(CopyError::Io(error))) => Outcome::Failed(error.kind()),
        // Why is known to whoever cut it.
        None => Outcome::DurationLimit,
    }
}

fn stream_error(error: StreamUpgradeError<Infallible>) -> OpenError {
    match error {
        StreamUpgradeError::NegotiationFailed => OpenError::Unsupported,
        StreamUpgradeError::Timeout => OpenError::TimedOut,
        StreamUpgradeError::Io(error) => OpenError::Stream(error.kind()),
        StreamUpgradeError::Apply(never) => match never {},
    }
}
