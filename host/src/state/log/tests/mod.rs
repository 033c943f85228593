//! Tests of the log as a whole, on a disk that fails.

mod failure;
mod model;
mod power_loss;
mod random;
mod sim_disk;
