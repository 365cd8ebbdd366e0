//! The command `cutline`.
fn main() {}
