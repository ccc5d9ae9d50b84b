//! Durations of rules in a hurry.

use promql_parser::util::parse_duration;

/// What stands right before a duration: of a range or its step, an offset, a time to wait.
const BEFORE: [&str; 6] =
    ["[", "offset ", " for: ", "keep_firing_for: ", "interval: ", "group_wait: "];

/// Divides every duration: in brackets, after `offset`, and behind the keys that take one.
pub(super) fn divided(text: &str, by: u32) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(|c: char| c.is_ascii_digit()) {
        let (before, from) = rest.split_at(at);
        out.push_str(before);
        let end = from.find(|c: char| !c.is_ascii_alphanumeric()).unwrap_or(from.len());
        let (token, after) = from.split_at(end);
        match milliseconds(token).filter(|_| is_awaited(&out)) {
            Some(duration) => {
                out.push_str(&(duration / u128::from(by)).max(1).to_string());
                out.push_str("ms");
            }
            None => out.push_str(token),
        }
        rest = after;
    }
    out + rest
}

/// Whether a duration belongs behind this.
fn is_awaited(before: &str) -> bool {
    // The step of a subquery stands behind its range.
    let is_step = before.ends_with(':')
        && before.rsplit_once('[').is_some_and(|(_, inside)| !inside.contains([']', '\n']));
    is_step || BEFORE.iter().any(|wanted| before.ends_with(wanted))
}

/// No wait is none in a hurry, either.
fn milliseconds(token: &str) -> Option<u128> {
    if token.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    parse_duration(token).ok().map(|duration| duration.as_millis()).filter(|ms| *ms > 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_divided_and_nothing_else() {
        let rule = "\
- expr: sum(rate(x{le=~\"5([.]0)?\",m=\"gpt-4h\"}[5m] offset 1h)) / max_over_time(y[1d:5m]) > 60
  for: 15m
  keep_firing_for: 1h30m
  group_wait: 0s
  annotations: {summary: 'more than 60 in 5m'}";
        let hurried = "\
- expr: sum(rate(x{le=~\"5([.]0)?\",m=\"gpt-4h\"}[5000ms] offset 60000ms)) / \
max_over_time(y[1440000ms:5000ms]) > 60
  for: 15000ms
  keep_firing_for: 90000ms
  group_wait: 0s
  annotations: {summary: 'more than 60 in 5m'}";
        assert_eq!(divided(rule, 60), hurried);
        assert_eq!(divided("[1s]", 5_000), "[1ms]", "never nothing");
    }
}
