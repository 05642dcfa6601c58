//! One connection's half of [`Streams`](super::Streams): asks for outbound streams, delivers inbound ones.

use std::{
    collections::VecDeque,
    convert::Infallible,
    task::{Context, Poll},
};

use futures::{
    channel::oneshot,
    future::{Ready, ready},
};
use libp2p::{
    InboundUpgrade, OutboundUpgrade, PeerId, Stream, StreamProtocol,
    core::UpgradeInfo,
    swarm::{
        ConnectionHandler, ConnectionHandlerEvent, StreamUpgradeError, SubstreamProtocol,
        handler::{ConnectionEvent, DialUpgradeError, FullyNegotiatedInbound, FullyNegotiatedOutbound},
    },
};

use super::{Accepted, OpenError};

/// Streams of one connection that are being opened; a further request fails with [`OpenError::Busy`].
const OPENING_PER_CONNECTION: usize = 64;

/// A request for an outbound stream.
#[derive(Debug)]
pub struct Open {
    pub(super) protocol: StreamProtocol,
    pub(super) sender: oneshot::Sender<Result<Stream, OpenError>>,
}

/// See the module.
pub struct Handler {
    peer: PeerId,
    accepted: Accepted,
    requests: VecDeque<Open>,
    opening: usize,
}

impl Handler {
    pub(super) fn new(peer: PeerId, accepted: Accepted) -> Self {
        Self {
            peer,
            accepted,
            requests: VecDeque::new(),
            opening: 0,
        }
    }

    fn on_failed(&mut self, request: Open, error: StreamUpgradeError<Infallible>) {
        let error = match error {
            StreamUpgradeError::Timeout => OpenError::TimedOut,
            StreamUpgradeError::NegotiationFailed => OpenError::Unsupported(request.protocol),
            StreamUpgradeError::Io(error) => OpenError::Io(error),
            StreamUpgradeError::Apply(never) => match never {},
        };
        // Whoever dropped the future does not want the answer.
        let _ = request.sender.send(Err(error));
    }
}

impl ConnectionHandler for Handler {
    type FromBehaviour = Open;
    type ToBehaviour = Infallible;
    type InboundProtocol = Upgrade;
    type OutboundProtocol = Upgrade;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = Open;

    fn listen_protocol(&self) -> SubstreamProtocol<Upgrade> {
        SubstreamProtocol::new(Upgrade(self.accepted.protocols()), ())
    }

    fn on_behaviour_event(&mut self, request: Open) {
        if self.opening + self.requests.len() >= OPENING_PER_CONNECTION {
            let _ = request.sender.send(Err(OpenError::Busy));
        } else {
            self.requests.push_back(request);
        }
    }

    fn poll(&mut self, _: &mut Context<'_>) -> Poll<ConnectionHandlerEvent<Upgrade, Open, Infallible>> {
        match self.requests.pop_front() {
            Some(request) => {
                self.opening += 1;
                let protocol = Upgrade(vec![request.protocol.clone()]);
                Poll::Ready(ConnectionHandlerEvent::OutboundSubstreamRequest {
                    protocol: SubstreamProtocol::new(protocol, request),
                })
            }
            None => Poll::Pending,
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: all others are not about our streams"
    )]
    fn on_connection_event(&mut self, event: ConnectionEvent<Upgrade, Upgrade, (), Open>) {
        match event {
            ConnectionEvent::FullyNegotiatedInbound(FullyNegotiatedInbound {
                protocol: (stream, protocol),
                ..
            }) => self.accepted.deliver(self.peer, &protocol, stream),
            ConnectionEvent::FullyNegotiatedOutbound(FullyNegotiatedOutbound {
                protocol: (stream, _),
                info,
            }) => {
                self.opening -= 1;
                let _ = info.sender.send(Ok(stream));
            }
            ConnectionEvent::DialUpgradeError(DialUpgradeError { info, error }) => {
                self.opening -= 1;
                self.on_failed(info, error);
            }
            _ => {}
        }
    }
}

/// Negotiates one of these protocols and hands the stream over as it is.
pub struct Upgrade(Vec<StreamProtocol>);

impl UpgradeInfo for Upgrade {
    type Info = StreamProtocol;
    type InfoIter = std::vec::IntoIter<StreamProtocol>;

    fn protocol_info(&self) -> Self::InfoIter {
        self.0.clone().into_iter()
    }
}

impl InboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_inbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}

impl OutboundUpgrade<Stream> for Upgrade {
    type Output = (Stream, StreamProtocol);
    type Error = Infallible;
    type Future = Ready<Result<Self::Output, Infallible>>;

    fn upgrade_outbound(self, stream: Stream, protocol: StreamProtocol) -> Self::Future {
        ready(Ok((stream, protocol)))
    }
}
