//! Two pages joined by a bare `RTCPeerConnection`, signalled over one WebSocket: what libraries are measured against.

use std::time::Duration;

use serde::Deserialize;
use serde_json::json;

use crate::{
    browser::Browser,
    js::program,
    page::{Page, READY_WITHIN},
    process::Process,
    site::Site,
};

/// Two pages that can connect. Dropping it ends the server between them.
#[derive(Debug)]
pub struct RawPair {
    dialler: Page,
    _listener: Page,
    _signal: Process,
}

impl RawPair {
    /// Opens them and has both join a server that hands on what they signal; `site` is [`crate::js::page_site`].
    pub async fn open(browsers: (&Browser, &Browser), site: &Site) -> anyhow::Result<Self> {
        #[derive(Deserialize)]
        struct Started {
            url: String,
        }
        let mut signal = program("signal.cjs", &[])?;
        let Started { url } = signal
            .wait_for_line(READY_WITHIN, "its address", |line| serde_json::from_str(line).ok())
            .await?;
        let page = format!("{}raw.html", site.url());
        let (dialler, listener) = futures::try_join!(browsers.0.open(&page), browsers.1.open(&page))?;
        let join = format!("return raw.join({});", json!(url));
        futures::try_join!(dialler.run(&join), listener.run(&join))?;
        Ok(Self {
            dialler,
            _listener: listener,
            _signal: signal,
        })
    }

    /// Connects anew; the time is that until a channel is open.
    pub async fn dial(&self) -> anyhow::Result<Duration> {
        self.timed("return raw.dial();").await
    }

    /// Sends so many bytes one way; the time is that until the other side has said that it has them all.
    pub async fn throughput(&self, bytes: usize) -> anyhow::Result<Duration> {
        self.timed(&format!("return raw.send({bytes});")).await
    }

    async fn timed(&self, script: &str) -> anyhow::Result<Duration> {
        #[derive(Deserialize)]
        struct Took {
            ms: f64,
        }
        let Took { ms } = serde_json::from_value(self.dialler.run(script).await?)?;
        Ok(Duration::try_from_secs_f64(ms / 1000.0)?)
    }
}
