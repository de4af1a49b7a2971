//! Command tags; sending is tested over sockets.

use super::tag_of;

#[test]
fn tags_count_where_postgresql_s_do() {
    assert_eq!(tag_of("SELECT", 3), "SELECT 3");
    assert_eq!(tag_of("INSERT 0", 2), "INSERT 0 2");
    assert_eq!(tag_of("SHOW", 1), "SHOW");
    assert_eq!(tag_of("EXPLAIN", 9), "EXPLAIN");
}
