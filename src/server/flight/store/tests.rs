//! What goes and what stays.

use super::*;
use crate::testing::SimClock;

fn store(clock: &SimClock) -> Store<&'static str> {
    Store::new("results", 2, 1000, Arc::new(clock.clone()))
}

#[test]
fn what_is_not_used_goes_by_age_and_the_oldest_makes_room() {
    let clock = SimClock::new(0);
    let store = store(&clock);
    let a = store.put(Arc::new("a")).unwrap();
    clock.advance(Duration::from_millis(600));
    let b = store.put(Arc::new("b")).unwrap();
    clock.advance(Duration::from_millis(100));
    assert_eq!(store.get(&a).as_deref(), Some(&"a"), "used, so that it starts again");
    clock.advance(Duration::from_millis(500));
    let c = store.put(Arc::new("c")).unwrap();
    assert!(store.get(&b).is_none(), "b made room: a was used later");
    assert!(store.get(&a).is_some() && store.get(&c).is_some());
    clock.advance(Duration::from_millis(1000));
    store.sweep();
    assert_eq!(store.len(), 0);
}

#[test]
fn what_is_in_use_stays_and_refuses_more() {
    let clock = SimClock::new(0);
    let store = store(&clock);
    let a = store.put(Arc::new("a")).unwrap();
    let b = store.put(Arc::new("b")).unwrap();
    let used = (store.get(&a), store.get(&b));
    clock.advance(Duration::from_secs(10));
    let error = store.put(Arc::new("c")).unwrap_err();
    assert_eq!((error.state(), error.message()), (SqlState::PROGRAM_LIMIT_EXCEEDED, "too many results"));
    drop(used);
    clock.advance(Duration::from_secs(10));
    store.put(Arc::new("c")).unwrap();
    assert!(store.get(&a).is_none() && store.get(b"short").is_none());
}
