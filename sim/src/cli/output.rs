//! Standard output: buffered, without colour unless it is a terminal.

use std::fmt;
use std::io::{self, BufWriter, StdoutLock, Write};

use anstream::AutoStream;

use crate::report::Style;

/// Colours that every terminal has. `anstream` takes them out where they are not wanted: another
/// thing than a terminal, or `NO_COLOR`.
pub(super) const STYLE: Style = Style {
    head: "\u{1b}[1m",
    dim: "\u{1b}[2m",
    bad: "\u{1b}[1;31m",
    good: "\u{1b}[32m",
    reset: "\u{1b}[0m",
};

/// Where data goes.
pub(super) struct Output {
    stdout: BufWriter<AutoStream<StdoutLock<'static>>>,
}

impl fmt::Debug for Output {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Output").finish_non_exhaustive()
    }
}

impl Output {
    pub(super) fn new() -> Self {
        Self { stdout: BufWriter::new(AutoStream::auto(io::stdout().lock())) }
    }

    /// Writes a text as it is.
    pub(super) fn print(&mut self, text: &str) -> io::Result<()> {
        self.stdout.write_all(text.as_bytes())
    }

    /// Hands over what is buffered.
    pub(super) fn finish(&mut self) -> io::Result<()> {
        self.stdout.flush()
    }
}

/// Characters of a line: `COLUMNS` if it says so, else 100, wherever the output goes.
pub(super) fn width() -> usize {
    const USUAL: usize = 100;
    const SENSIBLE: std::ops::RangeInclusive<usize> = 40..=1_000;
    let columns = std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok());
    columns.filter(|columns| SENSIBLE.contains(columns)).unwrap_or(USUAL)
}
