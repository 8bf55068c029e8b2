//! The report as pictures.

use std::io;
use std::path::Path;

use plotters::prelude::*;

use super::job::{Job, QUANTILES};
use super::results::{Measured, Report};
use crate::peers::{FLOOR, OURS};

const SIZE: (u32, u32) = (900, 560);
const FONT: &str = "sans-serif";

/// The color of ours, and of the limit; the others take theirs from a palette.
const OUR_COLOR: RGBColor = RGBColor(200, 30, 30);
const FLOOR_COLOR: RGBColor = RGBColor(90, 90, 90);

/// What happened while drawing.
type Drawn = Result<(), Box<dyn std::error::Error>>;

/// Points of one peer.
struct Series {
    peer: String,
    points: Vec<(f64, f64)>,
}

/// Draws all of them into this directory, as far as there is something to draw.
pub fn draw(report: &Report, out: &Path) -> io::Result<()> {
    let drawn = draw_all(report, out);
    drawn.map_err(|error| io::Error::other(format!("the pictures: {error}")))
}

fn draw_all(report: &Report, out: &Path) -> Drawn {
    threads(report, &out.join("strict-threads.svg"))?;
    for (threads, name) in [(1, "latency-1.svg"), (16, "latency-16.svg")] {
        latency(report, threads, &out.join(name))?;
    }
    let scan = |case: &Measured| matches!(case.job, Job::Scan { .. });
    let get = |case: &Measured| matches!(case.job, Job::Get { .. });
    bars(
        report,
        "Scan, batches of 100: ns per entry",
        "scan, batches",
        scan,
        &out.join("scan.svg"),
    )?;
    bars(report, "Random get, batches of 100: ns", "get, batches", get, &out.join("get.svg"))
}

/// Single strict appends of 128 bytes to one stream.
fn strict(case: &Measured) -> Option<usize> {
    match &case.job {
        Job::Append(append)
            if append.strict && append.batch == 1 && append.entry_len == super::job::ENTRY_LEN =>
        {
            Some(append.threads)
        }
        _ => None,
    }
}

fn is_strict_group(case: &Measured, threads: usize) -> bool {
    case.group.starts_with("strict,") && case.group.contains(&format!(" {threads} thread"))
}

fn threads(report: &Report, path: &Path) -> Drawn {
    let mut series: Vec<Series> = Vec::new();
    let mut limit: Option<f64> = None;
    for case in &report.cases {
        let (Some(threads), Some(rate)) = (strict(case), case.median()) else { continue };
        if case.peer == FLOOR {
            if is_strict_group(case, 1) {
                limit = Some(rate);
            }
            continue;
        }
        let point = (threads as f64, rate);
        match series.iter_mut().find(|series| series.peer == case.peer) {
            Some(series) => series.points.push(point),
            None => series.push(Series { peer: case.peer.clone(), points: vec![point] }),
        }
    }
    if let Some(limit) = limit {
        let points = vec![(1.0, limit), (64.0, limit)];
        series.push(Series { peer: "write + fdatasync, one at a time".into(), points });
    }
    let labels = Axes {
        title: "Strict appends of 128 bytes to one stream",
        x: "threads",
        y: "entries per second",
        x_text: &|threads| format!("{threads:.0}"),
        x_base: 4.0,
    };
    lines(path, &labels, &series)
}

fn latency(report: &Report, threads: usize, path: &Path) -> Drawn {
    let mut series = Vec::new();
    for case in &report.cases {
        let is_floor = case.peer == FLOOR && threads == 1;
        let is_wanted = strict(case) == Some(threads) && (case.peer != FLOOR || is_floor);
        if !is_wanted || !is_strict_group(case, threads) || case.error.is_some() {
            continue;
        }
        let latencies_ns = case.latencies_ns();
        // From p50 on, by how rare it is.
        let points = QUANTILES.iter().zip(&latencies_ns);
        let points = points.map(|(quantile, ns)| (1.0 / (1.0 - quantile), ns / 1000.0)).collect();
        series.push(Series { peer: case.peer.clone(), points });
    }
    let plural = if threads == 1 { "" } else { "s" };
    let labels = Axes {
        title: &format!("Latency of a strict append, {threads} thread{plural}, one stream"),
        x: "percentile",
        y: "µs",
        x_text: &|rarity| format!("p{}", ((1.0 - 1.0 / rarity) * 1e6).round() / 1e4),
        x_base: 10.0,
    };
    lines(path, &labels, &series)
}

/// What is written beside the axes.
struct Axes<'a> {
    title: &'a str,
    x: &'a str,
    y: &'a str,
    x_text: &'a dyn Fn(&f64) -> String,
    /// By what a value is multiplied from one label to the next.
    x_base: f64,
}

fn color(peer: &str, nth: usize) -> RGBAColor {
    match peer {
        OURS => OUR_COLOR.to_rgba(),
        FLOOR => FLOOR_COLOR.to_rgba(),
        peer if peer.starts_with("write + ") => FLOOR_COLOR.to_rgba(),
        _ => Palette99::pick(nth + 1).to_rgba(),
    }
}

