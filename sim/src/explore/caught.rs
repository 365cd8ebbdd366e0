//! Panics of a run, as results: an invariant of ours that broke is a finding with a seed.

use std::cell::RefCell;
use std::fmt;
use std::panic::{self, AssertUnwindSafe, PanicHookInfo};
use std::sync::Once;

/// A panic inside of a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Panic {
    /// What it said.
    pub message: String,
    /// File and line, as the compiler knows them.
    pub place: String,
}

impl fmt::Display for Panic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.place, self.message)
    }
}

impl Panic {
    /// What groups panics of different runs: the place. Messages hold ids and times.
    pub fn signature(&self) -> String {
        format!("internal/{}", self.place)
    }
}

thread_local! {
    /// Whether this thread is inside of `catch`, and what the hook has seen there.
    static CAUGHT: RefCell<Option<Option<Panic>>> = const { RefCell::new(None) };
}

/// Calls `run` and catches its panic, which is not printed.
///
/// # Errors
/// It panicked.
pub fn catch<T>(run: impl FnOnce() -> T) -> Result<T, Panic> {
    install();
    CAUGHT.set(Some(None));
    // What `run` leaves half done is its own: it was moved in, or is thrown away with the run.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    let seen = CAUGHT.take().flatten();
    result.map_err(|_| {
        seen.unwrap_or_else(|| Panic {
            message: "a panic that another hook has taken".to_owned(),
            place: "unknown".to_owned(),
        })
    })
}

/// A hook of the process, once: the place of a panic is known nowhere else. Outside of `catch` it
/// leaves panics to the hook that was there before.
fn install() {
    static INSTALLED: Once = Once::new();
    INSTALLED.call_once(|| {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            let inside = CAUGHT.with_borrow_mut(|caught| match caught {
                Some(seen) => {
                    *seen = Some(describe(info));
                    true
                }
                None => false,
            });
            if !inside {
                before(info);
            }
        }));
    });
}

fn describe(info: &PanicHookInfo<'_>) -> Panic {
    let message = match (info.payload().downcast_ref::<&str>(), info.payload().downcast_ref()) {
        (Some(message), _) => (*message).to_owned(),
        (None, Some(message)) => String::clone(message),
        (None, None) => "a panic without a message".to_owned(),
    };
    let place = match info.location() {
        Some(location) => format!("{}:{}", location.file(), location.line()),
        None => "unknown".to_owned(),
    };
    Panic { message, place }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_a_result_with_a_place() {
        assert_eq!(catch(|| 7), Ok(7));
        let id = 3;
        let panic = catch(|| assert!(id < 3, "id {id} is too large")).expect_err("it is");
        assert_eq!(panic.message, "id 3 is too large");
        assert!(panic.signature().contains("caught.rs:"), "{panic}");
        assert_eq!(catch(|| 7), Ok(7));
    }
}
