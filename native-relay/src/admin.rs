//! What those who run the relay see of it, on an address of its own: `/metrics`, `/stats`, `/peers`, `/healthz`.
//!
//! Decides who is answered: on loopback only requests that call us by a name of this machine. A page that a browser on this
//! machine has open could otherwise let its own name lead here, and read who is connected (DNS rebinding). Whoever
//! gives another address has decided that those who reach it may look.
//!
//! Changes nothing, and is never part of the page's port. What it shows it asks the event loop for.

mod json;
mod openmetrics;

use std::{
    net::{IpAddr, SocketAddr},
    sync::Arc,
    time::Duration,
};

use axum::{
    Router,
    extract::{Request as HttpRequest, State},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, Uri, header, uri::Authority},
    middleware::{self, Next},
    response::{IntoResponse, Response},
    routing::get,
};
use libp2p::PeerId;
use libp2p_metrics::Registry;
use tokio::{
    net::TcpListener,
    sync::{Semaphore, mpsc, oneshot, watch},
    task::JoinSet,
    time::timeout,
};

use crate::{
    Phase, acceptor,
    config::{Admin, Limits},
    event_loop::{Request, stopping},
    ledger::report,
    process::Usage,
    relay::{StartError, listen_error},
};

/// Connections at once. Beyond it, new ones are closed unanswered: nobody needs so many to look.
const MAX_CONNECTIONS: usize = 32;
/// How long the event loop may take to answer. It answers at once, or is stuck.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who answers, and where from.
#[derive(Clone)]
pub(crate) struct Sources {
    pub(crate) peer: PeerId,
    pub(crate) limits: Vec<(&'static str, u64)>,
    pub(crate) requests: mpsc::Sender<Request>,
    /// What libp2p makes of the swarm's events.
    pub(crate) libp2p: Arc<Registry>,
}

impl Sources {
    pub(crate) fn new(peer: PeerId, limits: &Limits, requests: mpsc::Sender<Request>, libp2p: Registry) -> Self {
        let limits = report::limits(limits).map(|(name, most)| (name, u64::from(most.get())));
        Self {
            peer,
            limits: limits.to_vec(),
            requests,
            libp2p: Arc::new(libp2p),
        }
    }

    /// What the event loop says; an answer for the client if it says nothing.
    async fn ask<T>(&self, question: impl FnOnce(oneshot::Sender<T>) -> Request) -> Result<T, Response> {
        let (answer, answered) = oneshot::channel();
        let asked = async {
            self.requests.send(question(answer)).await.ok()?;
            answered.await.ok()
        };
        let unavailable = || (StatusCode::SERVICE_UNAVAILABLE, "The relay does not answer.\n").into_response();
        timeout(PATIENCE, asked).await.ok().flatten().ok_or_else(unavailable)
    }
}

/// Takes the address, if there shall be one.
///
/// # Errors
/// It was asked for by name and cannot be had.
pub(crate) fn bind(admin: Admin) -> Result<Option<TcpListener>, StartError> {
    let Some(socket) = admin.socket() else {
        return Ok(None);
    };
    let error = match acceptor::bind(socket) {
        Ok(listener) => return Ok(Some(listener)),
        Err(error) => listen_error(socket.to_string(), socket.port(), "TCP", "--admin", error),
    };
    match admin {
        Admin::At(_) => Err(error),
        Admin::IfFree | Admin::Off => {
            tracing::warn!(%error, "metrics are not served");
            Ok(None)
        }
    }
}

/// Serves, if there is something to serve at, until `stop` says so or its sender is gone.
pub(crate) async fn run(listener: Option<TcpListener>, sources: Sources, mut stop: watch::Receiver<Phase>) {
    let bound = listener.and_then(|listener| Some((listener.local_addr().ok()?, listener)));
    let Some((address, listener)) = bound else {
        return stopping(&mut stop).await;
    };
    tracing::info!(%address, "serving metrics");
    let service = router(address, sources);
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut connections = JoinSet::new();
    let mut incoming = acceptor::incoming(listener);
    loop {
        let stream = tokio::select! {
            Some((stream, _)) = futures::StreamExt::next(&mut incoming) => stream,
            Some(_) = connections.join_next() => continue,
            () = stopping(&mut stop) => break,
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            tracing::debug!("no place for another connection to the metrics");
            continue;
        };
        let service = service.clone();
        connections.spawn(async move {
            let _place = place;
            acceptor::serve(stream, service).await;
        });
    }
    connections.shutdown().await;
}

fn router(bound: SocketAddr, sources: Sources) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/stats", get(stats))
        .route("/peers", get(peers))
        .route("/healthz", get(healthz))
        .with_state(sources)
        .layer(middleware::map_response(add_common_headers))
        .layer(middleware::from_fn_with_state(bound, refuse_other_names))
}

