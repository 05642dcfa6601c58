//! What the page's port says over HTTP: the page itself, `/relay.json`, `/healthz`, `/readyz`.
//!
//! Every answer is computed at start, when what it says changes, or from a flag in memory: no request touches a file, and no request has a body
//! that anybody reads.

mod csp;
mod encoding;
mod health;
mod page;
mod relay_json;

use axum::{
    Router,
    extract::Request,
    http::{HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use tokio::sync::watch;

pub(crate) use self::page::Page;
pub use self::page::PageError;
pub(crate) use self::relay_json::{Facts, RelayDocument};
use crate::Phase;

/// The largest body that a request may announce. None is ever read; more is refused with 413.
const MAX_BODY_BYTES: u64 = 16 * 1024;

/// The HTTP service behind the acceptor.
pub(crate) fn router(page: Page, document: &RelayDocument, phase: watch::Receiver<Phase>) -> Router {
    Router::new()
        .route("/healthz", get(health::healthz))
        .route("/readyz", get(health::readyz).with_state(phase))
        .route("/relay.json", relay_json::routes(document))
        .fallback_service(page::routes(page))
        .layer(middleware::map_response(add_common_headers))
        .layer(middleware::from_fn(refuse_what_we_never_take))
}

/// Requests that nothing here could answer: a body of size, an upgrade on a connection that has spoken HTTP before.
async fn refuse_what_we_never_take(request: Request, next: Next) -> Response {
    let length = request.headers().get(header::CONTENT_LENGTH);
    let length = length
        .and_then(|value| value.to_str().ok()?.parse::<u64>().ok())
        .unwrap_or(0);
    if length > MAX_BODY_BYTES {
        return closing(StatusCode::PAYLOAD_TOO_LARGE, "The request is too large.\n");
    }
    if request.headers().contains_key(header::UPGRADE) {
        return closing(StatusCode::UPGRADE_REQUIRED, "Open a new connection for a WebSocket.\n");
    }
    next.run(request).await
}

fn closing(status: StatusCode, text: &'static str) -> Response {
    (status, [(header::CONNECTION, "close")], text).into_response()
}

async fn add_common_headers(mut response: Response) -> Response {
    const ALWAYS: [(HeaderName, HeaderValue); 3] = [
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    response.headers_mut().extend(ALWAYS);
    response
}
