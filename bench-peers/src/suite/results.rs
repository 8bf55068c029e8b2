//! What was measured, as it is kept.

use serde::{Deserialize, Serialize};

use super::Settings;
use super::durability::{Durability, Kind};
use super::job::{Job, Outcome, Pace};
use super::judge::{Comparison, Figures, Target};
use super::plan::{Case, Figure, Group, Line};
use crate::peers::{FLOOR, OURS, PUBLISHED, Peer};
use crate::report::Spread;

/// Everything that there is to say about one run.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Report {
    /// Machine, kernel, file system, date.
    pub facts: Vec<(String, String)>,
    /// How often each case was run.
    pub repetitions: usize,
    /// How many entries the logs have that are read.
    pub entries: u64,
    /// Whether it was only tried out.
    pub quick: bool,
    /// How long each case goes on.
    pub pace: Pace,
    /// Whether system calls were counted.
    pub is_traced: bool,
    /// What appends survive.
    pub durability: Vec<Durability>,
    /// All cases, in the order of the groups.
    pub cases: Vec<Measured>,
    /// The table.
    pub rows: Vec<Row>,
}

/// What was measured of one case.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Measured {
    /// The name of its group.
    pub group: String,
    /// The name of the peer.
    pub peer: String,
    /// What it did.
    pub job: Job,
    /// Of each repetition.
    pub outcomes: Vec<Outcome>,
    /// What the log that it reads takes on the disk.
    pub bytes_per_entry: Option<f64>,
    /// Why it was given up.
    pub error: Option<String>,
}

/// A line of the table.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Row {
    /// What was done.
    pub work: String,
    /// Our median, in the unit of the line.
    pub ours: Option<f64>,
    /// What is compared.
    pub figure: RowFigure,
    /// With the published version.
    pub over_published: Option<Comparison>,
    /// With the best peer whose appends survive as much.
    pub over_peer: Option<Comparison>,
    /// With the floor.
    pub over_floor: Option<Comparison>,
    /// What was wanted and could not be compared.
    pub missing: Vec<String>,
}

/// How a row's figure is printed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RowFigure {
    /// Entries per second.
    Rate,
    /// Seconds.
    Time,
    /// Bytes.
    Bytes,
}

impl Measured {
    /// Of which nothing is known yet.
    pub fn new(group: &str, case: &Case) -> Self {
        Self {
            group: group.into(),
            peer: case.peer.into(),
            job: case.job.clone(),
            outcomes: Vec::new(),
            bytes_per_entry: None,
            error: None,
        }
    }

    /// Adds a repetition.
    pub fn add(&mut self, outcome: Outcome) {
        self.outcomes.push(outcome);
    }

    /// Of each repetition.
    fn each(&self, figure: Figure) -> Vec<f64> {
        match figure {
            Figure::Rate => self.outcomes.iter().map(|outcome| outcome.figure).collect(),
            Figure::Time => {
                let time = |outcome: &Outcome| {
                    // The floor of a time can be a rate.
                    if self.job.is_rate() { outcome.figure.recip() } else { outcome.figure }
                };
                self.outcomes.iter().map(time).collect()
            }
            Figure::Memory => {
                let bytes = |outcome: &Outcome| outcome.memory_bytes.map(|bytes| bytes as f64);
                self.outcomes.iter().filter_map(bytes).collect()
            }
            Figure::BytesPerEntry => self.bytes_per_entry.into_iter().collect(),
        }
    }

    /// The median of the job's own figure.
    pub fn median(&self) -> Option<f64> {
        let figure = if self.job.is_rate() { Figure::Rate } else { Figure::Time };
        self.spread(figure).map(|spread| spread.median)
    }

    /// Over the repetitions.
    pub fn spread(&self, figure: Figure) -> Option<Spread> {
        let each = self.each(figure);
        (!each.is_empty() && self.error.is_none()).then(|| Spread::of(each))
    }

    /// The median over the repetitions of each of `QUANTILES`, in nanoseconds.
    pub fn latencies_ns(&self) -> Vec<f64> {
        let Some(first) = self.outcomes.first() else { return Vec::new() };
        (0..first.latencies_ns.len())
            .map(|nth| {
                let of = |outcome: &Outcome| outcome.latencies_ns.get(nth).map(|ns| *ns as f64);
                Spread::of(self.outcomes.iter().filter_map(of).collect()).median
            })
            .collect()
    }
}

