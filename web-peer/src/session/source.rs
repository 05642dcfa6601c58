//! Where the page learns its relay: `/relay.json` of its own origin, asked for again while there is no answer, and
//! whenever somebody wants to know: the relay stays lost (it may have come back as another), or others may be there.

use futures::{FutureExt, SinkExt, StreamExt, channel::mpsc, select_biased};
use gloo_timers::future::TimeoutFuture;
use libp2p::PeerId;
use peerway_core::reservation::RelaySpec;

use super::{
    clock::{self, Skew},
    relays::{self, DocumentError, PageOrigin, Reach, RelayDocument},
};
use crate::browser::{self, FetchError};

const DOCUMENT: &str = "/relay.json";
const TIMEOUT_MILLIS: u32 = 4_000;
const FIRST_DELAY_MILLIS: u32 = 500;
/// A relay that is back is found within this time.
const MAX_DELAY_MILLIS: u32 = 4_000;

/// However often it is asked, the source asks the server no more often than this.
const MIN_PAUSE_MILLIS: u32 = 1_000;

/// Why the page does not know its relay.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum SourceFailure {
    /// The page was opened from a file, or otherwise without a server.
    #[error("this page was not loaded from a server")]
    NoServer,
    /// The server did not answer.
    #[error(transparent)]
    Fetch(#[from] FetchError),
    /// The server's answer is no relay's.
    #[error(transparent)]
    Document(#[from] DocumentError),
}

/// What the source found out.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Report {
    /// The relay answered.
    Relay(Box<Network>),
    /// There is no answer so far; it is tried again.
    Failed(SourceFailure),
}

/// What the relay's document says, as far as it is of use here.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Network {
    /// Who serves the page.
    pub(super) home: PeerId,
    /// The same relay, and where it is tried.
    pub(super) relay: RelaySpec,
    /// How strangers reach it.
    pub(super) reach: Reach,
    /// Other relays of its network.
    pub(super) others: Vec<RelaySpec>,
    /// The STUN servers it offers.
    pub(super) stun: Vec<String>,
    /// How our clock compares with its own.
    pub(super) skew: Option<Skew>,
}

/// Reports until nobody listens. A word on `asks` means "look now".
pub(super) async fn watch(origin: Option<PageOrigin>, mut asks: mpsc::Receiver<()>, mut reports: mpsc::Sender<Report>) {
    let Some(origin) = origin else {
        let _ = reports.send(Report::Failed(SourceFailure::NoServer)).await;
        return;
    };
    let mut failures = 0;
    loop {
        let report = look(&origin).await.unwrap_or_else(Report::Failed);
        let pause = match report {
            Report::Relay(_) => {
                failures = 0;
                None
            }
            Report::Failed(_) => {
                failures += 1;
                Some(delay_millis(failures, browser::random_fraction()))
            }
        };
        if reports.send(report).await.is_err() {
            return;
        }
        match pause {
            Some(pause) => {
                select_biased! {
                    ask = asks.next() => if ask.is_none() { return },
                    () = TimeoutFuture::new(pause).fuse() => continue,
                }
            }
            None => {
                if asks.next().await.is_none() {
                    return;
                }
            }
        }
        TimeoutFuture::new(MIN_PAUSE_MILLIS).await;
    }
}

async fn look(origin: &PageOrigin) -> Result<Report, SourceFailure> {
    let answer = browser::get_text(DOCUMENT, TIMEOUT_MILLIS).await?;
    let document = RelayDocument::parse(&answer.body)?;
    Ok(Report::Relay(Box::new(Network {
        home: document.peer,
        relay: relays::from_document(origin, &document),
        reach: document.reach,
        others: relays::others(origin, &document),
        stun: relays::stun::from_document(origin, &document),
        skew: answer
            .server_millis
            .and_then(|server| clock::skew(server, browser::wall_millis())),
    })))
}

/// Doubles with every failure up to a bound; half of it is chance, so that a room full of pages does not ask as one.
fn delay_millis(failures: u32, chance: f64) -> u32 {
    let doubled = FIRST_DELAY_MILLIS.saturating_mul(2u32.saturating_pow(failures.saturating_sub(1)));
    let full = doubled.min(MAX_DELAY_MILLIS);
    full / 2 + (f64::from(full / 2) * chance) as u32
}

#[cfg(test)]
mod tests {
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test(unsupported = test)]
    fn when_failures_go_on_the_delay_grows_to_its_bound() {
        assert_eq!(delay_millis(1, 0.0), FIRST_DELAY_MILLIS / 2);
        assert_eq!(delay_millis(1, 1.0), FIRST_DELAY_MILLIS);
        for failures in 1..100 {
            assert!(delay_millis(failures, 1.0) <= MAX_DELAY_MILLIS);
            assert!(delay_millis(failures, 0.0) <= delay_millis(failures + 1, 0.0));
        }
        assert_eq!(delay_millis(u32::MAX, 1.0), MAX_DELAY_MILLIS);
    }
}
