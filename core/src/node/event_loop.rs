//! The only place that touches the swarm, and the shell around the [`Engine`].
//!
//! Whatever wakes it, it moves the engine to the current time (a hidden tab's timers are throttled, its network is
//! not) and carries out everything the engine asks for before it waits again. It decides nothing.

mod swarm_events;
mod waiting;

use std::{collections::BTreeMap, time::Duration};

use futures::{FutureExt, StreamExt, channel::mpsc, select};
use futures_timer::Delay;
use libp2p::{
    Multiaddr, PeerId, Swarm,
    core::transport::ListenerId,
    gossipsub::{IdentTopic, PublishError},
    swarm::{
        ConnectionId, DialError,
        dial_opts::{DialOpts, PeerCondition},
    },
};

use peerway_webrtc::IceServer;

use self::waiting::Waiting;
use super::{
    Command, Event,
    behaviour::Behaviour,
    clock::{Clock, LONGEST_WAIT},
    failure,
    handle::{Request, StatsFuture},
    queue::EventSender,
};
use crate::{
    engine::{Action, DialKey, Engine},
    now::Now,
    reservation::RelayKey,
    snapshot::SnapshotRequest,
    view::View,
};

/// What a goodbye has to get on its way before the connections are closed.
const FAREWELL: Duration = Duration::from_millis(150);

/// Drives a node. Nothing happens unless [`run`](Self::run) is spawned.
#[must_use = "a node does nothing unless its event loop runs"]
pub struct EventLoop {
    swarm: Swarm<Behaviour>,
    engine: Engine,
    clock: Clock,
    requests: mpsc::Receiver<Request>,
    events: EventSender,
    view: View,
    waiting: Waiting,
    /// Dials under way and on whose behalf. Bounded by the engine's own bounds.
    dials: BTreeMap<ConnectionId, (DialKey, Multiaddr)>,
    /// Reservations asked for or held.
    listeners: Vec<(ListenerId, RelayKey)>,
}

impl EventLoop {
    pub(super) fn new(
        swarm: Swarm<Behaviour>,
        engine: Engine,
        clock: Clock,
        requests: mpsc::Receiver<Request>,
        events: EventSender,
        view: View,
    ) -> Self {
        Self {
            swarm,
            engine,
            clock,
            requests,
            events,
            view,
            waiting: Waiting::default(),
            dials: BTreeMap::new(),
            listeners: Vec::new(),
        }
    }

    /// Runs until the node is told to shut down or every handle to it is dropped.
    pub async fn run(mut self) {
        loop {
            let now = self.clock.now();
            self.advance(now);
            self.carry_out(now);
            let mut timer = Delay::new(self.wait(now)).fuse();
            select! {
                event = self.swarm.select_next_some() => self.on_swarm_event(event),
                request = self.requests.next() => match request {
                    Some(Request::Command(Command::Shutdown)) | None => break,
                    Some(request) => self.on_request(request),
                },
                () = timer => {}
            }
        }
        self.farewell().await;
    }

    fn advance(&mut self, now: Now) {
        if self.clock.has_slept(now) {
            tracing::info!("the host slept: every connection is suspect");
            self.engine.handle_wake(now);
        }
        self.engine.handle_timeout(now);
        let _ = self.view.handle_timeout(now);
        self.waiting.handle_timeout(now);
    }

    fn wait(&self, now: Now) -> Duration {
        let deadlines = [
            self.engine.poll_timeout(),
            self.view.poll_timeout(),
            self.waiting.poll_timeout(),
        ];
        deadlines
            .into_iter()
            .flatten()
            .min()
            .map_or(LONGEST_WAIT, |due| due.saturating_sub(now.mono).min(LONGEST_WAIT))
    }

    fn carry_out(&mut self, now: Now) {
        while let Some(action) = self.engine.poll_action() {
            self.carry_out_one(action, now);
        }
    }

    fn carry_out_one(&mut self, action: Action, now: Now) {
        match action {
            Action::Dial { key, peer, address } => self.dial(key, peer, address, now),
            Action::Listen { relay, address } => self.listen(relay, address, now),
            Action::StopListening { relay } => {
                for (listener, _) in self.listeners.iter().filter(|(_, key)| *key == relay) {
                    self.swarm.remove_listener(*listener);
                }
            }
            Action::Close { connection } => {
                self.swarm.close_connection(connection);
            }
            Action::Subscribe { topic } => {
                // Fails only if our own subscription filter refuses the topic; it refuses none.
                if let Err(error) = self.gossip().subscribe(&IdentTopic::new(topic)) {
                    tracing::warn!(%error, "cannot subscribe");
                }
            }
            Action::Unsubscribe { topic } => {
                self.gossip().unsubscribe(&IdentTopic::new(topic));
            }
            Action::Publish { key, topic, data } => match self.gossip().publish(IdentTopic::new(topic), data) {
                // A duplicate was published before: it is on its way.
                Ok(_) | Err(PublishError::Duplicate) => self.engine.handle_published(&key, now),
                Err(error) => {
                    tracing::debug!(%error, ?key, "not published");
                    self.engine.handle_publish_failed(&key, now);
                }
            },
            Action::Present { relay, token } => {
                self.swarm.behaviour_mut().tokens.send_request(&relay, token.request());
            }
            Action::RequestSnapshot { relay } => {
                let snapshots = &mut self.swarm.behaviour_mut().snapshots;
                snapshots.send_request(&relay, SnapshotRequest::default());
            }
            Action::Report(event) => {
                let _ = self.view.apply(&event, now);
                self.waiting.handle_event(&event, self.engine.dialer());
                self.events.send(event);
            }
        }
    }

