use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use futures::{AsyncReadExt, AsyncWriteExt, io::Cursor};
use tokio::{task::JoinSet, time::timeout};
use tokio_util::compat::TokioAsyncReadCompatExt;

use super::{TURN_BYTES, Turns};

const PATIENCE: Duration = Duration::from_secs(10);

/// Never ends and always has something.
struct Endless;

impl futures::AsyncRead for Endless {
    fn poll_read(
        self: std::pin::Pin<&mut Self>,
        _: &mut std::task::Context<'_>,
        buffer: &mut [u8],
    ) -> std::task::Poll<std::io::Result<usize>> {
        buffer.fill(7);
        std::task::Poll::Ready(Ok(buffer.len()))
    }
}

#[tokio::test]
async fn whatever_the_turns_all_bytes_arrive_in_order() {
    let turns = Turns::new();
    let sent: Vec<u8> = (0..5 * TURN_BYTES + 3).map(|i| (i % 251) as u8).collect();
    let mut stream = turns.taken_by(Cursor::new(sent.clone()));
    let mut heard = Vec::new();
    timeout(PATIENCE, stream.read_to_end(&mut heard))
        .await
        .unwrap()
        .unwrap();
    assert!(heard == sent);
}

/// On one thread, so that all have to share it.
#[tokio::test]
async fn when_some_read_without_end_one_that_says_little_is_heard_between_two_turns_of_theirs() {
    const GREEDY: usize = 16;
    let turns = Turns::new();
    let taken = Arc::new(AtomicUsize::new(0));
    let mut greedy = JoinSet::new();
    for _ in 0..GREEDY {
        let (mut stream, taken) = (turns.taken_by(Endless), Arc::clone(&taken));
        greedy.spawn(async move {
            let mut buffer = vec![0; 8 * 1024];
            loop {
                let read = stream.read(&mut buffer).await.unwrap();
                taken.fetch_add(read, Ordering::Relaxed);
            }
        });
    }
    let (mut says, hears) = tokio::io::duplex(64);
    let mut hears = turns.taken_by(hears.compat());
    let listener = tokio::spawn({
        let taken = Arc::clone(&taken);
        async move {
            let mut waited = Vec::new();
            for _ in 0..100 {
                let mut said = [0; 8];
                hears.read_exact(&mut said).await.unwrap();
                let before = usize::from_le_bytes(said);
                waited.push(taken.load(Ordering::Relaxed) - before);
            }
            waited
        }
    });
    let speaker = async {
        use tokio::io::AsyncWriteExt;
        for _ in 0..100 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            let said = taken.load(Ordering::Relaxed).to_le_bytes();
            says.write_all(&said).await.unwrap();
        }
        listener.await.unwrap()
    };
    let waited = timeout(PATIENCE, speaker).await.unwrap();
    assert!(
        waited.iter().all(|waited| *waited <= 2 * TURN_BYTES),
        "it waited for more than two turns: {waited:?}"
    );
    assert!(taken.load(Ordering::Relaxed) > GREEDY * TURN_BYTES, "nobody else read");
}

#[tokio::test]
async fn when_one_in_line_is_gone_the_others_go_on() {
    let turns = Turns::new();
    let mut gone = turns.taken_by(Endless);
    let mut stays = turns.taken_by(Endless);
    // Reads a turn, stands in line and leaves.
    let reads = async {
        let mut buffer = vec![0; TURN_BYTES];
        for _ in 0..2 {
            gone.read_exact(&mut buffer).await.unwrap();
        }
    };
    assert!(futures::poll!(std::pin::pin!(reads)).is_pending());
    drop(gone);
    let mut buffer = vec![0; TURN_BYTES];
    let reads = async {
        for _ in 0..10 {
            stays.read_exact(&mut buffer).await.unwrap();
        }
    };
    timeout(PATIENCE, reads).await.unwrap();
}

#[tokio::test]
async fn when_two_write_without_end_they_alternate() {
    const TURNS_OF_EACH: usize = 10;
    let turns = Turns::new();
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut writers = JoinSet::new();
    for writer in 0..2 {
        let (mut stream, order) = (turns.taken_by(futures::io::sink()), Arc::clone(&order));
        writers.spawn(async move {
            for _ in 0..TURNS_OF_EACH {
                stream.write_all(&vec![0; TURN_BYTES]).await.unwrap();
                order.lock().unwrap().push(writer);
            }
        });
    }
    timeout(PATIENCE, writers.join_all()).await.unwrap();
    let order = order.lock().unwrap();
    assert_eq!(order.len(), 2 * TURNS_OF_EACH);
    assert!(
        order
            .windows(3)
            .all(|three| !(three[0] == three[1] && three[1] == three[2])),
        "one had more than its share: {order:?}"
    );
}
