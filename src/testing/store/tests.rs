use super::*;
use crate::testing::{DiskFault, SimExecutor};

#[test]
fn a_put_that_crashes_happened_or_did_not_and_the_store_is_down_until_the_restart() {
    for (effect, objects) in [(FaultEffect::Before, 1), (FaultEffect::After, 2)] {
        let disk = SimDisk::new(1);
        let store = SimStore::new(disk.clone());
        disk.fault_at(1, DiskFault::Crash(effect));
        let listed = SimExecutor::new(1).block_on(async move {
            store.put(&Path::from("tier/a"), "a".into()).await.unwrap();
            store.put(&Path::from("tier/b"), "b".into()).await.unwrap_err();
            store.get(&Path::from("tier/a")).await.unwrap_err();
            disk.restart();
            assert_eq!(store.get(&Path::from("tier/a")).await.unwrap().bytes().await.unwrap(), "a");
            let listed: Vec<_> = store.list(Some(&Path::from("tier"))).try_collect().await.unwrap();
            store.delete(&Path::from("tier/a")).await.unwrap();
            assert_eq!(disk.calls().calls, 5);
            listed.len()
        });
        assert_eq!(listed, objects);
    }
}
