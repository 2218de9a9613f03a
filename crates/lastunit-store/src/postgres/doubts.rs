//! Commits that a standby may not have.

use std::sync::atomic::{AtomicU64, Ordering::SeqCst};

/// Commits whose outcome isn't known, or that stand on this server while the standby may not have them. As long as
/// there is one, what is read here may be lost with the server, and nobody may be told of it before something
/// written later is confirmed.
#[derive(Debug, Default)]
pub(super) struct Doubts {
    under_way: AtomicU64,
    raised: AtomicU64,
    /// How many of those raised were there when a commit was sent that was confirmed.
    settled: AtomicU64,
}

impl Doubts {
    /// A commit is about to be sent.
    pub fn commit(&self) -> Commit<'_> {
        self.under_way.fetch_add(1, SeqCst);
        Commit { doubts: self, raised_before: self.raised.load(SeqCst), known: false }
    }

    /// Whether there is one.
    pub fn any(&self) -> bool {
        self.under_way.load(SeqCst) > 0 || self.raised.load(SeqCst) > self.settled.load(SeqCst)
    }
}

/// A commit on its way; dropped, its outcome is in doubt.
pub(super) struct Commit<'a> {
    doubts: &'a Doubts,
    raised_before: u64,
    known: bool,
}

impl Commit<'_> {
    /// It was committed. If it wrote something, the standby has it by now, and all that was written before.
    pub fn confirmed(mut self, wrote: bool) {
        self.known = true;
        if wrote {
            self.doubts.settled.fetch_max(self.raised_before, SeqCst);
        }
    }

    /// It was refused, and rolled back.
    pub fn refused(mut self) {
        self.known = true;
    }
}

impl Drop for Commit<'_> {
    fn drop(&mut self) {
        if !self.known {
            self.doubts.raised.fetch_add(1, SeqCst);
        }
        self.doubts.under_way.fetch_sub(1, SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_doubt_lasts_until_a_commit_sent_after_it_is_confirmed() {
        let doubts = Doubts::default();
        doubts.commit().confirmed(true);
        doubts.commit().refused();
        assert!(!doubts.any());
        let earlier = doubts.commit();
        assert!(doubts.any(), "one is under way");
        drop(doubts.commit());
        earlier.confirmed(true);
        assert!(doubts.any(), "the confirmed one was sent before");
        doubts.commit().confirmed(false);
        assert!(doubts.any(), "nothing was written, so nobody waited for the standby");
        doubts.commit().confirmed(true);
        assert!(!doubts.any());
    }
}
