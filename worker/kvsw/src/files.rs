//! Files and folders that commands make: whether they can be made is known before any service is asked.

use std::fs::OpenOptions;
use std::path::Path;

use crate::error::{Result, usage};

/// Chooses by the ending of a file's name.
///
/// # Errors
/// Wrong use, with the endings that there are.
pub fn format_of<F: Copy>(out: &Path, formats: &[(&str, F)]) -> Result<F> {
    let extension = out.extension().and_then(|extension| extension.to_str()).unwrap_or_default();
    let known = formats.iter().find(|(name, _)| name.eq_ignore_ascii_case(extension));
    known.map(|(_, format)| *format).ok_or_else(|| {
        let names: Vec<String> = formats.iter().map(|(name, _)| format!(".{name}")).collect();
        let names = names.join(" or ");
        let message = format!("{}: the file's name should end with {names}", out.display());
        usage(message, "the ending chooses the format")
    })
}

/// Whether the file can be written. Leaves no file, and what is there as it is.
///
/// # Errors
/// Wrong use: it exists and may not be replaced, or cannot be written.
pub fn writable(out: &Path, force: bool) -> Result<()> {
    let is_new = !out.exists();
    if !is_new && !force {
        return Err(usage(format!("{} exists already", out.display()), "--force replaces it"));
    }
    has_parent(out)?;
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

/// Whether a folder can be made: makes it and takes it away again.
///
/// # Errors
/// Wrong use: it exists, or the operating system's reason.
pub fn can_be_made(out: &Path) -> Result<()> {
    if out.exists() {
        let hint =
            "name a folder that is not there yet: parked messages may be the only copy of what they hold";
        return Err(usage(format!("{} exists already", out.display()), hint));
    }
    has_parent(out)?;
    std::fs::create_dir(out).and_then(|()| std::fs::remove_dir(out)).map_err(|reason| {
        let message = format!("{} cannot be created: {reason}", out.display());
        usage(message, "--out takes a folder that is not there yet, in one that you may write to")
    })
}

fn has_parent(out: &Path) -> Result<()> {
    let parent = out.parent().filter(|parent| !parent.as_os_str().is_empty());
    match parent.is_none_or(Path::is_dir) {
        true => Ok(()),
        false => Err(usage(format!("{}: its folder does not exist", out.display()), "make the folder first")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Exit;

    #[test]
    fn a_file_that_cannot_be_written_is_wrong_use_and_what_is_there_stays() {
        let folder = std::env::temp_dir();
        for out in ["/proc/x.svg", "/no/such/folder/x.wav", folder.to_str().unwrap()] {
            let error = writable(Path::new(out), true).unwrap_err();
            assert!(error.exit() == Exit::Usage && error.to_string().starts_with(out), "{error}");
        }
        let out = folder.join(format!("kvsw-writable-{}", std::process::id()));
        writable(&out, false).unwrap();
        assert!(!out.exists());
        std::fs::write(&out, "old").unwrap();
        assert!(writable(&out, false).unwrap_err().to_string().contains("exists already"));
        writable(&out, true).unwrap();
        assert_eq!(std::fs::read(&out).unwrap(), b"old");
        std::fs::remove_file(&out).unwrap();
    }
}
