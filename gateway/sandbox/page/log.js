/* The log: the gateway's providers and its events. */

import { act } from "./acts.js";
import { $, el, nothing, show, stamp, toEnd } from "./dom.js";
import { current, lookSoon } from "./verification.js";
import { label } from "./words.js";

const SERVERS = { telegram: ["Telegram", "Bot API"], twilio: ["SMS", "Twilio API"], smtp: ["E-mail", "SMTP"] };
const FAULTS = {
  none: ["Fine", "Works as it should"],
  slow: ["Slow", "Answers after 3 seconds"],
  down: ["Down", "Answers with a server error"],
  limit: ["Limit", "Answers with “too many requests”"],
  blocked: ["Refuse", "Refuses the recipient for good"],
};
/* What an event's last word says of its outcome; a word that is in no list is neutral. */
const TONES = {
  good: "approved sent delivered linked proved",
  warn: "check_failed resent retried rescued returned waiting left locked muted",
  bad: "failed expired max_attempts_reached reported undelivered blocked",
  busy: "created queued sending",
};
const MOST_EVENTS = 500;

export function showFaults(faults) {
  for (const [server, fault] of Object.entries(faults)) {
    const field = document.querySelector(`input[name="fault-${server}"][value="${fault}"]`);
    if (field) field.checked = true;
  }
}

function faultRow([server, [name, api]]) {
  const option = ([fault, [text, title]]) => el("label", { title },
    el("input", { type: "radio", name: `fault-${server}`, value: fault, onchange: () => act("fault", { server, fault }) }),
    el("span", { className: fault === "none" ? "" : "trouble" }, text));
  return el("fieldset", { className: "fault" }, el("legend", {}, name, el("small", {}, api)),
    el("div", { className: "segments" }, ...Object.entries(FAULTS).map(option)));
}

function eventRow({ at, name, channel, recipient, reason, provider_code: code, milliseconds, verification }) {
  const whom = [channel && label(channel), recipient].filter(Boolean).join(" ");
  const took = milliseconds >= 1 ? `${Math.round(milliseconds)} ms` : "";
  const why = reason ? [reason.replaceAll("_", " "), code].filter(Boolean).join(", ") : "";
  const tone = Object.keys(TONES).find((each) => TONES[each].split(" ").includes(name.split(".")[1])) ?? "";
  return el("li", { className: tone, title: verification ?? "", "data-verification": verification ?? "" },
    stamp(at, true), el("i"), el("b", {}, name), el("span", {}, [whom, took].filter(Boolean).join(" · ")),
    why ? el("span", {}, why) : null);
}

export function happened(event) {
  const list = $("events");
  list.querySelector(".empty")?.remove();
  const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 60;
  const row = eventRow(event);
  row.classList.toggle("first", list.lastElementChild?.dataset.verification !== row.dataset.verification);
  list.append(row);
  if (list.children.length > MOST_EVENTS) list.firstElementChild.remove();
  filter([row]);
  if (atEnd) toEnd(list);
  if (current && event.verification === current.id) lookSoon();
}

function filter(rows = $("events").querySelectorAll("[data-verification]")) {
  const all = !$("only-mine").checked || !current;
  rows.forEach((row) => show(row, all || row.dataset.verification === current.id));
}

const noEvents = () => $("events").replaceChildren(nothing("li", "i-log", "Every step of the gateway appears here."));

export function showEvents(all) {
  noEvents();
  all.forEach(happened);
  toEnd($("events"));
}

$("faults").replaceChildren(...Object.entries(SERVERS).map(faultRow));
$("verify").addEventListener("drawn", () => filter());
$("only-mine").onchange = () => { filter(); toEnd($("events")); };
$("clear").onclick = noEvents;
