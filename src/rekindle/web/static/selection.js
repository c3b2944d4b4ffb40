// The selected jobs of a table: either ids, or all that match its filter without some ids. The selection is kept for
// each filter in the browser's session, so that it survives other pages, sorting, live changes and reloads.
"use strict";

(() => {
  const part = document.getElementById("part-jobs");
  const bar = document.getElementById("selection-bar");
  const fields = (element) => new URLSearchParams(element?.dataset.selection || "");

  window.rekindle = window.rekindle || {};
  window.rekindle.selection = () => {
    if (part) return chosen();
    const one = document.querySelector("[data-selection]");
    return one ? fields(one) : null;
  };
  if (!part || !bar) return;

  const table = () => document.getElementById("jobs-table");
  const rows = () => [...part.querySelectorAll("tr[data-job]")];
  const idOf = (row) => Number(row.dataset.job);
  const words = part.querySelector("[data-words]")?.dataset.words || "";
  const key = `rekindle-selection ${words}`;

  let all = false; // all that match, without `ids`; else only `ids`
  let ids = new Set();
  let anchor = null; // where a range begins

  function ranges(set) {
    const sorted = [...set].sort((a, b) => a - b);
    const parts = [];
    for (let at = 0; at < sorted.length; at++) {
      const first = sorted[at];
      while (sorted[at + 1] === sorted[at] + 1) at++;
      parts.push(first === sorted[at] ? `${first}` : `${first}-${sorted[at]}`);
    }
    return parts.join(",");
  }

  function idsIn(text) {
    const found = new Set();
    for (const one of text.split(",").filter(Boolean)) {
      const [first, last] = one.split("-").map(Number);
      for (let id = first; id <= (last || first); id++) found.add(id);
    }
    return found;
  }

  function load() {
    try {
      const kept = JSON.parse(sessionStorage.getItem(key) || "{}");
      all = Boolean(kept.all);
      ids = idsIn(kept.ids || "");
    } catch {
      all = false;
      ids = new Set();
    }
  }

  function save() {
    try {
      if (all || ids.size) sessionStorage.setItem(key, JSON.stringify({ all, ids: ranges(ids) }));
      else sessionStorage.removeItem(key);
    } catch {
      // The browser keeps nothing: the selection ends with the page.
    }
  }

  const total = () => Number(table()?.dataset.total || 0);
  const count = () => (all ? Math.max(0, total() - ids.size) : ids.size);
  const isSelected = (id) => ids.has(id) !== all;

  function chosen() {
    if (!count()) return null;
    const given = new URLSearchParams(all ? words : { w: new URLSearchParams(words).get("w") });
    if (all) given.set("all", "1");
    if (ids.size) given.set(all ? "minus" : "plus", ranges(ids));
    return given;
  }

  function set(id, on) {
    if (on !== all) ids.add(id);
    else ids.delete(id);
  }

  // Show the selection. This writes only what differs: the observer below sees what it writes.
  function show() {
    const shown = rows();
    let on = 0;
    for (const row of shown) {
      const selected = isSelected(idOf(row));
      if (selected) on++;
      if (row.getAttribute("aria-selected") !== String(selected)) row.setAttribute("aria-selected", String(selected));
      const box = row.querySelector("input[type=checkbox]");
      if (box && box.checked !== selected) box.checked = selected;
    }
    const page = part.querySelector("[data-select-page]");
    if (page) {
      page.checked = on > 0 && on === shown.length;
      page.indeterminate = on > 0 && on < shown.length;
    }
    const number = count();
    const left = all && ids.size ? `, ${ids.size.toLocaleString("en")} left out` : "";
    const text = number ? `${number.toLocaleString("en")} selected${all ? ` (all that match${left})` : ""}` : "";
    document.getElementById("selection-count").textContent = text;
    const said = document.getElementById("selection-said"); // a part of the bar is not read aloud while it is hidden
    if (said.textContent !== text) said.textContent = text;
    bar.hidden = !number;
    const rerun = bar.querySelector("[data-rerun]");
    if (rerun) rerun.dataset.rerun = chosen()?.toString() || "";
  }

  function changed() {
    save();
    show();
    document.dispatchEvent(new CustomEvent("rekindle:selection"));
  }

  function selectAll() {
    all = true;
    ids = new Set();
    changed();
  }

  function clear() {
    all = false;
    ids = new Set();
    changed();
  }

  // Select a row or take it out; a range takes the state of the row where it begins.
  function pick(row, range) {
    const shown = rows();
    const from = range ? shown.findIndex((one) => idOf(one) === anchor) : -1;
    const to = shown.indexOf(row);
    if (from >= 0) {
      const on = isSelected(anchor);
      for (const one of shown.slice(Math.min(from, to), Math.max(from, to) + 1)) set(idOf(one), on);
    } else {
      anchor = idOf(row);
      set(anchor, !isSelected(anchor));
    }
    changed();
  }

  part.addEventListener("click", (event) => {
    if (event.target.closest("[data-select-all]")) return selectAll();
    if (event.target.closest("[data-select-page]")) {
      const on = rows().some((row) => !isSelected(idOf(row)));
      for (const row of rows()) set(idOf(row), on);
      return changed();
    }
    const row = event.target.closest("tr[data-job]");
    if (!row) return;
    const cell = event.target.closest("td.pick");
    if (!cell && (event.target.closest("a") || !(event.shiftKey || event.ctrlKey || event.metaKey))) return;
    pick(row, event.shiftKey);
  });

  // Shift-click selects rows, not their text.
  part.addEventListener("mousedown", (event) => {
    if (event.shiftKey && event.target.closest("tr[data-job]") && !event.target.closest("a")) event.preventDefault();
  });

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const here = document.activeElement;
    if (here.matches("input:not([type=checkbox]), select, textarea")) return;
    const row = here.closest("tr[data-job]");
    if (event.key === " " && row && !here.matches("a, button")) {
      event.preventDefault();
      pick(row, event.shiftKey);
    } else if (event.key === "a" && total()) {
      event.preventDefault();
      selectAll();
    }
  });

  bar.addEventListener("click", (event) => {
    if (event.target.closest("[data-clear]")) clear();
  });

  // Hold, release, cancel, accept: the answer says what was done.
  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-act]");
    const given = button && chosen();
    if (!given) return;
    const note = document.getElementById("cancel-note");
    if (button.dataset.act === "cancel" && note.value) given.set("note", note.value);
    button.disabled = true;
    try {
      const answer = await fetch(`/jobs/${button.dataset.act}`, { method: "POST", body: given, headers: { "HX-Request": "true" } });
      say(await answer.text());
    } catch {
      say("<p>The server does not answer. Nothing may have been done: look, and try again.</p>");
    }
    button.disabled = false;
  });

  // Show an answer of the server, which is HTML that it has escaped.
  function say(html) {
    const notice = document.createElement("div");
    notice.innerHTML = html;
    const close = document.createElement("button");
    close.type = "button";
    close.textContent = "Close";
    close.addEventListener("click", () => notice.remove());
    notice.append(close);
    document.getElementById("notices").append(notice);
  }

  load();
  show();
  new MutationObserver(show).observe(part, { childList: true, subtree: true, attributes: true, attributeFilter: ["aria-selected", "data-total", "id"] });
})();
