//! gossipsub's connection handler, replaceable while the connection lives.

use std::{
    fmt,
    task::{Context, Poll},
};

use libp2p::{
    gossipsub,
    swarm::{ConnectionHandler, ConnectionHandlerEvent, NetworkBehaviour, SubstreamProtocol, handler::ConnectionEvent},
};

/// gossipsub's handler; the crate exports it only as an associated type.
pub(super) type GossipHandler = <gossipsub::Behaviour as NetworkBehaviour>::ConnectionHandler;
/// What that handler tells its behaviour.
pub(super) type GossipEvent = <GossipHandler as ConnectionHandler>::ToBehaviour;
type GossipIn = <GossipHandler as ConnectionHandler>::FromBehaviour;

/// What the gate tells a handler.
pub enum In {
    /// gossipsub's own message.
    Inner(GossipIn),
    /// Gossip starts anew on this connection. Boxed: it is large, and rare.
    Replace(Box<GossipHandler>),
}

impl fmt::Debug for In {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            In::Inner(event) => event.fmt(f),
            In::Replace(_) => f.write_str("Replace"),
        }
    }
}

/// Wraps gossipsub's handler.
pub struct GateHandler {
    inner: GossipHandler,
}

impl GateHandler {
    pub(super) fn new(inner: GossipHandler) -> Self {
        Self { inner }
    }
}

impl ConnectionHandler for GateHandler {
    type FromBehaviour = In;
    type ToBehaviour = GossipEvent;
    type InboundProtocol = <GossipHandler as ConnectionHandler>::InboundProtocol;
    type OutboundProtocol = <GossipHandler as ConnectionHandler>::OutboundProtocol;
    type InboundOpenInfo = ();
    type OutboundOpenInfo = ();

    fn listen_protocol(&self) -> SubstreamProtocol<Self::InboundProtocol> {
        self.inner.listen_protocol()
    }

    fn connection_keep_alive(&self) -> bool {
        self.inner.connection_keep_alive()
    }

    fn on_behaviour_event(&mut self, event: In) {
        match event {
            In::Inner(event) => self.inner.on_behaviour_event(event),
            In::Replace(handler) => self.inner = *handler,
        }
    }

    fn poll(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<ConnectionHandlerEvent<Self::OutboundProtocol, (), Self::ToBehaviour>> {
        self.inner.poll(cx)
    }

    fn on_connection_event(&mut self, event: ConnectionEvent<Self::InboundProtocol, Self::OutboundProtocol>) {
        self.inner.on_connection_event(event);
    }
}

/// Whether the event carries something the peer said, rather than the state of its connection.
pub(super) fn is_message(event: &GossipEvent) -> bool {
    matches!(event, GossipEvent::Message { .. })
}

/// Folds the subscriptions in `event` into `known`: one message with the last word on each topic, at most `most` topics.
pub(super) fn record_subscriptions(known: &mut Option<GossipEvent>, event: &GossipEvent, most: usize) {
    let GossipEvent::Message { rpc, .. } = event else {
        return;
    };
    if rpc.subscriptions.is_empty() {
        return;
    }
    if known.is_none() {
        *known = copy_subscriptions(event);
    }
    let Some(GossipEvent::Message { rpc: known, .. }) = known else {
        return;
    };
    for subscription in &rpc.subscriptions {
        known.subscriptions.retain(|s| s.topic_hash != subscription.topic_hash);
        if known.subscriptions.len() < most {
            known.subscriptions.push(subscription.clone());
        }
    }
    known.subscriptions.truncate(most);
}

/// The subscriptions in a message, as a message of their own. `None` if the event is no message.
pub(super) fn copy_subscriptions(event: &GossipEvent) -> Option<GossipEvent> {
    match event {
        GossipEvent::Message { rpc, .. } => {
            let mut rpc = rpc.clone();
            rpc.messages.clear();
            rpc.control_msgs.clear();
            Some(GossipEvent::Message {
                rpc,
                invalid_messages: Vec::new(),
            })
        }
        GossipEvent::PeerKind(_) | GossipEvent::MessageDropped(_) => None,
    }
}
