//! The table of destinations, laid out for the width of a terminal.

use anstyle::{AnsiColor, Style};
use evbus::control::{DestinationStatus, Status};

use super::age;
use crate::cli::output::{columns, one_line, without_margins};

/// The lines of the table. If the terminal is too narrow for the last errors beside the numbers, they stand
/// below their rows, and less important columns are left out until the rest fits.
pub(super) fn table(status: &Status, width: Option<u16>, colour: bool) -> Vec<String> {
    let all = &status.destinations;
    let mut shown: Vec<&Column> = (NUMBERS.iter())
        .filter(|column| column.always || all.iter().any(|lane| (column.of)(lane).is_some()))
        .collect();
    let mut layout = Layout::new(all, &shown, true, None);
    let Some(width) = width else {
        return layout.lines(all, &column_of_errors(all, None), colour);
    };
    // The left margin is removed.
    let width = usize::from(width) + 1;
    let rest = width.saturating_sub(layout.width());
    if rest >= LEAST_ERROR_WIDTH {
        let errors = column_of_errors(all, u16::try_from(rest).ok());
        return layout.lines(all, &errors, colour);
    }
    let mut has_index = true;
    while layout.width() > width {
        let least = (shown.iter().enumerate())
            .filter(|(_, column)| column.dispensable > 0)
            .max_by_key(|(_, column)| column.dispensable);
        if let Some((place, _)) = least {
            shown.remove(place);
        } else if has_index {
            has_index = false;
        } else {
            break;
        }
        layout = Layout::new(all, &shown, has_index, None);
    }
    if layout.width() > width {
        let excess = layout.width() - width;
        let longest = all.iter().map(|lane| lane.pattern.chars().count()).max();
        let most = longest.unwrap_or_default().saturating_sub(excess);
        layout = Layout::new(all, &shown, has_index, Some(most.max(LEAST_PATTERN)));
    }
    let nothing = vec![String::new(); all.len() + 1];
    let rows = layout.lines(all, &nothing, colour);
    let mut lines = Vec::new();
    for (number, row) in rows.into_iter().enumerate() {
        lines.push(row);
        let lane = number.checked_sub(1).and_then(|number| all.get(number));
        if let Some(lane) = lane.filter(|lane| lane.last_error.is_some()) {
            lines.extend(wrapped(&one_line(last_error(lane)), width - 1));
        }
    }
    lines
}

/// The columns of a table, apart from the last errors; each with a line for the header first.
struct Layout {
    names: Vec<String>,
    condition: Vec<String>,
    numbers: Vec<String>,
}

impl Layout {
    fn new(
        all: &[DestinationStatus],
        shown: &[&Column],
        has_index: bool,
        most_pattern: Option<usize>,
    ) -> Self {
        let names: Vec<Vec<String>> = all
            .iter()
            .map(|lane| {
                let index = has_index.then(|| lane.index.to_string());
                let names = [
                    Some(lane.provider.clone()),
                    index,
                    Some(cut(&lane.pattern, most_pattern)),
                ];
                names.into_iter().flatten().collect()
            })
            .collect();
        let names = if has_index {
            columns(&["provider", "index", "pattern"], &[1], names, None)
        } else {
            columns(&["provider", "pattern"], &[], names, None)
        };
        let condition = all.iter().map(|lane| vec![lane.state.clone()]).collect();
        let header: Vec<&str> = shown.iter().map(|column| column.name).collect();
        let right: Vec<usize> = (0..shown.len()).collect();
        let numbers = all.iter().map(|lane| {
            let texts = shown.iter().map(|column| (column.of)(lane));
            texts
                .map(|text| text.unwrap_or_else(|| "-".to_owned()))
                .collect()
        });
        Self {
            names,
            condition: columns(&["state"], &[], condition, None),
            numbers: columns(&header, &right, numbers.collect(), None),
        }
    }

    /// Every line is as wide as its header, which is ASCII.
    fn width(&self) -> usize {
        [&self.names, &self.condition, &self.numbers]
            .iter()
            .filter_map(|lines| lines.first())
            .map(String::len)
            .sum()
    }

