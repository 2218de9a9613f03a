//! A VFS that writes a transaction to the write-ahead log at once.
//!
//! SQLite writes its log frame by frame, each in two pieces: a batch of orders is a hundred calls of the kernel, which
//! cost more than what they copy. Here the pieces are gathered, and written when SQLite asks for the log to be synced:
//! with synchronous=FULL it does so once all of a transaction is there, and before anybody else is told of it. That sync
//! itself is left to [`super::log`], which flushes the same file beside the next transaction. All others are done: those
//! of a checkpoint, and of a log's new header. Every file but the log is SQLite's own VFS' alone.

#![expect(unsafe_code, reason = "a VFS of SQLite is a table of C functions")]

use std::{
    ffi::{CStr, c_char, c_int, c_void},
    mem::ManuallyDrop,
    ptr, slice,
    sync::OnceLock,
};

use rusqlite::ffi::{
    self, SQLITE_ERROR, SQLITE_OK, SQLITE_OPEN_WAL, sqlite3_file, sqlite3_int64, sqlite3_io_methods,
    sqlite3_vfs,
};

/// The most bytes that are gathered; then they are written without being asked for. SQLite's own VFS doesn't write 128 KiB
/// or more at once.
const MOST: usize = 127 * 1024;

/// Its name, by which a connection opens a database. `None` where SQLite has no VFS of its own to build on.
pub(super) fn vfs() -> Option<&'static CStr> {
    SYSTEM.get_or_init(register).as_ref().map(|_| NAME)
}

const NAME: &CStr = c"lastunit-gathered";
/// Set once this one is registered.
static SYSTEM: OnceLock<Option<Vfs>> = OnceLock::new();

/// SQLite's own VFS.
struct Vfs(*mut sqlite3_vfs);
// SAFETY: SQLite calls a VFS from any thread, and never changes or frees its own.
unsafe impl Send for Vfs {}
unsafe impl Sync for Vfs {}

fn register() -> Option<Vfs> {
    // SAFETY: SQLite's own VFS lives as long as the process, and so does what is registered: it is leaked.
    unsafe {
        let system = ffi::sqlite3_vfs_find(ptr::null());
        if system.is_null() {
            return None;
        }
        // What isn't replaced works on the copy as on the original: it uses only `pAppData`.
        let gathered = sqlite3_vfs {
            szOsFile: size_of::<Log>() as c_int + (*system).szOsFile,
            pNext: ptr::null_mut(),
            zName: NAME.as_ptr(),
            xOpen: Some(open),
            ..*system
        };
        let registered = ffi::sqlite3_vfs_register(Box::into_raw(Box::new(gathered)), 0);
        (registered == SQLITE_OK).then_some(Vfs(system))
    }
}

/// An open log, as SQLite holds it; the file of SQLite's own VFS follows it in memory.
#[repr(C)]
struct Log {
    /// By it SQLite takes this for a `sqlite3_file`.
    methods: *const sqlite3_io_methods,
    gathered: ManuallyDrop<Gathered>,
}

/// What isn't written yet: bytes from this offset on.
#[derive(Default)]
struct Gathered {
    at: sqlite3_int64,
    bytes: Vec<u8>,
}

impl Gathered {
    fn end(&self) -> sqlite3_int64 {
        self.at + self.bytes.len() as sqlite3_int64
    }

    /// Whether these are the frames of a transaction, behind the log's header.
    fn is_transaction(&self) -> bool {
        !self.bytes.is_empty() && self.at > 0
    }
}

static LOG: sqlite3_io_methods = sqlite3_io_methods {
    iVersion: 1,
    xClose: Some(close),
    xRead: Some(read),
    xWrite: Some(write),
    xTruncate: Some(truncate),
    xSync: Some(sync),
    xFileSize: Some(file_size),
    xLock: Some(lock),
    xUnlock: Some(unlock),
    xCheckReservedLock: Some(check_reserved_lock),
    xFileControl: Some(file_control),
    xSectorSize: Some(sector_size),
    xDeviceCharacteristics: Some(device_characteristics),
    xShmMap: None,
    xShmLock: None,
    xShmBarrier: None,
    xShmUnmap: None,
    xFetch: None,
    xUnfetch: None,
};

