//! Kinds of values. They are put into YAML and into queries as they are, so each kind takes only
//! what cannot end the place that it is put into.

/// The longest value that is taken: longer than any address that works.
const LONGEST: usize = 1_000;
/// As Alertmanager counts them.
const WEEK: [&str; 7] =
    ["sunday", "monday", "tuesday", "wednesday", "thursday", "friday", "saturday"];

/// What a value may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// A number above nothing.
    Number,
    /// 0 to 1, both included.
    Share,
    /// Between 0 and 1: a budget of nothing cannot be divided by.
    Objective,
    Bool,
    Url,
    HostPort,
    /// Several of them. A line is written for each.
    HostPorts,
    /// Runtimes by their URL, each with a name if it has one. A line is written for each.
    Runtimes,
    /// One or more, with commas between them.
    Mail,
    Path,
    Time,
    Days,
    Zone,
    /// The receiver of this name, or none.
    Receiver(&'static str),
    Word,
}

impl Kind {
    /// The kind that a parameter is of, by what its row in the table says.
    pub(super) fn of(name: &str, default: &'static str, unit: &str) -> Self {
        match unit {
            "URL" => Self::Url,
            "file" => Self::Path,
            "host:port" => Self::HostPort,
            "host:port list" => Self::HostPorts,
            "[name=]URL list" => Self::Runtimes,
            "address" => Self::Mail,
            "time of day" => Self::Time,
            "days" if default.parse::<f64>().is_err() => Self::Days,
            "IANA name" => Self::Zone,
            _ if name.ends_with("-objective") => Self::Objective,
            _ if unit.starts_with("share of") => Self::Share,
            _ if name.ends_with("-receiver") => Self::Receiver(default),
            _ if matches!(default, "true" | "false") => Self::Bool,
            _ if default.parse::<f64>().is_ok() => Self::Number,
            _ => Self::Word,
        }
    }

    /// Whether it takes several, with commas between them, of which each is a line of its own.
    pub(super) fn is_list(self) -> bool {
        matches!(self, Self::HostPorts | Self::Runtimes)
    }

    /// The value in its one form, or what would be one.
    pub(super) fn read(self, value: &str) -> Result<String, String> {
        let one = |value: &str| {
            let value = value.trim();
            self.form(value).filter(|_| value.len() <= LONGEST)
        };
        let read = if self.is_list() {
            let all: Option<Vec<String>> = value.split(',').map(one).collect();
            all.map(|all| all.join(","))
        } else {
            one(value)
        };
        read.ok_or_else(|| self.wanted())
    }

    fn form(self, value: &str) -> Option<String> {
        let as_it_is = |fine: bool| fine.then(|| value.to_owned());
        let number = value.parse::<f64>().ok().filter(|number| number.is_finite());
        match self {
            Self::Number => number.filter(|n| *n >= 0.0).map(|n| n.to_string()),
            Self::Share => number.filter(|n| (0.0..=1.0).contains(n)).map(|n| n.to_string()),
            Self::Objective => number.filter(|n| *n > 0.0 && *n < 1.0).map(|n| n.to_string()),
            Self::Bool => as_it_is(matches!(value, "true" | "false")),
            Self::Url => as_it_is(is_url(value)),
            Self::HostPort | Self::HostPorts => {
                as_it_is(value.rsplit_once(':').is_some_and(|(host, port)| {
                    is_host(host) && port.parse::<u16>().is_ok_and(|port| port > 0)
                }))
            }
            // A path is put behind it.
            Self::Runtimes => is_runtime(value).then(|| value.trim_end_matches('/').to_owned()),
            Self::Mail => as_it_is(value.split(',').map(str::trim).all(is_address)),
            Self::Path => {
                as_it_is(is_plain(value, "/_.+-@ ") && !value.starts_with(['-', '@', '+']))
            }
            Self::Time => as_it_is(is_time(value)),
            Self::Days => as_it_is(value.split(',').map(str::trim).all(are_days)),
            Self::Zone => as_it_is(is_plain(value, "/_+-") && !value.starts_with(['-', '+'])),
            Self::Receiver(name) => as_it_is(value == name || value == "none"),
            Self::Word => as_it_is(
                is_plain(value, "/_.+-@:")
                    && value.starts_with(|c: char| c.is_ascii_alphanumeric()),
            ),
        }
    }

    fn wanted(self) -> String {
        match self {
            Self::Number => "a number that is not negative",
            Self::Share => "a number from 0 to 1",
            Self::Objective => "a number between 0 and 1",
            Self::Bool => "true or false",
            Self::Url => {
                "a URL that begins with http:// or https://, without quotes, braces and spaces"
            }
            Self::HostPort => "host:port",
            Self::HostPorts => "host:port, or several with commas between them",
            Self::Runtimes => {
                "NAME=URL or URL, or several with commas between them; a name has letters, digits and ._-"
            }
            Self::Mail => "an address, or several with commas between them",
            Self::Path => "a file, named with letters, digits, spaces and /_.+-@",
            Self::Time => "a time from 00:01 to 23:59",
            Self::Days => {
                "days such as `saturday, sunday` or `monday:friday`; a week begins on sunday"
            }
            Self::Zone => "a time zone such as Europe/Berlin",
            Self::Receiver(name) => return format!("{name} or none"),
            Self::Word => {
                "a word of letters, digits and /_.+-@: that begins with a letter or digit"
            }
        }
        .to_owned()
    }
}

