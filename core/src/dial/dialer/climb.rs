//! How ladders go on: who is wanted, what is due, which rung is next, what an attempt's end leads to.
//!
//! Never hears of the world itself.

use std::{collections::BTreeSet, time::Duration};

use libp2p::PeerId;
use rand::Rng;

use super::{Dialer, InFlight};
use crate::{
    dial::{
        AttemptId, CHOSEN_OF_MANY, DialAction, DialFailure, Initiative, MAX_ACCEPTED, MAX_IN_FLIGHT_PER_RELAY,
        MAX_PEERS, MIN_REDIAL, Role, SMALL_CROWD,
        foreign::Admission,
        ladder::{Candidacy, Ladder, Phase, Told},
        links::Side,
        plan::{Interest, OurFacts, Rung, Through},
    },
    node::Event,
    now::Now,
};

impl Dialer {
    pub(super) fn is_held(&self, peer: PeerId) -> bool {
        self.held.iter().any(|relay| relay.peer == peer)
    }

    pub(super) fn admits(&self, peer: PeerId) -> bool {
        peer != self.local
            && !self.is_held(peer)
            && (self.ladders.contains_key(&peer) || self.ladders.len() < MAX_PEERS)
    }

    pub(super) fn accepts(&self, peer: PeerId, role: Role) -> bool {
        if !self.admits(peer) {
            return false;
        }
        if role == Role::Dialer || self.interest(peer).is_some() || self.is_connected(peer) {
            return true;
        }
        let accepted = |(peer, ladder): &(&PeerId, &Ladder)| {
            let mut open = ladder.links.open().peekable();
            open.peek().is_some() && open.all(|link| link.role == Role::Listener) && self.interest(**peer).is_none()
        };
        self.ladders.iter().filter(accepted).count() < MAX_ACCEPTED
    }

    pub(in crate::dial) fn interest(&self, peer: PeerId) -> Option<Interest> {
        let opened = self.ladders.get(&peer)?.opened.map(Interest::Opened);
        opened.or_else(|| self.chosen.contains(&peer).then_some(Interest::Chosen))
    }

    /// Works out who is dialled, and lets those who newly are begin.
    pub(super) fn choose(&mut self, now: Duration) {
        let count = match self.config.initiative {
            Initiative::Nobody => 0,
            Initiative::ByPlan if self.ranking.len() <= SMALL_CROWD => SMALL_CROWD,
            Initiative::ByPlan => CHOSEN_OF_MANY,
        };
        let chosen: BTreeSet<PeerId> = self.ranking.iter().take(count).map(|(_, peer)| *peer).collect();
        if chosen == self.chosen {
            return;
        }
        let before = std::mem::replace(&mut self.chosen, chosen);
        let changed: Vec<PeerId> = before.symmetric_difference(&self.chosen).copied().collect();
        for peer in changed {
            self.reconsider(peer, now);
        }
    }

    /// Brings a ladder's phase in line with whether its peer is wanted and how it is connected.
    pub(super) fn reconsider(&mut self, peer: PeerId, now: Duration) {
        let interest = self.interest(peer);
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        let wanted = interest.is_some() && !ladder.is_satisfied(self.config.webrtc);
        match ladder.phase {
            Phase::Resting if wanted => self.begin_anew(peer, Duration::ZERO, now),
            Phase::Due { .. } | Phase::Queued { .. } if !wanted => ladder.rest(),
            Phase::Resting | Phase::Due { .. } | Phase::Queued { .. } | Phase::Dialing { .. } => {}
        }
    }

    /// Lets a ladder begin at the bottom after `wait`, or after this side's turn has come if that is later.
    pub(super) fn begin_anew(&mut self, peer: PeerId, wait: Duration, now: Duration) {
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        let turn = match (ladder.opened, ladder.side) {
            (None, Side::Higher) if self.unnoticed_until <= now => self.config.higher_waits,
            (None, Side::Higher) => Duration::ZERO,
            (Some(_), _) | (None, Side::Lower) => Duration::ZERO,
        };
        let earliest = ladder
            .last_dial
            .map_or(Duration::ZERO, |last| last.saturating_add(MIN_REDIAL));
        let at = now.saturating_add(wait).saturating_add(turn);
        let at = if ladder.opened.is_some() { at } else { at.max(earliest) };
        ladder.begin_anew(at);
        // Who is not wanted rests at once.
        let wanted = ladder.opened.is_some() || self.chosen.contains(&peer);
        if !wanted || ladder.is_satisfied(self.config.webrtc) {
            ladder.rest();
        }
    }

