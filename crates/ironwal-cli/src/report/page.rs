//! The page.

use std::path::Path;

use ironwal::inspect::{Report, Severity};
use maud::{DOCTYPE, Markup, PreEscaped, html};

use super::gather::{Content, Segment, Stream};
use super::growth;
use crate::exit::Done;
use crate::json;
use crate::stat::Shards;
use crate::text::{counted, grouped, printable, utc};
use crate::verify;

/// What there is more of would make the page slow, and nobody would look at it.
const STREAMS_MAX: usize = 1_000;
const CHECKPOINTS_MAX: usize = 1_000;
const FINDINGS_MAX: usize = 1_000;

/// In how many parts the segments of a stream are drawn.
const PARTS_MAX: usize = 300;

pub(super) fn page(dir: &Path, report: &Report, content: &Content) -> Done<String> {
    let name = printable(dir.to_string_lossy().as_bytes());
    let growth = growth::picture(content)?;
    let page = html! {
        (DOCTYPE)
        html lang="en" {
            head {
                meta charset="utf-8";
                meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'";
                meta name="viewport" content="width=device-width";
                title { "ironwal: " (name) }
                style { (PreEscaped(include_str!("style.css"))) }
            }
            body {
                h1 { "The log in " (name) }
                (summary(report, content))
                (damage(report, content))
                @if let Some(shards) = &content.shards { (balance(shards, content)) }
                (segments(content))
                (how_it_grew(growth, content))
                @if content.shards.is_some() { (checkpoints(content)) }
            }
        }
    };
    Ok(page.into_string())
}

fn summary(report: &Report, content: &Content) -> Markup {
    html! {
        p {
            @match report.is_whole() {
                true => span.whole { "Whole" },
                false => span.damaged { "Not whole" },
            }
            ": " (verify::extent(report)) ". Read at " (utc(content.at)) " UTC by ironwal "
            (env!("CARGO_PKG_VERSION")) "."
        }
        @if report.is_open {
            p.note { "A process had the log open for writing: its journal was not judged." }
        }
        @if let Some(refusal) = &content.refusal {
            p.damaged { "Nothing else is known of it: " (refusal) }
        }
    }
}

fn damage(report: &Report, content: &Content) -> Markup {
    let findings = &report.findings;
    html! {
        section #damage {
            h2 { "Damage" }
            @if findings.is_empty() && content.refusal.is_none() {
                p { "Nothing is damaged, torn or left over." }
            }
            @if !findings.is_empty() {
                table {
                    tr { th { "severity" } th { "what was found" } }
                    @for finding in findings.iter().take(FINDINGS_MAX) {
                        tr.finding {
                            td.damaged[finding.severity() == Severity::Damage] {
                                (json::name_of(finding.severity()))
                            }
                            td { (printable(finding.to_string().as_bytes())) }
                        }
                    }
                }
                (left_out(findings.len(), FINDINGS_MAX, "findings: `ironwal verify` lists all"))
            }
        }
    }
}

/// A bar for each shard.
fn balance(shards: &Shards, content: &Content) -> Markup {
    let found: Vec<&Stream> = content.streams.iter().filter(|it| it.shard.is_some()).collect();
    let most = found.iter().map(|stream| stream.stats.entries()).max().unwrap_or(0);
    let never_used = usize::from(shards.count) - found.len().min(shards.count.into());
    html! {
        section #shards {
            h2 { "Shards" }
            p.note {
                (counted(shards.count.into(), "shard", "shards")) "."
                @if never_used > 0 { " " (grouped(never_used as u64)) " never had an entry." }
                @if let Some(skew) = shards.skew {
                    " The fullest has " (format!("{skew:.2}")) " times the entries of the mean."
                }
                @if let Some(rate) = shards.entries_per_second {
                    " " (format!("{rate:.1}")) " entries per second from the oldest checkpoint to the newest."
                }
            }
            @for stream in found.iter().take(STREAMS_MAX) {
                (row(&stream.name, stream.stats.entries(), html! {
                    div.bar style={ "width: " (percent(stream.stats.entries(), most)) } {}
                }))
            }
            (left_out(found.len(), STREAMS_MAX, "shards"))
        }
    }
}

