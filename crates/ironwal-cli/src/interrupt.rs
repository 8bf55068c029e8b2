//! Ctrl-C, where something is to be done about it. Elsewhere it ends the program, without harm.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::exit::{Done, Failure};

/// From now on, Ctrl-C does not end the program but sets what is returned. A request to end it (SIGTERM,
/// SIGHUP) does the same.
pub(crate) fn watch() -> Done<Arc<AtomicBool>> {
    let interrupted = Arc::new(AtomicBool::new(false));
    let flag = Arc::clone(&interrupted);
    ctrlc::set_handler(move || flag.store(true, Ordering::Relaxed))
        .map_err(|error| Failure::failed(format!("cannot watch for Ctrl-C: {error}; try again")))?;
    Ok(interrupted)
}
