//! Faults under load, with the real servers: what is killed, loses its power, fills up or is cut off in the middle. At the
//! end of each, every invariant holds and every acknowledged order is there once. `--nocapture` shows the figures.

mod buyers;
mod cut;
mod cutter;
mod disk;
mod disk_full;
mod failpoints;
mod figures;
mod kill;
mod power_loss;
mod restored;
mod rolling;
mod verdict;
