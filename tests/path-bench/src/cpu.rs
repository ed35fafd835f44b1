//! CPU time, user and system together.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// CPU time of the calling thread so far.
pub fn thread() -> Duration {
    clock(ClockId::ThreadCPUTime)
}

/// CPU time of this process so far, its start included.
pub fn process() -> Duration {
    clock(ClockId::ProcessCPUTime)
}

/// CPU time that `work` takes on this thread.
pub fn of<T>(work: impl FnOnce() -> T) -> (Duration, T) {
    let before = thread();
    let result = work();
    (thread().saturating_sub(before), result)
}

/// CPU time of all child processes that have ended, to the clock tick (10 ms); `None` where there is no Linux `/proc`.
pub fn children() -> Option<Duration> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    // The second field is the program's name in parentheses; proc(5) counts cutime and cstime as fields 16 and 17.
    let mut fields = stat.rsplit_once(')')?.1.split_ascii_whitespace().skip(13);
    let mut ticks = || fields.next()?.parse::<u64>().ok();
    let ticks = ticks()? + ticks()?;
    Some(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
}

fn clock(id: ClockId) -> Duration {
    let time = clock_gettime(id);
    Duration::new(time.tv_sec.max(0) as u64, time.tv_nsec.clamp(0, 999_999_999) as u32)
}

/// The middle value; of an even number the upper one of the two. `None` of nothing.
pub fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_takes_cpu_time_and_waiting_does_not() {
        let (busy, sum) = of(|| (0..3_000_000_u64).fold(0_u64, |sum, n| sum.wrapping_mul(31) ^ n));
        let (idle, ()) = of(|| std::thread::park_timeout(Duration::from_millis(30)));
        assert!(sum != 0 && busy > Duration::from_millis(1), "{busy:?}");
        assert!(idle < Duration::from_millis(20), "{idle:?}");
        assert!(process() >= busy);
    }

    #[test]
    fn the_cpu_time_of_a_child_counts_when_it_has_ended() {
        let before = children().unwrap();
        let burn = "i=0; while [ $i -lt 60000 ]; do i=$((i+1)); done";
        assert!(std::process::Command::new("sh").args(["-c", burn]).status().unwrap().success());
        assert!(children().unwrap() > before);
    }

    #[test]
    fn the_median_is_a_value_that_occurred() {
        assert_eq!(median(vec![3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(vec![]), None);
    }
}
