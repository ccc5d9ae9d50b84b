//! The reference of all families for people, made from the definitions that render them.

use std::fmt::Write as _;

use super::catalogue;
use super::exposition::Type;
use super::family::Definition;

/// `docs/metrics.md`.
#[expect(clippy::missing_panics_doc, reason = "writing to memory does not fail")]
pub fn reference() -> String {
    let mut text = String::from(
        "# Metrics\n\n\
         Made from the definitions in `src/metrics` by `UPDATE_GOLDEN=1 cargo test --lib`; \
         do not edit.\n\n\
         `runtime` stands in brackets where it is a label only while more than one runtime is \
         configured. Second names can be switched off with `--compat=false`.\n\n\
         | name | type | labels | what it is |\n| --- | --- | --- | --- |\n",
    );
    for family in catalogue() {
        row(&mut text, family).expect("writing to memory does not fail");
    }
    text.push_str("\n## Histograms\n\n| name | upper bounds |\n| --- | --- |\n");
    for family in catalogue() {
        if let Type::Histogram(bounds) = family.kind() {
            let bounds: Vec<String> = bounds.iter().map(ToString::to_string).collect();
            writeln!(text, "| `{}` | {} |", family.name(), bounds.join(", "))
                .expect("writing to memory does not fail");
        }
    }
    text
}

fn row(text: &mut String, family: &dyn Definition) -> std::fmt::Result {
    let mut labels: Vec<String> =
        family.labels().iter().map(|label| format!("`{label}`")).collect();
    if family.is_by_runtime() {
        labels.insert(0, "(`runtime`)".into());
    }
    let (name, kind, help) = (family.name(), family.kind().name(), family.help());
    writeln!(text, "| `{name}` | {kind} | {} | {help} |", labels.join(", "))
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_reference_is_in_step() {
        let path = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/metrics.md");
        let text = super::reference();
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(path, &text).unwrap();
        }
        let kept = std::fs::read_to_string(path).unwrap_or_default();
        assert!(kept == text, "docs/metrics.md is out of step: UPDATE_GOLDEN=1 cargo test --lib");
    }
}