/// Calls a function of the file of SQLite's own VFS.
macro_rules! system {
    ($file:expr, $function:ident $(, $argument:expr)*) => {{
        let system = $file.cast::<Log>().add(1).cast::<sqlite3_file>();
        match (*(*system).pMethods).$function {
            Some(function) => function(system $(, $argument)*),
            None => SQLITE_ERROR,
        }
    }};
}

// SAFETY, of all that follow: SQLite calls them with a file that `open` has opened as a log and that isn't closed, with
// as many bytes as it says, and never two of one file at once: a file belongs to a connection.

unsafe extern "C" fn open(
    _: *mut sqlite3_vfs,
    name: *const c_char,
    file: *mut sqlite3_file,
    flags: c_int,
    flags_out: *mut c_int,
) -> c_int {
    let Some(Some(Vfs(system))) = SYSTEM.get() else { return SQLITE_ERROR };
    unsafe {
        let Some(system_open) = (**system).xOpen else { return SQLITE_ERROR };
        if flags & SQLITE_OPEN_WAL == 0 {
            return system_open(*system, name, file, flags, flags_out);
        }
        let log = file.cast::<Log>();
        // Without functions, SQLite doesn't close what couldn't be opened.
        (*log).methods = ptr::null();
        let opened = system_open(*system, name, log.add(1).cast(), flags, flags_out);
        if opened == SQLITE_OK {
            log.write(Log { methods: &LOG, gathered: ManuallyDrop::default() });
        }
        opened
    }
}

unsafe fn gathered<'a>(file: *mut sqlite3_file) -> &'a mut Gathered {
    unsafe { &mut (*file.cast::<Log>()).gathered }
}

unsafe fn write_gathered(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let Gathered { at, bytes } = gathered(file);
        if bytes.is_empty() {
            return SQLITE_OK;
        }
        let written = system!(file, xWrite, bytes.as_ptr().cast(), bytes.len() as c_int, *at);
        // If it failed, SQLite rolls back, and writes something else to the same place next time.
        bytes.clear();
        written
    }
}

unsafe extern "C" fn write(
    file: *mut sqlite3_file,
    data: *const c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    unsafe {
        let data = slice::from_raw_parts(data.cast::<u8>(), length as usize);
        let to = gathered(file);
        if at != to.end() || to.bytes.len() + data.len() > MOST {
            let written = write_gathered(file);
            if written != SQLITE_OK {
                return written;
            }
            to.at = at;
        }
        to.bytes.extend_from_slice(data);
        SQLITE_OK
    }
}

unsafe extern "C" fn sync(file: *mut sqlite3_file, flags: c_int) -> c_int {
    unsafe {
        let of_commit = gathered(file).is_transaction();
        let written = write_gathered(file);
        if written != SQLITE_OK || of_commit {
            return written;
        }
        system!(file, xSync, flags)
    }
}

/// Writes what is gathered, then calls a function of the file of SQLite's own VFS.
macro_rules! written {
    ($file:expr, $function:ident $(, $argument:expr)*) => {
        match write_gathered($file) {
            SQLITE_OK => system!($file, $function $(, $argument)*),
            failed => failed,
        }
    };
}

unsafe extern "C" fn read(
    file: *mut sqlite3_file,
    into: *mut c_void,
    length: c_int,
    at: sqlite3_int64,
) -> c_int {
    unsafe {
        let unwritten = gathered(file);
        if at < unwritten.end() && at + sqlite3_int64::from(length) > unwritten.at {
            return written!(file, xRead, into, length, at);
        }
        system!(file, xRead, into, length, at)
    }
}

unsafe extern "C" fn truncate(file: *mut sqlite3_file, length: sqlite3_int64) -> c_int {
    unsafe { written!(file, xTruncate, length) }
}

unsafe extern "C" fn file_size(file: *mut sqlite3_file, length: *mut sqlite3_int64) -> c_int {
    unsafe { written!(file, xFileSize, length) }
}

