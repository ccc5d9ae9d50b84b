//! Secrets that are planted in all kinds of surroundings never come out.
//!
//! `PROPTEST_CASES=1000000 cargo test --release --test redact` looks longer.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on says so by stopping")]

use proptest::prelude::*;
use proptest::sample::select;
use serde_json::{Value, json};

use mozaiks_exporter::redact::{redact, redact_json, redact_value};

/// No more characters of a secret may be seen in a row.
const MOST_SHOWN: usize = 8;

/// Whether more of the secret is in the text than may be seen.
fn shows(text: &str, secret: &str) -> bool {
    let secret: Vec<char> = secret.chars().collect();
    let shown = (MOST_SHOWN + 1).min(secret.len());
    secret.windows(shown).any(|part| text.contains(&part.iter().collect::<String>()))
}

/// Words of logs, without anything that is in a secret below by chance.
fn words() -> impl Strategy<Value = String> {
    let word = select(vec![
        "chat",
        "started",
        "in",
        "TicketDesk",
        "(ok)",
        "42",
        "done.",
        "a,b",
        "x=1",
        "level:info",
        "[TRANSPORT]",
        "→",
        "日本語",
        "it's",
        "50%",
        "prompt_tokens=3",
        "author",
        "http://h:80/p?q=1",
        "<tag>",
        "--flag",
        "{",
        "}",
        "\\n",
        "C:\\dir",
        "password",
        "tokens:",
        "é",
    ]);
    proptest::collection::vec(word, 0..6).prop_map(|words| words.join(" "))
}

/// Secrets that show by their shape.
fn shaped() -> impl Strategy<Value = String> {
    let hex = "[0-9a-f]{36}";
    prop_oneof![
        "sk-[A-Za-z0-9]{20,48}",
        "sk-(proj|svcacct|admin)-[A-Za-z0-9_-]{20,120}",
        "sk-ant-api03-[A-Za-z0-9_-]{40,95}",
        "(AKIA|ASIA)[A-Z0-9]{16}",
        "gh[pousr]_[A-Za-z0-9]{36}",
        "github_pat_[A-Za-z0-9]{22}_[A-Za-z0-9]{59}",
        "xox[bpar]-[0-9]{10,13}-[0-9]{10,13}-[A-Za-z0-9]{24}",
        "xapp-1-A[0-9A-Z]{10}-[0-9]{13}-[0-9a-f]{64}",
        "AIza[A-Za-z0-9_-]{35}",
        "eyJ[A-Za-z0-9_-]{20,60}\\.eyJ[A-Za-z0-9_-]{20,200}\\.[A-Za-z0-9_-]{43}",
        hex.prop_map(|hex| format!("Bearer {hex}")),
        "[A-Za-z0-9]{8,30}:[!-~]{8,30}".prop_map(|user| format!("Basic {}", base64(&user))),
        "T[A-Z0-9]{8}/B[A-Z0-9]{8}/[A-Za-z0-9]{24}"
            .prop_map(|path| format!("https://hooks.slack.com/services/{path}")),
        "[A-Za-z0-9]{43}".prop_map(|sig| format!("https://a.example/c?sv=2020&sig={sig}%3D&se=1")),
    ]
}

/// The secret part of what [`shaped`] gives.
fn secret_of(shaped: &str) -> &str {
    let after = |mark: &str| shaped.split_once(mark).map(|(_, secret)| secret);
    let secret = after("Bearer ").or(after("Basic ")).or(after("services/")).or(after("sig="));
    secret.map_or(shaped, |secret| secret.split('%').next().unwrap_or(secret))
}

fn base64(text: &str) -> String {
    const SYMBOLS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut out = String::new();
    for three in text.as_bytes().chunks(3) {
        let bits = three.iter().fold(0_u32, |bits, byte| bits << 8 | u32::from(*byte))
            << (8 * (3 - three.len()));
        for place in 0..4 {
            let symbol = SYMBOLS[(bits >> (18 - 6 * place) & 63) as usize];
            out.push(if place > three.len() { '=' } else { char::from(symbol) });
        }
    }
    out
}

/// Names of secrets.
fn name() -> impl Strategy<Value = String> {
    select(vec![
        "password",
        "PASSWORD",
        "db_password",
        "passwd",
        "DB_PASSWD",
        "api_key",
        "apiKey",
        "API-KEY",
        "x-api-key",
        "OPENAI_API_KEY",
        "token",
        "access_token",
        "accessToken",
        "refresh-token",
        "client_secret",
        "aws_secret_access_key",
        "SecretAccessKey",
        "AccountKey",
        "auth",
        "authorization",
        "private_key",
        "credentials",
        "connectionString",
        "PWD",
        "Api Key",
        "aPi_KeY",
    ])
    .prop_map(str::to_owned)
}

/// JSON in JSON in JSON, `depth` times.
fn nest(mut value: Value, depth: usize) -> String {
    for _ in 0..depth {
        value = json!({"level": "INFO", "msg": value.to_string(), "extra": {"n": 1}});
    }
    value.to_string()
}

