// The page of a log: new output is appended while the step runs; old lines are dropped, so that the page stays small.
"use strict";

(() => {
  const MOST_LINES = 5000, MOST_BYTES = 2 << 20, FAST = 500, SLOW = 3000;
  const log = document.getElementById("log");
  const note = document.getElementById("follow-note"), stick = document.getElementById("stick");
  const bytes = (piece) => piece.dataset.end - piece.dataset.start;
  const number = (value) => Number(value).toLocaleString("en");
  let pause = FAST;

  document.getElementById("match")?.scrollIntoView({ block: "center" });
  if (log.hasAttribute("data-end")) window.scrollTo(0, document.body.scrollHeight);
  if (!log.hasAttribute("data-follow")) return;

  const toEnd = () => { if (stick.checked) window.scrollTo(0, document.body.scrollHeight); };

  function drop() {
    const pieces = [...log.children];
    let lines = pieces.reduce((sum, one) => sum + Number(one.dataset.lines), 0);
    let size = pieces.reduce((sum, one) => sum + bytes(one), 0);
    while (pieces.length > 1 && (lines - pieces[0].dataset.lines >= MOST_LINES || size > MOST_BYTES)) {
      const first = pieces.shift();
      lines -= first.dataset.lines;
      size -= bytes(first);
      first.remove();
    }
    document.getElementById("first-byte").textContent = number(pieces[0].dataset.start);
  }

  async function more() {
    const last = log.lastElementChild;
    const query = new URLSearchParams({ from: last.dataset.end, style: last.dataset.style });
    const answer = await fetch(`${log.dataset.piece}&${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) throw new Error(answer.status === 401 ? "log in again to follow it" : `the server answers ${answer.status}`);
    const holder = document.createElement("template");
    holder.innerHTML = await answer.text();
    const piece = holder.content.firstElementChild;
    const grown = bytes(piece) > 0;
    if (piece.dataset.skipped) log.replaceChildren();
    if (grown || piece.dataset.skipped) {
      log.append(piece);
      drop();
      toEnd();
    }
    document.getElementById("last-byte").textContent = number(piece.dataset.end);
    document.getElementById("log-size").textContent = number(piece.dataset.size);
    pause = grown ? FAST : Math.min(SLOW, pause * 1.3);
    note.textContent = piece.hasAttribute("data-over") ? "The step has ended: this is all that it printed." : "New output appears here.";
    return { over: piece.hasAttribute("data-over"), behind: Number(piece.dataset.end) < Number(piece.dataset.size) && grown };
  }

  async function follow() {
    for (;;) {
      try {
        if (!document.hidden) {
          const { over, behind } = await more();
          if (over) break;
          if (behind) continue;
        }
      } catch (error) {
        note.textContent = `New output cannot be read now: ${error.message}.`;
        pause = SLOW;
      }
      await new Promise((done) => setTimeout(done, pause));
    }
    stick.closest("label").hidden = true;
  }

  toEnd();
  follow();
})();