    fn dial(&mut self, key: DialKey, peer: Option<PeerId>, address: Multiaddr, now: Now) {
        let options = match peer {
            Some(peer) => DialOpts::peer_id(peer)
                // Whether a further connection makes sense is the engine's to decide.
                .condition(PeerCondition::Always)
                .addresses(vec![address.clone()])
                .build(),
            None => DialOpts::unknown_peer_id().address(address.clone()).build(),
        };
        let connection = options.connection_id();
        self.dials.insert(connection, (key, address.clone()));
        if let Err(error) = self.swarm.dial(options) {
            self.dials.remove(&connection);
            self.dial_failed(key, peer, &address, &error, now);
        }
    }

    fn dial_failed(&mut self, key: DialKey, peer: Option<PeerId>, address: &Multiaddr, error: &DialError, now: Now) {
        tracing::debug!(?key, %error, "dial failed");
        match (key, peer) {
            (DialKey::Relay(relay), _) => {
                self.engine
                    .handle_relay_dial_failed(relay, address, failure::of_relay(error), now);
            }
            (DialKey::Peer(attempt), Some(peer)) => {
                self.engine
                    .handle_attempt_failed(peer, attempt, failure::of_peer(address, error), now);
            }
            (DialKey::Peer(_), None) => {}
        }
    }

    fn listen(&mut self, relay: RelayKey, address: Multiaddr, now: Now) {
        match self.swarm.listen_on(address) {
            Ok(listener) => self.listeners.push((listener, relay)),
            Err(error) => {
                let reason = failure::of_reservation(&error);
                self.engine.handle_listener_closed(relay, reason, now);
            }
        }
    }

    fn on_request(&mut self, request: Request) {
        let now = self.clock.now();
        match request {
            Request::Command(command) => self.on_command(command, now),
            Request::Connect { peer, reach, reply } => {
                self.waiting.add(peer, reach, reply, self.engine.dialer(), now);
                self.engine.connect(peer, reach, now);
            }
            // Whoever dropped the future does not want the answer.
            Request::Open { peer, protocol, reply } => {
                let _ = reply.send(self.swarm.behaviour_mut().streams.open(peer, protocol));
            }
            Request::Accept { protocol, reply } => {
                let _ = reply.send(self.swarm.behaviour_mut().streams.accept(protocol));
            }
            Request::Say { room, text, reply } => {
                let _ = reply.send(self.engine.say(&room, &text, now));
            }
            Request::Stats { peer, reply } => {
                let _ = reply.send(self.stats(peer));
            }
            Request::View { reply } => {
                let _ = reply.send(self.view.clone());
            }
        }
    }

    fn stats(&mut self, peer: PeerId) -> Option<StatsFuture> {
        let (connection, _) = self.engine.dialer().best(peer)?;
        let webrtc = self.swarm.behaviour_mut().webrtc.as_mut()?;
        let counted = webrtc.stats(connection)?;
        Some(counted.map(Result::ok).boxed())
    }

    fn on_command(&mut self, command: Command, now: Now) {
        match command {
            Command::AddRelay(relay) => {
                if let Err(error) = self.engine.add_relay(relay, now) {
                    tracing::warn!(%error, "cannot use the relay");
                }
            }
            Command::AddRelayWithToken { relay, token } => {
                if let Err(error) = self.engine.add_relay_with_token(relay, token, now) {
                    tracing::warn!(%error, "cannot use the relay");
                }
            }
            Command::RemoveRelay(relay) => self.engine.remove_relay(relay, now),
            Command::VouchForRelays(relays) => self.engine.vouch_for_relays(relays, now),
            Command::Connect { peer, reach } => self.engine.connect(peer, reach, now),
            Command::ConnectTo { address } => {
                if let Err(error) = self.engine.connect_to(address, now) {
                    tracing::warn!(%error, "cannot connect");
                }
            }
            Command::Disconnect { peer } => self.engine.disconnect(peer, now),
            Command::Join(room) => {
                if let Err(error) = self.engine.join(room, now) {
                    tracing::warn!(%error, "cannot join");
                }
            }
            Command::Leave(room) => self.engine.leave(&room, now),
            Command::SetName(name) => self.engine.rename(name, now),
            Command::SetStunServers(uris) => {
                if let Some(webrtc) = self.swarm.behaviour_mut().webrtc.as_mut() {
                    webrtc.set_ice_servers(uris.into_iter().map(IceServer::new).collect());
                }
            }
            Command::Nudge(nudge) => self.engine.nudge(nudge, now),
            // Handled where the loop ends.
            Command::Shutdown => {}
        }
    }

    async fn farewell(mut self) {
        let now = self.clock.now();
        self.engine.shut_down(now);
        self.carry_out(now);
        let mut timer = Delay::new(FAREWELL).fuse();
        loop {
            select! {
                _ = self.swarm.select_next_some() => {}
                () = timer => break,
            }
        }
        self.events.send(Event::Stopped);
    }

    fn gossip(
        &mut self,
    ) -> &mut libp2p::gossipsub::Behaviour<libp2p::gossipsub::IdentityTransform, crate::behaviours::GossipFilter> {
        self.swarm.behaviour_mut().gossip.gossip_mut()
    }
}
