//! Whether the relay lives (`/healthz`) and whether to send it clients (`/readyz`).

use axum::{extract::State, http::StatusCode};
use tokio::sync::watch;

use crate::Phase;

/// The process answers.
pub(super) fn healthz() -> std::future::Ready<&'static str> {
    std::future::ready("ok\n")
}

/// The event loop runs, listens, and has addresses to give to clients.
pub(super) async fn readyz(State(phase): State<watch::Receiver<Phase>>) -> (StatusCode, &'static str) {
    match *phase.borrow() {
        Phase::Starting => (StatusCode::SERVICE_UNAVAILABLE, "starting\n"),
        Phase::Serving => (StatusCode::OK, "ready\n"),
        Phase::Stopping => (StatusCode::SERVICE_UNAVAILABLE, "stopping\n"),
    }
}
