//! An assertion of ours that does not hold becomes a report with a line to paste, not a backtrace.

use std::any::Any;
use std::fmt::Display;
use std::panic::{self, AssertUnwindSafe};
use std::sync::Mutex;

use super::exit::Failure;

/// Where the last panic was.
static PLACE: Mutex<Option<String>> = Mutex::new(None);

/// Replaces the backtrace by the report of [`guarded`]. `RUST_BACKTRACE=full` brings it back; `1`,
/// which many set for other programs, does not.
pub(super) fn install() {
    let usual = panic::take_hook();
    let wanted = std::env::var("RUST_BACKTRACE").is_ok_and(|value| value == "full");
    panic::set_hook(Box::new(move |info| {
        if wanted {
            usual(info);
        }
        let place = info.location().map(|at| format!("{}:{}", at.file(), at.line()));
        // A poisoned lock is one more panic, and the place of the first is worth more.
        if let Ok(mut known) = PLACE.lock() {
            *known = place;
        }
    }));
}

/// Does what may hit an assertion of ours. `what` says what was being done; `again` is the command
/// that does it once more.
pub(super) fn guarded<T>(what: &str, again: &str, work: impl FnOnce() -> T) -> Result<T, Failure> {
    // What the work has half done is dropped with it.
    panic::catch_unwind(AssertUnwindSafe(work)).map_err(|payload| {
        let place = PLACE.lock().ok().and_then(|mut known| known.take());
        let place = place.map_or(String::new(), |place| format!(" ({place})"));
        broken(format_args!("{}{place}", message(&*payload)), what, again)
    })
}

/// The report of an assertion that did not hold.
pub(in crate::cli) fn broken(panic: impl Display, what: &str, again: &str) -> Failure {
    Failure::Internal(format!(
        "internal error: {panic}\n\
         while {what}; this is a mistake in cutline {}, please report it\n\
         replay: {again}\n",
        env!("CARGO_PKG_VERSION"),
    ))
}

fn message(payload: &(dyn Any + Send)) -> &str {
    let text = payload.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| payload.downcast_ref::<&str>().copied()).unwrap_or("a panic without a message")
}

#[cfg(test)]
mod tests {
    use super::super::exit::Exit;
    use super::*;

    #[test]
    fn a_panic_becomes_a_report() {
        let failure = guarded("running x with seed 7", "cutline run x --seed 7", || -> u8 {
            panic!("second barrier of {}", 3)
        })
        .expect_err("it panicked");
        let report = failure.to_string();
        assert!(report.starts_with("internal error: second barrier of 3"), "{report}");
        assert!(report.contains("running x with seed 7"), "{report}");
        assert!(report.ends_with("\nreplay: cutline run x --seed 7\n"), "{report}");
        assert_eq!(failure.report(), Exit::Internal);
        assert_eq!(guarded("", "", || 3).ok(), Some(3));
    }
}
