//! Python's `repr` of a model's answer, which is how AG2's text log keeps it.
//!
//! ```text
//! ChatCompletion(id='chatcmpl-1', choices=[Choice(… content='usage=…' …)], model='gpt-4o-mini', …
//!     usage=CompletionUsage(completion_tokens=340, prompt_tokens=1200, total_tokens=1540, …))
//! ```
//!
//! The answer itself stands in the middle of it, and may hold anything, also what is looked for
//! here. So strings are skipped as Python writes them, and a field counts at its depth alone.

/// What was found.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Found<'a> {
    /// As it stands between its quotes.
    pub(super) model: Option<&'a str>,
    pub(super) prompt_tokens: Option<&'a str>,
    pub(super) completion_tokens: Option<&'a str>,
}

#[derive(Debug, PartialEq, Eq)]
enum Token<'a> {
    Open,
    Close,
    Equals,
    /// A name, a number, or `None`.
    Word(&'a str),
    /// What stands between quotes, escapes and all.
    Text(&'a str),
    Other,
}

/// Reads a repr from its beginning to its end, once.
pub(super) fn find(text: &str) -> Found<'_> {
    let mut found = Found::default();
    let (mut rest, mut depth, mut in_usage) = (text, 0_usize, false);
    // The word before this one, and the key whose value comes now.
    let (mut word, mut key) = (None, None);
    while let Some((token, after)) = next(rest) {
        rest = after;
        match token {
            Token::Open => {
                depth += 1;
                in_usage |= depth == 2 && key == Some("usage");
            }
            Token::Close => {
                in_usage &= depth != 2;
                depth = depth.saturating_sub(1);
            }
            Token::Text(text) if depth == 1 && key == Some("model") => {
                found.model.get_or_insert(text);
            }
            Token::Word(value) if depth == 2 && in_usage && key.is_some() => {
                let place = match key {
                    Some("prompt_tokens") => &mut found.prompt_tokens,
                    Some("completion_tokens") => &mut found.completion_tokens,
                    _ => &mut None,
                };
                if value != "None" {
                    place.get_or_insert(value);
                }
            }
            Token::Word(_) | Token::Equals | Token::Text(_) | Token::Other => {}
        }
        (word, key) = match token {
            // `usage=CompletionUsage(`: the name of the class does not end the key.
            Token::Word(this) => (Some(this), key),
            Token::Equals => (None, word),
            Token::Open | Token::Close | Token::Text(_) | Token::Other => (None, None),
        };
    }
    found
}

/// The next token and what comes after it.
fn next(text: &str) -> Option<(Token<'_>, &str)> {
    let text = text.trim_start_matches(' ');
    let mut chars = text.chars();
    let token = match chars.next()? {
        '(' | '[' | '{' => Token::Open,
        ')' | ']' | '}' => Token::Close,
        '=' => Token::Equals,
        quote @ ('\'' | '"') => {
            let (inner, rest) = quoted(chars.as_str(), quote);
            return Some((Token::Text(inner), rest));
        }
        first if is_word(first) => {
            let end = text.find(|c| !is_word(c)).unwrap_or(text.len());
            let (word, rest) = text.split_at(end);
            return Some((Token::Word(word), rest));
        }
        _ => Token::Other,
    };
    Some((token, chars.as_str()))
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '_' | '.' | '-' | '+')
}

/// What stands up to the closing quote, and what comes after that.
fn quoted(text: &str, quote: char) -> (&str, &str) {
    let mut escaped = false;
    let end = text.find(|c| {
        let ends = !escaped && c == quote;
        escaped = !escaped && c == '\\';
        ends
    });
    let (inner, rest) = text.split_at(end.unwrap_or(text.len()));
    (inner, rest.strip_prefix(quote).unwrap_or(rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const USAGE: &str = "usage=CompletionUsage(completion_tokens=340, prompt_tokens=1200, \
                         total_tokens=1540, completion_tokens_details=None, \
                         prompt_tokens_details=Details(prompt_tokens=9, audio=1))";

    fn repr(content: &str) -> String {
        format!(
            "ChatCompletion(id='chatcmpl-1', choices=[Choice(finish_reason='stop', \
             message=ChatCompletionMessage(content={content}, model='inner', \
             usage=X(prompt_tokens=1), role='assistant'))], created=1, model='gpt-4o', {USAGE})"
        )
    }

    fn expected() -> Found<'static> {
        Found { model: Some("gpt-4o"), prompt_tokens: Some("1200"), completion_tokens: Some("340") }
    }

    #[test]
    fn an_answer_that_looks_like_usage_is_no_usage() {
        for content in [
            "None",
            "'ok'",
            "\", model='x', usage=CompletionUsage(completion_tokens=1, prompt_tokens=2)\"",
            "'), model=\"x\", usage=CompletionUsage(completion_tokens=1, prompt_tokens=2)'",
            r"'it\'s), model=\'x\', usage=CompletionUsage(prompt_tokens=2)'",
            r"'ends with a backslash \\'",
            r"'\\\'), usage=CompletionUsage(prompt_tokens=2)'",
            "'[[[((({{{'",
        ] {
            assert_eq!(find(&repr(content)), expected(), "{content}");
        }
    }

    #[test]
    fn usage_that_is_not_there_is_not_found() {
        let none = find("ChatCompletion(model='m', usage=None)");
        assert_eq!(none, Found { model: Some("m"), ..Found::default() });
        for text in ["", "None", "error_code:429, config 0 failed", "'", "usage=X(prompt_tokens=1)"]
        {
            assert_eq!(find(text), Found::default(), "{text}");
        }
        let torn = find("ChatCompletion(model='m', usage=X(prompt_tokens=12, completion_tok");
        assert_eq!(torn.prompt_tokens, Some("12"));
        let nulls = find("C(model=None, usage=U(prompt_tokens=None, completion_tokens=3))");
        assert_eq!(nulls, Found { completion_tokens: Some("3"), ..Found::default() });
    }

    /// As Python writes a string.
    fn python(text: &str) -> String {
        let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
        let mut quoted = String::from(quote);
        for c in text.chars() {
            match c {
                '\\' => quoted.push_str("\\\\"),
                '\n' => quoted.push_str("\\n"),
                c if c == quote => quoted.extend(['\\', c]),
                c => quoted.push(c),
            }
        }
        quoted.push(quote);
        quoted
    }

    proptest! {
        #[test]
        fn any_text_is_read(text in ".*|[()\\[\\]{}='\"\\\\, a-z0-9]*") {
            find(&text);
        }

        #[test]
        fn no_answer_is_taken_for_usage(
            text in ".*|([()\\[\\]{}='\"\\\\, ]|usage=|model=|prompt_tokens=9|X)*",
        ) {
            let repr = repr(&python(&text));
            prop_assert_eq!(find(&repr), expected());
        }
    }
}