    /// Lets every ladder that waits begin anew, each after a wait of its own within `spread`.
    pub(super) fn begin_all_anew(&mut self, spread: Duration, now: Now) {
        let waiting = |ladder: &Ladder| matches!(ladder.phase, Phase::Due { .. } | Phase::Queued { .. });
        let peers: Vec<PeerId> = self
            .ladders
            .iter()
            .filter(|(_, ladder)| waiting(ladder))
            .map(|(peer, _)| *peer)
            .collect();
        for peer in peers {
            let wait = spread.mul_f64(self.rng.random_range(0.0..=1.0));
            let Some(ladder) = self.ladders.get_mut(&peer) else {
                continue;
            };
            ladder.backoff.reset();
            ladder.told_unusable = Told::No;
            let before = match ladder.phase {
                Phase::Due { at } => Some(at),
                Phase::Resting | Phase::Queued { .. } | Phase::Dialing { .. } => None,
            };
            self.begin_anew(peer, wait, now.mono);
            // Never later than it would have been.
            if let Some(ladder) = self.ladders.get_mut(&peer)
                && let (Phase::Due { at }, Some(before)) = (ladder.phase, before)
            {
                ladder.phase = Phase::Due { at: at.min(before) };
            }
        }
    }

    /// Everything that is due.
    pub(super) fn advance(&mut self, now: Duration) {
        let overdue: Vec<AttemptId> = self
            .in_flight
            .iter()
            .filter(|(_, attempt)| attempt.gives_up <= now)
            .map(|(attempt, _)| *attempt)
            .collect();
        for attempt in overdue {
            self.fail_attempt(attempt, DialFailure::TimedOut, now);
        }
        let mut due: Vec<(Urgency, Duration, PeerId)> = Vec::new();
        for (peer, ladder) in &self.ladders {
            let urgency = if ladder.opened.is_some() {
                Urgency::User
            } else {
                Urgency::Plan
            };
            match ladder.phase {
                Phase::Due { at } if at <= now => due.push((urgency, at, *peer)),
                Phase::Due { .. } | Phase::Resting | Phase::Queued { .. } | Phase::Dialing { .. } => {}
            }
        }
        due.sort_unstable();
        for (_, at, peer) in due {
            self.climb(peer, at, now);
        }
        for (peer, ladder) in &mut self.ladders {
            let peer = *peer;
            while let Some(connection) = ladder.links.take_surplus(ladder.reach(), now) {
                self.actions.push_back(DialAction::Close { peer, connection });
            }
        }
        for (peer, connection) in self.foreign.leave(now) {
            self.actions.push_back(DialAction::Close { peer, connection });
        }
    }

    /// Starts the next rung of a ladder that is due, or says when it goes on.
    pub(super) fn climb(&mut self, peer: PeerId, due: Duration, now: Duration) {
        let interest = self.interest(peer);
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        let Some(interest) = interest else {
            return ladder.rest();
        };
        let ours = OurFacts {
            local: self.local,
            held: &self.held,
            vantage: self.config.vantage,
            rungs: self.config.webrtc,
        };
        let mut no_place = false;
        for rung in ladder.rungs(peer, interest, ours) {
            match self.gate(&rung, now) {
                Gate::Open => return self.start(peer, rung, now),
                Gate::NoPlace => no_place = true,
                Gate::Shut => {}
            }
        }
        let Some(ladder) = self.ladders.get_mut(&peer) else {
            return;
        };
        if no_place {
            ladder.phase = Phase::Queued { since: due };
            return;
        }
        let nothing_to_dial = !ladder.has_tried() && ladder.links.is_empty();
        let wait = ladder.backoff.after_failure(&self.config.retry, &mut self.rng);
        ladder.begin_anew(now.saturating_add(wait));
        if nothing_to_dial && std::mem::replace(&mut ladder.told_unusable, Told::Yes) == Told::No {
            let attempt = self.new_attempt();
            self.report(Event::AttemptFailed {
                peer,
                attempt,
                reason: DialFailure::NoUsableAddress,
            });
        }
    }

