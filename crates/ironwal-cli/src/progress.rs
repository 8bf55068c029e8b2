//! How far long work has come: a bar on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal. `{msg}` stands behind it.
pub(crate) fn bar(len: u64) -> Option<ProgressBar> {
    io::stderr().is_terminal().then(|| {
        let bar = ProgressBar::new(len);
        // An unusable template leaves the default style, which shows the same.
        if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}") {
            bar.set_style(style);
        }
        bar
    })
}

/// A bar for work on bytes.
pub(crate) struct Bytes {
    bar: Option<ProgressBar>,
}

impl Bytes {
    pub(crate) fn new() -> Self {
        Self { bar: bar(0) }
    }

    /// `what` completes "12 MiB of 20 MiB …".
    pub(crate) fn set(&self, done: u64, total: u64, what: &str) {
        if let Some(bar) = &self.bar {
            bar.set_length(total);
            bar.set_position(done);
            bar.set_message(format!("{} of {} {}", HumanBytes(done), HumanBytes(total), what));
        }
    }
}

impl Drop for Bytes {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
