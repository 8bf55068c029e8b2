//! The report as text.

use super::durability::{Kind, Source, Survives};
use super::job::UNSYNCED_FACTOR;
use super::judge::{Comparison, number};
use super::plan::Figure;
use super::results::{Measured, Report, Row, RowFigure};
use crate::peers::{self, Ability};

/// All of it.
pub fn of(report: &Report) -> String {
    let mut text = String::from("# ironwal beside its peers\n\n");
    for (name, fact) in &report.facts {
        text += &format!("- {name}: {fact}\n");
    }
    text += &format!(
        "- {} repetitions, the peers taking turns in an order that changes; logs that are read have {} \
         entries\n",
        report.repetitions,
        number(report.entries as f64)
    );
    if report.quick {
        text += "- **a quick run: it shows that everything works, and says nothing reliable**\n";
    }
    text += &method(report);
    text += &lines(report);
    text += &durability(report);
    text += &cases(report);
    text += &left_out();
    text
}

fn method(report: &Report) -> String {
    let pace = &report.pace;
    format!(
        "\nEach case runs in a process and an empty directory of its own, after the file system has \
         written back what the cases before left. Strict appends go on for {} s after {} s that do not \
         count; unsynced ones for {} MiB of entries, or {} s at most. Files that are read are in the \
         page cache. Logs are opened with their defaults, but for what decides when something is \
         durable. With 256 appends in flight, a latency is that of handing one over and waiting for \
         the one 255 before.\n",
        pace.measured_s,
        pace.warm_up_s,
        pace.unsynced_bytes >> 20,
        number(pace.measured_s * UNSYNCED_FACTOR),
    )
}

fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut text = format!("| {} |\n|{}\n", header.join(" | "), "---|".repeat(header.len()));
    for row in rows {
        text += &format!("| {} |\n", row.join(" | "));
    }
    text
}

fn lines(report: &Report) -> String {
    let made = report.rows.iter().flat_map(comparisons);
    let (met, all) = made.fold((0, 0), |(met, all), found| (met + usize::from(found.met), all + 1));
    let rows = report.rows.iter().map(|row| {
        let of = |found: &Option<Comparison>| found.as_ref().map_or(String::new(), comparison);
        vec![
            row.work.clone(),
            row.ours.map_or("not measured".into(), |ours| figure(row.figure, ours)),
            of(&row.over_published),
            of(&row.over_peer),
            of(&row.over_floor),
        ]
    });
    let header = ["work", "ironwal", "over 0.6.9", "over the best peer", "over the floor"];
    let missing = report
        .rows
        .iter()
        .flat_map(|row| row.missing.iter().map(|why| format!("- {}: {why}\n", row.work)));
    let missing: String = missing.collect();
    let missing =
        if missing.is_empty() { missing } else { format!("\nNot compared:\n\n{missing}") };
    format!(
        "\n## Targets\n\n{met} of {all} are met. Ratios are of the medians; in brackets the least and \
         the greatest within a repetition.\n\n{}{missing}",
        table(&header, rows)
    )
}

fn comparisons(row: &Row) -> impl Iterator<Item = &Comparison> {
    [&row.over_published, &row.over_peer, &row.over_floor].into_iter().flatten()
}

fn comparison(found: &Comparison) -> String {
    let text = |value| found.target.found_text(value);
    let with = match &found.with[..] {
        peers::PUBLISHED | peers::FLOOR => String::new(),
        peer => format!("{peer}: "),
    };
    let met = if found.met { "met" } else { "**not met**" };
    format!(
        "{with}{} ({} .. {}), {} {met}",
        text(found.found),
        text(found.range.0),
        text(found.range.1),
        found.target.text()
    )
}

fn figure(kind: RowFigure, value: f64) -> String {
    match kind {
        RowFigure::Rate => format!("{}/s", number(value)),
        RowFigure::Time => time(value),
        RowFigure::Bytes if value >= 1e5 => format!("{} KiB", number(value / 1024.0)),
        RowFigure::Bytes => format!("{value:.1} B"),
    }
}

fn time(seconds: f64) -> String {
    match seconds {
        long if long >= 1.0 => format!("{} s", number(long)),
        long if long >= 1e-3 => format!("{} ms", number(long * 1e3)),
        short if short >= 1e-6 => format!("{} µs", number(short * 1e6)),
        short => format!("{} ns", number(short * 1e9)),
    }
}

