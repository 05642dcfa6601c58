//! The browser's `RTCPeerConnection` and `RTCDataChannel` (<https://www.w3.org/TR/webrtc/>).
//!
//! Three rules that their API asks for are kept here. Handlers are attached inside the callback that hands out a channel.
//! Handlers are detached before the closures behind them are dropped. A connection is closed on every path: the browser
//! counts those that are not.

use std::{future::Future, rc::Weak};

use bytes::Bytes;
use js_sys::{JSON, JsString, Promise, Reflect, Uint8Array};
use wasm_bindgen::{JsCast, JsValue, closure::Closure};
use wasm_bindgen_futures::JsFuture;
use web_sys::{
    Event, MessageEvent, RtcConfiguration, RtcDataChannel, RtcDataChannelEvent, RtcDataChannelInit,
    RtcDataChannelState, RtcDataChannelType, RtcIceCandidateInit, RtcIceServer, RtcPeerConnection,
    RtcPeerConnectionIceEvent, RtcPeerConnectionState, RtcSdpType, RtcSessionDescriptionInit,
};

use crate::{Stats, stats};

use super::{ChannelEvents, ChannelState, ConnectionEvents, ConnectionState, Description, IceServer, RtcError};

/// One `RTCPeerConnection`. Dropping it closes it.
pub(crate) struct Connection {
    inner: RtcPeerConnection,
    _on_transport: Closure<dyn FnMut(Event)>,
    _on_state: Closure<dyn FnMut(Event)>,
    _on_candidate: Closure<dyn FnMut(RtcPeerConnectionIceEvent)>,
    _on_channel: Closure<dyn FnMut(RtcDataChannelEvent)>,
}

impl Connection {
    pub(crate) fn new(servers: &[IceServer], events: Weak<dyn ConnectionEvents>) -> Result<Self, RtcError> {
        // A browser without WebRTC has no such constructor, and a call of it would be an exception of wasm-bindgen's.
        if !Reflect::has(&js_sys::global(), &JsValue::from_str("RTCPeerConnection")).unwrap_or(false) {
            return Err(RtcError::Unsupported);
        }
        let inner = RtcPeerConnection::new_with_configuration(&configuration(servers))
            .map_err(|error| refused("make a connection", &error))?;

        let on_transport = Closure::new({
            let (events, inner) = (events.clone(), inner.clone());
            move |_: Event| {
                if let Some(events) = events.upgrade()
                    && is_shut(&inner)
                {
                    events.on_state(ConnectionState::Closed);
                }
            }
        });
        let on_state = Closure::new({
            let (events, inner) = (events.clone(), inner.clone());
            let on_transport: JsValue = on_transport.as_ref().clone();
            move |_: Event| {
                // It is there once the descriptions are exchanged.
                set_on_transport(&inner, &on_transport);
                if let Some(events) = events.upgrade() {
                    events.on_state(state_of(&inner));
                }
            }
        });
        inner.set_onconnectionstatechange(Some(on_state.as_ref().unchecked_ref()));

        let on_candidate = Closure::new({
            let events = events.clone();
            move |event: RtcPeerConnectionIceEvent| {
                if let Some(events) = events.upgrade() {
                    events.on_candidate(event.candidate().and_then(|candidate| json(&candidate)));
                }
            }
        });
        inner.set_onicecandidate(Some(on_candidate.as_ref().unchecked_ref()));

        let on_channel = Closure::new(move |event: RtcDataChannelEvent| {
            let channel = RawChannel(event.channel());
            match events.upgrade() {
                Some(events) => events.on_channel(channel),
                None => channel.close(),
            }
        });
        inner.set_ondatachannel(Some(on_channel.as_ref().unchecked_ref()));

        Ok(Self {
            inner,
            _on_transport: on_transport,
            _on_state: on_state,
            _on_candidate: on_candidate,
            _on_channel: on_channel,
        })
    }

