//! How numbers, names, times and shares are written for people.

use jiff::Timestamp;

/// A number with commas between thousands.
pub(crate) fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut grouped = String::new();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            grouped.push(',');
        }
        grouped.push(digit);
    }
    grouped
}

/// A number and what is counted.
pub(crate) fn counted(count: u64, one: &str, many: &str) -> String {
    format!("{} {}", grouped(count), if count == 1 { one } else { many })
}

/// A name that cannot break a table or talk to the terminal: any string can name a stream, and any
/// bytes a checkpoint.
pub(crate) fn printable(name: &[u8]) -> String {
    match std::str::from_utf8(name) {
        Ok(name) if !name.chars().any(char::is_control) => name.to_string(),
        Ok(name) => name.escape_debug().to_string(),
        Err(_) => name.escape_ascii().to_string(),
    }
}

/// A time in nanoseconds since the Unix epoch, in UTC.
pub(crate) fn utc(nanos: u64) -> String {
    match Timestamp::from_nanosecond(nanos.into()) {
        Ok(time) => time.strftime("%Y-%m-%d %H:%M:%S").to_string(),
        // There is no such `u64`.
        Err(_) => nanos.to_string(),
    }
}

/// A bar of up to `width` characters for `part` of `whole`, in steps of an eighth of a character.
/// Nothing has no bar; anything else has one.
pub(crate) fn bar(part: u64, whole: u64, width: u64) -> String {
    const PARTS_OF_A_BLOCK: [&str; 8] = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];
    let eighths = eighths(part, whole, width);
    let blocks = usize::try_from(eighths / 8).unwrap_or(0);
    "█".repeat(blocks) + PARTS_OF_A_BLOCK[(eighths % 8) as usize]
}

/// One character per number, as high as it is beside the highest.
pub(crate) fn sparkline(numbers: &[u64]) -> String {
    const HEIGHTS: [char; 9] = [' ', '▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
    let highest = numbers.iter().copied().max().unwrap_or(0);
    let height = |number: &u64| usize::try_from(eighths(*number, highest, 1)).unwrap_or(0);
    numbers.iter().map(|number| HEIGHTS[height(number)]).collect()
}

/// `part` of `whole` in eighths, where the whole has `width` times eight.
fn eighths(part: u64, whole: u64, width: u64) -> u64 {
    if part == 0 {
        return 0;
    }
    let all = u128::from(width) * 8;
    let eighths = u128::from(part) * all / u128::from(whole.max(1));
    u64::try_from(eighths.clamp(1, all)).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn thousands_are_set_apart() {
        assert_eq!(
            [0, 12, 999, 1000, 200_000, 1_234_567].map(grouped),
            ["0", "12", "999", "1,000", "200,000", "1,234,567"]
        );
    }

    #[test]
    fn nothing_but_text_gets_to_the_terminal() {
        assert_eq!(printable("snapshot ü".as_bytes()), "snapshot ü");
        assert_eq!(printable(b"a\nb\x1b[2J"), "a\\nb\\u{1b}[2J");
        assert_eq!(printable(b"\xff\x00"), "\\xff\\x00");
    }

    #[test]
    fn times_are_utc() {
        assert_eq!(utc(0), "1970-01-01 00:00:00");
        assert_eq!(utc(1_000_000_000_999_999_999), "2001-09-09 01:46:40");
        assert_eq!(utc(u64::MAX), "2554-07-21 23:34:33");
    }

    #[test]
    fn bars_are_as_long_as_their_share() {
        assert_eq!(bar(8, 8, 3), "███");
        assert_eq!(bar(4, 8, 3), "█▌");
        assert_eq!(bar(0, 8, 3), "");
        assert_eq!(bar(1, u64::MAX, 3), "▏");
        assert_eq!(bar(u64::MAX, u64::MAX, 30), "█".repeat(30));
        assert_eq!(bar(0, 0, 3), "");
        assert_eq!(sparkline(&[8, 4, 0, 1, 800]), "▁▁ ▁█");
        assert_eq!(sparkline(&[8, 4, 2, 8]), "█▄▂█");
        assert_eq!(sparkline(&[0, 0]), "  ");
    }
}
