//! `BroadcastChannel`: a word to every other tab of this origin. It needs no secure context, and hidden tabs hear it.

use futures::channel::mpsc;
use wasm_bindgen::{JsCast, closure::Closure};

/// How many messages wait to be read; further ones are dropped, as if the tab had not been there.
const MAX_WAITING: usize = 64;

/// An open channel; closed when dropped.
pub(crate) struct Channel {
    inner: web_sys::BroadcastChannel,
    _on_message: Closure<dyn FnMut(web_sys::MessageEvent)>,
}

impl Channel {
    /// Opens `name`. `None` where the browser has no such thing.
    pub(crate) fn open(name: &str) -> Option<(Self, mpsc::Receiver<String>)> {
        js_sys::Reflect::has(&super::window(), &"BroadcastChannel".into())
            .ok()
            .filter(|has| *has)?;
        let inner = web_sys::BroadcastChannel::new(name).ok()?;
        let (mut heard, hearing) = mpsc::channel(MAX_WAITING);
        let on_message = Closure::<dyn FnMut(_)>::new(move |event: web_sys::MessageEvent| {
            if let Some(text) = event.data().as_string() {
                let _ = heard.try_send(text);
            }
        });
        inner.set_onmessage(Some(on_message.as_ref().unchecked_ref()));
        let channel = Self {
            inner,
            _on_message: on_message,
        };
        Some((channel, hearing))
    }

    /// Tells every other tab. A failure means that nobody can hear us, which the caller sees as silence.
    pub(crate) fn post(&self, text: &str) {
        let _ = self.inner.post_message(&text.into());
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.inner.set_onmessage(None);
        self.inner.close();
    }
}
