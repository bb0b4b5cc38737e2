//! Attacks on the real daemon, one file a group. Each is a short function that
//! reads as a sentence. What is asserted is what is counted, held and free, not how long it took.

mod bound;
mod files;
mod memory;
mod places;
mod reach;
mod readings;
mod who;
mod work;
