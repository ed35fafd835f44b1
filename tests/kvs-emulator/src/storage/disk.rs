//! Streams and fragments on disk, in one redb file, written by one thread.
//!
//! Whoever waits for a write is answered after the commit that holds it, and one commit holds all that came while the
//! one before was under way: so PERSISTED means on disk, and many producers share the disk's slowness.

use super::fragment::StoredFragment;
use super::record::{RecordError, decode_fragment, decode_stream, encode_fragment, encode_stream};
use super::stream::Stream;
use redb::{Database, ReadableDatabase, ReadableTable, TableDefinition, WriteTransaction};
use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, mpsc};
use tokio::sync::oneshot;

/// Name to stream.
const STREAMS: TableDefinition<&str, &[u8]> = TableDefinition::new("streams");
/// ARN and fragment number to fragment.
const FRAGMENTS: TableDefinition<(&str, &str), &[u8]> = TableDefinition::new("fragments");
/// ARN to the counter in the last fragment number that was stored.
const NUMBERS: TableDefinition<&str, u64> = TableDefinition::new("numbers");
/// What this file is.
const META: TableDefinition<&str, u64> = TableDefinition::new("meta");
/// 2: fragments as they were sent, byte for byte.
const SCHEMA: u64 = 2;
/// Numbers that may have been given to fragments that were never stored; none of them is given again.
const NUMBERS_SKIPPED: u64 = 1_000_000;
/// Most writes in one commit.
const BATCH_MAX: usize = 1024;

/// Why the folder cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DiskError {
    /// The folder cannot be made.
    #[error("{} cannot be made: {source}", .path.display())]
    Folder {
        /// The folder.
        path: PathBuf,
        /// The cause.
        source: std::io::Error,
    },
    /// The file cannot be opened, read or written; another emulator may have it open.
    #[error("{} cannot be used: {source}", .path.display())]
    Database {
        /// The file.
        path: PathBuf,
        /// The cause.
        source: Box<redb::Error>,
    },
    /// Another version of the emulator wrote it.
    #[error(
        "{} has schema {found}, this emulator reads {SCHEMA}; delete the file, or name another folder",
        .path.display()
    )]
    Schema {
        /// The file.
        path: PathBuf,
        /// Its schema.
        found: u64,
    },
    /// A record is damaged.
    #[error("{}: {source}", .path.display())]
    Record {
        /// The file.
        path: PathBuf,
        /// Which and why.
        source: RecordError,
    },
}

/// What was there when the emulator started.
#[derive(Default)]
pub(crate) struct Saved {
    pub(crate) streams: Vec<Stream>,
}

/// A write, or something that waits for the writes before it.
enum Job {
    Save { name: String, record: Vec<u8> },
    Forget { name: String, arn: String },
    Put { arn: String, fragment: Arc<StoredFragment>, counter: u64, done: oneshot::Sender<bool> },
    Expire { arn: String, number: String },
    Flush { done: oneshot::Sender<bool> },
    Close { done: oneshot::Sender<bool> },
}

/// The way to the disk, or to nowhere.
#[derive(Clone, Default)]
pub(crate) struct Disk {
    jobs: Option<mpsc::Sender<Job>>,
}

/// The answer to a write: true once it is on disk.
pub(crate) struct Written(Option<oneshot::Receiver<bool>>);

impl Written {
    pub(crate) async fn wait(self) -> bool {
        match self.0 {
            None => true,
            Some(done) => done.await.unwrap_or(false),
        }
    }
}

impl Disk {
    /// Opens or makes the file in `folder`, and reads all that is in it.
    pub(crate) fn open(folder: &Path) -> Result<(Self, Saved), DiskError> {
        let source = |source| DiskError::Folder { path: folder.to_owned(), source };
        std::fs::create_dir_all(folder).map_err(source)?;
        let path = folder.join("kvs-emulator.redb");
        let failed =
            |source: redb::Error| DiskError::Database { path: path.clone(), source: Box::new(source) };
        let database = Database::create(&path).map_err(|error| failed(error.into()))?;
        match prepare(&database).map_err(failed)? {
            SCHEMA => {}
            found => return Err(DiskError::Schema { path, found }),
        }
        let saved = match read(&database).map_err(failed)? {
            Ok(saved) => saved,
            Err(source) => return Err(DiskError::Record { path, source }),
        };
        let (jobs, received) = mpsc::channel();
        let thread = std::thread::Builder::new().name("kvs-disk".to_owned());
        thread.spawn(move || run(database, &received)).map_err(source)?;
        Ok((Self { jobs: Some(jobs) }, saved))
    }

    /// Writes a stream as it is now.
    pub(crate) fn save(&self, stream: &Stream) {
        if self.jobs.is_some() {
            self.send(Job::Save { name: stream.is.name.clone(), record: encode_stream(stream) });
        }
    }

    /// Removes a stream and its fragments.
    pub(crate) fn forget(&self, stream: &Stream) {
        self.send(Job::Forget { name: stream.is.name.clone(), arn: stream.arn.clone() });
    }

    /// Writes a fragment.
    pub(crate) fn put(&self, arn: &str, fragment: &Arc<StoredFragment>) -> Written {
        let counter = fragment.number.get(27..).and_then(|digits| digits.parse().ok()).unwrap_or(0);
        let (arn, fragment) = (arn.to_owned(), fragment.clone());
        self.ask(|done| Job::Put { arn, fragment, counter, done })
    }

    /// Removes a fragment.
    pub(crate) fn expire(&self, arn: &str, number: &str) {
        if self.jobs.is_some() {
            self.send(Job::Expire { arn: arn.to_owned(), number: number.to_owned() });
        }
    }

