//! All by which the engine waits, locks, spawns and tells time: `tests/interleavings` compiles the engine's own source on a
//! scheduler of its own instead.

pub(crate) use std::{sync::Mutex, thread};

pub(crate) use tokio::{
    runtime::Handle,
    spawn,
    sync::{Semaphore, mpsc, oneshot, watch},
    time,
};
