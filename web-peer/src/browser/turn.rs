//! Waiting for the other tasks of this page, without a timer.

use std::task::Poll;

/// Lets every other task that can go on do so once. The browser does nothing else meanwhile: tasks that wake each other
/// run in one go.
pub(crate) async fn turn() {
    let mut others = Others::Waiting;
    std::future::poll_fn(|context| match std::mem::replace(&mut others, Others::Served) {
        Others::Served => Poll::Ready(()),
        Others::Waiting => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

/// Whether the others had their turn.
enum Others {
    Waiting,
    Served,
}

#[cfg(test)]
#[cfg(target_family = "wasm")]
mod tests {
    use std::{cell::Cell, rc::Rc};

    use wasm_bindgen_futures::spawn_local;
    use wasm_bindgen_test::wasm_bindgen_test;

    use super::*;

    #[wasm_bindgen_test]
    async fn when_a_turn_is_over_a_task_that_could_go_on_has() {
        let steps = Rc::new(Cell::new(0));
        let other = Rc::clone(&steps);
        spawn_local(async move {
            for _ in 0..3 {
                other.set(other.get() + 1);
                turn().await;
            }
        });
        for expected in 1..=3 {
            turn().await;
            assert_eq!(steps.get(), expected);
        }
    }
}
