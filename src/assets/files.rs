//! The files that ship, as they lie in the repository.

/// A file that ships.
#[derive(Debug, Clone, Copy)]
pub struct File {
    /// Where it belongs, below the folder that is written to.
    pub path: &'static str,
    /// What is in it, with the defaults of all parameters.
    pub text: &'static str,
}

macro_rules! files {
    ($($path:literal,)*) => {
        &[$(File {
            path: $path,
            text: include_str!(concat!(env!("CARGO_MANIFEST_DIR"), "/", $path)),
        },)*]
    };
}

/// All of them, without what only tests read.
pub const FILES: &[File] = files![
    "alerts/README.md",
    "alerts/alertmanager.yml",
    "alerts/blackbox.yml",
    "alerts/chats.rules.yml",
    "alerts/cost.rules.yml",
    "alerts/exporter.rules.yml",
    "alerts/meta.rules.yml",
    "alerts/prometheus.yml",
    "alerts/runbooks/ChatStalled.md",
    "alerts/runbooks/ChatsNotAnswered.md",
    "alerts/runbooks/CostSLOViolation.md",
    "alerts/runbooks/DailyCostExceeded.md",
    "alerts/runbooks/DailyCostOnPaceToExceed.md",
    "alerts/runbooks/EndpointDown.md",
    "alerts/runbooks/ExporterBacklog.md",
    "alerts/runbooks/ExporterClockCorrected.md",
    "alerts/runbooks/ExporterDataStale.md",
    "alerts/runbooks/ExporterInputRejected.md",
    "alerts/runbooks/ExporterLinesUnparsed.md",
    "alerts/runbooks/ExporterPollsFailing.md",
    "alerts/runbooks/ExporterRestarting.md",
    "alerts/runbooks/ExporterSeriesFolded.md",
    "alerts/runbooks/ExporterSeriesNearLimit.md",
    "alerts/runbooks/ExporterStateDamaged.md",
    "alerts/runbooks/ExporterStateNotDurable.md",
    "alerts/runbooks/HighConcurrency.md",
    "alerts/runbooks/HighCostChat.md",
    "alerts/runbooks/HighErrorRate.md",
    "alerts/runbooks/NotificationsFailing.md",
    "alerts/runbooks/RuleEvaluationFailing.md",
    "alerts/runbooks/RunawayChat.md",
    "alerts/runbooks/RuntimeRestarting.md",
    "alerts/runbooks/SLOAvailabilityViolation.md",
    "alerts/runbooks/SLOErrorBudgetExhausted.md",
    "alerts/runbooks/SLOErrorRateViolation.md",
    "alerts/runbooks/SLOLatencyViolation.md",
    "alerts/runbooks/ServiceDown.md",
    "alerts/runbooks/SlowAgentTurns.md",
    "alerts/runbooks/TLSCertificateExpiringSoon.md",
    "alerts/runbooks/UnpricedTokens.md",
    "alerts/runbooks/Watchdog.md",
    "alerts/service.rules.yml",
    "alerts/slo.rules.yml",
    "alerts/templates/mozaiks.tmpl",
    "grafana/README.md",
    "grafana/dashboards/mozaiks-agents.json",
    "grafana/dashboards/mozaiks-chats.json",
    "grafana/dashboards/mozaiks-cost.json",
    "grafana/dashboards/mozaiks-exporter.json",
    "grafana/dashboards/mozaiks-overview.json",
    "grafana/dashboards/mozaiks-slo.json",
    "grafana/kustomization.yaml",
    "grafana/provisioning/dashboards/mozaiks.yml",
    "grafana/provisioning/datasources/prometheus.yml",
];

/// The text of a file that ships.
pub(super) fn text(path: &str) -> &'static str {
    FILES.iter().find(|file| file.path == path).map_or("", |file| file.text)
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    /// A file that is added and not listed would be missed by users alone.
    #[test]
    fn all_of_the_tree_ships_except_tests() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let mut open = vec![root.join("alerts"), root.join("grafana")];
        let mut there = Vec::new();
        while let Some(folder) = open.pop() {
            for entry in std::fs::read_dir(folder).unwrap() {
                let path = entry.unwrap().path();
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                if path.is_dir() && name != "alerts/tests" {
                    open.push(path);
                } else if path.is_file()
                    && !name.contains("/.")
                    && path.extension().is_none_or(|extension| extension != "tsv")
                {
                    there.push(name);
                }
            }
        }
        there.sort();
        let listed: Vec<&str> = FILES.iter().map(|file| file.path).collect();
        assert_eq!(there, listed);
    }
}
