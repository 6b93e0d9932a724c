//! Stops, restarts, deaths and clocks: nothing is lost, nothing is burned, and nobody is harmed by another.

mod clocks;
mod poison;
mod reload;
mod stop;
mod term;
