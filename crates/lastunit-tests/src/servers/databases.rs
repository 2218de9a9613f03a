//! Databases that tests take from a shared server, one after the other.

use std::sync::Mutex;

/// The databases of a shared server that nobody uses. Emptying one is faster than creating another.
pub struct Databases {
    create: fn() -> String,
    empty: fn(&str),
    url: fn(&str) -> String,
    free: Mutex<Vec<String>>,
}

impl Databases {
    pub(super) const fn new(create: fn() -> String, empty: fn(&str), url: fn(&str) -> String) -> Self {
        Self { create, empty, url, free: Mutex::new(Vec::new()) }
    }

    /// A database for the caller alone. It is new, or migrated and without any row.
    pub fn take(&'static self) -> Database {
        let free = self.free.lock().expect("not poisoned").pop();
        let name = match free {
            Some(used) => {
                (self.empty)(&used);
                used
            }
            None => (self.create)(),
        };
        Database { url: (self.url)(&name), name, pool: self }
    }
}

/// A database of a shared server. Dropped, it may be another test's.
pub struct Database {
    name: String,
    url: String,
    pool: &'static Databases,
}

impl Database {
    /// What the server calls it.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }
}

impl Drop for Database {
    fn drop(&mut self) {
        let name = std::mem::take(&mut self.name);
        if let Ok(mut free) = self.pool.free.lock() {
            free.push(name);
        }
    }
}
