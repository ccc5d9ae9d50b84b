use proptest::prelude::*;
use serde_json::json;

use super::*;

/// What goes in, what comes out, and that it comes out of itself.
fn check(input: &str, expected: &str) {
    assert_eq!(redact(input), expected, "of {input}");
    assert_eq!(redact(expected), expected, "of its own output");
}

fn check_untouched(input: &str) {
    assert!(matches!(redact(input), Cow::Borrowed(_)), "{input} became {}", redact(input));
}

#[test]
fn the_examples_of_the_runtimes_documents() {
    check("OPENAI_API_KEY=sk-proj1234...abcd", "OPENAI_API_KEY=sk-p***abcd");
    check("mongodb+srv://user:pass@cluster", "mongodb+srv://user:***@cluster");
    check("Authorization: Bearer abc123...xyz", "Authorization: Bearer abc1***xyz");
    check(r#"{"api_key": "secret123"}"#, r#"{"api_key": "***"}"#);
    check(r#"{"extra": {"api_key": "sk-abc123"}}"#, r#"{"extra": {"api_key": "***"}}"#);
}

#[test]
fn shapes() {
    for (secret, expected) in [
        ("sk-abcdEFGH1234abcdEFGH1234", "sk-a***1234"),
        ("sk-proj-abcd_EFGH-1234abcdEFGH", "sk-p***EFGH"),
        ("sk-ant-api03-abcdEFGH1234_xyz-9AA", "sk-a***9AA"),
        ("sk-abc123def", "***"),
        ("AKIAIOSFODNN7EXAMPLE", "***"),
        ("ASIAIOSFODNN7EXAMPLE", "***"),
        ("ghp_0123456789abcdefghij0123456789abcdef", "ghp_***cdef"),
        ("gho_0123456789abcdefghij0123456789abcdef", "gho_***cdef"),
        ("github_pat_0123456789_abcdefghij", "gith***ghij"),
        ("xoxb-123456789012-abcdefghijkl", "xoxb***ijkl"),
        ("xoxp-123456789012-abcdefghijkl", "xoxp***ijkl"),
        ("xapp-1-A0123-456789-abcdef", "xapp***cdef"),
        ("AIzaSyA0123456789abcdefghijklmnopqrstuv", "AIza***stuv"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxIn0.c2lnbmF0dXJl", "eyJh***dXJl"),
        ("hf_abcdefghijklmnopqrstuvwxyz", "hf_a***wxyz"),
    ] {
        check(secret, expected);
        check(&format!("with {secret}, then"), &format!("with {expected}, then"));
        check(&format!(r#"{{"m":"a\n{secret}"}}"#), &format!(r#"{{"m":"a\n{expected}"}}"#));
        check(&format!("\u{1b}[32m{secret}\u{1b}[0m"), &format!("\u{1b}[32m{expected}\u{1b}[0m"));
    }
    check("https://hooks.slack.com/services/T0/B0/xyz.", "https://hooks.slack.com/services/***");
    for innocent in
        ["sk-learn", "task-0123456789abcdef01", "AKIA", "xoxb-", "eyJ.", "disk-1", "hf_a"]
    {
        check_untouched(innocent);
    }
}

#[test]
fn names_and_values() {
    for (input, expected) in [
        ("password=hunter2", "password=***"),
        ("password: 'it's mine', x", "password: '***', x"),
        ("api_key='abcd'", "api_key='***'"),
        ("apiKey: abcd", "apiKey: ***"),
        ("API-KEY = abcd", "API-KEY = ***"),
        ("token: abc, next", "token: ***, next"),
        ("DB_PASSWD=a,b;c d", "DB_PASSWD=*** d"),
        ("PWD=123456;Database=x", "PWD=***;Database=x"),
        ("?access_token=abc&user=x", "?access_token=***&user=x"),
        ("aws_secret_access_key = ab/cd+ef", "aws_secret_access_key = ***"),
        ("AccountName=n;AccountKey=YWJj==;Suffix=core", "AccountName=n;AccountKey=***;Suffix=core"),
        ("?sv=1&sig=a%2Bb%3D&se=2", "?sv=1&sig=***&se=2"),
        ("connection_string=\"Server=x;User=y\"", "connection_string=\"***\""),
        ("--password hunter2 --verbose", "--password *** --verbose"),
        ("{api_key: \"abcd\", b: 1}", "{api_key: \"***\", b: 1}"),
        ("{'api_key': 'abcd', 'price': [1]}", "{'api_key': '***', 'price': [1]}"),
        ("{'password': b'ab\\'cd'}", "{'password': b'***'}"),
        (":password => 'abc'", ":password => '***'"),
        ("token = ***REDACTED***, and", "token = ***REDACTED***, and"),
        ("secret=abcdefghijklmnopqrstuvwxyz", "secret=abcd***wxyz"),
        ("password=abcdefghijklmnopqrstuvwxyz", "password=***"),
        ("auth: token: abc", "auth: token: ***"),
        ("Bearer password='abc def'", "Bearer password='***'"),
        ("\"token\": \"cut off", "\"token\": \"***"),
    ] {
        check(input, expected);
    }
    for innocent in [
        "prompt_tokens=17 completion_tokens: 4 total_tokens=21 max_tokens=4096 token_count=3",
        "{\"tokens\": \"a\", \"tokenizer\": \"b\", \"token\": 5, \"auth\": true, \"secret\": null}",
        "author=bob authority: x authenticated=yes authentication: none secretary=eve",
        "std::auth::token::new() at token.py:12, all tests pass: yes, compass=n, passed=all",
        "token_file=/run/secrets/x; api_keyword=y; primary key: id; password=",
    ] {
        check_untouched(innocent);
    }
}

#[test]
fn json_stays_json() {
    for (input, expected) in [
        (r#"{"password": 123, "token": 123}"#, r#"{"password": "***", "token": 123}"#),
        (
            r#"{"secrets": ["a", {"k": "b"}], "c": "d"}"#,
            r#"{"secrets": ["***", {"k": "***"}], "c": "d"}"#,
        ),
        (r#"{"a\\":"x","token":"\\\"","b":"y"}"#, r#"{"a\\":"x","token":"***\\\"","b":"y"}"#),
        (r#"{"m":"bad token: [","x":"y"}"#, r#"{"m":"bad token: [","x":"y"}"#),
        (
            r#"{"m":"{\"b\":\"auth: {\",\"password\":\"y\"}"}"#,
            r#"{"m":"{\"b\":\"auth: {\",\"password\":\"***\"}"}"#,
        ),
        (r#"{"m":"password=","x":"y"}"#, r#"{"m":"password=","x":"y"}"#),
        (r#"{"m":"password='","x":"y'"}"#, r#"{"m":"password='","x":"y'"}"#),
        (r#"{"m":"{\"api_key\": \"a\\\"b\"}"}"#, r#"{"m":"{\"api_key\": \"***\"}"}"#),
        (r#"{"m":"said \"token=abc\" ok"}"#, r#"{"m":"said \"token=***\" ok"}"#),
        (r#"{"m":"{\"password\": 12}"}"#, r#"{"m":"{\"password\": \"***\"}"}"#),
    ] {
        if let Ok(value) = serde_json::from_str::<Value>(input) {
            assert!(value.is_object());
            serde_json::from_str::<Value>(&redact(input)).unwrap();
        }
        let redacted = redact(input).into_owned();
        assert_eq!(redacted.replace(r#"***\\\""#, "***"), expected.replace(r#"***\\\""#, "***"));
        assert_eq!(redact(&redacted), redacted);
    }
}

#[test]
fn schemes_of_authorization() {
    for (input, expected) in [
        ("Authorization: Basic dXNlcjpwYXNz", "Authorization: Basic ***"),
        ("got Basic dXNlcjpwYXNz from", "got Basic *** from"),
        ("bearer abc.def-ghi", "bearer ***"),
        ("authorization: ApiKey abc", "authorization: ApiKey ***"),
        ("Authorization: Digest username=\"u\", response=\"r\"", "Authorization: Digest ***\""),
        ("-H 'Authorization: Bearer abc' -v", "-H 'Authorization: Bearer ***' -v"),
        ("{\"Authorization\": \"Bearer abc\"}", "{\"Authorization\": \"***\"}"),
    ] {
        check(input, expected);
    }
    for innocent in ["the Bearer token is missing", "Basic usage", "Bearer realm=\"x\""] {
        check_untouched(innocent);
    }
}

#[test]
fn addresses() {
    for (input, expected) in [
        ("postgres://u:p@ss/w?o#rd@h:5432/db", "postgres://u:***@h:5432/db"),
        ("redis://:s3cret@localhost:6379/0", "redis://:***@localhost:6379/0"),
        ("mongodb://u:1@a:1,b:2/?authSource=admin", "mongodb://u:***@a:1,b:2/?authSource=admin"),
        ("amqp://u:p@h,amqp://v:q@i", "amqp://u:***@h,amqp://v:***@i"),
        ("https://u:p@h/x?mail=a@b", "https://u:***@h/x?mail=a@b"),
        (r#"{"u":"https:\/\/u:p@h\/"}"#, r#"{"u":"https:\/\/u:***@h\/"}"#),
        (
            "https://0123456789abcdef01234567@sentry.example/4",
            "https://0123***4567@sentry.example/4",
        ),
    ] {
        check(input, expected);
    }
    for innocent in [
        "http://localhost:8000/users/a@b",
        "ssh://git@host/x",
        "http://[::1]:80/a@b",
        "https://u:@h/",
        "mail a@b and http://h/",
    ] {
        check_untouched(innocent);
    }
}

#[test]
fn private_keys_over_lines() {
    let body = "MIIEpAIBAAKCAQEA1234567890abcdefghijklmnopqrstuvwxyz+/ABCDEFGHIJ";
    let pem = |prefix: &str, line: &str, last: &str| {
        format!(
            "{prefix}-----BEGIN RSA PRIVATE KEY-----\n{prefix}{line}\n{prefix}{line}\n\
             {prefix}{last}\n{prefix}-----END RSA PRIVATE KEY-----\n{prefix}all is well again"
        )
    };
    for prefix in ["", "12:00:00 [ INFO] "] {
        assert_eq!(redact(&pem(prefix, body, "Qab=")), pem(prefix, "***", "***"));
    }
    let one_line =
        format!(r#"{{"k":"-----BEGIN PRIVATE KEY-----\n{body}\n-----END PRIVATE KEY-----\n"}}"#);
    check(&one_line, r#"{"k":"-----BEGIN PRIVATE KEY-----***-----END PRIVATE KEY-----\n"}"#);
    check_untouched(&format!("-----BEGIN CERTIFICATE-----\n{body}\n-----END CERTIFICATE-----"));
    check(
        "{\"k\":\"-----BEGIN PRIVATE KEY-----\",\"password\":\"x\"}\nnext one",
        "{\"k\":\"-----BEGIN PRIVATE KEY-----\",\"password\":\"***\"}\nnext one",
    );
}

#[test]
fn fields() {
    assert_eq!(redact_value("api_key", "abcdefghijklmnopqrstuvwxyz"), "***");
    assert_eq!(redact_value("token", "17"), "17");
    assert_eq!(redact_value("password", "17"), "***");
    assert_eq!(redact_value("error", "no token=abc there"), "no token=*** there");
    let mut value = json!({"a": ["token=abc", 1], "auth": {"user": "u", "n": 1}, "pwd": 12});
    redact_json("extra", &mut value);
    assert_eq!(
        value,
        json!({"a": ["token=***", 1], "auth": {"user": "***", "n": 1}, "pwd": "***"})
    );
}

/// The same through a reader that gives `step` bytes at a time.
fn filtered(text: &[u8], step: usize) -> Vec<u8> {
    struct Steps<'a>(&'a [u8], usize);
    impl std::io::Read for Steps<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
            let length = self.1.min(buffer.len()).min(self.0.len());
            let (now, later) = self.0.split_at(length);
            buffer[..length].copy_from_slice(now);
            self.0 = later;
            Ok(length)
        }
    }
    let mut out = Vec::new();
    filter(Steps(text, step), &mut out).unwrap();
    out
}

#[test]
fn secrets_at_the_border_of_the_window_are_found() {
    let secret = "sk-abcdEFGH1234abcdEFGH1234";
    for before in [0, 20, 64, 8192 - 20, 8192, 16384] {
        for (left, right) in [(" ", " "), (" \"api_key\": \"", "\", ")] {
            let mut line = "x ".repeat((WINDOW_BYTES - before) / 2);
            line.push_str(left);
            line.push_str(secret);
            line.push_str(right);
            line.push_str(&"y ".repeat(WINDOW_BYTES / 2));
            let out = String::from_utf8(filtered(line.as_bytes(), 1 << 16)).unwrap();
            assert_eq!(out, redact(&line), "{before} {left}");
            assert!(!out.contains("EFGH1234"));
        }
    }
}

#[test]
fn a_secret_that_is_larger_than_the_window_goes() {
    for (left, right) in [("{\"api_key\": \"", "\", \"x\": 1}\n"), ("token=", " end\n")] {
        let text = format!("{left}{}{right}after\n", "S3cr\\\"et".repeat(WINDOW_BYTES / 2));
        let out = String::from_utf8(filtered(text.as_bytes(), 1 << 16)).unwrap();
        assert!(out.len() < 60 && out.ends_with("after\n"), "{}", out.len());
        assert!(out.starts_with(left) && out.contains(right.trim_end()), "{out}");
    }
}

#[test]
fn bytes_that_are_no_text_pass() {
    let bytes = b"\xff\xfe token=\xffabc\xfe \x80\npassword=x\n\xc3";
    assert_eq!(filtered(bytes, 3), b"\xff\xfe token=*** \x80\npassword=***\n\xc3");
}

#[test]
fn what_random_texts_found() {
    for text in [
        "Bearer password&pass-----BEGIN PRIVATE KEY-----://Bearer ",
        "hooks.slack.com/services/,Bearer ://",
        "hooks.slack.com/services/<xoxb------BEGIN PRIVATE KEY-----passwordpassword",
        "-----BEGIN PRIVATE KEY-----\nhooks.slack.com/services/: dXNlcjpwYXNzABCDEFGH12345678",
        "-----BEGIN PRIVATE KEY-----\npassword=.",
        "-----BEGIN PRIVATE KEY-----\nabcd1234\"dXNlcjpwYXNzdXNlcjpwYXNzpassword",
        "]Bearer {'\"://",
        "Authorization%3D.Bearer =: ",
        "%3Dpassword://://://@",
    ] {
        let once = redact(text).into_owned();
        assert_eq!(redact(&once), once, "of {text}");
    }
    let listed = r#"["Authorization={\\"]"#;
    assert!(serde_json::from_str::<Value>(&redact(listed)).is_ok(), "{}", redact(listed));
}

/// Pieces that mean something to the pass, in any order.
fn soup() -> impl Strategy<Value = String> {
    const PIECES: &[&str] = &[
        "password",
        "token",
        "=",
        ": ",
        "\"",
        "'",
        "\\",
        "\\\"",
        "{",
        "}",
        "[",
        "]",
        ",",
        ";",
        "&",
        "***",
        "sk-",
        "abcd1234",
        "ABCDEFGH12345678",
        "eyJ",
        ".",
        "://",
        "user",
        "@",
        "/",
        "Bearer ",
        "Basic ",
        "dXNlcjpwYXNz",
        "Authorization",
        "Digest ",
        "sig",
        "?",
        "pass",
        "api",
        "_",
        "key",
        " ",
        "\n",
        "-----BEGIN PRIVATE KEY-----",
        "-----END ",
        "é",
        "--",
        "AKIA",
        "ghp_",
        "12",
        "\t",
        "xoxb-",
        "tokens",
        "auth",
        "<",
        ">",
        "n",
        "`",
        "conn",
        "str",
        "...",
        "%3D",
        "hooks.slack.com/services/",
    ];
    let piece = prop_oneof![20 => proptest::sample::select(PIECES).prop_map(str::to_owned),
        1 => any::<char>().prop_map(String::from)];
    proptest::collection::vec(piece, 0..40).prop_map(|pieces| pieces.concat())
}

fn tree() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        6 => soup().prop_map(Value::from),
        1 => any::<i32>().prop_map(Value::from),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
        // JSON within JSON.
        2 => (soup(), soup()).prop_map(|(k, v)| json!({k: v}).to_string().into()),
    ];
    leaf.prop_recursive(4, 24, 5, |inner| {
        let field = prop_oneof![soup(), Just("api_key".to_owned()), Just("password".to_owned())];
        prop_oneof![
            proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::from),
            proptest::collection::hash_map(field, inner, 0..5)
                .prop_map(|fields| Value::Object(fields.into_iter().collect())),
        ]
    })
}

/// Whether the trees have the same fields and lists; numbers may have become text.
fn same_form(before: &Value, after: &Value) -> bool {
    match (before, after) {
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.values().zip(b.values()).all(|(a, b)| same_form(a, b))
        }
        (Value::Array(a), Value::Array(b)) => {
            a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same_form(a, b))
        }
        (Value::Number(_), Value::String(text)) => text == MASK,
        (Value::String(_), Value::String(_)) => true,
        (before, after) => before == after,
    }
}

proptest! {
    #[test]
    fn twice_is_once_and_lines_stay_lines(text in soup()) {
        let once = redact(&text).into_owned();
        prop_assert_eq!(redact(&once), once.as_str());
        prop_assert_eq!(once.matches('\n').count(), text.matches('\n').count());
    }

    #[test]
    fn a_stream_gives_the_same_as_the_whole(text in soup(), step in 1..50_usize) {
        let out = filtered(text.as_bytes(), step);
        prop_assert_eq!(String::from_utf8(out).unwrap(), redact(&text));
    }

    #[test]
    fn json_of_any_content_stays_json(tree in tree(), pretty in any::<bool>()) {
        let text = if pretty { format!("{tree:#}").replace('\n', " ") } else { tree.to_string() };
        if !tree.is_object() && !tree.is_array() {
            return Ok(());
        }
        let redacted = redact(&text);
        let after: Result<Value, _> = serde_json::from_str(&redacted);
        prop_assert!(after.is_ok(), "{text}\n{redacted}");
        // Two names may become one; then there are fewer fields.
        let after = after.unwrap();
        prop_assert!(same_form(&tree, &after) || redacted.contains(MASK), "{}\n{}", text, redacted);
    }
}