fn durability(report: &Report) -> String {
    let rows = report.durability.iter().map(|seen| {
        let calls = |count: Option<f64>| count.map_or("?".into(), number);
        let survives = match seen.survives {
            Survives::PowerLoss => "power loss",
            Survives::Kill => "`kill -9`",
            Survives::Nothing => "nothing that was shown",
        };
        let recorded = if seen.source == Source::Recorded { " (as recorded)" } else { "" };
        let compared = if seen.is_compared() { "yes" } else { "no" };
        vec![
            seen.peer.clone(),
            seen.kind.name().into(),
            calls(seen.writes),
            calls(seen.syncs),
            format!("{survives}{recorded}"),
            compared.into(),
            seen.note.clone(),
        ]
    });
    let how = if report.is_traced {
        "Writes and syncs for each append, counted by `strace`; a process that was killed and its log \
         opened again."
    } else {
        "There is no `strace` here: what was counted elsewhere stands for it."
    };
    let header =
        ["peer", "append", "writes", "syncs", "an append that returned survives", "compared", ""];
    format!("\n## Durability\n\n{how}\n\n{}", table(&header, rows))
}

fn cases(report: &Report) -> String {
    let mut text = String::from(
        "\n## Everybody\n\nMedians over the repetitions. Unsynced appends and fast reads are timed in \
         groups, so their quantiles are of the means of groups.\n",
    );
    let mut group = "";
    for case in &report.cases {
        if case.group != group {
            group = &case.group;
            text += &format!("\n### {group}\n\n");
            let header = [
                "peer",
                "what",
                "median",
                "least .. greatest",
                "p50",
                "p99",
                "p99.9",
                "bytes/entry",
            ];
            text += &table(&header, std::iter::empty());
        }
        text += &format!("| {} |\n", one(case).join(" | "));
    }
    text
}

fn one(case: &Measured) -> Vec<String> {
    let (of, kind) = if case.job.is_rate() {
        (Figure::Rate, RowFigure::Rate)
    } else {
        (Figure::Time, RowFigure::Time)
    };
    let mut row = vec![case.peer.clone(), case.job.details()];
    match case.spread(of) {
        Some(spread) => row.extend([
            figure(kind, spread.median),
            format!("{} .. {}", figure(kind, spread.min), figure(kind, spread.max)),
        ]),
        None => {
            let why = case.error.as_deref().unwrap_or("not measured");
            row.extend([why.replace(['|', '\n'], " "), String::new()]);
        }
    }
    let latencies_ns = case.latencies_ns();
    // The places of p50, p99 and p99.9 in `QUANTILES`.
    for nth in [0, 4, 5] {
        row.push(latencies_ns.get(nth).map_or(String::new(), |ns| time(ns / 1e9)));
    }
    row.push(case.bytes_per_entry.map_or(String::new(), number));
    row
}

/// Who does not take part in what.
fn left_out() -> String {
    let abilities = [
        Ability::Strict,
        Ability::StrictBatch,
        Ability::Unsynced,
        Ability::UnsyncedBatch,
        Ability::Streams,
        Ability::Frames,
        Ability::Scan,
        Ability::Get,
        Ability::Open,
    ];
    let kinds = Kind::ALL.map(|kind| (kind.ability(), kind.name()));
    let name = |ability| match ability {
        Ability::Streams => "several streams",
        Ability::Frames => "single frames",
        Ability::Scan => "scan",
        Ability::Get => "random get",
        Ability::Open => "open",
        other => kinds.iter().find(|(kind, _)| *kind == other).map_or("", |(_, name)| *name),
    };
    let rows = peers::all().into_iter().filter(|peer| peer.name() != peers::FLOOR);
    let rows = rows.flat_map(|peer| {
        abilities.into_iter().filter_map(move |ability| {
            let why = peer.can(ability).err()?;
            Some(vec![peer.name().into(), name(ability).into(), why.into()])
        })
    });
    format!("\n## Who is left out of what\n\n{}", table(&["peer", "of", "because"], rows))
}

#[cfg(test)]
mod tests {
    use super::super::judge::Target;
    use super::*;

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let rows = [vec!["1".to_string(), "2".into()], vec!["3".into(), "4".into()]];
        let text = table(&["a", "b"], rows.into_iter());
        assert_eq!(text, "| a | b |\n|---|---|\n| 1 | 2 |\n| 3 | 4 |\n");
    }

    #[test]
    fn a_comparison_names_the_peer_and_the_verdict() {
        let found = Comparison {
            with: "okaywal".into(),
            figure: 1.0,
            found: 1.234,
            range: (1.0, 2.0),
            target: Target::Faster(1.4),
            met: false,
        };
        assert_eq!(comparison(&found), "okaywal: 1.23 (1 .. 2), ≥ 1.40 **not met**");
    }

    #[test]
    fn times_have_fitting_units() {
        let texts = [2.5, 0.0025, 2.5e-6, 2.5e-8].map(time);
        assert_eq!(texts, ["2.50 s", "2.50 ms", "2.50 µs", "25.0 ns"]);
    }
}
