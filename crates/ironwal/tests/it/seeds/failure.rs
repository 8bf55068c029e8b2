//! Catching a failed check, with the place of it.

use std::cell::{Cell, RefCell};
use std::fmt;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

/// What a check said that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Failure {
    /// File and line of the check.
    pub(super) place: String,
    message: String,
}

impl fmt::Display for Failure {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", self.place, self.message)
    }
}

thread_local! {
    /// Whether this thread's panics are caught here, and need not be printed.
    static IS_CAUGHT: Cell<bool> = const { Cell::new(false) };
    static CAUGHT: RefCell<Option<Failure>> = const { RefCell::new(None) };
}

/// Runs something, and returns which check failed, if one did.
pub(crate) fn fails(run: impl FnOnce()) -> Option<Failure> {
    keep_panics();
    IS_CAUGHT.set(true);
    let outcome = catch_unwind(AssertUnwindSafe(run));
    IS_CAUGHT.set(false);
    outcome.err().map(|_| CAUGHT.take().expect("the hook saw the panic"))
}

/// Panics of threads that want it are kept instead of printed.
fn keep_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = take_hook();
        set_hook(Box::new(move |info| {
            if !IS_CAUGHT.get() {
                return before(info);
            }
            let place = info.location().map_or_else(String::new, ToString::to_string);
            let (payload, mut message) = (info.payload(), "a panic".to_owned());
            if let Some(text) = payload.downcast_ref::<&str>() {
                message = (*text).to_owned();
            } else if let Some(text) = payload.downcast_ref::<String>() {
                message.clone_from(text);
            }
            CAUGHT.set(Some(Failure { place, message }));
        }));
    });
}