/// Lines between points, both axes logarithmic.
fn lines(path: &Path, axes: &Axes, series: &[Series]) -> Drawn {
    let points = || series.iter().flat_map(|series| &series.points);
    let Some((x, y)) =
        range(points().map(|point| point.0)).zip(range(points().map(|point| point.1)))
    else {
        return Ok(());
    };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&root)
        .caption(axes.title, (FONT, 20))
        .margin(12)
        .x_label_area_size(42)
        .y_label_area_size(84)
        .build_cartesian_2d(
            (x.0..x.1 * 1.05).log_scale().base(axes.x_base),
            (y.0 * 0.8..y.1 * 1.25).log_scale(),
        )?;
    chart
        .configure_mesh()
        .x_desc(axes.x)
        .y_desc(axes.y)
        .x_label_formatter(&|x| (axes.x_text)(x))
        .y_label_formatter(&|y| super::judge::number(*y))
        .light_line_style(WHITE)
        .label_style((FONT, 13))
        .draw()?;
    for (nth, series) in series.iter().enumerate() {
        let color = color(&series.peer, nth);
        let width = if series.peer == OURS { 4 } else { 2 };
        let style = color.stroke_width(width);
        chart
            .draw_series(LineSeries::new(series.points.clone(), style).point_size(width))?
            .label(&series.peer)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], style));
    }
    chart
        .configure_series_labels()
        .background_style(WHITE.mix(0.85))
        .border_style(FLOOR_COLOR)
        .label_font((FONT, 13))
        .position(SeriesLabelPosition::UpperLeft)
        .draw()?;
    root.present()?;
    Ok(())
}

fn range(values: impl Iterator<Item = f64>) -> Option<(f64, f64)> {
    let usable = values.filter(|value| value.is_finite() && *value > 0.0);
    usable.fold(None, |range, value| match range {
        None => Some((value, value)),
        Some((least, most)) => Some((value.min(least), value.max(most))),
    })
}

/// One bar for each case, the time of one entry on a logarithmic axis.
fn bars(
    report: &Report,
    title: &str,
    group: &str,
    is_wanted: impl Fn(&Measured) -> bool,
    path: &Path,
) -> Drawn {
    let cases = report.cases.iter().filter(|case| case.group == group && is_wanted(case));
    let mut values: Vec<(String, String, f64)> = cases
        .filter_map(|case| {
            let median = case.median()?;
            let seconds = if case.job.is_rate() { median.recip() } else { median };
            let label = format!("{} ({})", case.peer, case.job.details());
            Some((case.peer.clone(), label, seconds * 1e9))
        })
        .collect();
    values.sort_by(|a, b| b.2.total_cmp(&a.2));
    let Some((least, most)) = range(values.iter().map(|value| value.2)) else { return Ok(()) };
    let root = SVGBackend::new(path, SIZE).into_drawing_area();
    root.fill(&WHITE)?;
    let count = values.len();
    // Room on the right for the figures.
    let (from, to) = (least * 0.5, most * 5.0);
    let mut chart = ChartBuilder::on(&root)
        .caption(title, (FONT, 20))
        .margin(12)
        .x_label_area_size(36)
        .y_label_area_size(230)
        .build_cartesian_2d((from..to).log_scale(), 0.0..count as f64)?;
    chart
        .configure_mesh()
        .disable_y_mesh()
        .disable_y_axis()
        .x_label_formatter(&|ns| super::judge::number(*ns))
        .light_line_style(WHITE)
        .label_style((FONT, 13))
        .draw()?;
    for (nth, (peer, label, ns)) in values.iter().enumerate() {
        let (bottom, top) = (nth as f64 + 0.15, nth as f64 + 0.85);
        let color = match &peer[..] {
            OURS => OUR_COLOR.to_rgba(),
            FLOOR => FLOOR_COLOR.to_rgba(),
            _ => RGBColor(70, 110, 170).mix(0.8),
        };
        chart.draw_series([Rectangle::new([(from, bottom), (*ns, top)], color.filled())])?;
        let middle = nth as f64 + 0.65;
        let text = |at, text: String, offset: (i32, i32)| {
            EmptyElement::at((at, middle)) + Text::new(text, offset, (FONT, 13))
        };
        chart.draw_series([text(*ns, super::judge::number(*ns), (5, 0))])?;
        let area = chart.plotting_area();
        let y = area.get_base_pixel().1 + label_y(nth, count, area.dim_in_pixel().1);
        root.draw(&Text::new(label.clone(), (16, y), (FONT, 13)))?;
    }
    root.present()?;
    Ok(())
}

/// Where the middle of bar `nth` from below is, in pixels from above.
fn label_y(nth: usize, count: usize, height: u32) -> i32 {
    let from_below = (nth as f64 + 0.65) / count as f64;
    (f64::from(height) * (1.0 - from_below)) as i32
}
