//! Numbers that are none: Python writes them, JSON has no word for them.

/// The line with `[]` in place of `NaN` and `Infinity`; `None` where there is no such thing. A list is neither a number nor a name nor a flag.
pub(super) fn without_nan(line: &[u8]) -> Option<Vec<u8>> {
    const WORDS: [&[u8]; 3] = [b"NaN", b"Infinity", b"-Infinity"];
    let mut finite = Vec::with_capacity(line.len());
    let (mut rest, mut in_text, mut found) = (line, false, false);
    while let Some((&byte, after)) = rest.split_first() {
        if !in_text && let Some(word) = WORDS.iter().find(|word| rest.starts_with(word)) {
            finite.extend_from_slice(b"[]");
            found = true;
            rest = rest.split_at(word.len()).1;
            continue;
        }
        let taken = if in_text && byte == b'\\' && !after.is_empty() { 2 } else { 1 };
        in_text ^= byte == b'"';
        let (taken, after) = rest.split_at(taken);
        finite.extend_from_slice(taken);
        rest = after;
    }
    found.then_some(finite)
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    proptest::proptest! {
        #[test]
        fn numbers_that_are_none_are_found_outside_of_texts_only(text: String, before: String) {
            let line = format!("{{\"a\": {}, \"b\": NaN, \"c\": {}}}", Value::from(&*before), Value::from(&*text));
            let finite = without_nan(line.as_bytes()).unwrap();
            let value: Value = serde_json::from_slice(&finite).unwrap();
            proptest::prop_assert_eq!(value["a"].as_str().unwrap(), before);
            proptest::prop_assert_eq!(value["c"].as_str().unwrap(), text);
            proptest::prop_assert_eq!(&value["b"], &Value::Array(vec![]));
        }
    }
}
