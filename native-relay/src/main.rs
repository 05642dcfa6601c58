//! `native-relay`: the command line around [`native_relay::Relay`].

use std::{
    io::{IsTerminal, Write},
    process::ExitCode,
};

use native_relay::{Config, ConfigError, LogFormat, Relay, StartError};
use tracing_subscriber::EnvFilter;

/// It did not start, or broke.
const FAILED: u8 = 1;
/// What was asked for makes no sense.
const MISUSED: u8 = 2;

fn main() -> ExitCode {
    let config = match Config::from_args(std::env::args_os()) {
        Ok(config) => config,
        Err(ConfigError::Shown(text)) => return say(&text),
        Err(error @ ConfigError::Invalid(_)) => return complain(&error, MISUSED),
    };
    log_to_stderr(config.log_format);
    let format = config.log_format;
    let runtime = match tokio::runtime::Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(format, &error),
    };
    let outcome = runtime.block_on(run(config));
    // A compression or a DNS look-up on another thread is not worth waiting for.
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(format, &error),
    }
}

/// What is logged unless `RUST_LOG` says otherwise. At INFO, libp2p-identify writes down the address that a peer says it
/// sees us at, each time that it says another: any peer could fill the log.
const LOGGED: &str = "info,libp2p_identify=warn";

fn log_to_stderr(format: LogFormat) {
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(LOGGED));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr);
    match format {
        LogFormat::Text => log.with_ansi(wants_colour()).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}

/// Whether somebody looks at standard error who has not asked for plain text (<https://no-color.org>): a file or a journal
/// would keep the escape sequences.
fn wants_colour() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Why it ended although nobody asked it to.
#[derive(Debug, thiserror::Error)]
enum Failure {
    #[error("cannot listen for signals: {0}")]
    Signals(#[source] std::io::Error),
    #[error(transparent)]
    Start(#[from] StartError),
    #[error("the relay broke; the log says why")]
    Broke,
}

async fn run(config: Config) -> Result<(), Failure> {
    let stop = stop_signal().map_err(Failure::Signals)?;
    let mut hang_up = HangUp::listen().map_err(Failure::Signals)?;
    let mut relay = Relay::start(config).await?;
    tracing::info!(peer = %relay.peer_id(), "this relay");
    for address in relay.addresses() {
        tracing::debug!(%address, "announced");
    }
    let lines: String = relay.page_urls().iter().map(|url| format!("open {url}\n")).collect();
    say(&lines);

    let mut stop = std::pin::pin!(stop);
    loop {
        tokio::select! {
            signal = &mut stop => {
                tracing::info!(signal, "stopping");
                relay.shutdown().await;
                return Ok(());
            }
            () = hang_up.recv() => reload_access(&relay).await,
            () = relay.failed() => return Err(Failure::Broke),
        }
    }
}

/// Reads the configuration anew and takes over who may use the relay. If anything in it is wrong, what held before holds.
async fn reload_access(relay: &Relay) {
    let read = Config::from_args(std::env::args_os()).map_err(|error| error.to_string());
    let replaced = match read {
        Ok(config) => relay
            .replace_access(&config.access)
            .await
            .map_err(|error| error.to_string()),
        Err(error) => Err(error),
    };
    match replaced {
        Ok(()) => tracing::info!("access reloaded"),
        Err(error) => tracing::error!(%error, "access not reloaded; what held before holds"),
    }
}

/// Whoever runs the relay asks it to read its configuration anew.
struct HangUp {
    #[cfg(unix)]
    signal: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl HangUp {
    fn listen() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        let signal = signal(SignalKind::hangup())?;
        Ok(Self { signal })
    }

    async fn recv(&mut self) {
        if self.signal.recv().await.is_none() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(not(unix))]
impl HangUp {
    fn listen() -> std::io::Result<Self> {
        Ok(Self {})
    }

    async fn recv(&mut self) {
        std::future::pending::<()>().await;
    }
}

/// Completes when the process is asked to end. Listens from the moment it is made.
#[cfg(unix)]
fn stop_signal() -> std::io::Result<impl Future<Output = &'static str>> {
    use tokio::signal::unix::{SignalKind, signal};
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => "SIGINT",
            _ = terminate.recv() => "SIGTERM",
        }
    })
}

/// Completes when the process is asked to end.
#[cfg(not(unix))]
fn stop_signal() -> std::io::Result<impl Future<Output = &'static str>> {
    Ok(async {
        // Without a handler nothing can ask us to stop; the system will.
        let _ = tokio::signal::ctrl_c().await;
        "Ctrl-C"
    })
}

/// Text for whoever reads standard output, which may be nobody.
fn say(text: &str) -> ExitCode {
    let mut out = std::io::stdout().lock();
    let _ = out.write_all(text.as_bytes()).and_then(|()| out.flush());
    ExitCode::SUCCESS
}

/// Says why we end; in the log's own form where programs read it.
fn fail(format: LogFormat, error: &dyn std::fmt::Display) -> ExitCode {
    match format {
        LogFormat::Text => complain(error, FAILED),
        LogFormat::Json => {
            tracing::error!(%error, "failed");
            ExitCode::from(FAILED)
        }
    }
}

/// One line for whoever started us.
fn complain(what: &dyn std::fmt::Display, code: u8) -> ExitCode {
    let _ = writeln!(std::io::stderr(), "native-relay: {what}");
    ExitCode::from(code)
}
