"use strict";
// Brings the page up to date, section by section, where one has changed. Without it the page is as true as
// when it was loaded.
(() => {
  const EVERY = 10000;
  const PATIENCE = 9000;
  // Browsers ask no address that has a password in it; they know it all the same.
  const source = new URL("-/status", location.href);
  source.username = "";
  source.password = "";
  const status = document.getElementById("status");
  let timer = 0;
  let paused = false;

  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Pause";
  button.setAttribute("aria-pressed", "false");
  document.getElementById("fresh").after(button);
  button.addEventListener("click", () => {
    paused = !paused;
    button.setAttribute("aria-pressed", String(paused));
    button.textContent = paused ? "Go on" : "Pause";
    schedule(paused ? null : 0);
  });

  // Whoever has come to a link by keyboard stays on it.
  function replace(old, fresh) {
    if (old.outerHTML === fresh.outerHTML) return;
    const active = document.activeElement;
    const href = old.contains(active) ? active.getAttribute("href") : null;
    old.replaceWith(fresh);
    if (href === null) return;
    for (const link of fresh.querySelectorAll("a")) {
      if (link.getAttribute("href") === href) link.focus({ preventScroll: true });
    }
  }

  function show(html) {
    const fresh = new DOMParser().parseFromString(html, "text/html");
    document.getElementById("fresh").replaceWith(fresh.getElementById("fresh"));
    const verdict = document.getElementById("verdict");
    const said = fresh.getElementById("verdict");
    // A live region is read out when its text changes, so it stays the same element.
    if (verdict.textContent !== said.textContent) verdict.replaceChildren(...said.childNodes);
    verdict.className = said.className;
    for (const section of fresh.querySelectorAll("section")) {
      const old = document.getElementById(section.id);
      if (old) replace(old, section); else status.append(section);
    }
  }

  async function refresh() {
    // Whoever is copying text should not lose it.
    if (!window.getSelection().isCollapsed) return;
    try {
      const options = { cache: "no-store", signal: AbortSignal.timeout(PATIENCE) };
      const answer = await fetch(source, options);
      if (!answer.ok) throw new Error(`the exporter says ${answer.status}`);
      const html = await answer.text();
      if (!paused) show(html);
    } catch (error) {
      const verdict = document.getElementById("verdict");
      const lost = `No answer from the exporter (${error.message}): what stands here is old.`;
      if (verdict.textContent !== lost) verdict.textContent = lost;
      verdict.className = "bad";
    }
  }

  function schedule(wait) {
    clearTimeout(timer);
    if (wait === null) return;
    timer = setTimeout(async () => {
      await refresh();
      schedule(paused || document.hidden ? null : EVERY);
    }, wait);
  }

  document.addEventListener("visibilitychange", () => {
    schedule(paused || document.hidden ? null : 0);
  });
  schedule(EVERY);
})();
