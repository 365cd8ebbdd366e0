//! The kernel: virtual clock, event queue, named random streams. Knows nothing of checkpoints.

pub mod stream;
