// Keys and rows of the console. All text comes from the server, escaped; this adds only behaviour.
"use strict";

(() => {
  const typing = (element) => element && (element.matches("input:not([type=checkbox]), select, textarea") || element.isContentEditable);

  // Buttons that open a dialog: data-open names it.
  document.addEventListener("click", (event) => {
    const opener = event.target.closest("[data-open]");
    if (opener) document.getElementById(opener.dataset.open)?.showModal();
  });

  // Rows: arrows move between them, Enter opens one, a click beside its links too.
  const rowsOf = () => [...document.querySelectorAll("table[data-rows] tbody tr")];

  function move(step) {
    const rows = rowsOf();
    if (!rows.length) return;
    const at = rows.indexOf(document.activeElement.closest("tr"));
    const next = rows[Math.min(rows.length - 1, Math.max(0, at < 0 ? 0 : at + step))];
    next.tabIndex = -1;
    next.focus();
  }

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const here = document.activeElement;
    if (typing(here)) {
      if (event.key === "Escape") here.blur();
      return;
    }
    const row = here.closest?.("table[data-rows] tbody tr");
    const act = {
      "/": () => document.querySelector("[data-search]")?.focus(),
      "?": () => document.getElementById("help")?.showModal(),
      ArrowDown: () => move(1),
      ArrowUp: () => move(-1),
      Enter: row && here === row ? () => { location.href = row.dataset.href; } : null,
    }[event.key];
    if (act) {
      event.preventDefault();
      act();
    }
  });
})();
