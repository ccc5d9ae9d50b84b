//! A model's answer as AG2's text log keeps it: a Python repr, JSON in a string, or an object.

use std::borrow::Cow;

use super::call::{Flaw, Response, Taker};
use super::repr;
use crate::sources::flat::{self, Raw, fields};
use crate::sources::value::{count, text, whole};

/// How AG2 begins what it writes where a call went wrong.
pub(super) const ERROR: &str = "error_code";

fields! {
    /// An answer that is an object; `response` is in place of all else, where it was a text.
    struct Object { model, usage, response }
}

fields! {
    /// What it used.
    struct Tokens { prompt_tokens, completion_tokens }
}

/// Reads an answer, whatever it is.
pub(super) fn read(raw: Option<Raw<'_>>, take: &mut Taker) -> Response {
    let Some(raw) = raw.filter(|raw| raw.get() != "null") else {
        return Response { error: true, ..Response::default() };
    };
    if raw.get().starts_with('{') {
        return object(raw.get(), take).unwrap_or_else(|| unreadable(take));
    }
    let Some(text) = take.or_none(text(Some(raw))) else {
        return Response::default();
    };
    if is_error(&text) {
        return Response { error: true, ..Response::default() };
    }
    let is_json = text.trim_start().starts_with('{');
    is_json.then(|| object(&text, take)).flatten().unwrap_or_else(|| of_repr(&text, take))
}

/// `str(None)` stands where there was no answer.
fn is_error(text: &str) -> bool {
    text.starts_with(ERROR) || text == "None"
}

fn unreadable(take: &mut Taker) -> Response {
    take.note(Flaw::Shape);
    Response::default()
}

fn object(json: &str, take: &mut Taker) -> Option<Response> {
    let object: Object<'_> = flat::object(json).ok()?;
    let error = text(object.response).ok().flatten().is_some_and(|said| is_error(&said));
    let model = take.or_none(text(object.model));
    let usage = object.usage.filter(|usage| usage.get() != "null");
    let tokens = usage.map(|usage| match flat::object::<Tokens<'_>>(usage.get()) {
        Ok(tokens) => {
            let prompt = take.or_none(count(tokens.prompt_tokens));
            let completion = take.or_none(count(tokens.completion_tokens));
            (prompt.unwrap_or_default(), completion.unwrap_or_default())
        }
        Err(_) => {
            take.note(Flaw::Shape);
            (0, 0)
        }
    });
    Some(Response { model: take.name(model), tokens, error })
}

fn of_repr(text: &str, take: &mut Taker) -> Response {
    let found = repr::find(text);
    let mut number = |digits: Option<&str>| take.or_none(digits.map(whole).transpose());
    let (prompt, completion) = (number(found.prompt_tokens), number(found.completion_tokens));
    let is_said = found.prompt_tokens.is_some() || found.completion_tokens.is_some();
    let tokens = is_said.then(|| (prompt.unwrap_or_default(), completion.unwrap_or_default()));
    Response { model: take.name(found.model.map(unescaped)), tokens, error: false }
}

/// Names of models have no escapes but these, if any.
fn unescaped(text: &str) -> Cow<'_, str> {
    if !text.contains('\\') {
        return Cow::Borrowed(text);
    }
    let mut plain = String::with_capacity(text.len());
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => plain.extend(chars.next().filter(|c| matches!(c, '\\' | '\'' | '"'))),
            c => plain.push(c),
        }
    }
    Cow::Owned(plain)
}

/// The model that a request names, which is all that is taken out of it.
pub(super) fn requested_model(request: Option<Raw<'_>>, take: &mut Taker) -> Option<String> {
    fields! {
        /// What was asked for.
        struct Request { model }
    }
    let request: Request<'_> = flat::object(request?.get()).ok()?;
    let model = take.or_none(text(request.model));
    take.name(model)
}