impl Report {
    /// Of a run that begins.
    pub fn new(facts: Vec<(&'static str, String)>, settings: &Settings) -> Self {
        Self {
            facts: facts.into_iter().map(|(name, fact)| (name.into(), fact)).collect(),
            repetitions: settings.repetitions(),
            entries: settings.entries(),
            quick: settings.quick,
            pace: settings.pace(),
            is_traced: false,
            durability: Vec::new(),
            cases: Vec::new(),
            rows: Vec::new(),
        }
    }

    /// Whether a peer's appends survive just what appends of this kind are compared for: a peer that
    /// promises more would be done wrong, one that promises less would do us wrong.
    pub fn is_comparable(&self, peer: &str, kind: Kind) -> bool {
        self.durability
            .iter()
            .any(|seen| seen.peer == peer && seen.kind == kind && seen.is_compared())
    }

    /// Makes the table.
    pub fn judge(&mut self, groups: &[Group], peers: &[&dyn Peer]) {
        let rows = groups
            .iter()
            .flat_map(|group| group.lines.iter().map(|line| self.row(group.name, line, peers)));
        self.rows = rows.collect();
    }

    fn find(&self, group: &str, peer: &str, job: &Job) -> Option<&Measured> {
        self.cases.iter().find(|case| case.group == group && case.peer == peer && case.job == *job)
    }

    fn row(&self, group: &str, line: &Line, peers: &[&dyn Peer]) -> Row {
        let figure = line.figure;
        let is_rate = figure == Figure::Rate;
        let mut row = Row {
            work: line.work.clone(),
            ours: None,
            figure: match figure {
                Figure::Rate => RowFigure::Rate,
                Figure::Time => RowFigure::Time,
                Figure::Memory | Figure::BytesPerEntry => RowFigure::Bytes,
            },
            over_published: None,
            over_peer: None,
            over_floor: None,
            missing: Vec::new(),
        };
        let Some(ours) = self.find(group, OURS, &line.ours) else { return row };
        let Some(our_spread) = ours.spread(figure) else {
            row.missing.extend(ours.error.clone());
            return row;
        };
        row.ours = Some(our_spread.median);
        let fails = |peer: &str| line.kind.is_some_and(|kind| !self.is_comparable(peer, kind));
        if fails(OURS) {
            row.missing.push("our own appends do not survive what they should".into());
            return row;
        }
        let our_each = ours.each(figure);
        let our_figures = Figures { median: our_spread.median, each: &our_each };
        let mut compare = |peer: &str, job: &Job, target: Target| -> Option<Comparison> {
            let theirs = self.find(group, peer, job)?;
            let Some(spread) = theirs.spread(figure) else {
                let why = theirs.error.as_deref().unwrap_or("nothing measured");
                row.missing.push(format!("{peer}: {why}"));
                return None;
            };
            let each = theirs.each(figure);
            let theirs = Figures { median: spread.median, each: &each };
            Some(target.judge(peer, &our_figures, &theirs, is_rate))
        };
        let over_published = line
            .over_published
            .filter(|_| !fails(PUBLISHED))
            .and_then(|target| compare(PUBLISHED, &line.published, target));
        let over_floor = line
            .over_floor
            .zip(line.floor.as_ref())
            .and_then(|(target, job)| compare(FLOOR, job, target));
        let mut over_peer: Option<Comparison> = None;
        if let Some(target) = line.over_peer {
            for name in peers.iter().map(|peer| peer.name()) {
                let is_peer = ![OURS, PUBLISHED, FLOOR].contains(&name);
                if !is_peer || fails(name) {
                    continue;
                }
                let Some(found) = compare(name, &line.peers, target) else { continue };
                let is_better = over_peer.as_ref().is_none_or(|best| {
                    if is_rate { found.figure > best.figure } else { found.figure < best.figure }
                });
                if is_better {
                    over_peer = Some(found);
                }
            }
        }
        let wanted = [
            (line.over_published.is_some() && over_published.is_none(), PUBLISHED),
            (line.over_peer.is_some() && over_peer.is_none(), "any peer"),
            (line.over_floor.is_some() && over_floor.is_none(), FLOOR),
        ];
        let missing = wanted.into_iter().filter(|(is_missing, _)| *is_missing);
        row.missing.extend(missing.map(|(_, name)| format!("nothing to compare with of {name}")));
        Row { over_published, over_peer, over_floor, ..row }
    }
}

#[cfg(test)]
mod tests {
    use super::super::durability::{Source, Survives};
    use super::super::job::Append;
    use super::super::plan;
    use super::*;

