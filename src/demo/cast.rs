//! Who there is in the simulated world.

use std::ops::RangeInclusive;

/// What a model takes, in USD per million tokens.
#[derive(Debug)]
pub(super) struct Price {
    pub(super) prompt: f64,
    pub(super) completion: f64,
}

const LARGE: Price = Price { prompt: 2.5, completion: 10.0 };
const SMALL: Price = Price { prompt: 0.4, completion: 1.6 };
/// Nobody entered this one into the price table: its tokens are counted, its cost is not.
const MISSING: Price = Price { prompt: 0.0, completion: 0.0 };

/// A kind of chat.
#[derive(Debug)]
pub(super) struct Workflow {
    pub(super) name: &'static str,
    pub(super) price: Price,
    /// Per turn.
    pub(super) prompt_tokens: RangeInclusive<u32>,
    /// Per turn.
    pub(super) completion_tokens: RangeInclusive<u32>,
    /// The turn in the middle; half of them take longer.
    pub(super) median_turn_seconds: f64,
    /// No turn is shorter or longer.
    pub(super) turn_seconds: RangeInclusive<f64>,
    /// Per turn.
    pub(super) tool_calls: RangeInclusive<u32>,
    /// What its tools lean on is down now and then.
    pub(super) has_bad_spells: bool,
}

static SUPPORT_TRIAGE: Workflow = Workflow {
    name: "SupportTriage",
    price: SMALL,
    prompt_tokens: 3_000..=7_000,
    completion_tokens: 200..=600,
    median_turn_seconds: 1.1,
    turn_seconds: 0.4..=4.5,
    tool_calls: 0..=2,
    has_bad_spells: false,
};

static INVOICE_EXTRACT: Workflow = Workflow {
    name: "InvoiceExtract",
    price: SMALL,
    prompt_tokens: 4_000..=10_000,
    completion_tokens: 300..=900,
    median_turn_seconds: 1.6,
    turn_seconds: 0.5..=5.0,
    tool_calls: 1..=3,
    has_bad_spells: true,
};

static LEAD_SCORING: Workflow = Workflow {
    name: "LeadScoring",
    price: MISSING,
    prompt_tokens: 1_500..=4_000,
    completion_tokens: 100..=400,
    median_turn_seconds: 0.9,
    turn_seconds: 0.3..=3.0,
    tool_calls: 0..=1,
    has_bad_spells: false,
};

static REPORT_BUILDER: Workflow = Workflow {
    name: "ReportBuilder",
    price: LARGE,
    prompt_tokens: 2_000..=5_000,
    completion_tokens: 300..=900,
    median_turn_seconds: 2.0,
    turn_seconds: 0.6..=5.0,
    tool_calls: 0..=2,
    has_bad_spells: false,
};

static CONTRACT_REVIEW: Workflow = Workflow {
    name: "ContractReview",
    price: LARGE,
    prompt_tokens: 6_000..=14_000,
    completion_tokens: 600..=1_800,
    median_turn_seconds: 10.0,
    turn_seconds: 6.0..=20.0,
    tool_calls: 0..=2,
    has_bad_spells: false,
};

/// The workflow of the chats that cost a fortune.
pub(super) static FORTUNE: &Workflow = &REPORT_BUILDER;

/// An app, its users and the workflows it runs.
#[derive(Debug)]
pub(super) struct App {
    pub(super) id: &'static str,
    pub(super) users: [&'static str; 2],
    pub(super) workflows: &'static [&'static Workflow],
}

pub(super) static APPS: [App; 4] = [
    App {
        id: "acme",
        users: ["ada@acme.example", "ben@acme.example"],
        workflows: &[&SUPPORT_TRIAGE, &INVOICE_EXTRACT, &REPORT_BUILDER],
    },
    App {
        id: "globex",
        users: ["chen@globex.example", "dora@globex.example"],
        workflows: &[&INVOICE_EXTRACT, &CONTRACT_REVIEW],
    },
    App {
        id: "initech",
        users: ["u-1007", "u-1024"],
        workflows: &[&LEAD_SCORING, &SUPPORT_TRIAGE],
    },
    App {
        id: "umbrella",
        users: ["svc:nightly", "grace"],
        workflows: &[&REPORT_BUILDER, &CONTRACT_REVIEW, &LEAD_SCORING],
    },
];
