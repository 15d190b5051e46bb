/* The sandbox page: shows what the feed tells, and acts as the application and as the person. */

import { startRoute } from "./app.js";
import { showChats, showCommands, talked } from "./chat.js";
import { $, el, show } from "./dom.js";
import { showPane } from "./frame.js";
import { happened, showEvents, showFaults } from "./log.js";
import { mailArrived, showMails } from "./mail.js";
import { showApp } from "./phone.js";
import { showTexts, textArrived } from "./sms.js";
import { look } from "./verification.js";

/* What was there before is not read out as if it came now. */
function hush() {
  const logs = ["sms-list", "chat"].map($);
  logs.forEach((log) => log.setAttribute("aria-live", "off"));
  setTimeout(() => logs.forEach((log) => log.setAttribute("aria-live", "polite")), 500);
}

function showGateway({ gateway, brand, bot }) {
  $("brand").textContent = ` to ${brand}`;
  $("bot").textContent = bot;
  $("live").replaceChildren("Live", el("span", {}, ` at ${gateway.replace("http://", "")}`));
  $("docs").href = `${gateway}/docs`;
  show($("docs"), true);
}

function showEverything(all) {
  const sent = (protocol) => all.letters.filter((letter) => letter.protocol === protocol);
  hush();
  showGateway(all);
  startRoute(all.channels);
  showCommands(all.commands);
  showChats(all.chats);
  showTexts(sent("twilio"));
  showMails(sent("smtp"));
  showFaults(all.faults);
  showEvents(all.events);
  look();
}

const heard = {
  snapshot: showEverything,
  letter: ({ letter }) => (letter.protocol === "twilio" ? textArrived : mailArrived)(letter),
  chat: talked,
  event: ({ event }) => happened(event),
  faults: ({ faults }) => showFaults(faults),
  commands: ({ commands }) => showCommands(commands),
};

function listen() {
  const feed = new EventSource("/feed");
  feed.onopen = () => { $("live").dataset.state = "live"; };
  feed.onerror = () => { $("live").dataset.state = "lost"; $("live").textContent = "Reconnecting"; };
  feed.onmessage = ({ data }) => {
    const item = JSON.parse(data);
    heard[item.kind]?.(item);
  };
}

/* The slash leads to the chat, from wherever nothing is typed. */
function startKeys() {
  document.addEventListener("keydown", (event) => {
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.target.closest("input, [role=menu]")) return;
    event.preventDefault();
    showPane("phone");
    showApp("telegram");
    $("message").focus();
  });
}

showPane("app");
showApp("sms");
startKeys();
listen();
