//! What a disk holds after a power loss, made from what the server asked of it (`power_loss.c`).
//!
//! What was synced is there. Of what was written since, any sectors may be there, in any state that the writes to them
//! left: nothing else is promised. Names are a list of changes that is kept up to some point, at least to the last sync
//! of the folder.

use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    fs,
    ops::Range,
    path::Path,
};

use lastunit_tests::Chance;

/// What a disk writes wholly or not at all, in bytes.
const SECTOR: usize = 512;
/// The folder, where a sync is of names.
const FOLDER: u64 = 1;

/// Something that happened, in the order in which it did.
#[derive(Debug)]
pub enum Event {
    Created {
        inode: u64,
        name: String,
    },
    Wrote {
        inode: u64,
        at: usize,
        data: Range<usize>,
    },
    Truncated {
        inode: u64,
        length: usize,
    },
    SyncBegun {
        inode: u64,
        ticket: u64,
    },
    SyncEnded {
        inode: u64,
        ticket: u64,
    },
    Unlinked {
        name: String,
    },
    /// By the test: a buyer holds the answer to this key.
    Acknowledged {
        key: String,
        order: String,
    },
}

/// The kind of the test's own record.
const ACKNOWLEDGED: u64 = 7;

/// The record that a buyer holds the answer to a key, to be appended to the log.
pub fn acknowledged(key: &str, order: &str) -> Vec<u8> {
    let text = format!("{key} {order}");
    let head = [ACKNOWLEDGED, 0, 0, text.len() as u64];
    [head.map(u64::to_ne_bytes).as_flattened(), text.as_bytes()].concat()
}

/// Reads a log.
pub fn events(log: &[u8]) -> Vec<Event> {
    let mut events = Vec::new();
    let mut from = 0;
    while from < log.len() {
        let [kind, inode, at, length] =
            [0, 1, 2, 3].map(|n| u64::from_ne_bytes(log[from + n * 8..][..8].try_into().expect("8 bytes")));
        let data = from + 32..from + 32 + length as usize;
        from = data.end;
        let text = || String::from_utf8(log[data.clone()].to_vec()).expect("text");
        let name = || text().rsplit('/').next().expect("a name").to_owned();
        events.push(match kind {
            1 => Event::Created { inode, name: name() },
            2 => Event::Wrote { inode, at: at as usize, data },
            3 => Event::Truncated { inode, length: at as usize },
            4 => Event::SyncBegun { inode, ticket: at },
            5 => Event::SyncEnded { inode, ticket: at },
            6 => Event::Unlinked { name: name() },
            ACKNOWLEDGED => {
                let text = text();
                let (key, order) = text.split_once(' ').expect("a key and an order");
                Event::Acknowledged { key: key.into(), order: order.into() }
            }
            other => panic!("no such record: {other}"),
        });
    }
    events
}

/// What the power loss leaves of what wasn't synced.
#[derive(Debug, Clone, Copy)]
pub enum Left {
    Nothing,
    /// The first so many of each file's writes, the last of them torn.
    FirstWrites,
    /// Every sector of every write by chance.
    Sectors,
    Everything,
}

impl Left {
    pub const ALL: [Self; 4] = [Self::Nothing, Self::FirstWrites, Self::Sectors, Self::Everything];
}

#[derive(Clone)]
enum Change {
    Write { at: usize, data: Range<usize> },
    Truncate { length: usize },
}

#[derive(Default)]
struct File {
    synced: Vec<u8>,
    /// Changes since, each with its number.
    unsynced: VecDeque<(u64, Change)>,
    changes: u64,
}

#[derive(Clone)]
enum Rename {
    Create(String, usize),
    Unlink(String),
}

/// A disk at a moment.
pub struct Disk<'a> {
    log: &'a [u8],
    files: Vec<File>,
    by_inode: HashMap<u64, usize>,
    names: BTreeMap<String, usize>,
    renames: VecDeque<Rename>,
    /// Syncs under way: how far they reach.
    begun: HashMap<u64, u64>,
    renamed: u64,
}

impl<'a> Disk<'a> {
    /// An empty one.
    pub fn new(log: &'a [u8]) -> Self {
        let (files, by_inode, names) = (Vec::new(), HashMap::new(), BTreeMap::new());
        Self { log, files, by_inode, names, renames: VecDeque::new(), begun: HashMap::new(), renamed: 0 }
    }

