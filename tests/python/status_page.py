#!/usr/bin/env python3
"""Looks at the status page with Chromium.

status_page.py URL FOLDER

Reads orders from standard input, one a line, and answers each with a line of JSON:

look          pictures of the page in light and dark, wide and narrow, in FOLDER; how wide the page is at each
              width, and text that hardly stands out from what it stands on
live NUMBER   puts the focus on the last chat's link and waits until the script shows that many live chats
follow CHAT   clicks on the link of that chat: its JSON; and goes back
gone          waits until the page says that nobody answers any more
without       the page without its script
picture       the upper part of the page, as status.png in FOLDER
complaints    what the browser complained of since the start: errors, warnings, breaches of the policy
"""

import json
import shutil
import sys

from playwright.sync_api import expect, sync_playwright

BROWSERS = ["chromium", "chromium-browser", "google-chrome"]
WIDTHS = [1280, 1000, 768, 390]
# The page asks every ten seconds.
PATIENCE_MS = 40_000

# Text whose contrast is below what WCAG 2.2 asks for at level AA.
CONTRAST = """() => {
    const channel = (value) => {
        const part = value / 255;
        return part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4;
    };
    const light = ([red, green, blue]) =>
        0.2126 * channel(red) + 0.7152 * channel(green) + 0.0722 * channel(blue);
    const numbers = (colour) => colour.match(/[0-9.]+/g).map(Number);
    const ground = (element) => {
        for (let at = element; at; at = at.parentElement) {
            const colour = numbers(getComputedStyle(at).backgroundColor);
            if (colour.length === 3 || colour[3] > 0) return colour;
        }
        return [255, 255, 255];
    };
    const faint = [];
    for (const element of document.body.querySelectorAll("*")) {
        const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
        if (!own || element.closest("script, svg")) continue;
        const [one, two] = [numbers(getComputedStyle(element).color), ground(element)].map(light);
        const contrast = (Math.max(one, two) + 0.05) / (Math.min(one, two) + 0.05);
        if (contrast < 4.5) faint.push(`${element.outerHTML.slice(0, 100)}: ${contrast.toFixed(2)}`);
    }
    return faint;
}"""

complaints = []


def listen(page):
    page.on("console", lambda said: complaints.append(f"{said.type}: {said.text}"))
    page.on("pageerror", lambda error: complaints.append(f"page error: {error}"))
    page.on("requestfailed", lambda request: complaints.append(f"failed: {request.url}"))
    page.on("response", lambda answer: answer.status >= 400 and complaints.append(
        f"{answer.status}: {answer.url}"))
    return page


def look(browser, url, folder):
    seen = {"contrast": []}
    for width in WIDTHS:
        for scheme in ["light", "dark"]:
            viewport = {"width": width, "height": 900}
            context = browser.new_context(viewport=viewport, color_scheme=scheme)
            page = listen(context.new_page())
            page.goto(url)
            page.screenshot(path=f"{folder}/{scheme}-{width}.png", full_page=True)
            scroll, inner = page.evaluate("[document.scrollingElement.scrollWidth, innerWidth]")
            seen[str(width)] = {"scroll": scroll, "inner": inner}
            seen["contrast"] += page.evaluate(CONTRAST)
            seen["live"] = page.locator("#live").inner_text()
            seen["broken"] = page.evaluate("window.broken ?? null")
            context.close()
    return seen


def wait_for(page, number):
    link = page.locator("#chats a", has_text="chat_abc123")
    link.focus()
    expect(page.locator("#live")).to_have_text(number, timeout=PATIENCE_MS)
    focus = page.evaluate("document.activeElement.getAttribute('href')")
    return {"live": page.locator("#live").inner_text(), "focus": focus}


def follow(page, chat):
    page.locator("#chats a", has_text=chat).click()
    page.wait_for_url("**/metrics/perf/chats/**")
    seen = json.loads(page.locator("body").inner_text())
    page.go_back()
    return seen


def gone(page):
    verdict = page.locator("#verdict.bad")
    expect(verdict).to_contain_text("No answer from the exporter", timeout=PATIENCE_MS)
    return {"verdict": verdict.inner_text()}


def without(browser, url):
    context = browser.new_context(java_script_enabled=False)
    page = listen(context.new_page())
    page.goto(url)
    seen = {"live": page.locator("#live").inner_text()}
    context.close()
    return seen


def picture(browser, url, folder):
    context = browser.new_context(viewport={"width": 1280, "height": 720}, color_scheme="light")
    page = context.new_page()
    page.goto(url)
    page.screenshot(path=f"{folder}/status.png")
    context.close()
    return {}


def main():
    url, folder = sys.argv[1:]
    binary = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if binary is None:
        sys.exit(f"none of {', '.join(BROWSERS)} is on PATH; tests/run installs what the tests need")
    with sync_playwright() as playwright:
        # In containers there is no sandbox to be had; the page is ours.
        browser = playwright.chromium.launch(executable_path=binary, args=["--no-sandbox"])
        page = listen(browser.new_page())
        page.goto(url)
        orders = {
            "look": lambda: look(browser, url, folder),
            "live": lambda number: wait_for(page, number),
            "follow": lambda chat: follow(page, chat),
            "gone": lambda: gone(page),
            "without": lambda: without(browser, url),
            "picture": lambda: picture(browser, url, folder),
            "complaints": lambda: {"complaints": complaints},
        }
        for line in sys.stdin:
            name, *words = line.split()
            print(json.dumps(orders[name](*words)), flush=True)
        browser.close()


main()