    /// Waits for all writes before.
    pub(crate) fn flush(&self) -> Written {
        self.ask(|done| Job::Flush { done })
    }

    /// Ends writing and closes the file.
    pub(crate) fn close(&self) -> Written {
        self.ask(|done| Job::Close { done })
    }

    fn ask(&self, job: impl FnOnce(oneshot::Sender<bool>) -> Job) -> Written {
        if self.jobs.is_none() {
            return Written(None);
        }
        let (done, answer) = oneshot::channel();
        self.send(job(done));
        Written(Some(answer))
    }

    fn send(&self, job: Job) {
        if let Some(jobs) = &self.jobs {
            // After the end nobody writes any more, and whoever waits learns it from the dropped answer.
            let _ = jobs.send(job);
        }
    }
}

/// Makes the tables, and gives the file's schema.
fn prepare(database: &Database) -> Result<u64, redb::Error> {
    let transaction = database.begin_write()?;
    let found = {
        let mut meta = transaction.open_table(META)?;
        let found = meta.get("schema")?.map(|value| value.value());
        if found.is_none() {
            meta.insert("schema", SCHEMA)?;
        }
        transaction.open_table(STREAMS)?;
        transaction.open_table(FRAGMENTS)?;
        transaction.open_table(NUMBERS)?;
        found.unwrap_or(SCHEMA)
    };
    transaction.commit()?;
    Ok(found)
}

fn read(database: &Database) -> Result<Result<Saved, RecordError>, redb::Error> {
    let transaction = database.begin_read()?;
    let (streams, numbers) = (transaction.open_table(STREAMS)?, transaction.open_table(NUMBERS)?);
    let mut by_arn: HashMap<String, Stream> = HashMap::new();
    for entry in streams.iter()? {
        let mut stream = match decode_stream(entry?.1.value()) {
            Ok(stream) => stream,
            Err(error) => return Ok(Err(error)),
        };
        let counter = numbers.get(stream.arn.as_str())?.map(|counter| counter.value());
        stream.last_number = counter.map_or(0, |counter| counter + NUMBERS_SKIPPED);
        by_arn.insert(stream.arn.clone(), stream);
    }
    for entry in transaction.open_table(FRAGMENTS)?.iter()? {
        let (key, value) = entry?;
        // A fragment whose stream is gone was about to be removed.
        let Some(stream) = by_arn.get_mut(key.value().0) else { continue };
        match decode_fragment(value.value()) {
            Ok(mut fragment) => {
                share_header(&mut fragment, stream);
                stream.insert(Arc::new(fragment));
            }
            Err(error) => return Ok(Err(error)),
        }
    }
    Ok(Ok(Saved { streams: by_arn.into_values().collect() }))
}

/// Fragments of one connection have one header.
fn share_header(fragment: &mut StoredFragment, stream: &Stream) {
    let Some((_, before)) = stream.fragments.last_key_value() else { return };
    if before.header == fragment.header {
        fragment.header = before.header.clone();
    }
    if before.opening == fragment.opening {
        fragment.opening = before.opening.clone();
    }
}

fn run(database: Database, jobs: &mpsc::Receiver<Job>) {
    while let Ok(first) = jobs.recv() {
        let mut batch = vec![first];
        while batch.len() < BATCH_MAX
            && let Ok(job) = jobs.try_recv()
        {
            batch.push(job);
        }
        let written = write(&database, &batch);
        if let Err(error) = &written {
            tracing::error!(%error, "the disk did not take {} changes", batch.len());
        }
        let mut closes = None;
        for job in batch {
            match job {
                // Nobody may wait any more.
                Job::Put { done, .. } | Job::Flush { done } => drop(done.send(written.is_ok())),
                Job::Close { done } => closes = Some(done),
                Job::Save { .. } | Job::Forget { .. } | Job::Expire { .. } => {}
            }
        }
        if let Some(done) = closes {
            drop(database);
            let _ = done.send(written.is_ok());
            return;
        }
    }
}

fn write(database: &Database, batch: &[Job]) -> Result<(), redb::Error> {
    if batch.iter().all(|job| matches!(job, Job::Flush { .. } | Job::Close { .. })) {
        return Ok(());
    }
    let transaction = database.begin_write()?;
    batch.iter().try_for_each(|job| apply(&transaction, job))?;
    transaction.commit()?;
    Ok(())
}

fn apply(transaction: &WriteTransaction, job: &Job) -> Result<(), redb::Error> {
    match job {
        Job::Save { name, record } => {
            transaction.open_table(STREAMS)?.insert(name.as_str(), record.as_slice())?;
        }
        Job::Forget { name, arn } => {
            transaction.open_table(STREAMS)?.remove(name.as_str())?;
            transaction.open_table(NUMBERS)?.remove(arn.as_str())?;
            let all = (arn.as_str(), "")..=(arn.as_str(), "\u{10FFFF}");
            transaction.open_table(FRAGMENTS)?.retain_in(all, |_, _| false)?;
        }
        Job::Put { arn, fragment, counter, .. } => {
            let (key, record) = ((arn.as_str(), fragment.number.as_str()), encode_fragment(fragment));
            transaction.open_table(FRAGMENTS)?.insert(key, record.as_slice())?;
            transaction.open_table(NUMBERS)?.insert(arn.as_str(), counter)?;
        }
        Job::Expire { arn, number } => {
            transaction.open_table(FRAGMENTS)?.remove((arn.as_str(), number.as_str()))?;
        }
        Job::Flush { .. } | Job::Close { .. } => {}
    }
    Ok(())
}
