//! Colours: little, and on a terminal only. `NO_COLOR` switches them off.

use std::fmt::Display;

use console::Style;
use ironwal::inspect::Severity;

/// What went wrong, on standard error.
pub(crate) fn error(text: impl Display) -> impl Display {
    Style::new().for_stderr().red().bold().apply_to(text)
}

/// What is well, on standard output.
pub(crate) fn good(text: impl Display) -> impl Display {
    Style::new().for_stdout().green().apply_to(text)
}

/// What is damaged, on standard output.
pub(crate) fn bad(text: impl Display) -> impl Display {
    Style::new().for_stdout().red().apply_to(text)
}

/// Something of this severity, on standard output.
pub(crate) fn of_severity(severity: Severity, text: impl Display) -> impl Display {
    let style = Style::new().for_stdout();
    let style = match severity {
        Severity::Damage | Severity::Newer => style.red(),
        Severity::Lost | Severity::Redundancy => style.yellow(),
        _ => style,
    };
    style.apply_to(text)
}