    /// None of these operations borrows the connection: it may be handed on while one runs.
    pub(crate) fn create_offer(&self) -> impl Future<Output = Result<String, RtcError>> + 'static {
        let promise = self.inner.create_offer();
        async { sdp(settled(promise, "create an offer").await?, "create an offer") }
    }

    pub(crate) fn create_answer(&self) -> impl Future<Output = Result<String, RtcError>> + 'static {
        let promise = self.inner.create_answer();
        async { sdp(settled(promise, "create an answer").await?, "create an answer") }
    }

    pub(crate) fn set_local_description(
        &self,
        kind: Description,
        sdp: &str,
    ) -> impl Future<Output = Result<(), RtcError>> + 'static {
        let promise = self.inner.set_local_description(&description(kind, sdp));
        async { settled(promise, "use its own description").await.map(drop) }
    }

    pub(crate) fn set_remote_description(
        &self,
        kind: Description,
        sdp: &str,
    ) -> impl Future<Output = Result<(), RtcError>> + 'static {
        let promise = self.inner.set_remote_description(&description(kind, sdp));
        async { settled(promise, "use the other side's description").await.map(drop) }
    }

    /// Takes a remote candidate in the form in which [`ConnectionEvents::on_candidate`] gives a local one.
    pub(crate) fn add_candidate(&self, json: &str) -> impl Future<Output = Result<(), RtcError>> + 'static {
        const OPERATION: &str = "use a candidate";
        let parsed = JSON::parse(json).map_err(|error| refused(OPERATION, &error));
        let promise = parsed.map(|candidate| {
            let candidate: RtcIceCandidateInit = candidate.unchecked_into();
            self.inner
                .add_ice_candidate_with_opt_rtc_ice_candidate_init(Some(&candidate))
        });
        async { settled(promise?, OPERATION).await.map(drop) }
    }

    pub(crate) fn local_description(&self) -> Option<String> {
        Some(self.inner.local_description()?.sdp())
    }

    pub(crate) fn create_channel(&self, label: &str) -> Result<RawChannel, RtcError> {
        self.channel(label, &RtcDataChannelInit::new())
    }

    /// A channel that both sides know of beforehand by its id.
    pub(crate) fn create_negotiated_channel(&self, id: u16) -> Result<RawChannel, RtcError> {
        let init = RtcDataChannelInit::new();
        init.set_negotiated(true);
        init.set_id(id);
        self.channel("", &init)
    }

    /// Called by its name: web-sys takes this for a call that cannot fail, but it throws on a closed connection and when
    /// there are no more ids.
    fn channel(&self, label: &str, init: &RtcDataChannelInit) -> Result<RawChannel, RtcError> {
        const OPERATION: &str = "open a channel";
        let method = Reflect::get(&self.inner, &JsValue::from_str("createDataChannel"));
        let method: js_sys::Function = method
            .and_then(JsCast::dyn_into)
            .map_err(|error| refused(OPERATION, &error))?;
        let channel = method.call2(&self.inner, &JsValue::from_str(label), init);
        let channel = channel.map_err(|error| refused(OPERATION, &error))?;
        Ok(RawChannel(channel.unchecked_into()))
    }

    /// What the browser counts; see [`crate::Stats`].
    pub(crate) fn counters(&self) -> Counters {
        Counters(self.inner.clone())
    }

    pub(crate) fn close(&self) {
        self.inner.close();
    }
}

/// The counters of a connection; holds the browser's object, so it must go when the connection does.
pub(crate) struct Counters(RtcPeerConnection);

impl Counters {
    pub(crate) fn read(&self) -> impl Future<Output = Result<Stats, RtcError>> + 'static {
        const OPERATION: &str = "count";
        let promise = self.0.get_stats();
        async {
            let report = settled(promise, OPERATION).await?;
            let entries = js_sys::try_iter(&report).map_err(|error| refused(OPERATION, &error))?;
            let json: Vec<String> = entries
                .into_iter()
                .flatten()
                .filter_map(|entry| {
                    // A pair of the entry's id and the entry.
                    let entry = Reflect::get_u32(&entry.ok()?, 1).ok()?;
                    JSON::stringify(&entry).ok().map(String::from)
                })
                .collect();
            Ok(stats::read(json.iter().map(String::as_str)))
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        set_on_transport(&self.inner, &JsValue::NULL);
        self.inner.set_onconnectionstatechange(None);
        self.inner.set_onicecandidate(None);
        self.inner.set_ondatachannel(None);
        self.inner.close();
    }
}

/// A channel that nobody listens to yet.
pub(crate) struct RawChannel(RtcDataChannel);

impl RawChannel {
    pub(crate) fn label(&self) -> String {
        self.0.label()
    }

    /// Reports to `events` from now on; [`ChannelEvents::on_writable`] when no more than `threshold` bytes wait.
    pub(crate) fn attach(self, threshold: usize, events: Weak<dyn ChannelEvents>) -> Channel {
        let inner = self.0;
        inner.set_binary_type(RtcDataChannelType::Arraybuffer);
        inner.set_buffered_amount_low_threshold(u32::try_from(threshold).unwrap_or(u32::MAX));
        let tell = |tell: fn(&dyn ChannelEvents)| {
            let events = events.clone();
            Closure::<dyn FnMut(Event)>::new(move |_: Event| {
                if let Some(events) = events.upgrade() {
                    tell(&*events);
                }
            })
        };
        let on_open = tell(|events| events.on_open());
        let on_writable = tell(|events| events.on_writable());
        let on_closed = tell(|events| events.on_closed());
        let on_message = Closure::<dyn FnMut(MessageEvent)>::new(move |event: MessageEvent| {
            if let Some(events) = events.upgrade() {
                events.on_message(bytes(&event.data()));
            }
        });
        inner.set_onopen(Some(on_open.as_ref().unchecked_ref()));
        inner.set_onbufferedamountlow(Some(on_writable.as_ref().unchecked_ref()));
        inner.set_onclose(Some(on_closed.as_ref().unchecked_ref()));
        inner.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        Channel {
            inner,
            _simple: [on_open, on_writable, on_closed],
            _on_message: on_message,
        }
    }

