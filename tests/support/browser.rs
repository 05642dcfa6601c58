//! One browser process with tabs.

use std::{
    fmt, fs,
    path::PathBuf,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

mod memory;

use anyhow::Context;
use fantoccini::{Client, wd::WindowHandle};
use serde_json::Value;
use tokio::sync::Mutex;

pub use crate::webdriver::{LogEntry, ProtocolEvents};
use crate::{
    netns::Place,
    page::Page,
    webdriver::{Launch, Session},
};

/// Which browser.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// Chromium, through chromedriver.
    #[default]
    Chromium,
    /// Firefox, through geckodriver. What only Chromium's driver can do says so.
    Firefox,
}

/// A running browser with a fresh profile. Dropping it, and every [`Page`] of it, ends it.
#[derive(Clone, Debug)]
pub struct Browser {
    session: Arc<Mutex<Tabs>>,
}

/// WebDriver speaks to one tab at a time: whoever speaks holds this.
#[derive(Debug)]
struct Tabs {
    session: Session,
    current: Option<WindowHandle>,
    /// The tab that the browser opened by itself, until it is used.
    unused: Option<WindowHandle>,
    console: Vec<LogEntry>,
    new_pages: NewPages,
}

/// Where a page is opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum NewPages {
    Tabs,
    Windows,
}

impl Browser {
    /// Starts Chromium here.
    pub async fn launch() -> anyhow::Result<Self> {
        Self::launch_in(Kind::Chromium, &Place::Here, ProtocolEvents::Ignored).await
    }

    /// From now on opens every page in a window of its own: none is hidden, so none is throttled.
    pub async fn open_windows(&self) {
        self.session.lock().await.new_pages = NewPages::Windows;
    }

    /// Starts a browser here with further arguments on its command line.
    pub async fn launch_with(kind: Kind, arguments: &[&str]) -> anyhow::Result<Self> {
        Self::start(Launch {
            kind,
            place: &Place::Here,
            protocol_events: ProtocolEvents::Ignored,
            arguments,
        })
        .await
    }

    /// Starts two browser processes at the same time.
    pub async fn launch_two() -> anyhow::Result<(Self, Self)> {
        futures::try_join!(Self::launch(), Self::launch())
    }

    /// Starts a browser at `place`.
    pub async fn launch_in(kind: Kind, place: &Place, protocol_events: ProtocolEvents) -> anyhow::Result<Self> {
        Self::start(Launch {
            kind,
            place,
            protocol_events,
            arguments: &[],
        })
        .await
    }

    async fn start(launch: Launch<'_>) -> anyhow::Result<Self> {
        let session = Session::start(launch).await?;
        let first = session.client.window().await?;
        Ok(Self {
            session: Arc::new(Mutex::new(Tabs {
                session,
                current: Some(first.clone()),
                unused: Some(first),
                console: Vec::new(),
                new_pages: NewPages::Tabs,
            })),
        })
    }

    /// Opens `url` in a tab of its own. The others of its window are hidden then, and their timers throttled.
    pub async fn open(&self, url: &str) -> anyhow::Result<Page> {
        let mut tabs = self.session.lock().await;
        let as_tab = tabs.new_pages == NewPages::Tabs;
        let tab = match tabs.unused.take() {
            Some(tab) => tab,
            None => tabs.session.client.new_window(as_tab).await?.handle,
        };
        drop(tabs);
        let page = Page::new(self.clone(), tab);
        page.goto(url).await?;
        Ok(page)
    }

    /// The page in a tab that a page opened by itself, where `opener` is a script that opens exactly one.
    pub async fn open_by_script(&self, from: &Page, opener: &str) -> anyhow::Result<Page> {
        let before = self.session.lock().await.session.client.windows().await?;
        from.run(opener).await?;
        let after = self.session.lock().await.session.client.windows().await?;
        let tab = after
            .into_iter()
            .find(|tab| !before.contains(tab))
            .context("the script opened no tab")?;
        Ok(Page::new(self.clone(), tab))
    }

    /// Everything the pages of this browser wrote to the console, and what the browser itself wrote there: uncaught
    /// errors, violations of the content security policy, and in Chromium failed loads.
    pub async fn console(&self) -> anyhow::Result<Vec<LogEntry>> {
        let mut tabs = self.session.lock().await;
        tabs.read_console().await?;
        Ok(tabs.console.clone())
    }

    /// The errors among [`Self::console`].
    pub async fn console_errors(&self) -> anyhow::Result<Vec<String>> {
        let console = self.console().await?;
        let errors = console.into_iter().filter(|entry| entry.level == "SEVERE");
        Ok(errors.map(|entry| entry.message).collect())
    }

