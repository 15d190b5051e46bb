/* The phone's mails. */

import { $, el, icon, nothing, press, showAll, stamp } from "./dom.js";
import { copy, notify } from "./phone.js";
import { clock, plural } from "./words.js";

let mails = [];
const read = new Set();

/* A sender's name and address; where they gave no name, their address is what they are known by. */
function sender({ from }) {
  const [, name, address] = from.match(/^(.+?) <([^<>]*)>$/) ?? [];
  return { name: name ?? (from || "Unknown"), address: address ?? "" };
}

function mailRow(letter) {
  const snippet = letter.text.replace(/\s+/g, " ").trim().slice(0, 120);
  return el("li", {}, press({ className: read.has(letter.id) ? "" : "unread", onclick: () => openMail(letter) },
    el("i"), el("b", {}, sender(letter).name), stamp(letter.at),
    el("span", { className: "subject" }, letter.subject || "(no subject)"), el("span", { className: "snippet" }, snippet)));
}

function draw() {
  const rows = mails.length ? mails.map(mailRow).reverse() : [nothing("li", "i-mail", "Mails appear here as they are sent.")];
  $("mail-list").replaceChildren(...rows);
  $("mail-count").textContent = mails.length ? plural(mails.length, "mail") : "";
}

function openMail(letter) {
  const { id, code, html, subject, text, to, at } = letter;
  const { name, address } = sender(letter);
  read.add(id);
  draw();
  $("mail-subject").textContent = subject || "(no subject)";
  $("mail-from").textContent = name;
  $("mail-address").textContent = address;
  $("mail-avatar").textContent = name[0].toUpperCase();
  $("mail-to").textContent = `to ${to}`;
  $("mail-at").textContent = clock(at);
  $("mail-copy").replaceChildren(icon("i-copy"), `Copy ${code}`);
  $("mail-copy").onclick = () => copy(code);
  // The mail's own HTML, without scripts, forms or an origin: what a careful mail program would show.
  const src = `/mail/${encodeURIComponent(id)}`;
  $("mail-body").replaceChildren(html
    ? el("iframe", { sandbox: "", src, title: `Mail: ${subject}` }) : el("pre", { tabIndex: 0 }, text));
  showAll({ "mail-copy": code, "mail-box": false, "mail-open": true });
  $("mail-subject").focus();
}

function closeMail() {
  showAll({ "mail-open": false, "mail-box": true });
  $("mail-body").replaceChildren();
}

export function showMails(all) {
  mails = all;
  mails.forEach((letter) => read.add(letter.id));
  draw();
}

export function mailArrived(letter) {
  mails.push(letter);
  draw();
  notify("mail", sender(letter).name, letter.subject || letter.text);
}

$("mail").addEventListener("opened", closeMail);
$("mail-back").onclick = () => { closeMail(); $("mail-list").focus(); };