/// All texts in a tree, with those in the JSON that is in them.
fn texts(value: &Value, found: &mut String) {
    match value {
        Value::String(text) => {
            found.push_str(text);
            found.push('\n');
            if let Ok(inner) = serde_json::from_str(text) {
                texts(&inner, found);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| texts(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| texts(field, found)),
        _ => {}
    }
}

/// What can be read in the redacted JSON.
fn readable(json: &str) -> String {
    let mut found = String::new();
    texts(&serde_json::from_str(json).unwrap(), &mut found);
    found
}

proptest! {
    #[test]
    fn shapes_in_text(before in words(), shaped in shaped(), after in words()) {
        for gap in [" ", "\t", "\n"] {
            let text = format!("{before}{gap}{shaped}{gap}{after}");
            let redacted = redact(&text);
            prop_assert!(!shows(&redacted, secret_of(&shaped)), "{text}\n{redacted}");
            prop_assert_eq!(redact(&redacted), redacted.as_ref());
        }
    }

    #[test]
    fn shapes_in_json(before in words(), shaped in shaped(), after in words(), depth in 0..4_usize) {
        for text in [format!("{before} {shaped} {after}"), shaped.clone(), format!("\n{shaped}\n")] {
            let text = nest(json!({"event": ["x", {"message": text}], "n": 5}), depth);
            let redacted = redact(&text);
            prop_assert!(!shows(&readable(&redacted), secret_of(&shaped)), "{text}\n{redacted}");
        }
    }

    #[test]
    fn names_in_json(name in name(), secret in "\\PC{5,60}", depth in 0..4_usize, before in words()) {
        let number = secret.trim().parse::<f64>().is_ok();
        prop_assume!(!number && !secret.contains("***"));
        let deep = json!({"a": [{"b": before, name.as_str(): secret, "c": 17}]});
        let listed = json!({"a": {name.as_str(): [secret, {"user": secret}]}, "c": 17});
        for value in [deep, listed] {
            let text = nest(value, depth);
            let redacted = redact(&text);
            prop_assert!(!shows(&readable(&redacted), &secret), "{text}\n{redacted}");
            prop_assert!(redacted.contains("17"));
        }
    }

    #[test]
    fn names_in_text(name in name(), secret in "[A-Za-z][A-Za-z0-9!@#$%^*_+./~-]{4,59}", before in words(),
                     after in words()) {
        let secret = secret.replace("***", "*-*");
        for pair in [
            format!("{name}={secret}"), format!("{name}: {secret}"), format!("{name} = '{secret}'"),
            format!("{name}=\"{secret}\""), format!("{{'{name}': '{secret}', 'n': 1}}"),
            format!("{{'{name}': b'{secret}'}}"), format!("{name}={secret};User=x"),
            format!("?{name}={secret}&user=x"), format!("({name}={secret})"),
        ] {
            let text = format!("{before} {pair} {after}");
            let redacted = redact(&text);
            prop_assert!(!shows(&redacted, &secret), "{text}\n{redacted}");
            let json = json!({"msg": text}).to_string();
            let redacted = redact(&json);
            prop_assert!(!shows(&readable(&redacted), &secret), "{json}\n{redacted}");
        }
    }

    #[test]
    fn passwords_in_addresses(scheme in select(vec!["mongodb", "mongodb+srv", "postgres", "redis",
                              "amqp", "mysql+pymysql"]), user in "[a-z0-9._%-]{0,12}",
                              password in "[A-Za-z0-9!#$%&*+,./:;=?@_~^-]{5,40}", before in words()) {
        // `user://` begins an address, not a password.
        let password = format!("x{password}").replace("://", ":/x").replace("***", "*-*");
        let text = format!("{before} {scheme}://{user}:{password}@host.example:27017/db {before}");
        let redacted = redact(&text);
        prop_assert!(!shows(&redacted, &password), "{text}\n{redacted}");
        prop_assert!(redacted.contains("@host.example:27017/db"));
        let web = password.replace(['?', '#', '/'], "x");
        let json = json!({"url": format!("https://{user}:{web}@host.example/a?b=c@d")}).to_string();
        let redacted = redact(&json);
        prop_assert!(!shows(&readable(&redacted), &web), "{json}\n{redacted}");
        prop_assert!(redacted.contains("@host.example/a?b=c@d"));
    }

    #[test]
    fn fields(name in name(), secret in "\\PC{5,60}") {
        prop_assume!(secret.trim().parse::<f64>().is_err());
        prop_assert_eq!(redact_value(&name, &secret), "***");
        let mut value = json!({name.as_str(): {"deep": [secret]}});
        redact_json("extra", &mut value);
        prop_assert_eq!(value, json!({name.as_str(): {"deep": ["***"]}}));
    }
}

#[test]
fn what_the_runtime_writes_loses_its_keys_and_nothing_else() {
    let ag2 = include_str!("fixtures/redact/ag2_runtime.log");
    assert!(ag2.contains("test-key-not-real"));
    assert_eq!(redact(ag2), ag2.replace("test-key-not-real", "***"));
    let mozaiks = include_str!("fixtures/redact/mozaiks.log");
    let hidden = mozaiks.replace("abcd***mnop", "***").replace("hunt***ter2", "***");
    assert_eq!(redact(mozaiks), hidden);
    assert!(hidden.contains("\"prompt_tokens\": ") && hidden.contains("\"token_count\": 3"));
}
