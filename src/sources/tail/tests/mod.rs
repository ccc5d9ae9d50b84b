//! Real files, rotated and cut.

mod cutting;
mod folder;
mod lines;
mod model;
mod renaming;
mod shell;
mod storm;
