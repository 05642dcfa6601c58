use rand::SeedableRng;
use wasm_bindgen_test::wasm_bindgen_test;

use super::*;

/// A schedule in a world where each announcement is published as soon as it is due.
struct World {
    schedule: Schedule,
    now: Now,
    published: Vec<Duration>,
    goodbyes: usize,
    audience: Audience,
}

#[derive(Clone, Copy, PartialEq)]
enum Audience {
    Somebody,
    Nobody,
}

impl World {
    fn new(seed: u64, known: usize) -> Self {
        let mut schedule = Schedule::new(ScheduleConfig::default(), SmallRng::seed_from_u64(seed));
        let now = Now {
            mono: Duration::from_secs(7),
            ..Now::default()
        };
        schedule.handle_known_peers(known, now);
        Self {
            schedule,
            now,
            published: Vec::new(),
            goodbyes: 0,
            audience: Audience::Somebody,
        }
    }

    fn joined(seed: u64, known: usize) -> Self {
        let mut world = Self::new(seed, known);
        world.tell(Schedule::handle_joined);
        assert_eq!(world.published.len(), 1, "at once");
        world
    }

    fn tell(&mut self, handle: fn(&mut Schedule, Now)) {
        handle(&mut self.schedule, self.now);
        self.drain();
    }

    fn drain(&mut self) {
        while let Some(action) = self.schedule.poll_action() {
            match (action, self.audience) {
                (ScheduleAction::Publish, Audience::Somebody) => {
                    self.published.push(self.now.mono);
                    self.schedule.handle_published(self.now);
                }
                (ScheduleAction::Publish, Audience::Nobody) => self.schedule.handle_publish_failed(self.now),
                (ScheduleAction::PublishGoodbye, _) => self.goodbyes += 1,
            }
        }
    }

    /// Lets time pass, and returns how many announcements went out meanwhile.
    fn pass(&mut self, time: Duration) -> usize {
        let (before, end) = (self.published.len(), self.now.mono + time);
        while let Some(due) = self.schedule.poll_timeout().filter(|due| *due <= end) {
            self.now = self.now.after(due.saturating_sub(self.now.mono));
            self.schedule.handle_timeout(self.now);
            self.drain();
        }
        self.now = self.now.after(end - self.now.mono);
        self.published.len() - before
    }
}

const MINUTE: Duration = Duration::from_secs(60);
const MOMENT: Duration = Duration::from_millis(100);

