//! What an inspection of a log found, for people and for machines.

use std::collections::BTreeMap;
use std::io::{self, Write};

use ironwal::inspect::{Finding, Severity};
use serde::Serialize;

use crate::colour;
use crate::json::{self, Ids};
use crate::text::printable;

/// A finding as JSON.
#[derive(Serialize)]
pub(crate) struct Line<'a> {
    severity: String,
    problem: String,
    file: String,
    offset: u64,
    len: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    stream: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    ids: Option<Ids>,
    #[serde(skip_serializing_if = "Option::is_none")]
    expected: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    found: Option<u32>,
    message: String,
}

impl<'a> Line<'a> {
    pub(crate) fn of(finding: &'a Finding) -> Self {
        Self {
            severity: json::name_of(finding.severity()),
            problem: json::name_of(finding.problem),
            file: finding.file.to_string_lossy().into_owned(),
            offset: finding.offset,
            len: finding.len,
            stream: finding.stream.as_deref(),
            ids: json::ids(&finding.ids),
            expected: finding.expected,
            found: finding.found,
            message: finding.to_string(),
        }
    }
}

/// Writes findings as objects of the type `finding`.
pub(crate) fn write_json(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    #[derive(Serialize)]
    struct Typed<'a> {
        r#type: &'static str,
        #[serde(flatten)]
        finding: Line<'a>,
    }
    findings.iter().try_for_each(|finding| {
        json::write(out, &Typed { r#type: "finding", finding: Line::of(finding) })
    })
}

/// Writes a line for each finding.
pub(crate) fn write(out: &mut impl Write, findings: &[Finding]) -> io::Result<()> {
    findings.iter().try_for_each(|finding| {
        // A file of somebody else's may have any name.
        let line = printable(finding.to_string().as_bytes());
        writeln!(out, "{}", colour::of_severity(finding.severity(), line))
    })
}

/// How many findings there are of each severity, the worst first.
pub(crate) fn counts(findings: &[Finding]) -> BTreeMap<Severity, u64> {
    let mut counts = BTreeMap::new();
    for finding in findings {
        *counts.entry(finding.severity()).or_insert(0) += 1;
    }
    counts
}