/// A strip for each stream, in which each segment is as wide as it is large.
fn segments(content: &Content) -> Markup {
    let bytes = |stream: &Stream| stream.segments.iter().map(|it| it.bytes).sum::<u64>();
    let most = content.streams.iter().map(bytes).max().unwrap_or(0);
    html! {
        section #segments {
            h2 { "Segments" }
            p.note {
                "Each stream with its entries, and its files, the oldest left, as wide as they are large; dark: "
                "the newest; red: damaged. Point at one to see which entries it holds."
            }
            @for stream in content.streams.iter().take(STREAMS_MAX) {
                (row(&stream.name, stream.stats.entries(), html! {
                    div.strip style={ "width: " (percent(bytes(stream), most)) } {
                        @let size = stream.segments.len().div_ceil(PARTS_MAX).max(1);
                        @for part in stream.segments.chunks(size) {
                            (segments_of_a_part(part, stream.stats.next_id))
                        }
                    }
                }))
            }
            (left_out(content.streams.len(), STREAMS_MAX, "streams: `ironwal stat` lists all"))
        }
    }
}

fn segments_of_a_part(part: &[Segment], next_id: u64) -> Markup {
    let bytes: u64 = part.iter().map(|segment| segment.bytes).sum();
    let ids = part.first().map_or(0, |it| it.first_id)..part.last().map_or(0, |it| it.end);
    let modified = part.iter().map(|segment| segment.modified).max().unwrap_or(0);
    let is_damaged = part.iter().any(|segment| segment.is_damaged);
    let title = format!(
        "ids {}..{}: {}, {}, last written {} UTC{}",
        ids.start,
        ids.end,
        counted(part.len() as u64, "segment", "segments"),
        counted(bytes, "byte", "bytes"),
        utc(modified),
        if is_damaged { ", DAMAGED" } else { "" },
    );
    html! {
        div.segment.last[ids.end == next_id].damaged[is_damaged] title=(title)
            style={ "flex: " (bytes) " 1 0" } {}
    }
}

fn how_it_grew(picture: Option<String>, content: &Content) -> Markup {
    html! {
        section #growth {
            h2 { "Growth" }
            @match picture {
                Some(picture) => {
                    p.note {
                        "Bytes of the segments that are kept, by the time each was last written to."
                        @if !content.checkpoints.is_empty() { " Upright lines are checkpoints." }
                    }
                    (PreEscaped(picture))
                }
                None => p.note { "Its segments were all last written to at one time, or there are none." }
            }
        }
    }
}

fn checkpoints(content: &Content) -> Markup {
    let all = &content.checkpoints;
    let shown = &all[all.len().saturating_sub(CHECKPOINTS_MAX)..];
    html! {
        section #checkpoints {
            h2 { "Checkpoints" }
            @if all.is_empty() { p.note { "There are none." } } @else {
                table {
                    tr {
                        th { "checkpoint" } th { "created (UTC)" }
                        th.number { "entries" } th.number { "since" }
                    }
                    @for checkpoint in shown.iter().rev() {
                        tr.checkpoint {
                            td { (printable(&checkpoint.id)) }
                            td { (utc(checkpoint.timestamp)) }
                            td.number { (grouped(checkpoint.entries)) }
                            td.number { (grouped(checkpoint.since)) }
                        }
                    }
                }
                (left_out(all.len(), CHECKPOINTS_MAX, "checkpoints: `ironwal checkpoint ls` lists all"))
            }
        }
    }
}

fn row(name: &str, entries: u64, picture: Markup) -> Markup {
    let name = printable(name.as_bytes());
    html! {
        div.row {
            span.label title=(name) { (name) }
            span.count { (grouped(entries)) }
            div.track { (picture) }
        }
    }
}

fn left_out(count: usize, max: usize, of_what: &str) -> Markup {
    let more = count.saturating_sub(max);
    html! {
        @if more > 0 { p.note { "And " (grouped(more as u64)) " more " (of_what) "." } }
    }
}

/// `part` of `whole` for a style sheet.
fn percent(part: u64, whole: u64) -> String {
    let thousandths = u128::from(part) * 100_000 / u128::from(whole.max(1));
    format!("{}.{:03}%", thousandths / 1000, thousandths % 1000)
}
