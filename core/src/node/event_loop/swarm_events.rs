//! What the swarm reports, in the engine's terms.

use libp2p::{
    Multiaddr,
    core::{ConnectedPoint, transport::ListenerId},
    gossipsub, identify, ping, relay,
    request_response::{self, Message},
    swarm::{ConnectionError, SwarmEvent},
};

use super::EventLoop;
use crate::{
    dial::{Disconnection, Role, Route},
    engine::Ping,
    node::{
        behaviour::{BehaviourEvent, offers_reservations},
        failure,
    },
    reservation::RelayFailure,
};

impl EventLoop {
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others say nothing that the engine acts on"
    )]
    pub(super) fn on_swarm_event(&mut self, event: SwarmEvent<BehaviourEvent>) {
        let now = self.clock.now();
        match event {
            SwarmEvent::ConnectionEstablished {
                peer_id,
                connection_id,
                endpoint,
                ..
            } => {
                let key = self.dials.remove(&connection_id).map(|(key, _)| key);
                let Some(route) = Route::of(&endpoint, &self.engine.reservations().held()) else {
                    self.swarm.close_connection(connection_id);
                    return;
                };
                let role = match endpoint {
                    ConnectedPoint::Dialer { .. } => Role::Dialer,
                    ConnectedPoint::Listener { .. } => Role::Listener,
                };
                let address = endpoint.get_remote_address();
                self.engine
                    .handle_connected(peer_id, connection_id, route, role, key, address, now);
            }
            SwarmEvent::ConnectionClosed {
                peer_id,
                connection_id,
                cause,
                ..
            } => self
                .engine
                .handle_disconnected(peer_id, connection_id, ended(cause.as_ref()), now),
            SwarmEvent::OutgoingConnectionError {
                connection_id,
                peer_id,
                error,
            } => {
                if let Some((key, address)) = self.dials.remove(&connection_id) {
                    self.dial_failed(key, peer_id, &address, &error, now);
                }
            }
            SwarmEvent::NewListenAddr { listener_id, address } => self.on_listen_address(listener_id, address),
            SwarmEvent::ListenerClosed {
                listener_id, reason, ..
            } => self.on_listener_closed(listener_id, reason),
            SwarmEvent::Behaviour(event) => self.on_behaviour_event(event),
            _ => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enums: the others say nothing that the engine acts on"
    )]
    fn on_behaviour_event(&mut self, event: BehaviourEvent) {
        let now = self.clock.now();
        match event {
            BehaviourEvent::Relay(relay::client::Event::ReservationReqAccepted { relay_peer_id, .. }) => {
                self.engine.handle_reservation_accepted(relay_peer_id, now);
            }
            // What becomes of our own attempts, the swarm says.
            BehaviourEvent::Webrtc(peerway_webrtc::Event::Failed {
                peer,
                role: peerway_webrtc::signaling::Role::Recipient,
                error,
                ..
            }) => self.engine.handle_offer_failed(peer, failure::of_offer(&error), now),
            BehaviourEvent::Gossip(event) => self.on_gossip_event(event),
            BehaviourEvent::Ping(ping::Event {
                peer,
                connection,
                result,
            }) => {
                let ping = match result {
                    Ok(round_trip) => Ping::Pong(round_trip),
                    // It does not speak ping, which others need not: that says nothing of the connection.
                    Err(ping::Failure::Unsupported) => return,
                    Err(ping::Failure::Timeout | ping::Failure::Other { .. }) => Ping::Lost,
                };
                self.engine.handle_ping(peer, connection, ping, now);
            }
            BehaviourEvent::Identify(identify::Event::Received { peer_id, info, .. })
                if !offers_reservations(&info) =>
            {
                self.engine.handle_not_a_relay(peer_id, now);
            }
            BehaviourEvent::Snapshots(request_response::Event::Message {
                message: Message::Response { response, .. },
                ..
            }) => self.engine.handle_snapshot(&response, now),
            BehaviourEvent::Snapshots(request_response::Event::OutboundFailure { peer, error, .. }) => {
                tracing::debug!(%peer, %error, "no snapshot");
                self.engine.handle_snapshot_failed(peer);
            }
            BehaviourEvent::Tokens(request_response::Event::Message {
                peer,
                message: Message::Response { response, .. },
                ..
            }) => self.engine.handle_token_answer(peer, Some(response), now),
            BehaviourEvent::Tokens(request_response::Event::OutboundFailure { peer, error, .. }) => {
                tracing::debug!(%peer, %error, "no answer to our token");
                self.engine.handle_token_answer(peer, None, now);
            }
            _ => {}
        }
    }

    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "libp2p's enum: the others say nothing that the engine acts on"
    )]
    fn on_gossip_event(&mut self, event: gossipsub::Event) {
        let now = self.clock.now();
        match event {
            gossipsub::Event::Message {
                propagation_source,
                message_id,
                message,
            } => {
                // Strict validation lets no message without a source through.
                let Some(source) = message.source else { return };
                let acceptance = self.engine.handle_gossip(
                    source,
                    message.sequence_number,
                    message.topic.as_str(),
                    &message.data,
                    now,
                );
                self.gossip()
                    .report_message_validation_result(&message_id, &propagation_source, acceptance);
            }
            gossipsub::Event::Subscribed { peer_id, topic } => {
                self.engine.handle_subscribed(peer_id, topic.as_str(), now);
            }
            _ => {}
        }
    }

    fn on_listen_address(&mut self, listener: ListenerId, address: Multiaddr) {
        let now = self.clock.now();
        if let Some((_, relay)) = self.listeners.iter().find(|(id, _)| *id == listener) {
            self.engine.handle_listen_address(*relay, address, now);
        }
    }

    fn on_listener_closed(&mut self, listener: ListenerId, reason: Result<(), std::io::Error>) {
        let now = self.clock.now();
        let Some(index) = self.listeners.iter().position(|(id, _)| *id == listener) else {
            return;
        };
        let (_, relay) = self.listeners.swap_remove(index);
        let reason = match reason {
            Ok(()) => RelayFailure::Disconnected,
            Err(error) => failure::of_reservation(&error),
        };
        self.engine.handle_listener_closed(relay, reason, now);
    }
}

/// A connection that ended without an error was closed by us on purpose. That the other side did is known of WebRTC alone:
/// over other transports the end of a process, and that of a relay under a circuit, look the same.
fn ended(cause: Option<&ConnectionError>) -> Disconnection {
    match cause {
        None => Disconnection::Clean,
        Some(ConnectionError::IO(error)) if is_closed_webrtc(error) => Disconnection::Clean,
        Some(ConnectionError::IO(_) | ConnectionError::KeepAliveTimeout) => Disconnection::Lost,
    }
}

fn is_closed_webrtc(error: &std::io::Error) -> bool {
    let webrtc = error.get_ref().and_then(|inner| inner.downcast_ref());
    matches!(webrtc, Some(peerway_webrtc::ConnectionError::Closed))
}
