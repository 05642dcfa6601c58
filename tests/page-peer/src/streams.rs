//! What is done over a stream: an echo that ends when both sides have half-closed, and a sink that counts. The same as
//! `tests/js/streams.js`, which is at the other end.

use futures::{
    AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, StreamExt, channel::mpsc, future::try_join, io::BufReader,
};
use libp2p::{Stream, StreamProtocol};
use peerway_core::behaviours::IncomingStreams;
use serde::{Deserialize, Serialize};
use wasm_bindgen_futures::spawn_local;

/// Sends back what comes until the other side has ended, then ends.
pub(crate) const ECHO: StreamProtocol = StreamProtocol::new("/echo/1.0.0");
/// Takes what comes until the other side has ended, then says how much that was.
pub(crate) const SINK: StreamProtocol = StreamProtocol::new("/peerway-test/throughput/1");

/// What is sent repeats itself after a prime number of bytes, so that no frame's length hides a shift.
const PERIOD: usize = 65_521;

/// The sink's answer.
#[derive(Serialize, Deserialize)]
struct Count {
    bytes: usize,
}

/// Serves each stream by itself until the node is gone.
pub(crate) async fn serve<F: Future<Output = anyhow::Result<()>> + 'static>(
    mut incoming: IncomingStreams,
    answer: fn(Stream) -> F,
) {
    while let Some((_, stream)) = incoming.next().await {
        spawn_local(async move {
            // Whoever asked sees what is missing.
            let _ = answer(stream).await;
        });
    }
}

/// Reads on while what was read before is still being written, as js-libp2p does: a data channel holds nobody back who
/// sends, and what nobody reads ends the stream when it is too much.
pub(crate) async fn echo_all(stream: Stream) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.split();
    let (sender, mut pieces) = mpsc::unbounded::<Vec<u8>>();
    let read = async move {
        let mut reader = BufReader::with_capacity(PERIOD, reader);
        loop {
            let piece = reader.fill_buf().await?.to_vec();
            if piece.is_empty() {
                return anyhow::Ok(());
            }
            reader.consume_unpin(piece.len());
            sender.unbounded_send(piece)?;
        }
    };
    let write = async {
        while let Some(piece) = pieces.next().await {
            writer.write_all(&piece).await?;
        }
        Ok(writer.close().await?)
    };
    try_join(read, write).await?;
    Ok(())
}

pub(crate) async fn count_all(stream: Stream) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.split();
    let mut reader = BufReader::with_capacity(PERIOD, reader);
    let mut bytes = 0;
    loop {
        match reader.fill_buf().await?.len() {
            0 => break,
            some => {
                bytes += some;
                reader.consume_unpin(some);
            }
        }
    }
    writer.write_all(&serde_json::to_vec(&Count { bytes })?).await?;
    Ok(writer.close().await?)
}

/// Sends, ends, reads until the other side has ended, and compares every byte.
pub(crate) async fn ask_for_echo(stream: Stream, bytes: usize) -> anyhow::Result<()> {
    let (reader, mut writer) = stream.split();
    let pattern = pattern();
    try_join(fill(&mut writer, &pattern, bytes), compare(reader, &pattern, bytes)).await?;
    Ok(())
}

/// Sends, ends, and reads how much arrived.
pub(crate) async fn send_all(stream: Stream, bytes: usize) -> anyhow::Result<()> {
    let (mut reader, mut writer) = stream.split();
    let pattern = pattern();
    let mut answer = Vec::new();
    let read = async { Ok(reader.read_to_end(&mut answer).await?) };
    try_join(fill(&mut writer, &pattern, bytes), read).await?;
    let Count { bytes: arrived } = serde_json::from_slice(&answer)?;
    anyhow::ensure!(arrived == bytes, "{arrived} of {bytes} bytes arrived");
    Ok(())
}

fn pattern() -> Vec<u8> {
    (0..PERIOD)
        .map(|index| (index * 167) as u8 ^ (index >> 8) as u8)
        .collect()
}

async fn fill(writer: &mut (impl futures::AsyncWrite + Unpin), pattern: &[u8], bytes: usize) -> anyhow::Result<()> {
    let mut missing = bytes;
    while missing > 0 {
        let some = missing.min(PERIOD);
        writer.write_all(&pattern[..some]).await?;
        missing -= some;
    }
    Ok(writer.close().await?)
}

async fn compare(reader: impl futures::AsyncRead + Unpin, pattern: &[u8], bytes: usize) -> anyhow::Result<()> {
    let mut reader = BufReader::with_capacity(PERIOD, reader);
    let mut at = 0;
    loop {
        let some = reader.fill_buf().await?;
        if some.is_empty() {
            break;
        }
        for byte in some {
            anyhow::ensure!(
                *byte == pattern[at % PERIOD],
                "byte {at} of {bytes} is not the one that was sent"
            );
            at += 1;
        }
        let count = some.len();
        reader.consume_unpin(count);
    }
    anyhow::ensure!(at == bytes, "{at} of {bytes} bytes came back");
    Ok(())
}