unsafe extern "C" fn close(file: *mut sqlite3_file) -> c_int {
    unsafe {
        let (written, closed) = (write_gathered(file), system!(file, xClose));
        ManuallyDrop::drop(&mut (*file.cast::<Log>()).gathered);
        if written == SQLITE_OK { closed } else { written }
    }
}

unsafe extern "C" fn lock(file: *mut sqlite3_file, level: c_int) -> c_int {
    unsafe { system!(file, xLock, level) }
}

unsafe extern "C" fn unlock(file: *mut sqlite3_file, level: c_int) -> c_int {
    unsafe { system!(file, xUnlock, level) }
}

unsafe extern "C" fn check_reserved_lock(file: *mut sqlite3_file, locked: *mut c_int) -> c_int {
    unsafe { system!(file, xCheckReservedLock, locked) }
}

unsafe extern "C" fn file_control(file: *mut sqlite3_file, what: c_int, about: *mut c_void) -> c_int {
    unsafe { system!(file, xFileControl, what, about) }
}

unsafe extern "C" fn sector_size(file: *mut sqlite3_file) -> c_int {
    unsafe { system!(file, xSectorSize) }
}

unsafe extern "C" fn device_characteristics(file: *mut sqlite3_file) -> c_int {
    unsafe { system!(file, xDeviceCharacteristics) }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use rusqlite::{Connection, OpenFlags};

    use super::*;

    fn open(path: &Path, cache_pages: u32) -> Connection {
        let connection =
            Connection::open_with_flags_and_vfs(path, OpenFlags::default(), vfs().unwrap()).unwrap();
        let pragmas = format!(
            "PRAGMA page_size = 512; PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL;
             PRAGMA cache_size = {cache_pages}; PRAGMA wal_autocheckpoint = 0;"
        );
        connection.execute_batch(&pragmas).unwrap();
        connection
    }

    fn sum(connection: &Connection) -> (i64, i64) {
        connection
            .query_row("SELECT COUNT(*), SUM(x) FROM t", [], |row| Ok((row.get(0)?, row.get(1)?)))
            .unwrap()
    }

    /// Through SQLite's own VFS, which sees only what is written.
    fn others_see(path: &Path) -> (i64, i64) {
        let other = Connection::open(path).unwrap();
        let intact: String = other.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
        assert_eq!(intact, "ok");
        sum(&other)
    }

    #[test]
    fn a_transaction_is_there_for_all_once_it_is_committed_whatever_its_size() {
        let folder = tempfile::tempdir().unwrap();
        // With a cache of 10 pages, most of a transaction is in the log before it ends, is read again from there, and
        // written over: also what is still gathered.
        for (name, cache_pages) in [("roomy.db", 10_000), ("tight.db", 10)] {
            let path = folder.path().join(name);
            let connection = open(&path, cache_pages);
            connection
                .execute_batch("CREATE TABLE t (x INTEGER NOT NULL, text TEXT); INSERT INTO t VALUES (0, '')")
                .unwrap();
            let (mut rows, mut total) = (1, 0);
            for size in [1, 10, 1_000, 10_000] {
                let insert = format!(
                    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n WHERE x < {size})
                     INSERT INTO t SELECT x, hex(randomblob(40)) FROM n;
                     UPDATE t SET text = hex(randomblob(30)) WHERE rowid % 7 = 0;"
                );
                connection.execute_batch(&format!("BEGIN; {insert} ROLLBACK")).unwrap();
                assert_eq!(others_see(&path), (rows, total), "{name}: {size} rows, rolled back");
                connection.execute_batch(&format!("BEGIN; {insert}")).unwrap();
                assert_eq!(others_see(&path), (rows, total), "{name}: {size} rows, not yet committed");
                connection.execute_batch("COMMIT").unwrap();
                (rows, total) = (rows + size, total + size * (size + 1) / 2);
                assert_eq!(sum(&connection), (rows, total));
                assert_eq!(others_see(&path), (rows, total), "{name}: {size} rows");
                if size == 1_000 {
                    // The log begins anew.
                    connection.query_row("PRAGMA wal_checkpoint(RESTART)", [], |_| Ok(())).unwrap();
                }
            }
            connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(())).unwrap();
            drop(connection);
            assert_eq!(others_see(&path), (rows, total));
        }
    }
}
