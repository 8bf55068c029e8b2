//! The growth of a log, as a picture.

use std::fmt::Display;

use plotters::prelude::*;

use super::gather::Content;
use crate::exit::{Done, Failure};
use crate::text::{grouped, utc};

const SIZE: (u32, u32) = (960, 300);
const LINE: RGBColor = RGBColor(0x2b, 0x6c, 0xb0);
const CHECKPOINT: RGBColor = RGBColor(0xb7, 0x79, 0x1f);

/// How much there was at the time when each segment was last written to, with a line at each checkpoint.
/// `None` if all are of one instant.
pub(super) fn picture(content: &Content) -> Done<Option<String>> {
    let mut points = Vec::new();
    let mut bytes = 0_u64;
    for segment in content.segments_by_time() {
        bytes = bytes.saturating_add(segment.bytes);
        points.push((segment.modified, bytes));
    }
    let (Some(first), Some(last)) = (points.first(), points.last()) else { return Ok(None) };
    if first.0 == last.0 {
        return Ok(None);
    }
    let times = first.0..last.0;
    let checkpoints = content.checkpoints.iter().map(|it| it.timestamp);
    let checkpoints: Vec<u64> = checkpoints.filter(|time| times.contains(time)).collect();
    let mut picture = String::new();
    let drawn = draw(&mut picture, &points, &checkpoints);
    drawn.map_err(|error| Failure::failed(format!("cannot draw the growth: {error}")))?;
    Ok(Some(picture))
}

fn draw(
    picture: &mut String,
    points: &[(u64, u64)],
    checkpoints: &[u64],
) -> Result<(), impl Display + use<>> {
    let (from, to) = (points[0].0, points[points.len() - 1].0);
    let most = points[points.len() - 1].1;
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    let mut chart = ChartBuilder::on(&area)
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(130)
        .build_cartesian_2d(from..to, 0..most.saturating_add(most / 10))?;
    chart
        .configure_mesh()
        .disable_x_mesh()
        .x_labels(5)
        .y_labels(5)
        .max_light_lines(4)
        .x_label_formatter(&|time| utc(*time))
        .y_label_formatter(&|bytes| grouped(*bytes))
        .draw()?;
    let lines = checkpoints.iter().map(|at| PathElement::new([(*at, 0), (*at, most)], CHECKPOINT));
    chart.draw_series(lines)?;
    // Until the next segment there are as many bytes as before.
    let steps = points.windows(2).flat_map(|pair| [pair[0], (pair[1].0, pair[0].1)]);
    let steps = steps.chain(points.last().copied());
    chart.draw_series(LineSeries::new(steps, LINE.stroke_width(2)))?;
    area.present()
}
