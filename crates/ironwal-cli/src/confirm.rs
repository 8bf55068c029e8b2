//! Asking before something is done that cannot be undone.

use std::fmt::Display;
use std::io::{self, BufRead, IsTerminal, Write};

use crate::exit::{Done, Failure};

/// Goes on if the answer is yes, or was given with `--yes`. Where nobody can be asked, it is no: waiting
/// for an answer from a pipe would be waiting for ever.
pub(crate) fn confirm(yes: bool, question: impl Display) -> Done {
    if yes {
        return Ok(());
    }
    if !io::stdin().is_terminal() {
        return Err(Failure::BadUsage(
            "nothing was changed: there is no terminal to ask on; give --yes to go on without a \
             question"
                .into(),
        ));
    }
    let mut answer = String::new();
    let asked = write!(io::stderr().lock(), "{question} [y/N] ")
        .and_then(|()| io::stdin().lock().read_line(&mut answer));
    asked.map_err(|error| Failure::io("ask on the terminal", &error))?;
    match answer.trim().to_ascii_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::failed("nothing was changed, because the answer was not yes")),
    }
}
