//! Where the project's files are.

use std::path::{Path, PathBuf};

/// The root of the source tree: `KVS_PROJECT_ROOT`, else where this crate was compiled.
pub fn root() -> PathBuf {
    match std::env::var_os("KVS_PROJECT_ROOT") {
        Some(root) => PathBuf::from(root),
        None => {
            let crate_folder = Path::new(env!("CARGO_MANIFEST_DIR"));
            crate_folder.ancestors().nth(2).unwrap_or(crate_folder).to_owned()
        }
    }
}

/// A fresh folder for one run of the stack: logs and the emulators' files. Under the system's temporary folder.
///
/// # Errors
/// The operating system's.
pub fn run_folder() -> std::io::Result<PathBuf> {
    let folder =
        std::env::temp_dir().join(format!("kvs-stack-{}-{:08x}", std::process::id(), fastrand::u32(..)));
    std::fs::create_dir_all(&folder)?;
    Ok(folder)
}