    fn file(&mut self, inode: u64) -> &mut File {
        &mut self.files[self.by_inode[&inode]]
    }

    fn rename(&mut self, rename: Rename) {
        self.renames.push_back(rename);
        self.renamed += 1;
    }

    /// Something happens.
    pub fn see(&mut self, event: &Event) {
        match event {
            Event::Created { inode, name } => {
                self.by_inode.insert(*inode, self.files.len());
                self.rename(Rename::Create(name.clone(), self.files.len()));
                self.files.push(File::default());
            }
            Event::Unlinked { name } => self.rename(Rename::Unlink(name.clone())),
            Event::Wrote { inode, at, data } => {
                self.file(*inode).change(Change::Write { at: *at, data: data.clone() });
            }
            Event::Truncated { inode, length } => {
                self.file(*inode).change(Change::Truncate { length: *length })
            }
            Event::SyncBegun { inode, ticket } => {
                let reaches = if *inode == FOLDER { self.renamed } else { self.file(*inode).changes };
                self.begun.insert(*ticket, reaches);
            }
            Event::SyncEnded { inode, ticket } => {
                let reaches = self.begun.remove(ticket).expect("a sync that was begun");
                if *inode == FOLDER {
                    while self.renamed - (self.renames.len() as u64) < reaches {
                        let rename = self.renames.pop_front().expect("so many");
                        apply_rename(&mut self.names, rename);
                    }
                } else {
                    let log = self.log;
                    self.file(*inode).sync(log, reaches);
                }
            }
            Event::Acknowledged { .. } => {}
        }
    }

    /// Writes into a folder what is there after a power loss now.
    pub fn lose_power(&self, left: Left, chance: &mut Chance, folder: &Path) {
        let mut names = self.names.clone();
        let kept = match left {
            Left::Nothing => 0,
            Left::FirstWrites | Left::Sectors => chance.below(self.renames.len() as u64 + 1) as usize,
            Left::Everything => self.renames.len(),
        };
        for rename in self.renames.iter().take(kept).cloned() {
            apply_rename(&mut names, rename);
        }
        for (name, file) in names {
            fs::write(folder.join(name), self.files[file].after(self.log, left, chance)).expect("a file");
        }
    }
}

fn apply_rename(names: &mut BTreeMap<String, usize>, rename: Rename) {
    match rename {
        Rename::Create(name, file) => drop(names.insert(name, file)),
        Rename::Unlink(name) => drop(names.remove(&name)),
    }
}

impl File {
    fn change(&mut self, change: Change) {
        self.unsynced.push_back((self.changes, change));
        self.changes += 1;
    }

    fn sync(&mut self, log: &[u8], reaches: u64) {
        while let Some((_, change)) = self.unsynced.pop_front_if(|(number, _)| *number < reaches) {
            apply(&mut self.synced, log, &change, |_| true);
        }
    }

    fn after(&self, log: &[u8], left: Left, chance: &mut Chance) -> Vec<u8> {
        let mut bytes = self.synced.clone();
        let whole = match left {
            Left::Nothing => return bytes,
            Left::FirstWrites => chance.below(self.unsynced.len() as u64 + 1) as usize,
            Left::Sectors | Left::Everything => self.unsynced.len(),
        };
        for (n, (_, change)) in self.unsynced.iter().enumerate() {
            match left {
                Left::FirstWrites if n == whole => apply(&mut bytes, log, change, |_| chance.below(2) == 0),
                Left::FirstWrites if n > whole => break,
                Left::Sectors => apply(&mut bytes, log, change, |_| chance.below(2) == 0),
                _ => apply(&mut bytes, log, change, |_| true),
            }
        }
        bytes
    }
}

/// Changes a file's bytes, as far as it keeps the sector of that number.
fn apply(bytes: &mut Vec<u8>, log: &[u8], change: &Change, mut keeps: impl FnMut(usize) -> bool) {
    match change {
        Change::Truncate { length } => {
            if keeps(0) {
                bytes.resize(*length, 0);
            }
        }
        Change::Write { at, data } => {
            let data = &log[data.clone()];
            let (mut from, end) = (*at, at + data.len());
            while from < end {
                let to = end.min((from / SECTOR + 1) * SECTOR);
                if keeps(from / SECTOR) {
                    if bytes.len() < to {
                        bytes.resize(to, 0);
                    }
                    bytes[from..to].copy_from_slice(&data[from - at..to - at]);
                }
                from = to;
            }
        }
    }
}
