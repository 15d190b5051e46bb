/* Nodes, tabs and menus. What came over the wire is text: nothing here is ever parsed as HTML. */

import { clock, iso } from "./words.js";

export const $ = (id) => document.getElementById(id);

export function el(tag, properties = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name in node && name !== "sandbox") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.filter((child) => child !== null));
  return node;
}
export const press = (properties, ...children) => el("button", { type: "button", ...properties }, ...children);

export function icon(name) {
  const [svg, use] = ["svg", "use"].map((tag) => document.createElementNS("http://www.w3.org/2000/svg", tag));
  use.setAttribute("href", `#${name}`);
  svg.setAttribute("aria-hidden", "true");
  svg.append(use);
  return svg;
}
export const show = (node, visible) => { node.hidden = !visible; };
export const showAll = (ids) => Object.entries(ids).forEach(([id, visible]) => show($(id), visible));
export const toEnd = (list) => { list.scrollTop = list.scrollHeight; };
/* What grows at its end is shown from there; while it is hidden it cannot be scrolled. */
const ends = () => document.querySelectorAll('[role="log"]').forEach(toEnd);
export const nothing = (tag, shape, text) => el(tag, { className: "empty" }, icon(shape), text);
export const stamp = (seconds, precise) => el("time", { dateTime: iso(seconds) }, clock(seconds, precise));

/* Of `all`, the one that a key leads to from the one in focus; nothing for other keys. */
function stepped(event, all, back, forth) {
  const at = all.indexOf(document.activeElement);
  const to = { [forth]: at + 1, [back]: at - 1, Home: 0, End: -1 }[event.key];
  if (to === undefined || at < 0) return null;
  event.preventDefault();
  all.at(to % all.length).focus();
  return document.activeElement;
}

/* Make tabs of a list; `draw` shows of each panel whether it is open, and the one that opens hears "opened".
   Returns how to open one by name. */
export function tabs(list, draw) {
  const all = [...list.querySelectorAll('[role="tab"]')];
  const panel = (tab) => $(tab.getAttribute("aria-controls"));
  const select = (tab) => {
    all.forEach((other) => {
      other.setAttribute("aria-selected", String(other === tab));
      other.tabIndex = other === tab ? 0 : -1;
      draw(panel(other), other === tab);
    });
    panel(tab).dispatchEvent(new Event("opened"));
    ends();
  };
  all.forEach((tab) => { tab.onclick = () => select(tab); });
  list.onkeydown = (event) => {
    const tab = stepped(event, all, "ArrowLeft", "ArrowRight");
    if (tab) select(tab);
  };
  return (name) => select(all.find((tab) => panel(tab).id === name));
}

/* Let `button` open `box` with what `items` returns; arrows move, Escape and a press elsewhere close it. */
export function menu(button, box, items) {
  const set = (open) => { show(box, open); button.setAttribute("aria-expanded", String(open)); };
  const leave = () => { set(false); button.focus(); };
  const open = () => {
    box.replaceChildren(...items());
    const all = box.querySelectorAll("button");
    all.forEach((item) => { item.role = "menuitem"; item.tabIndex = -1; });
    set(true);
    all[0].focus();
  };
  button.onclick = () => (box.hidden ? open() : leave());
  box.onclick = leave;
  box.onkeydown = (event) => {
    stepped(event, [...box.querySelectorAll("button")], "ArrowUp", "ArrowDown");
    if (["Escape", "Tab"].includes(event.key)) leave();
  };
  document.addEventListener("pointerdown", ({ target }) => {
    if (!box.hidden && !box.contains(target) && !button.contains(target)) set(false);
  });
}
