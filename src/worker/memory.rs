//! Memory of processes, as Linux tells it.

/// Bytes of a process that are in RAM, pages that it shares with others included; none for one that is gone.
pub fn resident(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_some_and_none_has_none() {
        assert!(resident(std::process::id()).unwrap() > 100_000);
        assert_eq!(resident(u32::MAX), None);
    }
}