#[wasm_bindgen_test(unsupported = test)]
fn before_joining_and_after_leaving_nothing_is_said() {
    let mut world = World::new(1, 0);
    let all = [
        Schedule::handle_addresses_changed,
        Schedule::handle_newcomer,
        Schedule::handle_subscriber,
        Schedule::handle_wake,
        Schedule::handle_published,
        Schedule::handle_publish_failed,
        Schedule::handle_left,
        Schedule::handle_timeout,
    ];
    for handle in all {
        world.tell(handle);
    }
    assert_eq!((world.pass(10 * MINUTE), world.goodbyes), (0, 0));
    world.tell(Schedule::handle_joined);
    world.tell(Schedule::handle_left);
    world.tell(Schedule::handle_left);
    assert_eq!(world.goodbyes, 1, "one goodbye");
    for handle in all {
        world.tell(handle);
    }
    assert_eq!((world.pass(10 * MINUTE), world.goodbyes), (0, 1));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_nobody_heard_of_us_we_leave_without_a_goodbye() {
    let mut world = World::new(1, 0);
    world.audience = Audience::Nobody;
    world.tell(Schedule::handle_joined);
    world.tell(Schedule::handle_left);
    assert_eq!(world.goodbyes, 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn the_interval_grows_with_the_scope_within_its_bounds() {
    for (known, seconds) in [
        (0, 15),
        (1, 15),
        (5, 15),
        (6, 18),
        (50, 150),
        (100, 300),
        (1_000, 300),
        (usize::MAX, 300),
    ] {
        assert_eq!(
            World::new(1, known).schedule.interval(),
            Duration::from_secs(seconds),
            "{known} peers"
        );
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_nothing_happens_announcements_keep_their_interval_within_a_fifth() {
    for seed in 0..20 {
        let mut world = World::joined(seed, 20);
        let count = world.pass(100 * MINUTE);
        assert!(
            (90..=110).contains(&count),
            "seed {seed}: {count} in 100 intervals of a minute"
        );
        for pair in world.published.windows(2) {
            let gap = (pair[1] - pair[0]).as_secs();
            assert!((48..=72).contains(&gap), "seed {seed}: {gap} s");
        }
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_scope_shrinks_the_next_announcement_comes_sooner() {
    let mut world = World::joined(3, 100);
    world.schedule.handle_known_peers(2, world.now);
    assert_eq!(world.pass(Duration::from_secs(18)), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_burst_of_address_changes_is_one_announcement_soon_after() {
    let mut world = World::joined(3, 2);
    for _ in 0..16 {
        world.now = world.now.after(Duration::from_millis(2));
        world.tell(Schedule::handle_addresses_changed);
    }
    assert_eq!(world.pass(MOMENT), 1);
    assert_eq!(world.pass(Duration::from_secs(5)), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn addresses_that_never_stand_still_are_announced_at_a_bounded_rate() {
    let mut world = World::joined(3, 2);
    for _ in 0..1_000 {
        world.tell(Schedule::handle_addresses_changed);
        world.pass(Duration::from_millis(10));
    }
    let count = world.published.len() - 1;
    assert!((18..=22).contains(&count), "{count} in 10 s");
}

#[wasm_bindgen_test(unsupported = test)]
fn a_newcomer_is_answered_by_about_eight_of_those_who_did_not_just_speak() {
    for known in [1, 4, 8, 20, 100] {
        let mut answers = 0;
        for seed in 0..400 {
            let mut world = World::joined(seed, known);
            world.pass(world.schedule.interval() * 55 / 100);
            world.tell(Schedule::handle_newcomer);
            answers += world.pass(DEFAULT_ANSWER_DELAY);
        }
        let (mean, wanted) = (answers as f64 / 400.0, (8.0 / known as f64).min(1.0));
        assert!((mean - wanted).abs() < 0.1, "{known} peers: {mean}, not {wanted}");
    }
    let mut world = World::joined(1, 1);
    world.tell(Schedule::handle_newcomer);
    assert_eq!(world.pass(DEFAULT_ANSWER_DELAY), 0, "we have just spoken");
}

#[wasm_bindgen_test(unsupported = test)]
fn many_newcomers_at_once_are_answered_once() {
    let mut world = World::joined(5, 8);
    world.pass(world.schedule.interval() * 55 / 100);
    for _ in 0..500 {
        world.tell(Schedule::handle_newcomer);
    }
    assert_eq!(world.pass(DEFAULT_ANSWER_DELAY * 2), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_nobody_is_there_publishing_is_tried_again_and_at_once_when_somebody_comes() {
    let mut world = World::new(5, 0);
    world.audience = Audience::Nobody;
    world.tell(Schedule::handle_joined);
    assert_eq!(world.pass(10 * MINUTE), 0);
    let wait = world.schedule.poll_timeout().unwrap() - world.now.mono;
    assert!(wait <= DEFAULT_RETRY_MAX, "it goes on trying: {wait:?}");
    world.audience = Audience::Somebody;
    world.tell(Schedule::handle_subscriber);
    assert_eq!(world.published, [world.now.mono]);
    assert_eq!(
        world.pass(DEFAULT_RETRY_MAX * 3 / 4),
        0,
        "the tries end with the success"
    );
}

#[wasm_bindgen_test(unsupported = test)]
fn the_first_retry_comes_quickly() {
    let mut world = World::new(5, 0);
    world.audience = Audience::Nobody;
    world.tell(Schedule::handle_joined);
    world.audience = Audience::Somebody;
    assert_eq!(world.pass(DEFAULT_RETRY_FIRST), 1);
}

#[wasm_bindgen_test(unsupported = test)]
fn subscribers_are_told_soon_and_many_of_them_at_a_bounded_rate() {
    let mut world = World::joined(9, 50);
    world.tell(Schedule::handle_subscriber);
    assert_eq!(world.pass(DEFAULT_SUBSCRIBER_GAP), 1);
    let mut count = 0;
    for _ in 0..100 {
        world.tell(Schedule::handle_subscriber);
        count += world.pass(MOMENT);
    }
    assert!((3..=5).contains(&count), "{count} in 10 s");
}

#[wasm_bindgen_test(unsupported = test)]
fn after_a_sleep_we_announce_at_once() {
    let mut world = World::joined(9, 50);
    world.pass(MOMENT);
    world.tell(Schedule::handle_wake);
    assert_eq!(world.published.len(), 2);
}

#[wasm_bindgen_test(unsupported = test)]
fn a_page_among_a_hundred_idle_peers_stays_within_a_megabyte_an_hour() {
    // Two relays with a WebSocket address each, both forms, and what gossipsub adds: source, number, topic, signature.
    const BYTES: usize = 700;
    let heard: usize = (0..100)
        .map(|seed| World::joined(seed, 99).pass(60 * MINUTE) * BYTES)
        .sum();
    assert!(heard <= 1_000_000, "{heard} bytes");
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::{collection::vec, prelude::*};

    use super::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn whatever_happens_a_member_of_the_scope_has_a_next_announcement(
            seed: u64,
            steps in vec((0..9u8, 0..20_000u64, 0..3_000usize), 1..80),
        ) {
            let mut world = World::joined(seed, 0);
            for (what, millis, count) in steps {
                world.audience = if count % 3 == 0 { Audience::Nobody } else { Audience::Somebody };
                match what {
                    0 => world.tell(Schedule::handle_addresses_changed),
                    1 => world.tell(Schedule::handle_newcomer),
                    2 => world.tell(Schedule::handle_subscriber),
                    3 => world.tell(Schedule::handle_wake),
                    4 => world.tell(Schedule::handle_joined),
                    5 => world.schedule.handle_known_peers(count, world.now),
                    _ => { world.pass(Duration::from_millis(millis)); }
                }
                world.drain();
                let due = world.schedule.poll_timeout().expect("it always comes back");
                prop_assert!(due > world.now.mono, "what is due is done");
                prop_assert!(due - world.now.mono <= DEFAULT_MAX_INTERVAL * 6 / 5);
            }
        }
    }
}
