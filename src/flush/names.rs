//! Names of collections: which one a chat's document belongs to.
//!
//! App and workflow stand in the name as they are, but for what a name of a collection may not
//! hold: `$`, control characters and a dot at the end become `%` and two hex digits a byte, and so
//! does `%`. A name that gets too long is cut and ends in `~` and a digest of the whole. Two pairs
//! may still come to one name (`a_b` with `c`, and `a` with `b_c`): they share the collection, and
//! each document says whose it is.

use std::borrow::Cow;
use std::fmt::Write as _;

use crate::model::NameRule;

/// The longest namespace, `DATABASE.COLLECTION`, in bytes (MongoDB 4.4 and later).
const MAX_NAMESPACE_BYTES: usize = 255;
/// The longest name of a collection, in bytes (`FerretDB`).
const MAX_COLLECTION_BYTES: usize = 235;

/// Stands for the app in a template.
const APP: &str = "{app}";
/// Stands for the workflow in a template.
const WORKFLOW: &str = "{workflow}";

/// Why a text is no name of a collection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no name of a collection: {problem}")]
pub struct NameError {
    text: String,
    problem: &'static str,
}

/// A name of collections with places for app and workflow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template(String);

impl Template {
    /// Reads a name; `{app}` and `{workflow}` may stand in it.
    pub fn parse(text: &str) -> Result<Self, NameError> {
        let filled = text.replace(APP, "a").replace(WORKFLOW, "w");
        if filled.contains(['{', '}']) {
            let problem = "only {app} and {workflow} may stand in braces";
            return Err(NameError { text: text.to_owned(), problem });
        }
        // As if the places were empty, so that nothing that is filled in decides.
        let fixed = text.replace(APP, "").replace(WORKFLOW, "");
        if text.starts_with('{') {
            let problem = "it must begin with a text of its own";
            return Err(NameError { text: text.to_owned(), problem });
        }
        check(text, &filled)?;
        if fixed.len() > MAX_COLLECTION_BYTES / 2 {
            return Err(NameError { text: text.to_owned(), problem: "it is too long" });
        }
        Ok(Self(text.to_owned()))
    }

    /// The name for that app and workflow in that database.
    pub fn fill(&self, database: &str, app_id: &str, workflow_name: &str) -> String {
        let room = MAX_NAMESPACE_BYTES.saturating_sub(database.len() + 1);
        let room = room.min(MAX_COLLECTION_BYTES);
        let mut name = String::new();
        let mut rest = self.0.as_str();
        while let Some(at) = rest.find('{') {
            let (before, place) = rest.split_at(at);
            name.push_str(before);
            let (filling, after) = match place.strip_prefix(APP) {
                Some(after) => (app_id, after),
                None => (workflow_name, place.strip_prefix(WORKFLOW).unwrap_or_default()),
            };
            push_escaped(&mut name, filling);
            rest = after;
        }
        name.push_str(rest);
        if let Some(cut) = name.strip_suffix('.') {
            name = format!("{cut}%2E");
        }
        NameRule::new(room).bound(Cow::Owned(name)).into_owned()
    }

    /// Whether chats of all apps and workflows come to this one name.
    pub fn is(&self, name: &str) -> bool {
        self.0 == name
    }
}

/// Looks through the name of a collection.
pub fn check_collection(name: &str) -> Result<(), NameError> {
    check(name, name)
}

fn check(text: &str, name: &str) -> Result<(), NameError> {
    let problem = if name.is_empty() {
        "it is empty"
    } else if name.contains(['$', '\0']) {
        "it must not contain $ or NUL"
    } else if name.starts_with("system.") || name.starts_with('.') || name.ends_with('.') {
        "it must not begin with `system.` or a dot, nor end in one"
    } else if name.len() > MAX_COLLECTION_BYTES {
        "it is too long"
    } else {
        return Ok(());
    };
    Err(NameError { text: text.to_owned(), problem })
}

fn push_escaped(name: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() || matches!(c, '$' | '%') {
            let mut bytes = [0; 4];
            for byte in c.encode_utf8(&mut bytes).bytes() {
                // Writing to a string cannot fail.
                write!(name, "%{byte:02X}").ok();
            }
        } else {
            name.push(c);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn stats() -> Template {
        Template::parse("workflow_stats_{app}_{workflow}").unwrap()
    }

    #[test]
    fn names_are_as_the_documents_have_them() {
        let fill = |app, workflow| stats().fill("MozaiksAI", app, workflow);
        assert_eq!(fill("acme_corp", "Generator"), "workflow_stats_acme_corp_Generator");
        assert_eq!(fill("acme", "Report.Builder v2"), "workflow_stats_acme_Report.Builder v2");
        assert_eq!(fill("a$b", "100%\0"), "workflow_stats_a%24b_100%25%00");
        assert_eq!(fill("", "."), "workflow_stats__%2E");
        assert_eq!(fill("{workflow}", "{app}"), "workflow_stats_{workflow}_{app}");
    }

    #[test]
    fn long_names_are_cut_and_stay_apart() {
        let fill = |end: &str| stats().fill(&"d".repeat(63), &"ü".repeat(200), end);
        let (one, two) = (fill("1"), fill("2"));
        assert_ne!(one, two);
        assert!(one.len() + 64 <= MAX_NAMESPACE_BYTES, "{one}");
    }

    #[test]
    fn wrong_templates_are_refused() {
        for (text, problem) in [
            ("", "empty"),
            ("{app}", "text of its own"),
            ("a{b}", "in braces"),
            ("a}{app}", "in braces"),
            ("system.{app}", "system."),
            ("a$", "$"),
            (".a", "dot"),
            ("a.", "dot"),
        ] {
            let error = Template::parse(text).unwrap_err().to_string();
            assert!(error.contains(problem), "{text}: {error}");
        }
        assert!(check_collection("chat_sessions").is_ok());
    }

    proptest! {
        #[test]
        fn any_pair_has_a_name_that_the_server_takes(app in ".{0,300}", workflow in ".{0,300}") {
            let name = stats().fill("MozaiksAI", &app, &workflow);
            prop_assert!(check_collection(&name).is_ok(), "{}", name);
            prop_assert!(name.len() + "MozaiksAI.".len() <= MAX_NAMESPACE_BYTES);
        }
    }
}
