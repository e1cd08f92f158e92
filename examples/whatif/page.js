"use strict";
// The matrix is one tab stop; arrow keys, Home and End move inside it.
(() => {
  const table = document.querySelector("table.matrix");
  if (!table) return;
  const stop = "button.cell, .signin a";
  const rows = [...table.querySelectorAll("tr[data-row]")].map(r => [...r.querySelectorAll(stop)]);
  const shown = () => rows.filter(r => r.length && r[0].offsetParent !== null);
  rows.flat().forEach(b => { b.tabIndex = -1; });
  const first = table.querySelector("button.cell");
  if (first) first.tabIndex = 0;
  table.addEventListener("keydown", e => {
    const cell = e.target.closest(stop);
    if (!cell || e.ctrlKey || e.altKey || e.metaKey) return;
    const grid = shown();
    let y = grid.findIndex(r => r.includes(cell));
    if (y < 0) return;
    let x = grid[y].indexOf(cell);
    switch (e.key) {
      case "ArrowLeft": x--; break;
      case "ArrowRight": x++; break;
      case "ArrowUp": y--; break;
      case "ArrowDown": y++; break;
      case "Home": x = 0; break;
      case "End": x = grid[y].length - 1; break;
      default: return;
    }
    e.preventDefault();
    const next = grid[y] && grid[y][x];
    if (!next) return;
    next.focus();
    next.scrollIntoView({ block: "nearest", inline: "nearest" });
  });
  table.addEventListener("focusin", e => {
    const cell = e.target.closest(stop);
    if (!cell) return;
    rows.flat().forEach(b => { b.tabIndex = b === cell ? 0 : -1; });
  });
  // Hidden columns make the personas above them narrower.
  const changed = document.getElementById("changed");
  if (!changed) return;
  const groups = [...table.querySelectorAll("th[scope=colgroup]")].map(th => [th, th.colSpan]);
  const columns = [...table.querySelectorAll("th.signin")];
  changed.addEventListener("change", () => {
    let at = 0;
    for (const [th, all] of groups) {
      const own = columns.slice(at, at + all);
      at += all;
      const shown = changed.checked ? own.filter(c => !c.classList.contains("same")).length : all;
      th.colSpan = Math.max(1, shown);
    }
  });
})();
