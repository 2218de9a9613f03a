//! All by which the writer waits and runs: `tests/interleavings` compiles its own source on a scheduler of its own instead.

pub(super) use std::{sync::Mutex, thread};

pub(super) use tokio::sync::{mpsc, oneshot, watch};
