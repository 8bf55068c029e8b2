//! How far it has come: a bar on a terminal, nothing elsewhere.

use std::io::{self, IsTerminal};

use indicatif::{HumanBytes, ProgressBar, ProgressStyle};

/// A bar on standard error, if that is a terminal; it goes when it is dropped.
pub(crate) struct Bar {
    bar: Option<ProgressBar>,
    what: &'static str,
}

impl Bar {
    /// `what` completes "12 MiB of 20 MiB …".
    pub(crate) fn new(bytes: u64, what: &'static str) -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new(bytes);
            // An unusable template leaves the default style, which shows the same.
            if let Ok(style) = ProgressStyle::with_template("{wide_bar} {percent:>3} %  {msg}") {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, what }
    }

    /// So many bytes more are done.
    pub(crate) fn add(&self, bytes: u64) {
        let Some(bar) = &self.bar else { return };
        bar.inc(bytes);
        let (done, total) = (HumanBytes(bar.position()), bar.length().unwrap_or(0));
        bar.set_message(format!("{done} of {} {}", HumanBytes(total), self.what));
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
