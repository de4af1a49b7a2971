//! The machine's memory, and how much of it this process holds.

#![expect(clippy::disallowed_methods, reason = "this is the seam to what the kernel tells of the machine")]

use std::fs::read_to_string;

/// What this process may use: the machine's memory, or less where a control group says so. `None` where nobody tells.
pub fn memory_bytes() -> Option<u64> {
    let machine = kib_of(&read_to_string("/proc/meminfo").ok()?, "MemTotal:")?;
    let groups = ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];
    let group = groups.iter().find_map(|path| read_to_string(path).ok()?.trim().parse().ok());
    Some(group.map_or(machine, |group: u64| group.min(machine)))
}

/// What is resident of this process. `None` where nobody tells.
pub fn resident_bytes() -> Option<u64> {
    kib_of(&read_to_string("/proc/self/status").ok()?, "VmRSS:")
}

fn kib_of(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_holds_less_than_it_may() {
        let (all, own) = (memory_bytes().unwrap(), resident_bytes().unwrap());
        assert!(own > 1 << 20 && own < all, "{own} of {all}");
    }
}
