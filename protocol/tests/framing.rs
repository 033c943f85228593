//! What the decoder promises: the same messages however the stream is cut, and nothing kept that need not be.

use proptest::{collection::vec, prelude::*};
use protocol::{
    Decoder, ProtocolError,
    limits::{MESSAGE_BYTES_MAX, SEPARATOR},
};

/// Draws all there is; the error last, if there is one.
fn drawn(decoder: &mut Decoder, input: &[u8]) -> (Vec<Vec<u8>>, Option<ProtocolError>) {
    let mut frames = decoder.feed(input);
    let mut messages = Vec::new();
    loop {
        match frames.next() {
            Ok(Some(message)) => messages.push(message.to_vec()),
            Ok(None) => return (messages, None),
            Err(error) => return (messages, Some(error)),
        }
    }
}

/// All messages of the pieces, and the error's code.
fn drawn_from(decoder: &mut Decoder, pieces: &[&[u8]]) -> (Vec<Vec<u8>>, Option<&'static str>) {
    let mut messages = Vec::new();
    for piece in pieces {
        let (more, error) = drawn(decoder, piece);
        messages.extend(more);
        if let Some(error) = error {
            return (messages, Some(error.code().as_str()));
        }
    }
    (messages, None)
}

fn cut<'a>(stream: &'a [u8], places: &[prop::sample::Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<usize> = places
        .iter()
        .map(|place| place.index(stream.len() + 1))
        .collect();
    places.extend([0, stream.len()]);
    places.sort_unstable();
    places
        .windows(2)
        .map(|pair| &stream[pair[0]..pair[1]])
        .collect()
}

/// Texts that are hard to frame: the separator's own bytes, other characters that share them, whitespace, nothing.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        4 => Just(SEPARATOR.to_vec()),
        1 => Just(SEPARATOR[..1].to_vec()),
        1 => Just(SEPARATOR[..2].to_vec()),
        1 => Just(SEPARATOR[..3].to_vec()),
        1 => Just(" \r\n\t".as_bytes().to_vec()),
        1 => Just("🦁ё\u{1F9C0}".as_bytes().to_vec()),
        3 => "[ -~]{0,12}".prop_map(String::into_bytes),
        1 => vec(any::<u8>(), 0..6),
    ];
    // A brace first, so that no random beginning is taken for another protocol's.
    vec(piece, 0..40).prop_map(|pieces| [b"{".to_vec(), pieces.concat()].concat())
}

/// The plainest way to cut a stream; the decoder must agree with it.
fn expected(stream: &[u8]) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut rest = stream;
    while let Some(at) = rest
        .windows(SEPARATOR.len())
        .position(|window| window == SEPARATOR)
    {
        let is_space = |byte: &u8| b" \t\r\n".contains(byte);
        let message = &rest[..at];
        let start = message.iter().position(|byte| !is_space(byte));
        let end = message.iter().rposition(|byte| !is_space(byte));
        if let (Some(start), Some(end)) = (start, end) {
            messages.push(message[start..=end].to_vec());
        }
        rest = &rest[at + SEPARATOR.len()..];
    }
    messages
}

proptest! {
    #[test]
    fn pieces_give_the_same_messages_as_the_whole(stream in stream(), places in vec(any::<prop::sample::Index>(), 0..30)) {
        let (messages, error) = drawn_from(&mut Decoder::new(), &cut(&stream, &places));
        prop_assert_eq!(error, None);
        prop_assert_eq!(messages, expected(&stream));
    }

    #[test]
    fn single_bytes_give_the_same_messages_as_the_whole(stream in stream()) {
        let bytes: Vec<&[u8]> = stream.chunks(1).collect();
        prop_assert_eq!(drawn_from(&mut Decoder::new(), &bytes), (expected(&stream), None));
    }

    #[test]
    fn interleaved_connections_never_disturb_each_other(
        streams in vec((stream(), vec(any::<prop::sample::Index>(), 0..10)), 2..6),
        order in vec(any::<prop::sample::Index>(), 0..80),
    ) {
        let mut connections: Vec<_> = streams
            .iter()
            .map(|(stream, places)| (Decoder::new(), cut(stream, places).into_iter(), Vec::new()))
            .collect();
        let turns = order.iter().map(|turn| turn.index(streams.len()));
        // All turns once more at the end, until every connection has had its last piece.
        for turn in turns.chain((0..12).flat_map(|_| 0..streams.len())) {
            let (decoder, pieces, messages) = &mut connections[turn];
            if let Some(piece) = pieces.next() {
                messages.extend(drawn(decoder, piece).0);
            }
        }
        for ((stream, _), (_, _, messages)) in streams.iter().zip(connections) {
            prop_assert_eq!(messages, expected(stream));
        }
    }

    #[test]
    fn stopping_in_the_middle_loses_nothing(
        stream in stream(),
        places in vec(any::<prop::sample::Index>(), 0..10),
        draws in vec(0_usize..4, 1..20),
    ) {
        let mut decoder = Decoder::new();
        let mut messages = Vec::new();
        let mut draws = draws.iter().cycle();
        for piece in cut(&stream, &places) {
            let mut frames = decoder.feed(piece);
            for _ in 0..*draws.next().unwrap() {
                messages.extend(frames.next().unwrap().map(<[u8]>::to_vec));
            }
        }
        messages.extend(drawn(&mut decoder, &[]).0);
        prop_assert_eq!(messages, expected(&stream));
    }

    #[test]
    fn what_is_too_large_does_not_depend_on_the_cuts(
        stream in stream(),
        places in vec(any::<prop::sample::Index>(), 0..30),
        limit in 1_usize..20,
    ) {
        let whole = drawn_from(&mut Decoder::with_limit(limit), &[&stream]);
        let pieces = drawn_from(&mut Decoder::with_limit(limit), &cut(&stream, &places));
        prop_assert_eq!(whole, pieces);
    }
}

