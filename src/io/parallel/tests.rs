//! Every part runs once, and results keep their order, whatever the threads.

use super::*;

#[test]
fn results_stand_in_the_order_of_the_items() {
    let items: Vec<u64> = (0..1000).collect();
    let expected: Vec<u64> = items.iter().map(|item| item * item).collect();
    let spread: [&dyn Parallel; 4] = [&Inline, &ScopedThreads::new(1), &ScopedThreads::new(3), &ScopedThreads::new(0)];
    for parallel in spread {
        assert_eq!(map(parallel, items.clone(), |item| item * item), expected, "{parallel:?}");
    }
}

#[test]
fn nothing_to_do_is_done() {
    assert!(map(&ScopedThreads::new(4), Vec::<u8>::new(), |item| item).is_empty());
}

#[test]
fn several_threads_take_part() {
    let threads = Mutex::new(std::collections::BTreeSet::new());
    let both = std::sync::Barrier::new(2);
    ScopedThreads::new(2).each(2, &|_| {
        both.wait();
        threads.lock().insert(format!("{:?}", std::thread::current().id()));
    });
    assert_eq!(threads.lock().len(), 2);
}
