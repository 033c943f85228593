//! Tests of the log as a whole, on a disk that fails.

mod damage;
mod failure;
mod interrupted;
mod model;
mod power_loss;
mod seam;
mod speed;
mod torn_end;
