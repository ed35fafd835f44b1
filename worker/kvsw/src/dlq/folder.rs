//! A folder of messages: `messages.jsonl`, one body a line, which `make replay` plays, and `facts.jsonl`, what else was known
//! of each, line by line.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::message::DlqMessage;
use crate::error::{Error, Result};

/// A folder being written. The first message makes it.
#[derive(Debug)]
pub struct MessageFolder {
    path: PathBuf,
    files: Option<[BufWriter<File>; 2]>,
    messages: usize,
}

impl MessageFolder {
    /// At a path where nothing is.
    pub fn at(path: &Path) -> Self {
        Self { path: path.to_owned(), files: None, messages: 0 }
    }

    /// Makes the folder, which must not exist.
    fn create(&self) -> Result<[BufWriter<File>; 2]> {
        let file = |name: &str| {
            let path = self.path.join(name);
            let made = File::options().write(true).create_new(true).open(&path);
            made.map(BufWriter::new).map_err(|source| Error::File { path, source })
        };
        std::fs::create_dir(&self.path).map_err(|source| Error::File { path: self.path.clone(), source })?;
        Ok([file("messages.jsonl")?, file("facts.jsonl")?])
    }

    /// Appends messages; they are on disk when this returns.
    ///
    /// # Errors
    /// The operating system's.
    pub fn append(&mut self, messages: &[DlqMessage]) -> Result<()> {
        if messages.is_empty() {
            return Ok(());
        }
        let made = match self.files.take() {
            Some(files) => files,
            None => self.create()?,
        };
        let [bodies, facts] = self.files.insert(made);
        let file = |source| Error::File { path: self.path.clone(), source };
        for message in messages {
            writeln!(bodies, "{}", line(&message.body)).map_err(file)?;
            writeln!(facts, "{}", message.facts()).map_err(file)?;
        }
        for file_of in [bodies, facts] {
            file_of.flush().and_then(|()| file_of.get_ref().sync_data()).map_err(file)?;
        }
        self.messages += messages.len();
        Ok(())
    }

    /// How many messages it holds.
    pub fn messages(&self) -> usize {
        self.messages
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

/// A body on one line: JSON without its line breaks; what is no JSON has them replaced, so that no message becomes two.
fn line(body: &str) -> String {
    if !body.contains(['\n', '\r']) {
        return body.to_owned();
    }
    match serde_json::from_str::<Value>(body) {
        Ok(value) => value.to_string(),
        Err(_) => body.replace(['\n', '\r'], " "),
    }
}

#[cfg(test)]
mod tests {
    use super::super::message::message;
    use super::*;
    use crate::files::can_be_made;

    #[test]
    fn a_message_is_one_line_whatever_it_holds_and_no_folder_is_written_over() {
        let path = std::env::temp_dir().join(format!("kvsw-folder-{}", std::process::id()));
        can_be_made(&path).unwrap();
        let mut folder = MessageFolder::at(&path);
        folder.append(&[]).unwrap();
        assert!(!path.exists(), "made for nothing");
        let bodies = ["{\"a\":1}", "{\n  \"a\": \"x\\ny\"\n}", "no\r\njson", ""];
        folder.append(&bodies.map(|body| message("m", "owl", body))).unwrap();
        assert_eq!(folder.messages(), 4);
        let written = std::fs::read_to_string(path.join("messages.jsonl")).unwrap();
        assert_eq!(written.lines().collect::<Vec<_>>(), ["{\"a\":1}", "{\"a\":\"x\\ny\"}", "no  json", ""]);
        assert_eq!(std::fs::read_to_string(path.join("facts.jsonl")).unwrap().lines().count(), 4);
        let again = MessageFolder::at(&path).append(&[message("m", "owl", "")]);
        assert!(matches!(again, Err(Error::File { .. })));
        assert!(matches!(can_be_made(&path), Err(Error::Usage { .. })));
        std::fs::remove_dir_all(&path).unwrap();
    }
}
