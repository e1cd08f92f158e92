// Keeps the parts of the page that change up to date, without taking away the
// focus, an opened entry, or what is being typed. The page works without it.
(() => {
  "use strict";
  const every = 1500; // ms
  const busy = part => {
    const at = document.activeElement;
    return part.contains(at) && at.matches("input, select, textarea") || part.querySelector(":active") !== null;
  };
  const shown = new Map(); // id of a part → its HTML as it came
  const replace = (old, fresh) => {
    const html = fresh.innerHTML;
    if (shown.get(old.id) === html || busy(old)) return;
    const first = !shown.has(old.id);
    shown.set(old.id, html);
    if (first && old.innerHTML === html) return;
    const open = [...old.querySelectorAll("details[open]")].map(d => d.id);
    const typed = [...old.querySelectorAll("input:not([type=hidden])")].filter(i => i.value !== i.defaultValue).map(i => [i.id, i.value]);
    const focused = old.contains(document.activeElement) ? document.activeElement.id : "";
    old.className = fresh.className;
    old.replaceChildren(...fresh.childNodes);
    for (const id of open) document.getElementById(id)?.setAttribute("open", "");
    for (const [id, value] of typed) { const i = document.getElementById(id); if (i) i.value = value; }
    if (focused) document.getElementById(focused)?.focus({ preventScroll: true });
  };
  const refresh = async () => {
    if (document.hidden) return;
    const reply = await fetch("/live" + location.search);
    if (!reply.ok) return;
    const fresh = new DOMParser().parseFromString(await reply.text(), "text/html");
    for (const old of document.querySelectorAll("[data-live]")) {
      const part = fresh.getElementById(old.id);
      if (part) replace(old, part);
    }
  };
  const loop = async () => {
    const lost = document.getElementById("lost");
    try { await refresh(); lost.hidden = true; } catch { lost.hidden = false; }
    setTimeout(loop, every);
  };
  setTimeout(loop, every);
})();