    fn lines(&self, all: &[DestinationStatus], errors: &[String], colour: bool) -> Vec<String> {
        let bold = Style::new().bold();
        (errors.iter().enumerate())
            .map(|(line, error)| {
                let lane = line.checked_sub(1).and_then(|row| all.get(row));
                let (whole, state) = match lane {
                    _ if !colour => (Style::new(), Style::new()),
                    None => (bold, Style::new()),
                    Some(lane) => (Style::new(), style_of(&lane.state)),
                };
                let text = format!(
                    "{}{state}{}{state:#}{}{error}",
                    self.names[line], self.condition[line], self.numbers[line]
                );
                format!("{whole}{}{whole:#}", without_margins(&text))
            })
            .collect()
    }
}

fn column_of_errors(all: &[DestinationStatus], width: Option<u16>) -> Vec<String> {
    let errors = all.iter().map(|lane| vec![last_error(lane)]).collect();
    columns(&["last error"], &[], errors, width)
}

/// A text below a row, wrapped at words to this width and cut after a few lines.
fn wrapped(text: &str, width: usize) -> Vec<String> {
    let room = width.saturating_sub(INDENT.len()).max(1);
    let mut lines = vec![String::new()];
    let mut used = 0;
    for word in text.split(' ') {
        let mut letters: Vec<char> = word.chars().collect();
        if used > 0 && used + 1 + letters.len() > room {
            lines.push(String::new());
            used = 0;
        } else if used > 0 {
            lines.last_mut().into_iter().for_each(|line| line.push(' '));
            used += 1;
        }
        while letters.len() > room {
            let rest = letters.split_off(room);
            lines
                .last_mut()
                .into_iter()
                .for_each(|line| line.extend(&letters));
            lines.push(String::new());
            letters = rest;
        }
        used += letters.len();
        lines
            .last_mut()
            .into_iter()
            .for_each(|line| line.extend(&letters));
    }
    if lines.len() > MOST_ERROR_LINES {
        lines.truncate(MOST_ERROR_LINES);
        if let Some(last) = lines.last_mut() {
            let kept: String = last.chars().take(room.saturating_sub(3)).collect();
            *last = format!("{kept}...");
        }
    }
    lines
        .into_iter()
        .map(|line| format!("{INDENT}{line}"))
        .collect()
}

const INDENT: &str = "    ";

/// The most lines of an error; more would fill the screen.
const MOST_ERROR_LINES: usize = 3;

/// The least useful width of an error.
const LEAST_ERROR_WIDTH: usize = 16;

/// The least width of a pattern: a column is never narrower than its header.
const LEAST_PATTERN: usize = "pattern".len();

/// A text, cut if it is too long.
fn cut(text: &str, most: Option<usize>) -> String {
    match most {
        Some(most) if text.chars().count() > most => {
            let kept: String = text.chars().take(most.saturating_sub(1)).collect();
            format!("{kept}…")
        }
        _ => text.to_owned(),
    }
}

/// How long ago an error happened, and the error; in this order because the end of a long line is cut.
fn last_error(lane: &DestinationStatus) -> String {
    match (&lane.last_error, lane.last_error_age_s) {
        (None, _) => "-".to_owned(),
        (Some(error), None) => error.clone(),
        (Some(error), Some(seconds)) => format!("{} ago: {error}", age(seconds)),
    }
}

/// A column of numbers, or of ages.
struct Column {
    name: &'static str,
    /// Shown even if no destination has a value.
    always: bool,
    /// In a narrow terminal the column with the largest number is left out first; one with 0 stays.
    dispensable: u8,
    of: fn(&DestinationStatus) -> Option<String>,
}

const fn column(
    name: &'static str,
    always: bool,
    dispensable: u8,
    of: fn(&DestinationStatus) -> Option<String>,
) -> Column {
    Column {
        name,
        always,
        dispensable,
        of,
    }
}

