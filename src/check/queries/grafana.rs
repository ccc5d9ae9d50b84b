//! Grafana's variables in queries, before anybody chooses.

/// Stands for whatever a variable may be, where a name is wanted: no metric and no label has it.
pub(super) const ANYTHING: &str = "grafana_variable";
/// Stands for a duration.
const DURATION: &str = "5m";
/// What names of labels stand behind.
const LISTS: [&str; 6] = ["by", "without", "on", "ignoring", "group_left", "group_right"];

/// What is around a variable.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Around {
    /// Brackets of a range.
    Range,
    /// Braces of matchers, or a list of labels.
    Labels,
    /// Brackets of a call, or nothing.
    Other,
}

/// The query with something in the place of each variable. Where it could be a number or the name
/// of a metric, there are two.
pub(super) fn filled_in(query: &str) -> Vec<String> {
    if !query.contains('$') && !query.contains("[[") {
        return vec![query.to_owned()];
    }
    let (as_number, as_name) = (fill(query, "1"), fill(query, ANYTHING));
    if as_number == as_name { vec![as_number] } else { vec![as_number, as_name] }
}

fn fill(query: &str, otherwise: &str) -> String {
    let mut out = String::with_capacity(query.len());
    let mut around = vec![Around::Other];
    let mut quote: Option<char> = None;
    let mut rest = query;
    while let Some(c) = rest.chars().next() {
        if let Some((variable, after)) = variable(rest) {
            let inner = around.last().copied().unwrap_or(Around::Other);
            out.push_str(match (quote, inner) {
                (Some(_), _) => "x",
                (None, Around::Range) => DURATION,
                (None, Around::Labels) => ANYTHING,
                (None, Around::Other) => elsewhere(variable, &out, after, otherwise),
            });
            rest = after;
            continue;
        }
        let (head, after) = rest.split_at(c.len_utf8());
        match quote {
            Some(_) if c == '\\' => {
                let escaped = after.chars().next().map_or(0, char::len_utf8);
                let (escaped, after) = after.split_at(escaped);
                out.push(c);
                out.push_str(escaped);
                rest = after;
                continue;
            }
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None => match c {
                '"' | '\'' | '`' => quote = Some(c),
                '[' => around.push(Around::Range),
                '{' => around.push(Around::Labels),
                '(' => around.push(if is_list(&out) { Around::Labels } else { Around::Other }),
                ']' | '}' | ')' if around.len() > 1 => {
                    around.pop();
                }
                _ => {}
            },
        }
        out.push_str(head);
        rest = after;
    }
    out
}

/// What stands for a variable outside of strings, ranges and labels.
fn elsewhere<'a>(variable: &str, before: &str, after: &str, otherwise: &'a str) -> &'a str {
    let is_word = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == ':';
    if before.trim_end().ends_with("offset") || matches!(variable, "__range" | "__rate_interval") {
        return DURATION;
    }
    if variable.starts_with("__") {
        return "1";
    }
    let is_name =
        before.ends_with(is_word) || after.starts_with(is_word) || after.starts_with(['{', '[']);
    if is_name { ANYTHING } else { otherwise }
}

fn is_list(before: &str) -> bool {
    let before = before.trim_end();
    let word = before.rsplit(|c: char| !c.is_ascii_alphanumeric() && c != '_').next();
    word.is_some_and(|word| LISTS.iter().any(|list| list.eq_ignore_ascii_case(word)))
}

/// The variable that a text begins with, and what comes behind: `$name`, `${name:format}`,
/// `[[name:format]]`.
fn variable(text: &str) -> Option<(&str, &str)> {
    let named = |inside: &str| {
        inside.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && inside.chars().all(|c| c.is_alphanumeric() || "_.:-".contains(c))
    };
    let closed = [("${", "}"), ("[[", "]]")].into_iter().find_map(|(open, close)| {
        let (inside, after) = text.strip_prefix(open)?.split_once(close)?;
        named(inside).then(|| (inside.split(':').next().unwrap_or(inside), after))
    });
    closed.or_else(|| {
        let name = text.strip_prefix('$')?;
        let end = name.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(name.len());
        let (name, after) = name.split_at(end);
        let begins = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_');
        begins.then_some((name, after))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variables_become_what_their_place_wants() {
        for (query, filled) in [
            (
                r#"rate(a{job=~"$job",b="${b:regex}"}[$__rate_interval])"#,
                r#"rate(a{job=~"x",b="x"}[5m])"#,
            ),
            ("sum by ($group, c) (a) * $__range_s", "sum by (grafana_variable, c) (a) * 1"),
            ("max_over_time(a[$w:[[step]]] offset $by)", "max_over_time(a[5m:5m] offset 5m)"),
            ("topk($n, a{$label=\"b\"})", "topk(1, a{grafana_variable=\"b\"})"),
            (
                "rate(${metric}[5m]) + ${metric}_total",
                "rate(grafana_variable[5m]) + grafana_variable_total",
            ),
            ("a{b=~\"[[:alpha:]]$|\\\"$\"}", "a{b=~\"[[:alpha:]]$|\\\"$\"}"),
        ] {
            assert_eq!(filled_in(query)[0], filled, "{query}");
        }
        assert_eq!(filled_in("sum($metric)")[1], "sum(grafana_variable)");
    }
}
