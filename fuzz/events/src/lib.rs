//! The files of `src/event` that read an event, for their tests alone. It has nothing of its own.
#![allow(dead_code, unused_imports, reason = "what others use of these files is not here")]

#[path = "../../../src/event"]
mod event {
    mod bitmaps;
    #[cfg(test)]
    mod differential;
    mod envelope;
    mod escapes;
    mod extract;
    mod id;
    mod scan;
    mod shapes;
    mod slots;
    mod time;
    mod walk;
}