/// Rare numbers have a column only if there are any, so that the table stays narrow.
const NUMBERS: [Column; 17] = [
    column("received", true, 1, |lane| Some(lane.received.to_string())),
    column("accepted", true, 2, |lane| Some(lane.accepted.to_string())),
    column("queued", true, 0, |lane| Some(lane.queued.to_string())),
    column("waiting", false, 0, |lane| {
        more_than_none(lane.waiting_for_room)
    }),
    column("on disk", true, 5, |lane| text(lane.queued_on_disk)),
    column("retrying", true, 6, |lane| text(lane.retrying)),
    column("in flight", true, 7, |lane| text(lane.in_flight)),
    column("dead", true, 0, |lane| Some(lane.dead_lettered.to_string())),
    column("dead dropped", false, 0, |lane| {
        more_than_none(lane.dead_letters_dropped)
    }),
    column("dropped", true, 0, |lane| Some(lane.dropped.to_string())),
    column("repeats", false, 0, |lane| {
        more_than_none(lane.deduplicated)
    }),
    column("filtered", false, 0, |lane| more_than_none(lane.filtered)),
    column("filter faults", false, 0, |lane| {
        more_than_none(lane.filter_faults)
    }),
    column("damaged", false, 0, |lane| more_than_none(lane.damaged)),
    column("lost", false, 0, |lane| more_than_none(lane.lost)),
    column("oldest", true, 4, |lane| lane.oldest_age_s.map(age)),
    column("next try", false, 3, |lane| {
        let wait = age(lane.next_attempt_s?);
        let asked = lane.paused_by.as_deref() == Some("plugin");
        Some(if asked {
            format!("{wait} (asked)")
        } else {
            wait
        })
    }),
];

fn text(number: Option<u64>) -> Option<String> {
    number.map(|number| number.to_string())
}

fn more_than_none(number: u64) -> Option<String> {
    (number > 0).then(|| number.to_string())
}

