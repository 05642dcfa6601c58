//! The attempts under way: which peer, which role, how far, and who waits for each.
//!
//! Only keeps the books; [`Behaviour`](super::Behaviour) decides.

use std::{
    collections::BTreeMap,
    fmt,
    task::{Context, Poll},
};

use futures::channel::oneshot;
use libp2p_identity::PeerId;
use libp2p_swarm::ConnectionId;
use send_wrapper::SendWrapper;

use super::Error;
use crate::{
    Connection,
    rtc::Counters,
    signaling::{Phase, Role},
};

/// Names one attempt at a direct connection; never used again in the life of a behaviour.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AttemptId(u64);

impl fmt::Display for AttemptId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

type Reply = oneshot::Sender<Result<Connection, Error>>;

pub(super) struct Attempt {
    pub(super) peer: PeerId,
    pub(super) role: Role,
    pub(super) phase: Phase,
    pub(super) stage: Stage,
    /// The transport's dial; there is none for an inbound attempt.
    pub(super) reply: Option<Reply>,
    /// The swarm's dial of the whole, if we began it.
    dial: Option<ConnectionId>,
    /// Of the connection that was handed over.
    counters: Option<SendWrapper<Counters>>,
}

/// Who has to act next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stage {
    /// The swarm: it hands the dial to the transport.
    Announced,
    /// The swarm: it dials the circuit.
    DialingCircuit(ConnectionId),
    /// The session on this circuit.
    Running { connection: ConnectionId },
    /// The swarm: it establishes the connection that it was handed.
    Connected,
}

#[derive(Default)]
pub(super) struct Attempts {
    next: u64,
    /// Bounded by [`Config::max_sessions`](super::Config::max_sessions), and one for each peer and role that is handed over.
    attempts: BTreeMap<AttemptId, Attempt>,
}

impl Attempts {
    pub(super) fn begin(&mut self, peer: PeerId, role: Role, stage: Stage) -> AttemptId {
        // One that was handed over and never established was refused by a limit of the swarm's.
        self.attempts
            .retain(|_, attempt| !(attempt.is(peer, role) && attempt.stage == Stage::Connected));
        let id = AttemptId(self.next);
        self.next += 1;
        let phase = match role {
            Role::Initiator => Phase::Circuit,
            Role::Recipient => Phase::Signaling,
        };
        let attempt = Attempt {
            peer,
            role,
            phase,
            stage,
            reply: None,
            dial: None,
            counters: None,
        };
        self.attempts.insert(id, attempt);
        id
    }

    pub(super) fn end(&mut self, attempt: AttemptId) -> Option<Attempt> {
        self.attempts.remove(&attempt)
    }

    /// The attempt in this role with this peer that is not connected yet, and how far it is.
    pub(super) fn running(&self, peer: PeerId, role: Role) -> Option<(AttemptId, Phase)> {
        self.find(|attempt| attempt.is(peer, role) && attempt.stage != Stage::Connected)
            .map(|(id, attempt)| (id, attempt.phase))
    }

    pub(super) fn count_running(&self) -> usize {
        let running = |attempt: &&Attempt| attempt.stage != Stage::Connected;
        self.attempts.values().filter(running).count()
    }

    /// The attempt with this peer that the transport was not asked for yet.
    pub(super) fn announced(&self, peer: PeerId) -> Option<AttemptId> {
        self.find(|attempt| {
            attempt.is(peer, Role::Initiator) && attempt.stage == Stage::Announced && attempt.reply.is_none()
        })
        .map(|(id, _)| id)
    }

    /// The attempt that waits for this circuit.
    pub(super) fn dialing(&self, connection: ConnectionId) -> Option<AttemptId> {
        self.find(|attempt| attempt.stage == Stage::DialingCircuit(connection))
            .map(|(id, _)| id)
    }

    /// The attempt for which the swarm dials this connection as a whole.
    pub(super) fn dialed(&self, connection: ConnectionId) -> Option<AttemptId> {
        self.find(|attempt| attempt.dial == Some(connection) && attempt.stage == Stage::Announced)
            .map(|(id, _)| id)
    }

    /// The attempts whose session runs on this circuit.
    pub(super) fn on_connection(&self, connection: ConnectionId) -> Vec<AttemptId> {
        let on = Stage::Running { connection };
        let found = self.attempts.iter().filter(|(_, attempt)| attempt.stage == on);
        found.map(|(id, _)| *id).collect()
    }

    pub(super) fn stage(&self, attempt: AttemptId) -> Option<(PeerId, Stage)> {
        let attempt = self.attempts.get(&attempt)?;
        Some((attempt.peer, attempt.stage))
    }

    pub(super) fn set_stage(&mut self, attempt: AttemptId, stage: Stage) {
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            attempt.stage = stage;
        }
    }

    pub(super) fn set_dial(&mut self, attempt: AttemptId, dial: ConnectionId) {
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            attempt.dial = Some(dial);
        }
    }

    pub(super) fn set_reply(&mut self, attempt: AttemptId, reply: Reply) {
        if let Some(attempt) = self.attempts.get_mut(&attempt) {
            attempt.reply = Some(reply);
        }
    }

    /// Returns whom it concerns, if the phase is a new one.
    pub(super) fn set_phase(&mut self, attempt: AttemptId, phase: Phase) -> Option<(PeerId, Role)> {
        let attempt = self.attempts.get_mut(&attempt)?;
        let before = std::mem::replace(&mut attempt.phase, phase);
        (before != phase).then_some((attempt.peer, attempt.role))
    }

    /// The session is through; who began it, and who waits.
    pub(super) fn set_connected(
        &mut self,
        id: AttemptId,
        counters: SendWrapper<Counters>,
    ) -> Option<(Role, Option<Reply>)> {
        let attempt = self.attempts.get_mut(&id)?;
        attempt.stage = Stage::Connected;
        attempt.phase = Phase::Connected;
        attempt.counters = Some(counters);
        Some((attempt.role, attempt.reply.take()))
    }

    /// The swarm established what it was handed.
    pub(super) fn take_connected(
        &mut self,
        peer: PeerId,
        role: Role,
    ) -> Option<(AttemptId, Option<SendWrapper<Counters>>)> {
        let (id, _) = self.find(|attempt| attempt.is(peer, role) && attempt.stage == Stage::Connected)?;
        let attempt = self.attempts.remove(&id)?;
        Some((id, attempt.counters))
    }

    /// An attempt whose dial the swarm has given up.
    pub(super) fn poll_given_up(&mut self, cx: &mut Context<'_>) -> Poll<AttemptId> {
        for (id, attempt) in &mut self.attempts {
            if let Some(reply) = &mut attempt.reply
                && reply.poll_canceled(cx).is_ready()
            {
                // Once is enough.
                attempt.reply = None;
                return Poll::Ready(*id);
            }
        }
        Poll::Pending
    }

    fn find(&self, wanted: impl Fn(&Attempt) -> bool) -> Option<(AttemptId, &Attempt)> {
        let mut attempts = self.attempts.iter();
        attempts
            .find(|(_, attempt)| wanted(attempt))
            .map(|(id, attempt)| (*id, attempt))
    }
}

impl Attempt {
    fn is(&self, peer: PeerId, role: Role) -> bool {
        self.peer == peer && self.role == role
    }
}
