use wasm_bindgen_test::wasm_bindgen_test;

use super::{super::frame, *};

const ROOM: usize = usize::MAX;

fn flag(flag: Flag) -> Bytes {
    frame::encode_flag(flag).into()
}

fn data(bytes: &[u8]) -> Bytes {
    frame::encode_data(bytes).into()
}

impl Machine {
    fn hears(&mut self, message: Bytes) -> &mut Self {
        self.handle_message(message, ROOM, Acks::Spoken);
        self
    }

    fn sends(&mut self) -> Vec<Flag> {
        std::iter::from_fn(|| self.next_flag()).collect()
    }

    fn reads(&mut self) -> Result<Option<Vec<u8>>, Fault> {
        let mut buffer = [0; 1024];
        Ok(match self.read(&mut buffer)? {
            Read::Data(count) => Some(buffer[..count].to_vec()),
            Read::End => None,
            Read::Pending => Some(Vec::new()),
        })
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_both_sides_finish_the_stream_is_over_only_with_the_acknowledgement() {
    let mut stream = Machine::new();
    stream.close_write(Acks::Spoken).unwrap();
    assert_eq!(stream.sends(), [Flag::Fin]);
    stream.hears(data(b"last words")).hears(flag(Flag::Fin));
    assert_eq!(stream.sends(), [Flag::FinAck]);
    assert!(!stream.is_over() && stream.is_finishing());
    stream.hears(flag(Flag::FinAck));
    assert!(stream.is_over() && !stream.is_finishing());
    assert_eq!(stream.reads(), Ok(Some(b"last words".to_vec())));
    assert_eq!(stream.reads(), Ok(None));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_other_side_does_not_speak_of_acknowledgements_none_is_sent_or_waited_for() {
    let mut stream = Machine::new();
    stream.close_write(Acks::Unknown).unwrap();
    stream.handle_message(flag(Flag::Fin), ROOM, Acks::Unknown);
    assert_eq!(stream.sends(), [Flag::Fin]);
    assert!(stream.is_over());
    assert!(!stream.has_heard_ack());
    stream.handle_message(flag(Flag::FinAck), ROOM, Acks::Unknown);
    assert!(stream.has_heard_ack());
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_channel_closes_what_arrived_before_is_still_read() {
    let mut finished = Machine::new();
    finished.hears(data(b"answer")).hears(flag(Flag::Fin));
    finished.handle_channel_closed();
    assert_eq!(finished.reads(), Ok(Some(b"answer".to_vec())));
    assert_eq!(finished.reads(), Ok(None));

    let mut cut = Machine::new();
    cut.hears(data(b"half an ans")).handle_channel_closed();
    assert_eq!(cut.reads(), Ok(Some(b"half an ans".to_vec())));
    assert_eq!(cut.reads(), Err(Fault::ChannelClosed));
    assert_eq!(cut.check_write().unwrap_err().kind(), io::ErrorKind::UnexpectedEof);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_one_half_is_closed_the_other_goes_on() {
    let mut reader = Machine::new();
    reader.close_write(Acks::Spoken).unwrap();
    reader.hears(flag(Flag::FinAck)).hears(data(b"more"));
    assert_eq!(reader.reads(), Ok(Some(b"more".to_vec())));
    assert!(reader.check_write().is_err());

    let mut writer = Machine::new();
    writer.hears(flag(Flag::Fin));
    writer.check_write().unwrap();
    assert_eq!(writer.reads(), Ok(None));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_other_side_resets_nothing_of_the_stream_is_left() {
    let mut stream = Machine::new();
    stream.hears(data(b"forget it")).hears(flag(Flag::Reset));
    assert_eq!(stream.reads(), Err(Fault::ResetByRemote));
    assert_eq!(stream.check_write().unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    assert!(
        stream.close_write(Acks::Spoken).is_ok(),
        "there is nothing to close any more"
    );
    assert_eq!(stream.sends(), []);
    assert!(stream.is_over());
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_other_side_stops_reading_writes_fail_and_reads_go_on() {
    let mut stream = Machine::new();
    stream.hears(flag(Flag::StopSending)).hears(data(b"news"));
    assert_eq!(stream.check_write().unwrap_err().kind(), io::ErrorKind::BrokenPipe);
    assert_eq!(stream.reads(), Ok(Some(b"news".to_vec())));
    stream.close_write(Acks::Spoken).unwrap();
    assert_eq!(stream.sends(), []);
    stream.hears(flag(Flag::Fin));
    assert!(stream.is_over());
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_stream_is_dropped_the_other_side_learns_what_it_needs() {
    let mut unclosed = Machine::new();
    unclosed.handle_dropped(Acks::Spoken);
    assert_eq!(unclosed.sends(), [Flag::Reset]);
    assert!(unclosed.is_over());

    let mut closed = Machine::new();
    closed.close_write(Acks::Spoken).unwrap();
    closed.handle_dropped(Acks::Spoken);
    assert_eq!(closed.sends(), [Flag::Fin, Flag::StopSending]);
    assert!(!closed.is_over());
    closed.hears(data(b"still sending")).hears(flag(Flag::FinAck));
    assert_eq!(closed.unread(), 0);
    closed.hears(flag(Flag::Fin));
    assert!(closed.is_over());

    let mut done = Machine::new();
    done.close_write(Acks::Spoken).unwrap();
    done.hears(flag(Flag::Fin)).hears(flag(Flag::FinAck));
    assert_eq!(done.sends(), [Flag::Fin, Flag::FinAck]);
    done.handle_dropped(Acks::Spoken);
    assert_eq!(done.sends(), []);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_stream_is_dropped_after_it_was_read_to_its_end_it_is_closed_and_not_reset() {
    let mut read = Machine::new();
    read.hears(data(b"ping")).hears(flag(Flag::Fin));
    assert_eq!(read.reads(), Ok(Some(b"ping".to_vec())));
    read.handle_dropped(Acks::Spoken);
    assert_eq!(read.sends(), [Flag::FinAck, Flag::Fin]);
    assert!(!read.is_over(), "it waits for the other side to have heard");
    read.hears(flag(Flag::FinAck));
    assert!(read.is_over());

    let mut unread = Machine::new();
    unread.hears(data(b"a question")).hears(flag(Flag::Fin));
    unread.handle_dropped(Acks::Spoken);
    assert_eq!(unread.sends(), [Flag::FinAck, Flag::Reset]);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_the_other_side_breaks_the_rules_the_stream_is_reset() {
    let cases: [(&str, Vec<Bytes>, Fault); 4] = [
        ("data after FIN", vec![flag(Flag::Fin), data(b"x")], Fault::DataAfterFin),
        (
            "an unknown flag",
            vec![Bytes::from_static(&[2, 0x08, 9])],
            Fault::Frame(FrameError::UnknownFlag),
        ),
        (
            "a frame over 16 KiB",
            vec![Bytes::from_static(&[0x80, 0x80, 0x01])],
            Fault::Frame(FrameError::TooLong),
        ),
        (
            "no protobuf",
            vec![Bytes::from_static(&[1, 0xff])],
            Fault::Frame(FrameError::Malformed),
        ),
    ];
    for (what, messages, fault) in cases {
        let mut stream = Machine::new();
        stream.hears(data(b"before"));
        for message in messages {
            stream.hears(message);
        }
        assert_eq!(stream.sends(), [Flag::Reset], "{what}");
        assert_eq!(stream.reads(), Err(fault), "{what}");
        assert!(stream.is_over(), "{what}");
    }
}

#[wasm_bindgen_test(unsupported = test)]
fn when_nobody_reads_the_stream_ends_at_its_bound() {
    let mut stream = Machine::new();
    let full = data(&vec![0; frame::MAX_DATA]);
    for _ in 0..MAX_UNREAD / frame::MAX_DATA {
        stream.hears(full.clone());
    }
    assert!(!stream.is_over());
    stream.hears(full.clone());
    assert_eq!(stream.reads(), Err(Fault::Unread));

    let mut crowded = Machine::new();
    crowded.handle_message(full.clone(), frame::MAX_DATA, Acks::Spoken);
    assert!(!crowded.is_over());
    crowded.handle_message(full, frame::MAX_DATA - 1, Acks::Spoken);
    assert_eq!(crowded.reads(), Err(Fault::ConnectionFull));
}

#[wasm_bindgen_test(unsupported = test)]
fn when_single_bytes_arrive_they_count_for_what_they_cost() {
    let mut stream = Machine::new();
    let mut heard = 0;
    while !stream.is_over() {
        stream.hears(data(&[1]));
        heard += 1;
    }
    assert_eq!(heard, MAX_UNREAD / LEAST_CHARGE + 1);

    let mut read = Machine::new();
    read.hears(data(&[1])).hears(data(&[2]));
    assert_eq!(read.reads(), Ok(Some(vec![1, 2])));
    assert_eq!(read.unread(), 0);
}

#[wasm_bindgen_test(unsupported = test)]
fn when_a_flag_is_due_already_it_is_not_queued_again() {
    let mut stream = Machine::new();
    for _ in 0..1000 {
        stream.hears(flag(Flag::Fin));
    }
    assert_eq!(stream.sends(), [Flag::FinAck]);
}

#[cfg(not(target_family = "wasm"))]
mod properties {
    use proptest::prelude::*;

    use super::*;

    #[derive(Clone, Debug)]
    enum Step {
        Hear(Vec<u8>),
        HearFlag(i32),
        HearData(Vec<u8>),
        ChannelClosed,
        Read,
        Close,
        Drop,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            any::<Vec<u8>>().prop_map(Step::Hear),
            (0..4).prop_map(Step::HearFlag),
            any::<Vec<u8>>().prop_map(Step::HearData),
            Just(Step::ChannelClosed),
            Just(Step::Read),
            Just(Step::Close),
            Just(Step::Drop),
        ]
    }

    proptest! {
        #[test]
        fn when_anything_happens_in_any_order_the_machine_keeps_its_promises(steps in prop::collection::vec(step(), 0..40)) {
            let mut stream = Machine::new();
            let mut fins = 0;
            let mut was_over = false;
            for step in steps {
                match step {
                    Step::Hear(bytes) => { stream.hears(bytes.into()); }
                    Step::HearFlag(number) => { stream.hears(flag(Flag::try_from(number).unwrap())); }
                    Step::HearData(bytes) => { stream.hears(data(&bytes)); }
                    Step::ChannelClosed => stream.handle_channel_closed(),
                    Step::Read => { let _ = stream.reads(); }
                    Step::Close => { let _ = stream.close_write(Acks::Spoken); }
                    Step::Drop => stream.handle_dropped(Acks::Spoken),
                }
                fins += stream.sends().iter().filter(|flag| **flag == Flag::Fin).count();
                prop_assert!(fins <= 1, "a stream is finished once");
                prop_assert!(stream.unread() <= MAX_UNREAD);
                prop_assert!(!was_over || stream.is_over(), "what is over stays over");
                prop_assert!(stream.check_write().is_err() || !stream.is_over(), "nothing is written to what is over");
                was_over = stream.is_over();
            }
        }
    }
}
