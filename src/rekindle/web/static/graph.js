// The picture of a workflow while it runs. `update` is the JSON of rekindle.web.graph_svg.GraphUpdate.
"use strict";

function updateGraph(update, root = document) {
  const svg = "http://www.w3.org/2000/svg";
  for (const element of root.querySelectorAll("[data-node]")) {
    const node = update.nodes[element.dataset.node];
    if (!node) continue;
    element.setAttribute("class", node.classes);
    for (const [selector, text] of [[".graph-state", node.text], [".graph-more", node.more]]) {
      const found = element.querySelector(selector);
      if (found) found.textContent = text;
    }
    const title = element.querySelector(":scope > title");
    if (title && node.title) title.textContent = node.title;
    element.querySelector(".graph-bar")?.replaceChildren(...node.bar.map(([name, x, width]) => {
      const part = document.createElementNS(svg, "rect");
      for (const [key, value] of Object.entries({ class: name, x, y: 42, width, height: 8 })) part.setAttribute(key, value);
      return part;
    }));
  }
  for (const element of root.querySelectorAll("[data-edge]")) {
    const classes = update.edges[element.dataset.edge];
    if (!classes) continue;
    element.setAttribute("class", classes);
    if (element.classList.contains("failed-path")) element.parentNode.append(element);  // above the others
  }
}

// The live part of the page carries the newest update, from the start: it may be read later than the drawing.
(() => {
  const part = document.getElementById("part-graph");
  if (!part) return;
  const layout = document.querySelector(".graph")?.dataset.layout;
  const apply = () => {
    const newest = part.querySelector("data");
    if (newest.dataset.layout === layout) updateGraph(JSON.parse(newest.value));
    else part.querySelector("#graph-outdated").hidden = false;
  };
  const changes = ["value", "data-layout", "hidden"];  // the same part, sent again, hides its message
  new MutationObserver(apply).observe(part, { subtree: true, childList: true, attributes: true, attributeFilter: changes });
  apply();
})();
