//! `kvsw session`: one session's ledger, audio and picture.

pub mod export;
pub mod facts;
pub mod ledger;
pub mod mkv;
pub mod show;
pub mod timeline;

use std::fs::OpenOptions;
use std::path::Path;

use crate::error::{Result, usage};

/// Tells before any work whether a result can be written; leaves no file, and what there is as it is.
fn writable(out: &Path) -> Result<()> {
    let is_new = !out.exists();
    match OpenOptions::new().write(true).create(true).truncate(false).open(out) {
        Ok(_) if is_new => drop(std::fs::remove_file(out)),
        Ok(_) => {}
        Err(error) => {
            let hint = "name a file in a folder that you may write to";
            return Err(usage(format!("{}: {error}", out.display()), hint));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_file_that_cannot_be_written_is_wrong_use() {
        let folder = std::env::temp_dir();
        for out in ["/proc/x.png", "/no/such/folder/x.wav", folder.to_str().unwrap()] {
            let error = writable(Path::new(out)).unwrap_err();
            assert!(error.exit() == Exit::Usage && error.to_string().starts_with(out), "{error}");
        }
        let file = folder.join(format!("kvsw-writable-{}", std::process::id()));
        writable(&file).unwrap();
        assert!(!file.exists());
        std::fs::write(&file, "old").unwrap();
        writable(&file).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"old");
        std::fs::remove_file(&file).unwrap();
    }
}
