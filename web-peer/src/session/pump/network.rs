//! The pump's part in being in its relay's network: what the relay's document says is given to the node and to
//! [`SecondSlot`], and what that decides is done. Decides nothing itself.
//!
//! The only place that shows tokens: to the relay that serves the page, and to those that the user's link names.
//!
//! [`SecondSlot`]: crate::session::relays::second::SecondSlot

use std::collections::BTreeSet;

use leptos::prelude::Set;
use libp2p::PeerId;
use peerway_core::{
    node::{Command, Nudge, RelaySpec},
    view::RelayState,
};

use super::{Flow, Pump, Server, Stun};
use crate::session::{
    NoticeKind, clock,
    model::RelayStanding,
    relays::{self, PageOrigin, second::Action},
    source::{Network, Report},
};

impl Pump {
    pub(super) async fn use_parameters(&mut self, page: Option<&PageOrigin>, parameters: &[String]) {
        if parameters.is_empty() {
            return;
        }
        let (specs, errors) = relays::from_parameters(page, parameters);
        for error in errors {
            self.model.notify(NoticeKind::Parameter(error));
        }
        if specs.is_empty() {
            self.model.relay.set(RelayStanding::NoneUsable);
        }
        for spec in specs {
            self.add_relay(spec).await;
        }
    }

    pub(super) async fn on_report(&mut self, report: Report) -> Flow {
        match report {
            Report::Relay(network) => {
                if clock::is_news(self.skew, network.skew) {
                    self.skew = network.skew;
                    self.model.draw_skew(network.skew);
                }
                if self.stun == Stun::OfTheRelay {
                    self.tell(Command::SetStunServers(network.stun.clone())).await;
                }
                let used = self.use_network(network).await;
                match std::mem::replace(&mut self.server, Server::Answers) {
                    Server::Answers => used,
                    // One answer was lost, and nothing else.
                    Server::Silent if self.holds_home() => used,
                    // It was down and is back: no need to wait for the node's next try.
                    Server::Silent => self.tell(Command::Nudge(Nudge::Online)).await,
                }
            }
            Report::Failed(failure) => {
                self.server = Server::Silent;
                if self.view.relays.is_empty() {
                    self.model.relay.set(RelayStanding::Unknown(failure));
                }
                Flow::On
            }
        }
    }

    /// Our relay vouches for those of its network, and on one of them we hold our second slot.
    async fn use_network(&mut self, network: Box<Network>) -> Flow {
        // Several relays may answer at the page's origin in turn; while the one that we have holds, it is ours.
        if self.home != Some(network.home) && self.holds_home() {
            return Flow::On;
        }
        self.home = Some(network.home);
        let vouched = network.others.iter().filter_map(|other| other.peer).collect();
        let now = self.node.now();
        self.second
            .handle_document(network.home, network.reach, &network.others, now);
        self.add_relay(network.relay).await;
        self.tell(Command::VouchForRelays(vouched)).await
    }

    /// Those that the user's link names are shown the token in it, as is the one that serves the page.
    async fn add_relay(&mut self, relay: RelaySpec) -> Flow {
        let command = match self.token.clone() {
            Some(token) => Command::AddRelayWithToken { relay, token },
            None => Command::AddRelay(relay),
        };
        self.tell(command).await
    }

    /// What became of the slots, and of time, and what follows for the second one.
    pub(super) async fn tend_second(&mut self) {
        let now = self.node.now();
        let held = self.held();
        self.second.handle_held(&held, now);
        while let Some(action) = self.second.poll_action() {
            match action {
                Action::Take(relay) => {
                    self.tell(Command::AddRelay(relay)).await;
                }
                Action::Leave(peer) => {
                    let rows = self.view.relays.iter().filter(|row| row.peer == Some(peer));
                    let keys: Vec<_> = rows.map(|row| row.key).collect();
                    for key in keys {
                        self.tell(Command::RemoveRelay(key)).await;
                    }
                }
                Action::LookAgain => self.ask_source(),
            }
        }
    }

    fn holds_home(&self) -> bool {
        self.home.is_some_and(|home| self.held().contains(&home))
    }

    fn held(&self) -> BTreeSet<PeerId> {
        let reserved = self.view.relays.iter().filter(|row| row.state == RelayState::Reserved);
        reserved.filter_map(|row| row.peer).collect()
    }
}
