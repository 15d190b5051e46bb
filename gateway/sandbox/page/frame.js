/* The frame of the page: its panes and its theme. */

import { $, tabs } from "./dom.js";

export const narrow = matchMedia("(max-width: 779.98px)");
export const showPane = tabs($("panes"), (pane, open) => pane.classList.toggle("open", open));

/* Panes are tab panels only where there are tabs. */
function arrange() {
  for (const pane of document.querySelectorAll(".pane")) {
    pane.role = narrow.matches ? "tabpanel" : null;
    pane.setAttribute("aria-labelledby", narrow.matches ? `tab-${pane.id}` : `${pane.id}-title`);
  }
}

function startTheme() {
  const prefers = matchMedia("(prefers-color-scheme: dark)");
  const draw = () => {
    const dark = (localStorage.theme ?? (prefers.matches ? "dark" : "light")) === "dark";
    $("theme").setAttribute("aria-pressed", String(dark));
    document.documentElement.dataset.theme = localStorage.theme ?? "";
    return dark;
  };
  prefers.onchange = draw;
  $("theme").onclick = () => { localStorage.theme = draw() ? "light" : "dark"; draw(); };
  draw();
}

startTheme();
arrange();
narrow.onchange = arrange;
