//! ngrok's clients against the started daemon: what they send, and what they make of the answers.
//!
//! ngrok's description of its API is no part of this project; what is measured against it is skipped
//! with a line where the file is not at hand.

mod bodies;
mod clients;
mod description;
