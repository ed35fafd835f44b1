//! The logs of the last run, kept for whoever asks afterwards what happened.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::project;

/// Of a longer log only the end is kept.
const LOG_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Where the last run's logs are: the sources' `out/last-run`.
pub fn place() -> PathBuf {
    project::root().join("out").join("last-run")
}

/// Moves a run's logs from its `folder` to `place`, in place of those of the run before, and deletes the folder. Of each log at
/// most the last 16 MiB are kept.
///
/// # Errors
/// The operating system's; then `folder` is still there.
pub fn keep(folder: &Path, place: &Path) -> std::io::Result<()> {
    if place.exists() {
        std::fs::remove_dir_all(place)?;
    }
    std::fs::create_dir_all(place)?;
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if let (Some(name), true) = (path.file_name(), path.extension().is_some_and(|end| end == "log")) {
            copy_end(&path, &place.join(name), LOG_BYTES_MAX)?;
        }
    }
    std::fs::remove_dir_all(folder)
}

/// Copies whole lines from the end of a file, at most `bytes_max` bytes.
fn copy_end(from: &Path, to: &Path, bytes_max: u64) -> std::io::Result<()> {
    let mut source = File::open(from)?;
    let skipped = source.metadata()?.len().saturating_sub(bytes_max);
    source.seek(SeekFrom::Start(skipped))?;
    let mut end = Vec::new();
    source.take(bytes_max).read_to_end(&mut end)?;
    let line =
        if skipped > 0 { end.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1) } else { 0 };
    std::fs::write(to, &end[line..])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_runs_logs_are_kept_and_only_those() {
        let scratch = project::run_folder().unwrap();
        let place = scratch.join("out").join("last-run");
        for said in ["before", "now"] {
            let folder = scratch.join(said);
            std::fs::create_dir(&folder).unwrap();
            std::fs::write(folder.join(format!("{said}.log")), said).unwrap();
            std::fs::write(folder.join("state.db"), "no log").unwrap();
            keep(&folder, &place).unwrap();
            assert!(!folder.exists(), "the run's own folder is left behind");
        }
        let kept: Vec<_> =
            std::fs::read_dir(&place).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(kept, ["now.log"]);
        assert_eq!(std::fs::read_to_string(place.join("now.log")).unwrap(), "now");
        std::fs::remove_dir_all(&scratch).unwrap();
    }

    #[test]
    fn of_a_long_log_its_last_whole_lines_are_kept() {
        let scratch = project::run_folder().unwrap();
        let (from, to) = (scratch.join("long.log"), scratch.join("kept.log"));
        std::fs::write(&from, "first\nsecond\nthird\n").unwrap();
        for (bytes_max, kept) in [(100, "first\nsecond\nthird\n"), (15, "second\nthird\n"), (8, "third\n")] {
            copy_end(&from, &to, bytes_max).unwrap();
            assert_eq!(std::fs::read_to_string(&to).unwrap(), kept, "{bytes_max} bytes");
        }
        std::fs::remove_dir_all(&scratch).unwrap();
    }
}