fn style_of(state: &str) -> Style {
    let colour = match state {
        "connected" => AnsiColor::Green,
        "connecting" | "disconnected" => AnsiColor::Yellow,
        "failed" => AnsiColor::Red,
        _ => return Style::new(),
    };
    Style::new().fg_color(Some(colour.into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn status(json: &str) -> Status {
        serde_json::from_str(json).expect("it is an answer")
    }

    #[test]
    fn the_table_shows_what_a_host_of_this_version_and_of_others_says() {
        let status = status(
            r#"{"host": {"pid": 7, "new": 1}, "destinations": [
                {"provider": "kafka", "index": 0, "pattern": "idem-*", "state": "connected",
                 "received": 1200, "accepted": 1000, "dead_lettered": 1, "dropped": 0, "queued": 199,
                 "retries": 3, "instances": 1, "last_error": null},
                {"provider": "pika", "index": 1, "pattern": "*", "state": "failed", "received": 1,
                 "queued": 1, "queued_on_disk": 1, "retrying": 1, "in_flight": 0, "oldest_age_s": 3723.4,
                 "generation": 2, "damaged": 0, "last_error": "no route\nto host"}]}"#,
        );
        assert_eq!(
            table(&status, None, false),
            [
                "PROVIDER  INDEX  PATTERN  STATE      RECEIVED  ACCEPTED  QUEUED  ON DISK  RETRYING  IN FLIGHT  DEAD  DROPPED  OLDEST  LAST ERROR",
                "kafka         0  idem-*   connected      1200      1000     199        -         -          -     1        0       -  -",
                r"pika          1  *        failed            1         0       1        1         1          0     0        0  1h2m3s  no route\nto host",
            ]
        );
        let coloured = table(&status, None, true);
        assert!(
            coloured[1].contains("\x1b[32m connected \x1b[0m"),
            "{coloured:?}"
        );
        assert!(
            coloured[2].contains("\x1b[31m failed    \x1b[0m"),
            "{coloured:?}"
        );
    }

    #[test]
    fn what_happens_seldom_has_a_column_only_where_it_did() {
        let status = status(
            r#"{"destinations": [
                {"provider": "kafka", "pattern": "*", "state": "connected", "received": 5, "damaged": 2, "lost": 3, "waiting_for_room": 7},
                {"provider": "pika", "pattern": "*", "state": "failed", "next_attempt_s": 12.4, "paused_by": "host",
                 "last_error": "no route to host", "last_error_age_s": 75.2},
                {"provider": "file", "pattern": "*", "state": "connected", "next_attempt_s": 0.5, "paused_by": "plugin"}]}"#,
        );
        let lines: Vec<String> = (table(&status, None, false).iter())
            .map(|line| line.split_whitespace().collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(
            lines,
            [
                "PROVIDER INDEX PATTERN STATE RECEIVED ACCEPTED QUEUED WAITING ON DISK RETRYING IN FLIGHT DEAD DROPPED \
                 DAMAGED LOST OLDEST NEXT TRY LAST ERROR",
                "kafka 0 * connected 5 0 0 7 - - - 0 0 2 3 - - -",
                "pika 0 * failed 0 0 0 - - - - 0 0 - - - 12s 1m15s ago: no route to host",
                "file 0 * connected 0 0 0 - - - - 0 0 - - - 0.5s (asked) -",
            ]
        );
    }

    #[test]
    fn the_last_error_is_cut_to_the_terminals_width() {
        let status = status(
            r#"{"destinations": [{"provider": "p", "pattern": "*", "state": "failed",
                "last_error": "no route to host, and a long story why that may be so"}]}"#,
        );
        let lines = table(&status, Some(130), false);
        assert_eq!(lines.len(), 2);
        assert!(
            lines.iter().all(|line| line.chars().count() <= 130),
            "{lines:?}"
        );
        assert!(lines[1].contains("no route to"), "{lines:?}");
    }

    #[test]
    fn a_narrow_terminal_shows_what_went_wrong_and_leaves_out_what_says_less() {
        let status = status(
            r#"{"destinations": [
                {"provider": "rabbitmq", "index": 12, "pattern": "idem-status-and-more", "state": "disconnected",
                 "received": 1234567, "accepted": 1234000, "queued": 567, "queued_on_disk": 500, "retrying": 3,
                 "in_flight": 64, "dead_lettered": 123, "dead_letters_dropped": 4, "dropped": 77, "oldest_age_s": 90.0,
                 "next_attempt_s": 12.0, "last_error_age_s": 75.2,
                 "last_error": "the broker at rabbit.example.com refused the login of user events: ACCESS_REFUSED, and says\nmore"},
                {"provider": "file", "pattern": "*", "state": "connected"}]}"#,
        );
        for width in [40, 60, 80, 100, 120, 132, 160, 200] {
            let lines = table(&status, Some(width), false);
            let text = lines.join("\n");
            if width >= 80 {
                let longest = lines.iter().map(|line| line.chars().count()).max();
                assert!(longest <= Some(usize::from(width)), "{width}:\n{text}");
            }
            for shown in [
                "QUEUED",
                "DEAD",
                "DEAD DROPPED",
                "DROPPED",
                "123",
                "77",
                "disconnected",
            ] {
                assert!(text.contains(shown), "{shown} at {width}:\n{text}");
            }
            let said = text.split_whitespace().collect::<Vec<_>>().join(" ");
            assert!(said.contains("1m15s ago: the broker"), "{width}:\n{text}");
            if (40..160).contains(&width) {
                assert!(said.contains("ACCESS_REFUSED"), "{width}:\n{text}");
            }
        }
        assert_eq!(
            table(&status, Some(80), false)[1..],
            [
                "rabbitmq  idem-status-and-m…  disconnected     567   123             4       77",
                "    1m15s ago: the broker at rabbit.example.com refused the login of user",
                "    events: ACCESS_REFUSED, and says\\nmore",
                "file      *                   connected          0     0             -        0",
            ]
        );
        // A terminal that is wide enough shows the same table as a file.
        let wide = table(&status, Some(300), false);
        assert_eq!(wide, table(&status, None, false));
    }

    #[test]
    fn a_long_text_is_wrapped_at_words_and_cut_in_the_end() {
        assert_eq!(wrapped("a bc def", 10), ["    a bc", "    def"]);
        assert_eq!(wrapped("abcdefghij", 8), ["    abcd", "    efgh", "    ij"]);
        let cut = wrapped(&"word ".repeat(20), 14);
        assert_eq!(cut, ["    word word", "    word word", "    word wo..."]);
    }
}
