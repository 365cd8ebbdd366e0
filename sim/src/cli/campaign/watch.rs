//! What a campaign does while it runs: results into the journal, progress onto a terminal, an ear
//! for Ctrl-C and an eye on the clock.

use std::io::{self, IsTerminal};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::explore::journal::Journal;
use crate::explore::{Row, Watcher};

/// A campaign under way.
pub(super) struct Watch {
    journal: Option<Journal>,
    progress: ProgressBar,
    failures: AtomicU64,
    end: Option<Instant>,
    interrupted: Arc<AtomicBool>,
    /// A result could not be written: nothing more is worth running.
    broken: AtomicBool,
}

impl Watch {
    pub(super) fn new(
        journal: Option<Journal>,
        total: Option<u64>,
        known: u64,
        budget: Option<Duration>,
    ) -> Self {
        let template = match total {
            Some(_) => "{wide_bar} {pos}/{len} runs, {per_sec}, {eta} left{msg}",
            None => "{spinner} {pos} runs, {per_sec}, {elapsed}{msg}",
        };
        let progress = bar(total, template);
        progress.set_position(known);
        let interrupted = Arc::new(AtomicBool::new(false));
        listen(Arc::clone(&interrupted));
        Self {
            journal,
            progress,
            failures: AtomicU64::new(0),
            end: budget.map(|budget| Instant::now() + budget),
            interrupted,
            broken: AtomicBool::new(false),
        }
    }

    pub(super) fn was_interrupted(&self) -> bool {
        self.interrupted.load(Ordering::Relaxed)
    }

    /// Ends the display; hands back the journal.
    pub(super) fn finish(self) -> Option<Journal> {
        self.progress.finish_and_clear();
        self.journal
    }
}

/// Progress, shown where standard error is a terminal.
pub(in crate::cli) fn bar(total: Option<u64>, template: &str) -> ProgressBar {
    let target = match io::stderr().is_terminal() {
        true => ProgressDrawTarget::stderr_with_hz(5),
        false => ProgressDrawTarget::hidden(),
    };
    let progress = ProgressBar::with_draw_target(total, target);
    if let Ok(style) = ProgressStyle::with_template(template) {
        progress.set_style(style);
    }
    progress
}

impl Watcher for Watch {
    fn goes_on(&self) -> bool {
        let late = self.end.is_some_and(|end| Instant::now() >= end);
        !late && !self.was_interrupted() && !self.broken.load(Ordering::Relaxed)
    }

    fn ended(&self, row: &Row) {
        if let Some(journal) = &self.journal
            && !journal.append(row)
        {
            self.broken.store(true, Ordering::Relaxed);
        }
        if row.signature.is_some() {
            let failures = self.failures.fetch_add(1, Ordering::Relaxed) + 1;
            self.progress.set_message(format!(", {failures} failed"));
        }
        self.progress.inc(1);
    }
}

/// The first Ctrl-C ends the campaign with what it has; the second ends the process.
pub(in crate::cli) fn listen(interrupted: Arc<AtomicBool>) {
    let heard = ctrlc::set_handler(move || {
        if interrupted.swap(true, Ordering::Relaxed) {
            std::process::exit(super::super::exit::Exit::Interrupted as i32);
        }
    });
    if let Err(error) = heard {
        anstream::eprintln!("warning: Ctrl-C will end the process at once: {error}");
    }
}