#[test]
fn a_message_of_exactly_the_limit_passes_and_one_byte_more_does_not() {
    for (bytes, code) in [
        (MESSAGE_BYTES_MAX, None),
        (MESSAGE_BYTES_MAX + 1, Some("too_large")),
    ] {
        let mut stream = vec![b'x'; bytes];
        stream.extend_from_slice(&SEPARATOR);
        for piece_bytes in [stream.len(), 65536, MESSAGE_BYTES_MAX + 2] {
            let pieces: Vec<&[u8]> = stream.chunks(piece_bytes).collect();
            let (messages, error) = drawn_from(&mut Decoder::new(), &pieces);
            assert_eq!(
                (messages.len(), error),
                (usize::from(code.is_none()), code),
                "{bytes} in {piece_bytes}"
            );
        }
    }
}

#[test]
fn messages_before_a_too_large_one_come_out_first_and_nothing_after_it() {
    let mut decoder = Decoder::with_limit(4);
    let (messages, error) = drawn(&mut decoder, "one🦀two🦀three🦀four🦀".as_bytes());
    assert_eq!(messages, [b"one", b"two"]);
    let error = error.expect("five bytes are too many");
    assert!(error.received().starts_with(b"three"));
    assert_eq!(
        drawn(&mut decoder, "five🦀".as_bytes()),
        (vec![], Some(error))
    );
}

#[test]
fn a_message_without_end_fails_as_soon_as_it_passes_the_limit() {
    let mut decoder = Decoder::with_limit(8);
    assert_eq!(drawn(&mut decoder, b"12345678").1, None);
    let error = drawn(&mut decoder, b"9")
        .1
        .expect("nine bytes are too many");
    assert_eq!(error.received(), b"123456789");
    assert_eq!(decoder.pending_bytes(), 0);
}

#[test]
fn another_protocol_is_named_however_its_first_bytes_are_cut() {
    let cases: [(&[u8], &str); 5] = [
        (b"GET / HTTP/1.1\r\n", "an HTTP request"),
        (b"OPTIONS * HTTP/1.1\r\n", "an HTTP request"),
        (
            b"POST /\r\n\r\n{\"type\":\"ping\",\"queryIndex\":1}\xF0\x9F\xA6\x80",
            "an HTTP request",
        ),
        (b"PRI * HTTP/2.0\r\n", "an HTTP request"),
        (b"\x16\x03\x01\x02\x00\x01", "a TLS handshake"),
    ];
    for (bytes, expected) in cases {
        for piece_bytes in [1, 2, 3, bytes.len()] {
            let mut decoder = Decoder::new();
            let mut pieces = bytes.chunks(piece_bytes);
            let error = pieces.find_map(|piece| {
                let (messages, error) = drawn(&mut decoder, piece);
                assert!(messages.is_empty());
                error
            });
            match error {
                Some(ProtocolError::NotThisProtocol { what, .. }) => assert_eq!(what, expected),
                other => panic!("{expected} in pieces of {piece_bytes}: {other:?}"),
            }
        }
    }
}

#[test]
fn only_the_first_bytes_are_looked_at_for_another_protocol() {
    let mut decoder = Decoder::new();
    assert_eq!(
        drawn(&mut decoder, "GE🦀GET / 🦀".as_bytes()),
        (vec![b"GE".to_vec(), b"GET /".to_vec()], None)
    );
}

#[test]
fn a_whole_message_is_lent_from_the_input_and_a_cut_one_is_not_kept_when_done() {
    let mut decoder = Decoder::new();
    let input = "{}🦀{".as_bytes();
    let mut frames = decoder.feed(input);
    assert_eq!(frames.next().unwrap().unwrap().as_ptr(), input.as_ptr());
    assert_eq!(frames.next(), Ok(None));
    drop(frames);
    assert_eq!(decoder.pending_bytes(), 1);
    assert_eq!(drawn(&mut decoder, "}🦀".as_bytes()).0, [b"{}"]);
    assert_eq!(decoder.pending_bytes(), 0);
}
