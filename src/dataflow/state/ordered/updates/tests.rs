//! Against the standard library's sort.

use proptest::prelude::*;

use super::*;

/// Keys that begin alike, some of them with others, some with zeros at their end.
fn key() -> impl Strategy<Value = Vec<u8>> {
    let end = prop::collection::vec(prop_oneof![Just(0_u8), Just(1), any::<u8>()], 0..5);
    (0..3_usize, 0..20_usize, end)
        .prop_map(|(shared, zeros, end)| [&b"key"[..shared], &vec![0; zeros][..], &end].concat())
}

proptest! {
    #[test]
    fn puts_places_in_the_order_of_their_keys(keys in prop::collection::vec(key(), 0..60)) {
        let order = in_order(0..keys.len() as u32, |place| &keys[place as usize]);
        let mut expected: Vec<u32> = (0..keys.len() as u32).collect();
        expected.sort_by_key(|place| &keys[*place as usize]);
        prop_assert_eq!(order, expected);
    }
}
