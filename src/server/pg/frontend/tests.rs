//! Every message whole, cut, and with bytes left over.

use proptest::prelude::*;

use super::*;

fn decode(kind: u8, body: &[u8]) -> Result<Message> {
    Message::decode(Frame { kind, body: Bytes::copy_from_slice(body) })
}

/// Decodes to `expected`; any shorter body, and a longer one, is refused.
fn check(kind: u8, body: &[u8], expected: Message) {
    assert_eq!(decode(kind, body).unwrap(), expected);
    for end in 0..body.len() {
        assert!(decode(kind, &body[..end]).is_err(), "{} cut at {end}", char::from(kind));
    }
    assert!(decode(kind, &[body, b"\0"].concat()).is_err());
}

#[test]
fn every_message() {
    check(b'Q', b"select 1\0", Message::Query("select 1".into()));
    let parse = Message::Parse { name: "s".into(), sql: "q".into(), parameter_oids: vec![23, 0] };
    check(b'P', b"s\0q\0\0\x02\0\0\0\x17\0\0\0\0", parse);
    let bind = Bind {
        portal: "p".into(),
        statement: "s".into(),
        parameter_formats: vec![1],
        parameters: vec![Some(Bytes::from_static(b"ab")), None],
        result_formats: vec![0, 1],
    };
    let body = b"p\0s\0\0\x01\0\x01\0\x02\0\0\0\x02ab\xFF\xFF\xFF\xFF\0\x02\0\0\0\x01";
    check(b'B', body, Message::Bind(bind));
    check(b'D', b"Sx\0", Message::Describe(Target::Statement("x".into())));
    check(b'C', b"P\0", Message::Close(Target::Portal("".into())));
    check(b'E', b"p\0\0\0\0\x05", Message::Execute { portal: "p".into(), rows_max: 5 });
    check(b'E', b"p\0\xFF\xFF\xFF\xFF", Message::Execute { portal: "p".into(), rows_max: usize::MAX });
    check(b'H', b"", Message::Flush);
    check(b'S', b"", Message::Sync);
    check(b'X', b"", Message::Terminate);
    check(b'c', b"", Message::CopyDone);
    check(b'f', b"no\0", Message::CopyFail("no".into()));
    assert_eq!(decode(b'd', b"a\0b").unwrap(), Message::CopyData(Bytes::from_static(b"a\0b")));
}

#[test]
fn a_negative_length_is_no_null() {
    assert!(decode(b'B', b"\0\0\0\0\0\x01\xFF\xFF\xFF\xFE\0\0").is_err());
}

#[test]
fn text_that_is_not_utf8_names_its_bytes() {
    let error = decode(b'Q', b"ab\xFFcdef\0").unwrap_err();
    assert_eq!(error.state().0, "22021");
    assert_eq!(error.message(), "invalid byte sequence for encoding \"UTF8\": 0xff 0x63 0x64 0x65");
}

proptest! {
    /// No bytes whatever make the decoder panic.
    #[test]
    fn any_bytes(kind in any::<u8>(), body in proptest::collection::vec(any::<u8>(), 0..200)) {
        let _ = decode(kind, &body);
    }
}
