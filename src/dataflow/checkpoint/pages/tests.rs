//! When files of pages go.

use super::*;
use crate::dataflow::state::Home;
use crate::testing::SimDisk;

/// So many pages make a segment.
const PAGES: usize = 8;
const PAGE_BYTES: usize = SEGMENT_BYTES_MAX as usize / PAGES;

fn files(disk: &SimDisk) -> usize {
    disk.contents().keys().filter(|path| path.ends_with(".pages")).count()
}

#[test]
fn what_leaves_again_and_again_does_not_pile_up_until_a_checkpoint() {
    let disk = Arc::new(SimDisk::new(1));
    let pages = PageFiles::new(disk.clone(), &[]).unwrap();
    let bytes = vec![7; PAGE_BYTES];
    let write = || pages.write(&bytes).unwrap();
    let kept = write();
    for _ in 0..5 * PAGES {
        let place = write();
        pages.release(place);
    }
    assert_eq!(files(&disk), 2, "that of the page that is held, and the one that is written to");
    assert_eq!(pages.read(kept).unwrap(), bytes);
    pages.sync().unwrap();
    pages.release(kept);
    pages.remove_unheld();
    assert_eq!(files(&disk), 0);
    // A start finds what is held.
    let place = write();
    let again = PageFiles::new(disk.clone(), &[place.segment]).unwrap();
    let home = Home::found(&(again.clone() as Arc<dyn PageStore>), place).unwrap();
    again.remove_unheld();
    assert_eq!(files(&disk), 1);
    drop(home);
    again.remove_unheld();
    assert_eq!(files(&disk), 0);
}