    const KIND: Kind = Kind { strict: true, batch: false };

    fn job() -> Job {
        Job::Append(Append { strict: true, threads: 1, streams: 1, entry_len: 128, batch: 1 })
    }

    /// A peer by its name, without a log behind it.
    struct Named(&'static str);

    impl Peer for Named {
        fn name(&self) -> &'static str {
            self.0
        }

        fn can(&self, _: crate::peers::Ability) -> Result<(), &'static str> {
            Ok(())
        }

        fn open(&self, _: &crate::peers::Setup) -> std::io::Result<Box<dyn crate::peers::Log>> {
            Err(std::io::ErrorKind::Unsupported.into())
        }
    }

    const PEERS: [&dyn Peer; 6] = [
        &Named(OURS),
        &Named(PUBLISHED),
        &Named(FLOOR),
        &Named("slow"),
        &Named("fast"),
        &Named("fast and loose"),
    ];

    fn group() -> Group {
        let groups = plan::all(&PEERS, 1000);
        groups.into_iter().find(|group| group.name == "strict, 1 thread").expect("it is there")
    }

    fn report(rates: &[(&str, &[f64])]) -> Report {
        let settings = Settings {
            dir: "".into(),
            out: "".into(),
            repetitions: None,
            quick: true,
            only: None,
            peers: None,
        };
        let mut report = Report::new(Vec::new(), &settings);
        for (peer, rates) in rates {
            let outcome = |rate: &f64| Outcome { figure: *rate, ..Outcome::default() };
            report.cases.push(Measured {
                group: "strict, 1 thread".into(),
                peer: (*peer).into(),
                job: job(),
                outcomes: rates.iter().map(outcome).collect(),
                bytes_per_entry: None,
                error: None,
            });
            let is_loose = peer.contains("loose");
            report.durability.push(Durability {
                peer: (*peer).into(),
                kind: KIND,
                survives: if is_loose { Survives::Kill } else { Survives::PowerLoss },
                source: Source::Seen,
                writes: None,
                syncs: None,
                note: String::new(),
            });
        }
        report
    }

    #[test]
    fn the_best_peer_is_the_fastest_that_promises_as_much() {
        let mut report = report(&[
            (OURS, &[12.0]),
            (PUBLISHED, &[6.0]),
            (FLOOR, &[12.5]),
            ("slow", &[1.0]),
            ("fast", &[10.0]),
            ("fast and loose", &[1000.0]),
        ]);
        report.judge(&[group()], &PEERS);
        let [row] = &report.rows[..] else { panic!("one line") };
        let found = row.over_peer.as_ref().expect("compared");
        assert_eq!((&found.with[..], found.found, found.met), ("fast", 1.2, true));
        assert!(row.over_published.as_ref().is_some_and(|found| found.met && found.found == 2.0));
        assert!(row.over_floor.as_ref().is_some_and(|found| found.met && found.found == 0.96));
        assert_eq!(row.missing, [""; 0]);
    }

    #[test]
    fn nothing_is_compared_with_us_if_we_promise_too_little() {
        let mut report = report(&[(OURS, &[12.0]), (PUBLISHED, &[6.0]), ("fast", &[10.0])]);
        report.durability[0].survives = Survives::Kill;
        report.judge(&[group()], &PEERS);
        let row = &report.rows[0];
        assert_eq!((&row.over_published, &row.over_peer, row.missing.len()), (&None, &None, 1));
    }

    #[test]
    fn what_is_compared_are_the_medians() {
        let mut report = report(&[(OURS, &[1.0, 30.0, 16.0]), (PUBLISHED, &[10.0, 10.0, 90.0])]);
        report.judge(&[group()], &PEERS);
        let found = report.rows[0].over_published.as_ref().expect("compared");
        assert_eq!((found.found, found.range, found.met), (1.6, (0.1, 3.0), true));
    }

    #[test]
    fn what_failed_is_said_and_not_compared() {
        let mut report = report(&[(OURS, &[1.0]), (PUBLISHED, &[])]);
        report.cases[1].error = Some("it fell over".into());
        report.judge(&[group()], &PEERS);
        let row = &report.rows[0];
        assert_eq!(row.over_published, None);
        assert!(row.missing.contains(&format!("{PUBLISHED}: it fell over")), "{:?}", row.missing);
    }
}
