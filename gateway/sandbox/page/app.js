/* The application: its sign-in form, and the links by which people open the bot. */

import { act, complaint, failed } from "./acts.js";
import { openLink } from "./chat.js";
import { $, el, icon, press, show } from "./dom.js";
import { begin } from "./verification.js";
import { CHANNELS, label } from "./words.js";

const form = $("sign-in");
let route = [];
const onRoute = new Set();

/* Begin with the service's own route; what the person made of it stays. */
export function startRoute(channels) {
  if (route.length) return;
  route = [...channels];
  route.forEach((channel) => onRoute.add(channel));
  drawRoute();
}

function drawRoute(focus = []) {
  $("route").replaceChildren(...route.map(routeRow));
  focus.map($).find((button) => !button.disabled)?.focus();
}

function routeRow(channel, at) {
  const move = (by, name, shape) => press({
    id: `${name}-${channel}`, disabled: !route[at + by], "aria-label": `${label(channel)} ${name}`,
    onclick() {
      [route[at], route[at + by]] = [route[at + by], route[at]];
      drawRoute([this.id, `earlier-${channel}`, `later-${channel}`]);
    },
  }, icon(shape));
  const onchange = ({ target }) => {
    onRoute[target.checked ? "add" : "delete"](channel);
    target.closest("li").classList.toggle("off", !target.checked);
  };
  const box = el("input", { type: "checkbox", value: channel, checked: onRoute.has(channel), onchange });
  return el("li", { className: onRoute.has(channel) ? "" : "off" },
    el("label", {}, box, icon(CHANNELS[channel]?.icon ?? "i-sms"), el("span", {}, label(channel))),
    move(-1, "earlier", "i-up"), move(1, "later", "i-down"));
}

const mode = () => form.elements.mode.value;

function drawMode() {
  for (const part of form.querySelectorAll(".outbound, .inbound")) show(part, part.classList.contains(mode()));
  show($("refused"), false);
}

/* What the form asks for. Where the person confirms in the chat, the bot alone is on the route. */
function wish() {
  const inbound = mode() === "inbound";
  const fields = inbound ? ["phone", "telegram"] : ["phone", "email", "telegram"];
  const to = fields.map((name) => [name, $(`to-${name}`).value.trim()]).filter(([, value]) => value);
  const channels = inbound ? ["telegram"] : route.filter((channel) => onRoute.has(channel));
  return { to: Object.fromEntries(to), channels, mode: mode() };
}

async function signIn(event) {
  event.preventDefault();
  const button = form.querySelector(".main");
  button.disabled = true;
  const answer = await act("sign-in", wish());
  button.disabled = false;
  show($("refused"), failed(answer));
  if (failed(answer)) {
    $("refused").textContent = complaint(answer);
    return;
  }
  begin(answer.body);
}

async function makeLink() {
  const phone = $("link-phone").checked ? { phone: $("to-phone").value.trim() } : {};
  const answer = await act("subscribe", { reference: $("to-telegram").value.trim(), ...phone });
  const { link } = answer.body;
  $("link-result").textContent = failed(answer) ? complaint(answer) : link;
  show($("open-link"), !failed(answer));
  $("open-link").onclick = () => useLink(link);
}

/* A link works once. */
function useLink(link) {
  show($("open-link"), false);
  $("link-result").textContent = "";
  openLink(link);
}

drawMode();
for (const field of form.elements.mode) field.onchange = drawMode;
form.onsubmit = signIn;
$("link").onclick = makeLink;
