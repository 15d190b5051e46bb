/* The phone: its apps, badges, banner and clock, and what it says in passing. */

import { $, el, icon, press, show, tabs } from "./dom.js";
import { narrow } from "./frame.js";
import { clock } from "./words.js";

const APPS = { sms: "i-sms", mail: "i-mail", telegram: "i-chat" };
const unread = { sms: 0, mail: 0, telegram: 0 };
let app = "sms";

export const showApp = tabs($("dock"), (panel, open) => {
  show(panel, open);
  if (open) app = panel.id;
});

function seen() {
  unread[app] = 0;
  drawBadges();
}

function drawBadges() {
  const put = (tab, number) => {
    const badge = $(tab).querySelector(".badge");
    show(badge, number > 0);
    badge.textContent = number;
  };
  Object.entries(unread).forEach(([name, number]) => put(`dock-${name}`, number));
  put("tab-phone", unread.sms + unread.mail + unread.telegram);
}

let away;
/* Tell of something new in an app; `elsewhere` where the app shows something else now, and `reach` leads there. */
export function notify(name, title, text, { elsewhere = false, reach = () => {} } = {}) {
  const inSight = !narrow.matches || $("phone").classList.contains("open");
  if (app === name && !elsewhere && inSight) return;
  unread[name] += 1;
  drawBadges();
  $("announce").textContent = `${title}: ${text}`;
  const onclick = () => {
    show($("banner"), false);
    reach();
    showApp(name);
    $(`dock-${name}`).focus();
  };
  $("banner").replaceChildren(press({ onclick }, el("span", { className: "avatar" }, icon(APPS[name])),
    el("b", {}, title), el("time", {}, "now"), el("span", { className: "what" }, text)));
  show($("banner"), true);
  clearTimeout(away);
  away = setTimeout(() => show($("banner"), false), 6000);
}

let silence;
export function toast(text) {
  clearTimeout(silence);
  $("toast").textContent = text;
  silence = setTimeout(() => { $("toast").textContent = ""; }, 2600);
}

export async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the permission, or in a browser that gives the clipboard to https alone.
    const focused = document.activeElement;
    const field = el("textarea", { value: text, readOnly: true, className: "hidden" });
    document.body.append(field);
    field.select();
    document.execCommand("copy");
    field.remove();
    focused?.focus();
  }
  toast(`Copied ${text}`);
}

const showTime = () => { $("now").textContent = clock(Date.now() / 1000); };

for (const id of ["phone", ...Object.keys(APPS)]) $(id).addEventListener("opened", seen);
setInterval(showTime, 1000);
showTime();
