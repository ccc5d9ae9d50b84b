//! Labels of all samples: what Prometheus would have added, had it scraped them.

use std::fmt::Write as _;

use super::BackfillError;
use crate::metrics;

/// Reads `NAME=VALUE`s into what stands between the braces of a series.
pub(super) fn read(given: &[String]) -> Result<String, BackfillError> {
    let mut out = String::new();
    let mut seen: Vec<&str> = Vec::new();
    for text in given {
        let wrong = |wanted| BackfillError::Label { text: text.clone(), wanted };
        let (name, value) = text.split_once('=').ok_or_else(|| wrong("it is NAME=VALUE"))?;
        let is_name = name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_')
            && name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
            && !name.starts_with("__");
        if !is_name {
            return Err(wrong("a name has letters, digits and underscores"));
        }
        if seen.contains(&name) {
            return Err(wrong("the name is given twice"));
        }
        let is_own = |family: &&dyn metrics::Definition| family.labels().contains(&name);
        if name == "le" || name == "runtime" || metrics::catalogue().any(|family| is_own(&family)) {
            return Err(wrong("metrics have a label of that name already"));
        }
        if value.is_empty() {
            return Err(wrong("a label without a value is none"));
        }
        seen.push(name);
        let value = value.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n");
        let comma = if out.is_empty() { "" } else { "," };
        // A string takes whatever is written to it.
        write!(out, "{comma}{name}=\"{value}\"").ok();
    }
    Ok(out)
}

/// A series with these labels before its own.
pub(super) fn with(series: &str, labels: &str) -> String {
    match series.split_once('{') {
        _ if labels.is_empty() => series.to_owned(),
        Some((name, own)) => format!("{name}{{{labels},{own}"),
        None => format!("{series}{{{labels}}}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_stand_before_a_series_own() {
        let given = ["job=mozaiksai", "instance=a \\ \"b\" = c"].map(str::to_owned);
        let labels = read(&given).unwrap();
        assert_eq!(labels, r#"job="mozaiksai",instance="a \\ \"b\" = c""#);
        assert_eq!(with(r#"x{l="{"}"#, "a=\"b\""), r#"x{a="b",l="{"}"#);
        assert_eq!(with("x", "a=\"b\""), r#"x{a="b"}"#);
        assert_eq!(with("x{l=\"m\"}", &read(&[]).unwrap()), "x{l=\"m\"}");
    }

    #[test]
    fn what_is_no_label_is_refused() {
        for bad in ["job", "=x", "1a=x", "a-b=x", "__name__=x", "job=", "app_id=x", "le=5"] {
            let said = read(&[bad.to_owned()]).unwrap_err().to_string();
            assert!(said.starts_with(&format!("--label cannot be {bad:?}: ")), "{said}");
        }
        assert!(read(&["a=b".to_owned(), "a=c".to_owned()]).is_err());
    }
}
