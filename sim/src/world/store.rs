//! The object store: paths, bytes, nominal sizes.

use std::collections::BTreeMap;

use cutline::time::VirtualTime;

use super::services::Purpose;
use crate::observe::FileId;

/// One object.
#[derive(Clone, Debug)]
pub struct StoredObject {
    /// Its number, in the order of first writing.
    pub file: FileId,
    /// The real bytes.
    pub bytes: Vec<u8>,
    /// How many bytes it stands for.
    pub nominal: u64,
    /// What for.
    pub purpose: Purpose,
    /// From when on it can be read and listed.
    pub visible_at: VirtualTime,
    /// From when on it is on disk.
    pub durable_at: VirtualTime,
}

/// The contents of the object store. Requests to it, with their latency and failures, go through
/// [`super::Context::request`]; this is what is there.
#[derive(Debug, Default)]
pub struct ObjectStore {
    objects: BTreeMap<String, StoredObject>,
    paths: Vec<String>,
    /// Every path that was ever written.
    files: BTreeMap<String, FileId>,
    /// Uploads in parts whose writers have died: nominal bytes, by the path where they were to be.
    uploads: BTreeMap<String, u64>,
    /// Nominal bytes written so far.
    pub bytes_written: u64,
}

impl ObjectStore {
    /// Writes an object, replacing one of the same path.
    pub fn put(
        &mut self,
        path: String,
        (bytes, nominal, purpose): (Vec<u8>, u64, Purpose),
        (visible_at, durable_at): (VirtualTime, VirtualTime),
    ) -> FileId {
        let file = match self.files.get(&path) {
            Some(file) => *file,
            None => {
                let file = FileId(self.paths.len() as u32);
                self.paths.push(path.clone());
                self.files.insert(path.clone(), file);
                file
            }
        };
        self.bytes_written += nominal;
        let object = StoredObject { file, bytes, nominal, purpose, visible_at, durable_at };
        self.objects.insert(path, object);
        file
    }

    /// Removes an object; `None` if there was none.
    pub fn delete(&mut self, path: &str) -> Option<StoredObject> {
        self.objects.remove(path)
    }

    /// Flips a bit of the newest object of which `concerns` says so; `None` if there is none that has
    /// any bits. `draw` draws a number below another one.
    pub fn damage(
        &mut self,
        concerns: impl Fn(Purpose) -> bool,
        draw: impl FnOnce(u64) -> u64,
    ) -> Option<FileId> {
        let objects = self.objects.values_mut();
        let object = objects
            .filter(|object| concerns(object.purpose) && !object.bytes.is_empty())
            .max_by_key(|object| object.file)?;
        let bit = draw(object.bytes.len() as u64 * 8);
        object.bytes[bit as usize / 8] ^= 1 << (bit % 8);
        Some(object.file)
    }

    /// Loses what is not on disk yet: each object wholly, or the second half of it, as `is_gone` draws.
    /// Says which, and which wholly.
    pub fn lose_unsynced(
        &mut self,
        now: VirtualTime,
        mut is_gone: impl FnMut() -> bool,
    ) -> Vec<(FileId, bool)> {
        let mut lost = Vec::new();
        self.objects.retain(|_, object| {
            if object.durable_at <= now {
                return true;
            }
            let gone = is_gone();
            lost.push((object.file, gone));
            object.bytes.truncate(object.bytes.len() / 2);
            object.nominal /= 2;
            object.durable_at = now;
            !gone
        });
        lost
    }

    /// Loses the objects of whose paths `is_lost` says so, and says which these are.
    pub fn lose(&mut self, is_lost: impl Fn(&str) -> bool) -> Vec<FileId> {
        let mut lost = Vec::new();
        self.objects.retain(|path, object| {
            let goes = is_lost(path);
            lost.extend(goes.then_some(object.file));
            !goes
        });
        lost
    }

    /// Somebody has died who was uploading in parts; these stay.
    pub fn leave_upload(&mut self, path: String, bytes: u64) {
        self.uploads.insert(path, bytes);
    }

    /// The uploads that nobody completes, by path.
    pub fn uploads(&self) -> impl Iterator<Item = &str> + '_ {
        self.uploads.keys().map(String::as_str)
    }

    /// Drops the parts of one, and says how many bytes that were; `None` if there is none.
    pub fn abort_upload(&mut self, path: &str) -> Option<u64> {
        self.uploads.remove(path)
    }

    /// The object at a path, visible or not.
    pub fn get(&self, path: &str) -> Option<&StoredObject> {
        self.objects.get(path)
    }

    /// All objects below a prefix, by path.
    pub fn list<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = (&'a str, &'a StoredObject)> + 'a {
        self.objects
            .range(prefix.to_owned()..)
            .take_while(move |(path, _)| path.starts_with(prefix))
            .map(|(path, object)| (path.as_str(), object))
    }

    /// The number of a file, whether it is still there or not.
    pub fn file(&self, path: &str) -> Option<FileId> {
        self.files.get(path).copied()
    }

    /// The path of every object that was ever written, by `FileId`.
    pub fn paths(&self) -> &[String] {
        &self.paths
    }

    /// The path under which a file was first written.
    pub fn path(&self, file: FileId) -> &str {
        &self.paths[file.0 as usize]
    }

    /// Number of objects that are there now.
    pub fn len(&self) -> usize {
        self.objects.len()
    }

    /// Whether nothing is stored.
    pub fn is_empty(&self) -> bool {
        self.objects.is_empty()
    }
}
