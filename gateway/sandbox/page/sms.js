/* The phone's text messages. */

import { $, el, nothing, press, toEnd } from "./dom.js";
import { copy, notify } from "./phone.js";
import { clock, iso, plural } from "./words.js";

let texts = [];

/* A text in which the code can be pressed to copy it. */
function withCode({ text, code }) {
  if (!code || !text.includes(code)) return [text];
  const at = text.indexOf(code);
  const button = press({ className: "code", title: "Copy", onclick: () => copy(code) }, code);
  return [text.slice(0, at), button, text.slice(at + code.length)];
}

function smsRows(letter, before) {
  const follows = before?.to === letter.to && letter.at - before.at < 300;
  return [
    ...(follows ? [] : [el("time", { dateTime: iso(letter.at) }, `${clock(letter.at)} · to ${letter.to}`)]),
    el("div", { className: "text" }, ...withCode(letter)),
    el("small", {}, plural(letter.segments, "segment")),
  ];
}

function draw() {
  const list = $("sms-list");
  $("sms-from").textContent = texts.at(-1)?.from ?? "Messages";
  const drawn = list.querySelectorAll(".text").length;
  if (!drawn) list.replaceChildren();
  if (!texts.length) list.append(nothing("p", "i-sms", "Text messages appear here as they are sent."));
  texts.slice(drawn).forEach((letter, index) => list.append(...smsRows(letter, texts[drawn + index - 1])));
  toEnd(list);
}

export function showTexts(all) {
  texts = all;
  $("sms-list").replaceChildren();
  draw();
}

export function textArrived(letter) {
  texts.push(letter);
  draw();
  notify("sms", letter.from, letter.text);
}
