//! Tests of the log as a whole, on a disk that fails.

mod damage;
mod failure;
mod fault;
mod interrupted;
mod model;
mod power_loss;
mod random;
mod seam;
mod sim_disk;
mod speed;
mod torn_end;