    /// Chromium's own protocol events since the last call, if they are kept.
    pub async fn protocol_events(&self) -> anyhow::Result<Vec<Value>> {
        let entries = self.session.lock().await.session.protocol_events().await?;
        entries
            .iter()
            .map(|entry| Ok(serde_json::from_str::<Value>(&entry.message)?["message"].take()))
            .collect()
    }

    /// Minimizes the window: its tabs are hidden then.
    pub async fn minimize(&self) -> anyhow::Result<()> {
        Ok(self.session.lock().await.session.client.minimize_window().await?)
    }

    /// Brings the window back to the screen.
    pub async fn restore(&self) -> anyhow::Result<()> {
        Ok(self.session.lock().await.session.client.maximize_window().await?)
    }

    /// What the processes of its pages take of the machine's memory and share with nobody, in bytes.
    pub async fn memory_of_pages(&self) -> anyhow::Result<u64> {
        memory::of_pages(self.session.lock().await.session.pid()?)
    }

    /// Ends it without warning: no goodbye from any page.
    pub async fn crash(&self) -> anyhow::Result<()> {
        self.session.lock().await.session.crash()
    }

    /// An error where `what` is asked of another browser.
    pub(crate) async fn require_chromium(&self, what: &str) -> anyhow::Result<()> {
        self.session.lock().await.session.require_chromium(what)
    }

    /// Speaks to one tab, after switching to it.
    pub(crate) async fn in_tab<T>(
        &self,
        tab: &WindowHandle,
        speak: impl AsyncFnOnce(&Client) -> Result<T, fantoccini::error::CmdError>,
    ) -> anyhow::Result<T> {
        let mut tabs = self.session.lock().await;
        if tabs.current.as_ref() != Some(tab) {
            tabs.current = None;
            tabs.session.client.switch_to_window(tab.clone()).await?;
            tabs.current = Some(tab.clone());
        }
        Ok(speak(&tabs.session.client).await?)
    }

    /// Closes one tab. The browser stays: if that was its last tab, it gets an empty one first.
    pub(crate) async fn close_tab(&self, tab: &WindowHandle) -> anyhow::Result<()> {
        let mut tabs = self.session.lock().await;
        let client = &tabs.session.client;
        let mut others = client.windows().await?;
        others.retain(|other| other != tab);
        let (next, unused) = match others.pop() {
            Some(other) => (other, None),
            None => {
                let spare = client.new_window(true).await?.handle;
                (spare.clone(), Some(spare))
            }
        };
        client.switch_to_window(tab.clone()).await?;
        client.close_window().await?;
        // No command is possible from a tab that is gone, not even one that opens another.
        client.switch_to_window(next.clone()).await?;
        tabs.current = Some(next);
        tabs.unused = tabs.unused.take().or(unused);
        Ok(())
    }

    /// What explains a failure in this tab: a picture of it, and the end of the console.
    pub(crate) async fn evidence(&self, tab: &WindowHandle) -> String {
        let picture = match self
            .in_tab(tab, async |client| client.screenshot().await)
            .await
            .and_then(keep_picture)
        {
            Ok(path) => path.display().to_string(),
            Err(error) => format!("none: {error}"),
        };
        let console = match self.console().await {
            Ok(console) => Tail(console).to_string(),
            Err(error) => format!("    unreadable: {error}"),
        };
        format!("  picture: {picture}\n  console:\n{console}")
    }
}

impl Tabs {
    async fn read_console(&mut self) -> anyhow::Result<()> {
        let new = self.session.console().await?;
        self.console.extend(new);
        Ok(())
    }
}

/// The last lines of a console.
struct Tail(Vec<LogEntry>);

impl fmt::Display for Tail {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const SHOWN: usize = 20;
        for entry in self.0.iter().skip(self.0.len().saturating_sub(SHOWN)) {
            writeln!(f, "    {} {}", entry.level, entry.message)?;
        }
        Ok(())
    }
}

/// Pictures go to `target/failures`, where no test finds and no commit takes them.
fn keep_picture(png: Vec<u8>) -> anyhow::Result<PathBuf> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let exe = std::env::current_exe()?;
    // target/debug/deps/stories-0123
    let target = exe
        .ancestors()
        .nth(3)
        .context("the test binary is not in a target directory")?;
    let dir = target.join("failures");
    fs::create_dir_all(&dir)?;
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    let path = dir.join(format!("{}-{number}.png", std::process::id()));
    fs::write(&path, png)?;
    Ok(path)
}