async fn metrics(State(sources): State<Sources>) -> Result<Response, Response> {
    let report = sources.ask(Request::Report).await?;
    let encoded = openmetrics::encode(report, sources.limits, Usage::now(), &sources.libp2p);
    let encoded = encoded.map_err(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())?;
    Ok(([(header::CONTENT_TYPE, openmetrics::CONTENT_TYPE)], encoded).into_response())
}

async fn stats(State(sources): State<Sources>) -> Result<Response, Response> {
    let report = sources.ask(Request::Report).await?;
    Ok(axum::Json(json::stats(sources.peer, &report, &sources.limits)).into_response())
}

async fn peers(State(sources): State<Sources>, uri: Uri) -> Result<Response, Response> {
    let mut parameters = uri.query().into_iter().flat_map(|query| query.split('&'));
    let after = match parameters.find_map(|parameter| parameter.strip_prefix("after=")) {
        None => None,
        Some(id) => match id.parse() {
            Ok(id) => Some(id),
            Err(_) => return Err((StatusCode::BAD_REQUEST, "after: not a peer id\n").into_response()),
        },
    };
    let page = sources.ask(|answer| Request::Peers { after, answer }).await?;
    Ok(axum::Json(json::peers(&page)).into_response())
}

/// The event loop answers.
async fn healthz(State(sources): State<Sources>) -> Result<&'static str, Response> {
    sources.ask(Request::Status).await.map(|_| "ok\n")
}

async fn refuse_other_names(State(bound): State<SocketAddr>, request: HttpRequest, next: Next) -> Response {
    if bound.ip().is_loopback() && !is_ours(request.headers()) {
        let text = "This address answers to the names of this machine only.\n";
        return (StatusCode::MISDIRECTED_REQUEST, text).into_response();
    }
    next.run(request).await
}

/// Whether a request calls us `localhost` or by a loopback address, at whatever port: a tunnel may have another.
fn is_ours(headers: &HeaderMap) -> bool {
    let mut hosts = headers.get_all(header::HOST).iter();
    let (Some(host), None) = (hosts.next(), hosts.next()) else {
        return false;
    };
    let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
    authority.is_some_and(|authority| {
        let host = authority.host();
        let ip = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'))
            .unwrap_or(host);
        host.eq_ignore_ascii_case("localhost") || ip.parse::<IpAddr>().is_ok_and(|ip| ip.to_canonical().is_loopback())
    })
}

async fn add_common_headers(mut response: Response) -> Response {
    const ALWAYS: [(HeaderName, HeaderValue); 3] = [
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
        (header::X_FRAME_OPTIONS, HeaderValue::from_static("DENY")),
    ];
    response.headers_mut().extend(ALWAYS);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn when_a_request_calls_us_by_a_name_of_this_machine_it_is_ours() {
        for (hosts, ours) in [
            (&["127.0.0.1:9090"][..], true),
            (&["127.0.0.1"], true),
            (&["127.8.9.1:1"], true),
            (&["localhost:9090"], true),
            (&["LOCALHOST"], true),
            (&["[::1]:9090"], true),
            (&["[::ffff:127.0.0.1]"], true),
            (&[], false),
            (&[""], false),
            (&["rebound.example:9090"], false),
            (&["localhost.rebound.example"], false),
            (&["127.0.0.1.rebound.example"], false),
            (&["192.0.2.1:9090"], false),
            (&["0.0.0.0:9090"], false),
            (&["[2001:db8::1]:9090"], false),
            (&["localhost", "rebound.example"], false),
            (&["a b"], false),
        ] {
            let headers: HeaderMap = hosts
                .iter()
                .map(|host| (header::HOST, HeaderValue::from_str(host).unwrap()))
                .fold(HeaderMap::new(), |mut all, (name, host)| {
                    all.append(name, host);
                    all
                });
            assert_eq!(is_ours(&headers), ours, "{hosts:?}");
        }
    }
}
