//! Ratios, and whether they are what they should be.

use serde::{Deserialize, Serialize};

/// What a comparison should show.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub enum Target {
    /// We are at least so many times faster.
    Faster(f64),
    /// We take at most so many times as long.
    Cost(f64),
    /// We take at most so many milliseconds more.
    AtMostMs(f64),
    /// We take no more.
    NotMore,
}

/// A comparison that was made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Comparison {
    /// With whom.
    pub with: String,
    /// Their figure.
    pub figure: f64,
    /// What the target speaks of: how many times faster we are, how many times as long we take, or how
    /// many milliseconds more.
    pub found: f64,
    /// The same within each repetition: the least and the greatest.
    pub range: (f64, f64),
    /// What it should be.
    pub target: Target,
    /// Whether it is.
    pub met: bool,
}

/// What is compared: the medians, and each repetition's.
pub struct Figures<'a> {
    /// Over all repetitions.
    pub median: f64,
    /// In the order of the repetitions.
    pub each: &'a [f64],
}

impl Target {
    /// Compares figures of which more is better, or less.
    pub fn judge(self, with: &str, ours: &Figures, theirs: &Figures, is_rate: bool) -> Comparison {
        let found = self.of(ours.median, theirs.median, is_rate);
        let each = ours.each.iter().zip(theirs.each).map(|(o, t)| self.of(*o, *t, is_rate));
        let range = each.fold((f64::INFINITY, f64::NEG_INFINITY), |(least, most), ratio| {
            (least.min(ratio), most.max(ratio))
        });
        let met = self.is_met(found);
        Comparison { with: with.into(), figure: theirs.median, found, range, target: self, met }
    }

    fn of(self, ours: f64, theirs: f64, is_rate: bool) -> f64 {
        // How many times better we are.
        let better = if is_rate { ours / theirs } else { theirs / ours };
        match self {
            Self::Faster(_) => better,
            Self::Cost(_) | Self::NotMore => better.recip(),
            Self::AtMostMs(_) => (ours - theirs) * 1000.0,
        }
    }

    fn is_met(self, found: f64) -> bool {
        match self {
            Self::Faster(least) => found >= least,
            Self::Cost(most) | Self::AtMostMs(most) => found <= most,
            Self::NotMore => found <= 1.0,
        }
    }

    /// As it is printed.
    pub fn text(self) -> String {
        match self {
            Self::Faster(least) => format!("≥ {}", number(least)),
            Self::Cost(most) => format!("≤ {} as long", number(most)),
            Self::AtMostMs(most) => format!("≤ {most} ms more"),
            Self::NotMore => "≤ 1".into(),
        }
    }

    /// As what was found is printed.
    pub fn found_text(self, found: f64) -> String {
        match self {
            Self::AtMostMs(_) => format!("{found:+.2} ms"),
            // Where a tenth of a percent decides, it must be seen.
            Self::NotMore => format!("{found:.3}"),
            _ => number(found),
        }
    }
}

/// With as many digits as say something.
pub fn number(value: f64) -> String {
    match value.abs() {
        size if size >= 1000.0 => {
            let digits = format!("{:.0}", value.abs());
            let mut grouped = String::new();
            for (nth, digit) in digits.chars().enumerate() {
                if nth > 0 && (digits.len() - nth).is_multiple_of(3) {
                    grouped.push(',');
                }
                grouped.push(digit);
            }
            if value < 0.0 { format!("-{grouped}") } else { grouped }
        }
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        _ => {
            let text = format!("{value:.2}");
            text.strip_suffix(".00").map_or(text.clone(), String::from)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judge(target: Target, ours: f64, theirs: f64, is_rate: bool) -> Comparison {
        let (of_ours, of_theirs) = ([ours], [theirs]);
        let ours = Figures { median: ours, each: &of_ours };
        let theirs = Figures { median: theirs, each: &of_theirs };
        target.judge("x", &ours, &theirs, is_rate)
    }

    #[test]
    fn a_rate_is_better_if_it_is_more() {
        let found = judge(Target::Faster(2.0), 20.0, 10.0, true);
        assert_eq!((found.found, found.met), (2.0, true));
        assert!(!judge(Target::Faster(2.0), 19.0, 10.0, true).met);
    }

    #[test]
    fn a_time_is_better_if_it_is_less() {
        let found = judge(Target::Faster(4.0), 1.0, 4.0, false);
        assert_eq!((found.found, found.met), (4.0, true));
        assert!(!judge(Target::Faster(4.0), 4.0, 1.0, false).met);
    }

    #[test]
    fn a_cost_is_the_time_beside_theirs() {
        assert_eq!(judge(Target::Cost(2.0), 3.0, 2.0, false).found, 1.5);
        let of_rates = judge(Target::Cost(2.0), 10.0, 25.0, true);
        assert_eq!((of_rates.found, of_rates.met), (2.5, false));
    }

    #[test]
    fn milliseconds_more_are_a_difference() {
        let found = judge(Target::AtMostMs(2.0), 0.0030, 0.0015, false);
        assert!((found.found - 1.5).abs() < 1e-9);
        assert!(found.met);
        assert!(!judge(Target::AtMostMs(2.0), 0.0040, 0.0015, false).met);
    }

    #[test]
    fn not_more_allows_the_same() {
        assert!(judge(Target::NotMore, 132.0, 132.0, false).met);
        assert!(!judge(Target::NotMore, 132.1, 132.0, false).met);
    }

    #[test]
    fn the_range_is_that_of_the_repetitions() {
        let ours = Figures { median: 3.0, each: &[2.0, 3.0, 8.0] };
        let theirs = Figures { median: 2.0, each: &[2.0, 1.0, 2.0] };
        let found = Target::Faster(1.0).judge("x", &ours, &theirs, true);
        assert_eq!((found.found, found.range), (1.5, (1.0, 4.0)));
    }

    #[test]
    fn numbers_have_three_digits_or_so() {
        let texts: Vec<String> = [0.951, 1.0, 12.34, 123.4, 1234567.0].map(number).into();
        assert_eq!(texts, ["0.95", "1", "12.3", "123", "1,234,567"]);
    }
}