    /// Whether a rung may be started now; if so, its foreign relay is taken into use.
    pub(super) fn gate(&mut self, rung: &Rung, now: Duration) -> Gate {
        if let Some(relay) = rung.through.relay()
            && self
                .in_flight
                .values()
                .filter(|attempt| attempt.through.relay() == Some(relay))
                .count()
                >= MAX_IN_FLIGHT_PER_RELAY
        {
            return Gate::NoPlace;
        }
        match &rung.through {
            Through::Nothing | Through::Held(_) => Gate::Open,
            Through::Foreign {
                relay,
                transport,
                source,
            } => match self.foreign.admit(*relay, transport, *source, now) {
                Admission::Admitted => Gate::Open,
                Admission::Refused => Gate::Shut,
            },
        }
    }

    pub(super) fn start(&mut self, peer: PeerId, rung: Rung, now: Duration) {
        let attempt = self.new_attempt();
        if let Some(ladder) = self.ladders.get_mut(&peer) {
            ladder.on_started(attempt, &rung, now);
        }
        let Rung {
            route,
            address,
            through,
        } = rung;
        let gives_up = now.saturating_add(self.config.attempt_timeout);
        self.in_flight.insert(
            attempt,
            InFlight {
                peer,
                route,
                through,
                gives_up,
            },
        );
        self.report(Event::AttemptStarted { peer, attempt });
        self.actions.push_back(DialAction::Dial { attempt, peer, address });
    }

    pub(super) fn fail_attempt(&mut self, attempt: AttemptId, reason: DialFailure, now: Duration) {
        if let Some(peer) = self.end_attempt(attempt, now) {
            self.report(Event::AttemptFailed { peer, attempt, reason });
            self.reconsider(peer, now);
            self.drop_if_idle(peer);
        }
    }

    /// Frees the attempt's place and lets its ladder go on from where it is.
    pub(super) fn end_attempt(&mut self, attempt: AttemptId, now: Duration) -> Option<PeerId> {
        let InFlight { peer, through, .. } = self.in_flight.remove(&attempt)?;
        match through {
            Through::Nothing | Through::Held(_) => {}
            Through::Foreign { relay, .. } => self.foreign.on_attempt_ended(relay, now),
        }
        if let Some(ladder) = self.ladders.get_mut(&peer)
            && ladder.phase == (Phase::Dialing { attempt })
        {
            ladder.phase = Phase::Due { at: now };
        }
        self.unqueue(now);
        Some(peer)
    }

    /// A place became free: those that wait for one ask again, the longest waiting first.
    pub(super) fn unqueue(&mut self, now: Duration) {
        for ladder in self.ladders.values_mut() {
            if let Phase::Queued { since } = ladder.phase {
                ladder.phase = Phase::Due { at: since.min(now) };
            }
        }
    }

    pub(super) fn new_attempt(&mut self) -> AttemptId {
        let attempt = AttemptId(self.next_attempt);
        self.next_attempt += 1;
        attempt
    }

    pub(super) fn drop_if_idle(&mut self, peer: PeerId) {
        if self.ladders.get(&peer).is_some_and(Ladder::is_idle) {
            self.ladders.remove(&peer);
        } else if let Some(ladder) = self.ladders.get_mut(&peer)
            && ladder.candidacy == Candidacy::Unheard
            && ladder.opened.is_none()
        {
            ladder.rest();
        }
    }

    pub(super) fn report_route(&mut self, peer: PeerId) {
        let route = self.best(peer).map(|(_, route)| route);
        if let Some(ladder) = self.ladders.get_mut(&peer)
            && ladder.reported != route
        {
            ladder.reported = route;
            self.report(Event::RouteChanged { peer, route });
        }
    }

    pub(super) fn report(&mut self, event: Event) {
        self.actions.push_back(DialAction::Report(event));
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Gate {
    Open,
    /// The relay carries as many attempts as it may.
    NoPlace,
    /// Not now, for this rung.
    Shut,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Urgency {
    User,
    Plan,
}