fn is_plain(value: &str, also: &str) -> bool {
    let fine = |c: char| c.is_ascii_alphanumeric() || also.contains(c);
    !value.is_empty() && value.chars().all(fine)
}

fn is_host(host: &str) -> bool {
    is_plain(host, ".-_")
        || (host.starts_with('[') && host.ends_with(']') && is_plain(host, "[]:."))
}

fn is_url(value: &str) -> bool {
    let rest = value.strip_prefix("https://").or_else(|| value.strip_prefix("http://"));
    let fine = |rest: &str| {
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let (host, port) = match authority.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => (host, port.parse::<u16>().is_ok()),
            _ => (authority, true),
        };
        is_host(host) && port && is_plain(rest, "-._~:/?#[]@!$&()*+,;=%") && !rest.ends_with(':')
    };
    rest.is_some_and(fine)
}

fn is_runtime(value: &str) -> bool {
    let (name, url) = match value.split_once('=') {
        Some((name, url)) if !name.contains(':') => (Some(name), url),
        _ => (None, value),
    };
    name.is_none_or(|name| is_plain(name, "._-")) && is_url(url) && !url.contains(['?', '#'])
}

fn is_address(value: &str) -> bool {
    value.split_once('@').is_some_and(|(who, host)| {
        is_plain(who, "._+-")
            && is_plain(host, ".-")
            && value.starts_with(|c: char| c.is_alphanumeric())
    })
}

/// Alertmanager wants each half of the night to have a length.
fn is_time(value: &str) -> bool {
    let two = |part: &str, below: u8| {
        part.len() == 2
            && !part.starts_with('+')
            && part.parse::<u8>().is_ok_and(|number| number < below)
    };
    value != "00:00" && value.split_once(':').is_some_and(|(h, m)| two(h, 24) && two(m, 60))
}

fn are_days(value: &str) -> bool {
    let day = |name: &str| WEEK.iter().position(|day| *day == name);
    match value.split_once(':') {
        Some((first, last)) => day(first).zip(day(last)).is_some_and(|(first, last)| first <= last),
        None => day(value).is_some(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_take_what_they_are_and_nothing_that_ends_its_place() {
        for (kind, good, bad) in [
            (Kind::Number, &["5", "0.05", "1e3", "0"][..], &["-1", "NaN", "inf", "5m", ""][..]),
            (Kind::Share, &["0", "1", "0.5"], &["1.1", "-0.1", "50%"]),
            (Kind::Objective, &["0.9995"], &["0", "1", "99.9"]),
            (Kind::Bool, &["true"], &["yes", "True"]),
            (
                Kind::Url,
                &["https://g.example.com/grafana/", "http://[::1]:3000", "http://a:1/b?c=d"],
                &[
                    "g.example.com",
                    "https://",
                    "https://a b",
                    "https://a/{{ x }}",
                    "https://a/'",
                    "https://a:",
                ],
            ),
            (Kind::HostPort, &["mail:25", "[::1]:587"], &["mail", "mail:0", "mail:99999", "a b:1"]),
            (Kind::HostPorts, &["a:1, [::1]:2", "a:1"], &["a:1,", "a", "a:1 b:2", ""]),
            (
                Kind::Runtimes,
                &["main=http://a:1/", "https://a.b/c, x-1=http://[::1]:2", "http://a/b=c"],
                &["main=", "a b=http://a", "a\"=http://a", "main=http://a?b", "http://a,", "a"],
            ),
            (Kind::Mail, &["a@b.c", "a@b.c, d@e.f"], &["a", "a@b@c", "a@b.c,", "x: a@b"]),
            (
                Kind::Path,
                &["/run/secrets/a b", "token"],
                &["", "a'b", "a: b", "a #b", "a\nb", "-x"],
            ),
            (Kind::Time, &["06:30"], &["6:30", "24:00", "00:00", "12:60", "+1:10"]),
            (Kind::Days, &["sunday:saturday", "monday, friday"], &["mon", "friday:monday", ""]),
            (Kind::Zone, &["Europe/Berlin", "Etc/GMT+1"], &["", "a b", "'x'"]),
            (Kind::Receiver("mail"), &["mail", "none"], &["slack", ""]),
            (Kind::Word, &["team/mozaiks", "a-b"], &["a\"}", "#x", "a b", "'", "{{x}}"]),
        ] {
            for value in good {
                assert!(kind.read(value).is_ok(), "{kind:?} {value}");
            }
            for value in bad {
                assert!(kind.read(value).is_err(), "{kind:?} {value}");
            }
        }
        assert_eq!(Kind::Number.read(" 1e3 "), Ok("1000".to_owned()), "in one form");
        let runtimes = Kind::Runtimes.read("a=http://a:1/, http://b");
        assert_eq!(runtimes, Ok("a=http://a:1,http://b".to_owned()));
    }
}
