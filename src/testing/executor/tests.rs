use std::time::Duration;

use super::*;

#[test]
fn time_goes_on_when_nothing_is_ready_and_not_before() {
    let mut executor = SimExecutor::new(1);
    let clock = executor.clock();
    let woken = Arc::new(Mutex::new(Vec::new()));
    for seconds in [30, 10, 20] {
        let (clock, woken) = (clock.clone(), woken.clone());
        executor.spawn(async move {
            clock.sleep(Duration::from_secs(seconds)).await;
            woken.lock().push((seconds, clock.monotonic().as_secs()));
        });
    }
    let last = clock.clone();
    executor.block_on(async move { last.sleep(Duration::from_secs(60)).await });
    assert_eq!(*woken.lock(), [(10, 10), (20, 20), (30, 30)]);
}

#[test]
fn the_order_of_tasks_follows_from_the_seed() {
    let order = |seed| {
        let mut executor = SimExecutor::new(seed);
        let order = Arc::new(Mutex::new(Vec::new()));
        for task in 0..8 {
            let order = order.clone();
            executor.spawn(async move { order.lock().push(task) });
        }
        while executor.step() {}
        let order = order.lock().clone();
        (order, executor.trace_digest())
    };
    assert_eq!(order(1), order(1));
    let orders: std::collections::BTreeSet<_> = (0..20).map(order).collect();
    assert!(orders.len() > 15);
}

#[test]
fn a_deadlock_is_an_answer() {
    let mut executor = SimExecutor::new(1);
    let never = executor.run(futures::future::pending::<()>(), || false);
    assert_eq!(never, None);
}
