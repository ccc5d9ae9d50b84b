//! Parses, loads, runs; says why not.

use std::borrow::Cow;
use std::error::Error;
use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser as _;
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use mozaiks_exporter::app::{Again, App, StartError};
use mozaiks_exporter::cli::{
    AssetsArgs, BackfillArgs, CheckArgs, Cli, Command, DemoArgs, HealthcheckArgs, ServeArgs,
};
use mozaiks_exporter::config::Config;
use mozaiks_exporter::logging::chain;
use mozaiks_exporter::model::SystemClock;
use mozaiks_exporter::server::Inherited;
use mozaiks_exporter::{assets, backfill, check, demo, healthcheck, logging, redact};

/// The command line or the configuration is wrong (`EX_USAGE` of `sysexits.h`).
const USAGE: u8 = 64;

fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return say_usage(&error),
    };
    match cli.command {
        Some(Command::Demo(args)) => run_demo(&args),
        Some(Command::Redact) => run_redact(),
        Some(Command::Backfill(args)) => run_backfill(&args),
        Some(Command::Assets(args)) => run_assets(&args),
        Some(Command::Check(args)) => run_check(&args),
        Some(Command::Healthcheck(args)) => run_healthcheck(&args),
        Some(Command::Serve(args)) => run_serve(&args),
        None => run_serve(&cli.serve),
    }
}

/// Prints help, the version, or what is wrong with the command line, which may hold a password.
fn say_usage(error: &clap::Error) -> ExitCode {
    let text = error.render().to_string();
    // Nothing can be done about a closed terminal.
    match redact::redact(&text) {
        Cow::Borrowed(_) => error.print().ok(),
        Cow::Owned(text) if error.use_stderr() => write!(std::io::stderr(), "{text}").ok(),
        Cow::Owned(text) => write!(std::io::stdout(), "{text}").ok(),
    };
    ExitCode::from(if error.use_stderr() { USAGE } else { 0 })
}

/// Lets us have as many descriptors as we may: connections that do nothing need one each. That many are
/// enough for both listeners and all that is followed.
fn raise_file_limit() {
    const ENOUGH: u64 = 16_384;
    let limit = getrlimit(Resource::Nofile);
    let wanted = limit.maximum.unwrap_or(ENOUGH).min(ENOUGH);
    if limit.current.is_some_and(|current| current < wanted) {
        // Where it is refused, connections wait for each other.
        setrlimit(Resource::Nofile, Rlimit { current: Some(wanted), ..limit }).ok();
    }
}

fn run_serve(args: &ServeArgs) -> ExitCode {
    raise_file_limit();
    // While there is one thread: it takes variables out of the environment.
    let inherited = Inherited::from_service_manager();
    let config = match Config::load(args) {
        Ok(config) => config,
        Err(error) => return fail(&error, USAGE),
    };
    let logging = logging::start(&config.log);
    let served = async {
        let hangups = signal(SignalKind::hangup()).map_err(StartError::Signals)?;
        let again = Again { args: args.clone(), hangups };
        let app = App::new(config, Arc::new(SystemClock::start()), inherited).await?;
        app.run(stop_signal()?, Some(again)).await;
        Ok::<_, StartError>(())
    };
    let code = in_runtime(served, |error| if error.is_usage() { USAGE } else { 1 });
    if logging.dropped_lines() > 0 {
        tracing::warn!(
            lines = logging.dropped_lines(),
            "lines are not in the log file: it was too slow, or could not be written"
        );
    }
    code
}

fn run_demo(args: &DemoArgs) -> ExitCode {
    let _logging = logging::start(&quiet());
    in_runtime(async { demo::run(args, stop_signal()?).await }, |_| 1)
}

fn run_backfill(args: &BackfillArgs) -> ExitCode {
    let _logging = logging::start(&quiet());
    let work = async {
        let summary = backfill::run(args).await?;
        // Nothing can be done about a closed standard error.
        writeln!(std::io::stderr(), "{summary}").ok();
        Ok::<_, backfill::BackfillError>(())
    };
    in_runtime(work, |_| 1)
}

fn run_assets(args: &AssetsArgs) -> ExitCode {
    if args.list {
        return print(&assets::list());
    }
    match assets::run(args) {
        Ok(done) => {
            print(&format!("{} files written, {} unchanged\n", done.written, done.unchanged))
        }
        Err(error) => fail(&error, if error.is_usage() { USAGE } else { 1 }),
    }
}

fn run_check(args: &CheckArgs) -> ExitCode {
    let mut report = check::Report::default();
    let checked = in_runtime(
        async {
            report = check::run(args).await?;
            Ok::<_, check::CheckError>(())
        },
        |_| USAGE,
    );
    if checked != ExitCode::SUCCESS {
        return checked;
    }
    let said = if args.json {
        serde_json::to_string_pretty(&report).map(|text| print(&(text + "\n")))
    } else {
        Ok(print(&report.to_string()))
    };
    match said {
        Ok(code) if code != ExitCode::SUCCESS => code,
        Ok(_) => ExitCode::from(u8::from(!report.is_fine())),
        Err(error) => fail(&error, 1),
    }
}

fn run_healthcheck(args: &HealthcheckArgs) -> ExitCode {
    in_runtime(async { healthcheck::run(args).await }, |_| 1)
}

/// Whoever reads our output may stop reading: that is no error.
fn print(text: &str) -> ExitCode {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error, 1),
        _ => ExitCode::SUCCESS,
    }
}

/// What commands log that talk to people anyway.
fn quiet() -> logging::Setup {
    logging::Setup { level: Some(tracing::Level::WARN), ..logging::Setup::default() }
}

/// Whoever reads our output may stop reading: that is no error.
fn run_redact() -> ExitCode {
    match redact::filter(std::io::stdin().lock(), std::io::stdout().lock()) {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => fail(&error, 1),
        _ => ExitCode::SUCCESS,
    }
}

fn in_runtime<E: Error + 'static>(
    work: impl Future<Output = Result<(), E>>,
    code: impl Fn(&E) -> u8,
) -> ExitCode {
    // Two threads: one that renders must not keep the other from answering probes.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    match runtime {
        Ok(runtime) => {
            let outcome = runtime.block_on(work);
            // All that matters is done: a password that is being compared is not waited for.
            runtime.shutdown_background();
            match outcome {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&error, code(&error)),
            }
        }
        Err(error) => fail(&error, 1),
    }
}

/// Turns true at the first SIGTERM or SIGINT. A second one ends the process at once.
fn stop_signal() -> Result<watch::Receiver<bool>, StartError> {
    let mut terminate = signal(SignalKind::terminate()).map_err(StartError::Signals)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(StartError::Signals)?;
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(async move {
        let mut told = false;
        loop {
            tokio::select! {
                _ = terminate.recv() => {}
                _ = interrupt.recv() => {}
            }
            if std::mem::replace(&mut told, true) {
                std::process::abort();
            }
            stop.send_replace(true);
        }
    });
    Ok(stopped)
}

fn fail(error: &dyn Error, code: u8) -> ExitCode {
    // Nothing can be done about a closed standard error.
    let text = chain(error);
    writeln!(std::io::stderr(), "mozaiks-exporter: {}", redact::redact(&text)).ok();
    ExitCode::from(code)
}
