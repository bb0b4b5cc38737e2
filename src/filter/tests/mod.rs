//! Tests of the filter language as a whole; those of its parts stand beside them.

mod conformance;
