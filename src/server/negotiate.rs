//! What a client wants, by its `Accept` and `Accept-Encoding` (RFC 9110, section 12.5).

use hyper::HeaderMap;
use hyper::header::{ACCEPT, ACCEPT_ENCODING};

use crate::metrics::Format;

/// Media ranges read from one header; a client that sends more is not helped by them.
const MAX_RANGES: usize = 32;

/// The format to answer in; `None` where the client takes none that there is.
pub fn format(headers: &HeaderMap) -> Option<Format> {
    let accept = joined(headers, &ACCEPT);
    if accept.trim().is_empty() {
        return Some(Format::Text);
    }
    let mut best: Option<(f32, Format)> = None;
    let mut refused_text = false;
    for (range, quality) in ranges(&accept) {
        let Some(format) = serves(range) else {
            continue;
        };
        if quality <= 0.0 {
            refused_text |= format == Format::Text && !range.starts_with('*');
            continue;
        }
        if best.is_none_or(|(known, _)| quality > known) {
            best = Some((quality, format));
        }
    }
    best.map(|(_, format)| format).filter(|format| !(refused_text && *format == Format::Text))
}

/// Whether the answer may be compressed with gzip.
pub fn takes_gzip(headers: &HeaderMap) -> bool {
    let accept = joined(headers, &ACCEPT_ENCODING);
    let mut any = false;
    for (coding, quality) in ranges(&accept) {
        match coding.split(';').next().unwrap_or_default().trim() {
            coding if coding.eq_ignore_ascii_case("gzip") => return quality > 0.0,
            "*" => any = quality > 0.0,
            _ => {}
        }
    }
    any
}

/// The format that a media range covers, if there is one. Wildcards mean the plain text.
fn serves(range: &str) -> Option<Format> {
    let mut parts = range.split(';').map(str::trim);
    let media = parts.next()?.to_ascii_lowercase();
    let version = parts.find_map(|parameter| {
        let (name, value) = parameter.split_once('=')?;
        let is_version = name.trim().eq_ignore_ascii_case("version");
        is_version.then(|| value.trim().trim_matches('"'))
    });
    match (&*media, version) {
        ("application/openmetrics-text", None | Some("1.0.0")) => Some(Format::OpenMetrics),
        ("text/plain", None | Some("0.0.4")) | ("*/*" | "text/*", _) => Some(Format::Text),
        _ => None,
    }
}

/// The ranges of a header with their quality, 1 where none is given or it cannot be read.
fn ranges(header: &str) -> impl Iterator<Item = (&str, f32)> {
    header.split(',').take(MAX_RANGES).map(|range| {
        let quality = range.split(';').skip(1).find_map(|parameter| {
            let (name, value) = parameter.split_once('=')?;
            let is_quality = name.trim().eq_ignore_ascii_case("q");
            is_quality.then(|| value.trim().parse::<f32>().ok()).flatten()
        });
        (range.trim(), quality.unwrap_or(1.0).clamp(0.0, 1.0))
    })
}

fn joined(headers: &HeaderMap, name: &hyper::header::HeaderName) -> String {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests {
    use super::*;
    use hyper::header::HeaderValue;

    fn wants(accept: &'static str) -> Option<Format> {
        let mut headers = HeaderMap::new();
        headers.insert(ACCEPT, HeaderValue::from_static(accept));
        format(&headers)
    }

    #[test]
    fn each_scraper_gets_what_it_prefers() {
        for (accept, expected) in [
            ("", Some(Format::Text)),
            ("*/*", Some(Format::Text)),
            ("text/plain", Some(Format::Text)),
            ("text/plain;version=0.0.4;q=0.5", Some(Format::Text)),
            // Prometheus 2.42.
            (
                "application/openmetrics-text;version=1.0.0,application/openmetrics-text;\
                 version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1",
                Some(Format::OpenMetrics),
            ),
            // Prometheus 3.
            (
                "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.5,\
                 application/openmetrics-text;version=0.0.1;q=0.4,text/plain;version=1.0.0;\
                 escaping=allow-utf-8;q=0.3,text/plain;version=0.0.4;q=0.2,*/*;q=0.1",
                Some(Format::OpenMetrics),
            ),
            ("text/html,application/xhtml+xml,*/*;q=0.8", Some(Format::Text)),
            ("application/openmetrics-text;version=9.0.0, text/plain", Some(Format::Text)),
            ("application/json", None),
            ("text/plain;q=0", None),
            ("text/plain;q=0, */*;q=0.1", None),
            (";;;,,,q=", None),
        ] {
            assert_eq!(wants(accept), expected, "{accept}");
        }
    }

    #[test]
    fn gzip_is_taken_where_it_is_offered() {
        let takes = |value: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static(value));
            takes_gzip(&headers)
        };
        assert!(takes("gzip"));
        assert!(takes("deflate, GZIP;q=0.5"));
        assert!(takes("*"));
        assert!(!takes("gzip;q=0, *"));
        assert!(!takes("br"));
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    proptest::proptest! {
        #[test]
        fn any_header_is_understood_somehow(value in "[ -~]{0,200}") {
            let mut headers = HeaderMap::new();
            let value = HeaderValue::from_str(&value).unwrap();
            headers.insert(ACCEPT, value.clone());
            headers.insert(ACCEPT_ENCODING, value);
            format(&headers);
            takes_gzip(&headers);
        }
    }
}
