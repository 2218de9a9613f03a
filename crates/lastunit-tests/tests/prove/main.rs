//! `lastunit prove`: that a shop which keeps its promises passes, on every database, and that each bug that was put into one
//! is caught by name.

mod bugs;
mod linearizable;
mod lost_commit;
mod runs;
mod twisted;