    pub(crate) fn close(self) {
        self.0.close();
    }
}

/// One `RTCDataChannel`. Dropping it closes it; the browser sends what is queued before.
pub(crate) struct Channel {
    inner: RtcDataChannel,
    _simple: [Closure<dyn FnMut(Event)>; 3],
    _on_message: Closure<dyn FnMut(MessageEvent)>,
}

impl Channel {
    pub(crate) fn state(&self) -> ChannelState {
        match self.inner.ready_state() {
            RtcDataChannelState::Connecting => ChannelState::Connecting,
            RtcDataChannelState::Open => ChannelState::Open,
            // The last is what a later standard may add: nothing can be sent in a state that we do not know.
            RtcDataChannelState::Closing | RtcDataChannelState::Closed | _ => ChannelState::Closed,
        }
    }

    pub(crate) fn send(&self, message: &[u8]) -> Result<(), RtcError> {
        let sent = self.inner.send_with_u8_array(message);
        sent.map_err(|error| refused("send", &error))
    }

    pub(crate) fn buffered_amount(&self) -> usize {
        self.inner.buffered_amount() as usize
    }

    pub(crate) fn close(&self) {
        self.inner.close();
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.inner.set_onopen(None);
        self.inner.set_onbufferedamountlow(None);
        self.inner.set_onclose(None);
        self.inner.set_onmessage(None);
        self.inner.close();
    }
}

async fn settled(promise: Promise, operation: &'static str) -> Result<JsValue, RtcError> {
    JsFuture::from(promise)
        .await
        .map_err(|error| refused(operation, &error))
}

fn configuration(servers: &[IceServer]) -> RtcConfiguration {
    let list = js_sys::Array::new();
    for server in servers {
        let urls: js_sys::Array = server.urls.iter().map(|url| JsValue::from_str(url)).collect();
        let entry = RtcIceServer::new();
        entry.set_urls(&urls);
        list.push(&entry);
    }
    let configuration = RtcConfiguration::new();
    configuration.set_ice_servers(&list);
    configuration
}

fn state_of(connection: &RtcPeerConnection) -> ConnectionState {
    match connection.connection_state() {
        RtcPeerConnectionState::Connected => ConnectionState::Connected,
        RtcPeerConnectionState::Failed => ConnectionState::Failed,
        RtcPeerConnectionState::Closed => ConnectionState::Closed,
        RtcPeerConnectionState::New | RtcPeerConnectionState::Connecting | RtcPeerConnectionState::Disconnected | _ => {
            ConnectionState::Pending
        }
    }
}

/// `RTCSctpTransport`: its end is how a browser shows that the other side closed the connection. By itself, the
/// connection's own state says so only when checks go unanswered for a while.
fn transport(connection: &RtcPeerConnection) -> Option<JsValue> {
    let transport = Reflect::get(connection, &JsValue::from_str("sctp")).ok()?;
    (!transport.is_null() && !transport.is_undefined()).then_some(transport)
}

fn set_on_transport(connection: &RtcPeerConnection, handler: &JsValue) {
    if let Some(transport) = transport(connection) {
        // Fails only on what is no object.
        let _ = Reflect::set(&transport, &JsValue::from_str("onstatechange"), handler);
    }
}

fn is_shut(connection: &RtcPeerConnection) -> bool {
    let state = transport(connection).and_then(|transport| Reflect::get(&transport, &JsValue::from_str("state")).ok());
    state.is_some_and(|state| state == "closed")
}

fn description(kind: Description, sdp: &str) -> RtcSessionDescriptionInit {
    let init = RtcSessionDescriptionInit::new(match kind {
        Description::Offer => RtcSdpType::Offer,
        Description::Answer => RtcSdpType::Answer,
    });
    init.set_sdp(sdp);
    init
}

fn sdp(description: JsValue, operation: &'static str) -> Result<String, RtcError> {
    let sdp = Reflect::get(&description, &JsValue::from_str("sdp")).ok();
    sdp.and_then(|sdp| sdp.as_string()).ok_or(RtcError::Refused {
        operation,
        message: "it has no text".to_owned(),
    })
}

/// `candidate` as `RTCIceCandidate.toJSON` gives it.
fn json(candidate: &JsValue) -> Option<String> {
    JSON::stringify(candidate).ok().map(String::from)
}

/// A message's bytes; a text message counts as the bytes of its UTF-8 form, as in js-libp2p.
fn bytes(data: &JsValue) -> Bytes {
    match data.dyn_ref::<JsString>() {
        Some(text) => String::from(text).into_bytes().into(),
        None => Uint8Array::new(data).to_vec().into(),
    }
}

fn refused(operation: &'static str, error: &JsValue) -> RtcError {
    let message = error
        .dyn_ref::<js_sys::Error>()
        .map(|error| String::from(error.message()))
        .or_else(|| {
            let message = Reflect::get(error, &JsValue::from_str("message")).ok()?;
            message.as_string()
        })
        .unwrap_or_else(|| "it gave no reason".to_owned());
    RtcError::Refused { operation, message }
}
