// The rerun dialog, the menu of a right click, and undo. All text comes from the server, escaped.
"use strict";

(() => {
  const dialog = document.getElementById("rerun");
  const notices = document.getElementById("notices");
  if (!dialog || !notices) return;
  window.rekindle ||= {};

  async function send(path, body) {
    try {
      const answer = await fetch(path, { method: body ? "POST" : "GET", body, headers: { "HX-Request": "true" } });
      return { ok: answer.ok, applied: answer.headers.has("X-Applied"), html: await answer.text() };
    } catch {
      return { ok: false, html: "<p class=\"error\" role=\"alert\">The server does not answer. Is it still running?</p>" };
    }
  }

  function notify(html) {
    const notice = document.createElement("div");
    notice.innerHTML = html;
    const close = Object.assign(document.createElement("button"), { type: "button", className: "quiet", textContent: "✕" });
    close.setAttribute("aria-label", "Dismiss");
    close.addEventListener("click", () => notice.remove());
    (notice.querySelector(".notice") || notice).append(close);
    notices.replaceChildren(notice);
  }

  // --- the dialog

  let opener = null;

  function show(html) {
    if (!dialog.open) opener = document.activeElement;
    dialog.innerHTML = html;
    window.htmx.process(dialog);
    if (!dialog.open) dialog.showModal();
    (dialog.querySelector("[autofocus]:not(:disabled)") || dialog.querySelector("button, select, input"))?.focus();
  }

  dialog.addEventListener("close", () => {
    dialog.replaceChildren();
    if (opener?.isConnected) opener.focus();
  });

  async function open(selection, canary) {
    const body = new URLSearchParams({ selection: selection.toString() });
    if (canary) body.set("canary", canary);
    const answer = await send("/rerun/dialog", body);
    if (!answer.ok) return notify(answer.html);
    show(answer.html);
    dialog.querySelector("#rerun-form")?.dispatchEvent(new Event("replan"));
  }
  window.rekindle.rerun = open;

  const planArea = () => document.getElementById("rerun-plan");
  dialog.addEventListener("htmx:before:request", () => planArea()?.setAttribute("aria-busy", "true"));
  dialog.addEventListener("htmx:finally:request", () => planArea()?.setAttribute("aria-busy", "false"));

  // Screen readers hear the summary of a plan that is drawn again, not the whole plan.
  dialog.addEventListener("htmx:after:swap", () => {
    const said = document.getElementById("rerun-said");
    if (said) said.textContent = planArea()?.querySelector(".plan-summary, .error, .empty")?.textContent || "";
  });

  dialog.addEventListener("submit", async (event) => {
    const form = event.target;
    if (form.id !== "rerun-form") return;
    event.preventDefault();
    event.stopPropagation();
    const button = dialog.querySelector("#rerun-apply");
    if (!button || button.disabled) return;
    button.disabled = true;
    planArea().setAttribute("aria-busy", "true");
    const answer = await send("/rerun/apply", new URLSearchParams(new FormData(form)));
    if (answer.applied) {
      dialog.close();
      document.dispatchEvent(new CustomEvent("rekindle:applied"));
      return notify(answer.html);
    }
    planArea().innerHTML = answer.html;
    planArea().setAttribute("aria-busy", "false");
    dialog.querySelector("#rerun-apply")?.focus();
  }, true);

  async function undo(button) {
    button.disabled = true;
    const answer = await send(`/reruns/${button.dataset.undo}/undo`, new URLSearchParams());
    if (dialog.open) dialog.close();
    notify(answer.html);
    document.dispatchEvent(new CustomEvent("rekindle:applied"));
  }

  async function askUndo(rerun) {
    const answer = await send(`/rerun/undo${rerun ? `?rerun=${rerun}` : ""}`);
    if (answer.ok) show(answer.html);
    else notify(answer.html);
  }

  document.addEventListener("click", (event) => {
    const button = event.target.closest("[data-rerun], [data-undo], [data-ask-undo], [data-close]");
    if (!button || button.disabled) return;
    if ("close" in button.dataset) dialog.close();
    else if ("askUndo" in button.dataset) askUndo(button.dataset.askUndo);
    else if ("undo" in button.dataset) undo(button);
    else if (button.dataset.rerun) open(button.dataset.rerun, button.dataset.canary);
  });

  // --- a new run: the button of its preview submits the form

  document.addEventListener("click", async (event) => {
    const button = event.target.closest("[data-submit-run]");
    if (!button || button.disabled) return;
    button.disabled = true;
    const form = button.closest("form");
    const answer = await send(form.action.replace(/\/preview$/, ""), new URLSearchParams(new FormData(form)));
    button.parentElement.innerHTML = answer.html;
  });

  // --- the menu of a right click

  const menu = document.createElement("div");
  menu.className = "row-menu";
  menu.setAttribute("role", "menu");
  menu.hidden = true;
  document.body.append(menu);

  function choices(row) {
    const found = [];
    const selection = window.rekindle.selection?.();
    if (row.dataset.job) {
      const single = new URLSearchParams({ plus: row.dataset.job });
      if (selection && row.getAttribute("aria-selected") === "true") found.push(["Rerun the selection…", selection]);
      found.push(["Rerun this job…", single]);
    }
    const workflow = row.dataset.workflow || /^\/workflows\/(\d+)/.exec(location.pathname)?.[1];
    if (workflow) found.push(["Rerun all failed jobs of the workflow…", new URLSearchParams({ w: workflow, state: "failed", all: "1" })]);
    return found;
  }

  function closeMenu(refocus) {
    if (menu.hidden) return;
    menu.hidden = true;
    if (refocus && menu.opener?.isConnected) menu.opener.focus();
  }

  document.addEventListener("contextmenu", (event) => {
    const row = event.target.closest?.("[data-job], [data-workflow]");
    if (!row || event.target.closest("input, textarea, dialog") || String(window.getSelection())) return;
    const items = choices(row);
    if (!items.length) return;
    event.preventDefault();
    menu.replaceChildren(...items.map(([label, selection]) => {
      const item = Object.assign(document.createElement("button"), { type: "button", textContent: label });
      item.setAttribute("role", "menuitem");
      item.addEventListener("click", () => {
        closeMenu(true);
        open(selection);
      });
      return item;
    }));
    menu.opener = document.activeElement;
    menu.hidden = false;
    const box = row.getBoundingClientRect();
    const [x, y] = event.clientX || event.clientY ? [event.clientX, event.clientY] : [box.left + 16, box.top + 16];
    menu.style.left = `${Math.max(4, Math.min(x, innerWidth - menu.offsetWidth - 4))}px`;
    menu.style.top = `${Math.max(4, Math.min(y, innerHeight - menu.offsetHeight - 4))}px`;
    menu.firstElementChild.focus();
  });
  document.addEventListener("click", (event) => {
    if (!menu.contains(event.target)) closeMenu(false);
  });
  document.addEventListener("scroll", () => closeMenu(false), true);
  menu.addEventListener("keydown", (event) => {
    const items = [...menu.children];
    const at = items.indexOf(document.activeElement);
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) items[(at + step + items.length) % items.length].focus();
    else if (event.key === "Escape" || event.key === "Tab") closeMenu(true);
    else return;
    event.preventDefault();
    event.stopPropagation();
  });

  // --- keys

  document.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
    const here = document.activeElement;
    if (here.matches("input:not([type=checkbox]), select, textarea")) return;
    if (event.key === "u") {
      event.preventDefault();
      askUndo();
    } else if (event.key === "r") {
      event.preventDefault();
      const row = here.closest("[data-job], [data-workflow]");
      const page = document.querySelector("[data-selection]")?.dataset.selection;
      const chosen = window.rekindle.selection?.() || (row && choices(row)[0]?.[1]) || page;
      if (chosen) open(chosen);
      else notify('<div class="notice"><span>Nothing is selected. Select jobs with Space, or all that match with <kbd>a</kbd>; then press <kbd>r</kbd>.</span></div>');
    }
  });
})();
