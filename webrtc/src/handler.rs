//! One circuit's part in direct connections: opens and accepts signalling streams on it and runs the sessions on them.
//!
//! At most one session of each role at a time. Whether an offer is answered is for the behaviour, which knows of the
//! other sessions with the same peer; a stream waits here until it says so.

use std::{
    collections::VecDeque,
    task::{Context, Poll, Waker},
};

use libp2p_core::upgrade::ReadyUpgrade;
use libp2p_swarm::{
    ConnectionHandler, ConnectionHandlerEvent, Stream, StreamProtocol, StreamUpgradeError, SubstreamProtocol,
    handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
};
use send_wrapper::SendWrapper;
use web_time::Instant;

use crate::{
    Connection, IceServer,
    behaviour::{AttemptId, Error},
    exchange::{Exchange, ExchangeEvent},
    signaling::{self, Cancellation, Phase, Role, SessionConfig},
};

/// What the behaviour asks for.
#[derive(Debug)]
pub enum Command {
    /// Open a stream and make an offer on it.
    Offer {
        attempt: AttemptId,
        servers: Vec<IceServer>,
        session: SessionConfig,
    },
    /// Answer the offer whose stream waits.
    Answer {
        attempt: AttemptId,
        servers: Vec<IceServer>,
        session: SessionConfig,
    },
    /// Reset the stream that waits.
    Refuse,
    /// End a session.
    Cancel { attempt: AttemptId, why: Cancellation },
}

/// What the behaviour is told.
#[derive(Debug)]
pub enum Report {
    /// The other peer opened a stream.
    Offered,
    /// A session came this far.
    Phase { attempt: AttemptId, phase: Phase },
    /// A session has led to a direct connection.
    Connected { attempt: AttemptId, connection: Connection },
    /// A session, or the stream for it, failed. One that led to a connection does not report its end.
    Failed { attempt: AttemptId, error: Error },
}

type HandlerEvent = ConnectionHandlerEvent<ReadyUpgrade<StreamProtocol>, AttemptId, Report>;

pub struct Handler {
    /// An offer of ours whose stream is being opened.
    opening: Option<(AttemptId, Vec<IceServer>, SessionConfig)>,
    /// A stream of the other peer's that waits for the behaviour's word.
    waiting: Option<Stream>,
    /// Never leave the browser's one thread.
    running: SendWrapper<Vec<Running>>,
    events: VecDeque<HandlerEvent>,
    waker: Option<Waker>,
}

struct Running {
    attempt: AttemptId,
    role: Role,
    exchange: Exchange,
}

impl Handler {
    pub(crate) fn new() -> Self {
        Self {
            opening: None,
            waiting: None,
            running: SendWrapper::new(Vec::new()),
            events: VecDeque::new(),
            waker: None,
        }
    }

    fn report(&mut self, report: Report) {
        self.events.push_back(ConnectionHandlerEvent::NotifyBehaviour(report));
    }

    fn fail(&mut self, attempt: AttemptId, error: Error) {
        self.report(Report::Failed { attempt, error });
    }

    fn begin(
        &mut self,
        (attempt, servers, session): (AttemptId, Vec<IceServer>, SessionConfig),
        role: Role,
        stream: Stream,
    ) {
        let exchange = Exchange::new(role, session, servers, stream, Instant::now());
        self.running.push(Running {
            attempt,
            role,
            exchange,
        });
    }

    fn on_cancel(&mut self, attempt: AttemptId, why: Cancellation) {
        if let Some((opening, ..)) = self.opening
            && opening == attempt
        {
            self.opening = None;
            self.fail(attempt, signaling::SessionError::Cancelled(why).into());
        }
        for running in self.running.iter_mut().filter(|running| running.attempt == attempt) {
            running.exchange.cancel(why);
        }
    }

    fn poll_running(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut moved = Poll::Pending;
        let mut index = 0;
        while let Some(Running { attempt, exchange, .. }) = self.running.get_mut(index) {
            let attempt = *attempt;
            match exchange.poll(cx) {
                Poll::Pending => {
                    index += 1;
                    continue;
                }
                Poll::Ready(ExchangeEvent::Phase(phase)) => self.report(Report::Phase { attempt, phase }),
                Poll::Ready(ExchangeEvent::Connected(connection)) => {
                    self.report(Report::Connected { attempt, connection });
                }
                Poll::Ready(ExchangeEvent::Finished(result)) => {
                    self.running.swap_remove(index);
                    if let Err(error) = result {
                        self.fail(attempt, error.into());
                    }
                }
            }
            moved = Poll::Ready(());
        }
        moved
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Command;
    type ToBehaviour = Report;
    type InboundProtocol = ReadyUpgrade<StreamProtocol>;
    type OutboundProtocol = ReadyUpgrade<StreamProtocol>;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = AttemptId;

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        SubstreamProtocol::new(ReadyUpgrade::new(signaling::PROTOCOL), ())
    }

    fn connection_keep_alive(&self) -> bool {
        self.opening.is_some() || self.waiting.is_some() || !self.running.is_empty()
    }

    fn on_behaviour_event(&mut self, command: Command) {
        match command {
            Command::Offer {
                attempt,
                servers,
                session,
            } => {
                let taken =
                    self.opening.is_some() || self.running.iter().any(|running| running.role == Role::Initiator);
                if taken {
                    self.fail(attempt, Error::Busy);
                } else {
                    self.opening = Some((attempt, servers, session));
                    self.events.push_back(ConnectionHandlerEvent::OutboundSubstreamRequest {
                        protocol: SubstreamProtocol::new(ReadyUpgrade::new(signaling::PROTOCOL), attempt),
                    });
                }
            }
            Command::Answer {
                attempt,
                servers,
                session,
            } => match self.waiting.take() {
                Some(stream) => self.begin((attempt, servers, session), Role::Recipient, stream),
                None => self.fail(attempt, Error::Stopped),
            },
            Command::Refuse => self.waiting = None,
            Command::Cancel { attempt, why } => self.on_cancel(attempt, why),
        }
        if let Some(waker) = self.waker.take() {
            waker.wake();
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others change nothing here"
    )]
    fn on_connection_event(
        &mut self,
        event: ConnectionEvent<'_, Self::InboundProtocol, Self::OutboundProtocol, (), AttemptId>,
    ) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound { protocol, .. }) => {
                let answering = self.running.iter().any(|running| running.role == Role::Recipient);
                if answering || self.waiting.is_some() {
                    tracing::debug!("a second session on one circuit was refused");
                    return;
                }
                self.waiting = Some(protocol);
                self.report(Report::Offered);
            }
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound { protocol, info }) => {
                if let Some(opening) = self.opening.take_if(|(attempt, ..)| *attempt == info) {
                    self.begin(opening, Role::Initiator, protocol);
                }
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error })
                if self.opening.take_if(|(attempt, ..)| *attempt == info).is_some() =>
            {
                self.fail(info, stream_error(&error));
            }
            _ => {}
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<HandlerEvent> {
        if self.events.is_empty() {
            while self.poll_running(cx).is_ready() {}
        }
        match self.events.pop_front() {
            Some(event) => Poll::Ready(event),
            None => {
                self.waker = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

fn stream_error<E>(error: &StreamUpgradeError<E>) -> Error {
    match error {
        StreamUpgradeError::NegotiationFailed => Error::NotSpoken,
        StreamUpgradeError::Timeout => Error::NoAnswer,
        StreamUpgradeError::Apply(_) => Error::Circuit("the stream could not be opened".to_owned()),
        StreamUpgradeError::Io(error) => Error::Circuit(error.to_string()),
    }
}
