//! The plan of a repair, before it is done.

use std::io::{self, Write};
use std::path::Path;

use ironwal::inspect::{Action, Measure, Plan, Report, Severity};
use serde::Serialize;

use super::Args;
use crate::text::{counted, printable};
use crate::{colour, findings, json, verify};

pub(super) fn write(
    out: &mut impl Write,
    plan: &Plan,
    report: &Report,
    args: &Args,
) -> io::Result<()> {
    if args.json {
        return write_json(out, plan, report, args);
    }
    writeln!(out, "to repair {} to {}:", args.dir.display(), args.to.display())?;
    for action in &plan.actions {
        let line = printable(action.to_string().as_bytes());
        writeln!(out, "  {}", colour::of_severity(action.finding.severity(), line))?;
    }
    if plan.actions.is_empty() {
        writeln!(out, "  nothing is damaged")?;
    }
    writeln!(out, "kept: {}", verify::extent(report))?;
    for action in plan.actions.iter().filter(|action| loses(action)) {
        let finding = &action.finding;
        let stream = finding.stream.as_deref().unwrap_or_default();
        write!(out, "lost at most: entries ")?;
        match finding.ids.end {
            u64::MAX => write!(out, "from {} on", finding.ids.start)?,
            end => write!(out, "{}..{end}", finding.ids.start)?,
        }
        writeln!(out, " of stream {stream:?}")?;
    }
    for action in plan.actions.iter().filter(|action| action.keeps_bytes()) {
        let finding = &action.finding;
        let file = finding.file.strip_prefix(&plan.root).unwrap_or(&finding.file);
        writeln!(
            out,
            "kept aside: {} of {} at {}, in {}",
            counted(finding.len, "byte", "bytes"),
            printable(file.to_string_lossy().as_bytes()),
            finding.offset,
            aside(args).display(),
        )?;
    }
    Ok(())
}

/// Whether entries may be lost by it that can still be read, or that nobody had called lost yet.
fn loses(action: &Action) -> bool {
    let is_loss = matches!(
        action.measure,
        Measure::MarkLost | Measure::Lose | Measure::LeaveJournal | Measure::RebuildHeader
    );
    let finding = &action.finding;
    is_loss && finding.severity() == Severity::Damage && !finding.ids.is_empty()
}

/// Where damaged bytes are kept.
fn aside(args: &Args) -> std::path::PathBuf {
    args.to.join(Path::new(".damaged"))
}

fn write_json(out: &mut impl Write, plan: &Plan, report: &Report, args: &Args) -> io::Result<()> {
    #[derive(Serialize)]
    struct ActionLine<'a> {
        r#type: &'static str,
        measure: String,
        /// Its bytes are kept aside.
        kept_aside: bool,
        #[serde(flatten)]
        finding: findings::Line<'a>,
    }
    #[derive(Serialize)]
    struct PlanLine {
        r#type: &'static str,
        to: String,
        needed: bool,
        possible: bool,
        streams: u64,
        entries: u64,
        kept_aside_in: String,
    }
    for action in &plan.actions {
        let line = ActionLine {
            r#type: "action",
            measure: json::name_of(action.measure),
            kept_aside: action.keeps_bytes(),
            finding: findings::Line::of(&action.finding),
        };
        json::write(out, &line)?;
    }
    let line = PlanLine {
        r#type: "plan",
        to: args.to.to_string_lossy().into_owned(),
        needed: plan.is_needed(),
        possible: plan.obstacles().next().is_none(),
        streams: report.streams,
        entries: report.entries,
        kept_aside_in: aside(args).to_string_lossy().into_owned(),
    };
    json::write(out, &line)
}
