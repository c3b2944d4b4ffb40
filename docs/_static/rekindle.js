// What scrolls sideways can be scrolled with the keyboard, too.
document.addEventListener("DOMContentLoaded", () => {
  for (const box of document.querySelectorAll("pre, .table-wrapper, .drawing")) {
    if (box.scrollWidth > box.clientWidth) box.tabIndex = 0;
  }
});
