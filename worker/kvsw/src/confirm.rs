//! Asking before something that nothing undoes.

use std::io::{BufRead as _, IsTerminal as _, Write as _};

use crate::error::{Result, usage};

/// Refuses where nobody can be asked.
///
/// # Errors
/// Wrong use: stdin is no terminal.
pub fn possible(what: &str, hint: &str) -> Result<()> {
    match std::io::stdin().is_terminal() {
        true => Ok(()),
        false => Err(usage(format!("{what} needs a yes, and stdin is not a terminal"), hint)),
    }
}

/// Asks on the terminal. No answer is a no.
pub fn agreed(question: &str) -> bool {
    let _ = write!(std::io::stderr(), "{question} [y/N] ");
    let mut answer = String::new();
    let _ = std::io::stdin().lock().read_line(&mut answer);
    is_yes(&answer)
}

fn is_yes(answer: &str) -> bool {
    matches!(answer.trim().to_ascii_lowercase().as_str(), "y" | "yes")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn y_is_yes_and_nothing_is_no() {
        assert!(["y", "Y\n", "yes", " Yes \n"].into_iter().all(is_yes));
        assert!(!["", "\n", "n", "no", "yeah", "ye"].into_iter().any(is_yes));
    }
}
