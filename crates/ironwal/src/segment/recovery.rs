//! What recovery does with a segment, as a table.
//!
//! The facts are gathered first (`log/recover.rs` reads them off the files); then exactly one row
//! of [`TABLE`] matches. A torn tail is what was never proven durable; damage is what was.

/// What can be read of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Header {
    /// It, or a copy of what it says.
    Whole,
    /// A newer version wrote it.
    Newer,
    /// Nothing.
    Lost,
}

/// Which cut it belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Cut {
    /// Not older than that of the segments before it.
    Current,
    /// An earlier segment was cut later: this file should have been deleted then.
    Stale,
    /// All of its ids were pruned: this file should have been deleted then.
    Pruned,
}

/// What stands behind the last valid frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Tail {
    /// The seal that says so.
    Sealed,
    /// The end of the file, or zeros up to it.
    Open,
    /// Anything else.
    Torn,
}

/// Where the valid frames end, or have a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Proof {
    /// Frames are missing below a proven end.
    Short,
    /// Every proven frame is there.
    Met,
}

/// What comes next in the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Next {
    /// Nothing: this is the newest segment.
    None,
    /// A segment that begins with the next id.
    Joins,
    /// A segment that begins with a higher id.
    Leaves,
    /// A segment that begins with a lower id.
    Overlaps,
}

/// Everything that the decision depends on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Facts {
    pub(crate) header: Header,
    pub(crate) cut: Cut,
    pub(crate) tail: Tail,
    pub(crate) proof: Proof,
    pub(crate) next: Next,
}

/// What is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Refuse to open: only a newer library knows what this is.
    Refuse,
    /// Delete the file: it was cut off or pruned, and only its deletion did not survive.
    Delete,
    /// Keep everything.
    Keep,
    /// Keep the frames; cut off what stands behind them and, if a segment follows, seal it again.
    CutTail,
    /// Keep the frames, cut off what stands behind them, and drop all later segments: what was
    /// between never became durable.
    CutStream,
    /// Damage: keep every byte, report what is missing, and write to it never again.
    Damaged,
}

/// A row: a set of values for each fact, and what is done. An empty set stands for all values.
pub(crate) struct Row {
    header: &'static [Header],
    cut: &'static [Cut],
    tail: &'static [Tail],
    proof: &'static [Proof],
    next: &'static [Next],
    action: Action,
}

/// Shorthand for a row about a segment with a whole header and the current cut.
const fn row(
    tail: &'static [Tail],
    proof: &'static [Proof],
    next: &'static [Next],
    action: Action,
) -> Row {
    Row { header: &[Header::Whole], cut: &[Cut::Current], tail, proof, next, action }
}

/// Shorthand for a row that the header alone decides.
const fn header_row(header: &'static [Header], action: Action) -> Row {
    Row { header, cut: &[], tail: &[], proof: &[], next: &[], action }
}

/// The table. Exactly one row matches any facts.
pub(crate) const TABLE: &[Row] = &[
    header_row(&[Header::Newer], Action::Refuse),
    Row { cut: &[Cut::Pruned], ..header_row(&[Header::Whole, Header::Lost], Action::Delete) },
    Row { cut: &[Cut::Current, Cut::Stale], ..header_row(&[Header::Lost], Action::Damaged) },
    Row { cut: &[Cut::Stale], ..header_row(&[Header::Whole], Action::Delete) },
    //  tail                       proof            next
    row(&[], &[Proof::Short], &[], Action::Damaged),
    row(&[Tail::Sealed], &[Proof::Met], &[Next::None], Action::Keep),
    row(&[Tail::Open, Tail::Torn], &[Proof::Met], &[Next::None], Action::CutTail),
    row(&[Tail::Sealed], &[Proof::Met], &[Next::Joins], Action::Keep),
    row(&[Tail::Open, Tail::Torn], &[Proof::Met], &[Next::Joins], Action::CutTail),
    // Behind a whole seal a segment did begin with the next id, and its name was durable.
    row(&[Tail::Sealed], &[Proof::Met], &[Next::Leaves], Action::Damaged),
    row(&[Tail::Open, Tail::Torn], &[Proof::Met], &[Next::Leaves], Action::CutStream),
    row(&[], &[Proof::Met], &[Next::Overlaps], Action::Damaged),
];

impl Row {
    fn matches(&self, facts: &Facts) -> bool {
        fn allows<T: PartialEq>(set: &[T], value: &T) -> bool {
            set.is_empty() || set.contains(value)
        }
        allows(self.header, &facts.header)
            && allows(self.cut, &facts.cut)
            && allows(self.tail, &facts.tail)
            && allows(self.proof, &facts.proof)
            && allows(self.next, &facts.next)
    }
}

/// What is done with a segment about which these are the facts.
pub(crate) fn decide(facts: &Facts) -> Action {
    // Damage, which changes nothing, is what the table says where it would say nothing.
    TABLE.iter().find(|row| row.matches(facts)).map_or(Action::Damaged, |row| row.action)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all_facts() -> Vec<Facts> {
        let mut all = Vec::new();
        for header in [Header::Whole, Header::Newer, Header::Lost] {
            for cut in [Cut::Current, Cut::Stale, Cut::Pruned] {
                for tail in [Tail::Sealed, Tail::Open, Tail::Torn] {
                    for proof in [Proof::Short, Proof::Met] {
                        for next in [Next::None, Next::Joins, Next::Leaves, Next::Overlaps] {
                            all.push(Facts { header, cut, tail, proof, next });
                        }
                    }
                }
            }
        }
        all
    }

    #[test]
    fn exactly_one_row_matches_any_facts() {
        assert_eq!(all_facts().len(), 216);
        for facts in all_facts() {
            let rows = TABLE.iter().filter(|row| row.matches(&facts)).count();
            assert_eq!(rows, 1, "{facts:?}");
        }
    }

    #[test]
    fn every_row_decides_something() {
        for (nth, row) in TABLE.iter().enumerate() {
            assert!(all_facts().iter().any(|facts| row.matches(facts)), "row {nth}");
        }
    }

    #[test]
    fn nothing_that_was_proven_is_ever_cut() {
        for facts in all_facts() {
            if facts.header == Header::Whole && facts.cut == Cut::Current {
                let cuts =
                    matches!(decide(&facts), Action::CutTail | Action::CutStream | Action::Delete);
                assert!(!(facts.proof == Proof::Short && cuts), "{facts:?}");
            }
            if facts.header == Header::Newer
                || (facts.header == Header::Lost && facts.cut != Cut::Pruned)
            {
                assert!(matches!(decide(&facts), Action::Refuse | Action::Damaged), "{facts:?}");
            }
        }
    }

    #[test]
    fn a_torn_tail_is_never_damage() {
        for facts in all_facts() {
            if facts
                == (Facts {
                    header: Header::Whole,
                    cut: Cut::Current,
                    tail: Tail::Torn,
                    proof: Proof::Met,
                    next: facts.next,
                })
                && facts.next != Next::Overlaps
            {
                assert!(matches!(decide(&facts), Action::CutTail | Action::CutStream), "{facts:?}");
            }
        }
    }
}
