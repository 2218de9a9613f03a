//! Who may call: the service keys, in memory, read from the store again and again.

use std::{collections::HashMap, sync::RwLock};

use lastunit::{Role, Store, StoreError};
use sha2::{Digest, Sha256};

/// The roles of all valid keys by the keys' hashes.
#[derive(Default)]
pub(crate) struct ServiceKeys(RwLock<HashMap<[u8; 32], Role>>);

impl ServiceKeys {
    /// The role of a key, if it is valid.
    ///
    /// The lookup compares hashes, not keys: how long it takes may tell something about the SHA-256 of a guess,
    /// which says nothing about a valid key. So it needs no comparison in constant time.
    pub(crate) fn role(&self, key: &[u8]) -> Option<Role> {
        let hash: [u8; 32] = Sha256::digest(key).into();
        self.0.read().expect("never poisoned: nothing panics while it is held").get(&hash).copied()
    }

    /// Reads all keys from the store; how many there are.
    pub(crate) async fn refresh(&self, store: &dyn Store) -> Result<usize, StoreError> {
        let keys = store.service_keys().await?;
        let roles: HashMap<_, _> = keys.into_iter().map(|key| (key.hash, key.role)).collect();
        let count = roles.len();
        *self.0.write().expect("never poisoned: nothing panics while it is held") = roles;
        Ok(count)
    }
}
