//! iroh's relay as `iroh-relay --dev` starts it, and two of its clients that send as much as is wanted through one.
//!
//! `serve` prints the relay's URL and ends with its stdin. `load URL BYTES` ends when so many bytes have arrived.

use std::{
    net::Ipv4Addr,
    num::NonZeroU16,
    sync::Arc,
    sync::atomic::{AtomicU64, Ordering},
    time::Duration,
};

use anyhow::{Context, bail, ensure};
use futures::{SinkExt, StreamExt};
use iroh_base::{RelayUrl, SecretKey};
use iroh_dns::dns::DnsResolver;
use iroh_relay::{
    client::{Client, ClientBuilder},
    protos::relay::{ClientToRelayMsg, Datagrams, RelayToClientMsg},
    server::{RelayConfig, Server, ServerConfig},
    tls::{CaTlsConfig, default_provider},
};
use tokio::{io::AsyncReadExt, sync::Notify, time::timeout};

/// A datagram as QUIC sends them.
const DATAGRAM: u16 = 1_200;
/// Datagrams that iroh hands to its relay at once: as many as fit into a message.
const BATCH: usize = 48;
/// Bytes that are under way at most: the relay drops what its queue for a client has no room for.
const UNDER_WAY: u64 = 4 << 20;
/// What takes longer is broken.
const PATIENCE: Duration = Duration::from_secs(120);

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve"] => serve().await,
        ["load", url, bytes] => timeout(PATIENCE, load(url.parse()?, bytes.parse()?)).await?,
        _ => bail!("serve, or load URL BYTES"),
    }
}

/// Plain HTTP on loopback and no limits, as with `--dev`.
async fn serve() -> anyhow::Result<()> {
    let mut config = ServerConfig::default();
    config.relay = Some(RelayConfig::new((Ipv4Addr::LOCALHOST, 0)));
    let server = Server::spawn(config).await?;
    let address = server.http_addr().context("it serves nothing")?;
    println!("http://{address}/");
    // Ends with whoever started it.
    while tokio::io::stdin().read(&mut [0; 64]).await? > 0 {}
    Ok(())
}

async fn client(url: &RelayUrl, key: SecretKey) -> anyhow::Result<Client> {
    let tls = CaTlsConfig::default().client_config(default_provider())?;
    let client = ClientBuilder::new(url.clone(), key, DnsResolver::new()).tls_client_config(tls);
    Ok(client.connect().await?)
}

async fn load(url: RelayUrl, bytes: u64) -> anyhow::Result<()> {
    let keys = [SecretKey::generate(), SecretKey::generate()];
    let destination = keys[1].public();
    let [from, to] = keys;
    let (mut answers, mut source) = client(&url, from).await?.split();
    let (mut sink, _destination) = client(&url, to).await?.split();
    let arrived = Arc::new(AtomicU64::new(0));
    let progress = Arc::new(Notify::new());
    let receive = async {
        while arrived.load(Ordering::Acquire) < bytes {
            let message = sink.next().await.context("the relay hung up")??;
            if let RelayToClientMsg::Datagrams { datagrams, .. } = message {
                arrived.fetch_add(datagrams.contents.len() as u64, Ordering::AcqRel);
                progress.notify_one();
            }
        }
        anyhow::Ok(())
    };
    let batch = Datagrams {
        ecn: None,
        segment_size: NonZeroU16::new(DATAGRAM),
        contents: vec![0x5a; usize::from(DATAGRAM) * BATCH].into(),
    };
    let send = async {
        let mut sent = 0;
        while sent < bytes {
            let message = ClientToRelayMsg::Datagrams {
                dst_endpoint_id: destination,
                datagrams: batch.clone(),
            };
            sent += batch.contents.len() as u64;
            source.send(message).await?;
            while sent - arrived.load(Ordering::Acquire) > UNDER_WAY {
                let moved = timeout(PATIENCE, progress.notified()).await;
                ensure!(moved.is_ok(), "the relay lost something");
            }
        }
        anyhow::Ok(())
    };
    // What the relay asks of who sends is answered.
    let listen = async {
        while let Some(message) = answers.next().await {
            message?;
        }
        anyhow::Ok(())
    };
    tokio::select! {
        both = async { tokio::try_join!(receive, send) } => both.map(drop),
        ended = listen => ended.and_then(|()| bail!("the relay hung up")),
    }
}
