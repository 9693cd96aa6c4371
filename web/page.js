/**
 * The live page: one connection, a view for each channel, and the figures in the header. The document changes once per
 * animation frame, however many rows came.
 */
import { Rowcast } from "./client.js";
import { CHANNELS, pictures } from "./rows.js";
import { MAX_ROWS, View } from "./view.js";

const FIRST = 100; // newest rows asked for on load

const STATES = {
  connecting: "Connecting", catching_up: "Catching up", live: "Live", source_down: "Source down", offline: "Offline", closed: "Closed",
};
const NOTICES = {
  offline: "No connection to the gateway. It is tried again by itself; missed rows will follow.",
  source_down: "The database's log cannot be read at the moment. Rows committed meanwhile will follow.",
  closed: "The gateway ended this connection for good. Reload the page to try again.",
};

const byId = (id) => document.getElementById(id);
let frameAsked = false;
const views = Object.fromEntries(Object.entries(CHANNELS).map(([channel, kind]) => [channel, new View(channel, kind, requestFrame)]));
const feed = new Rowcast();
let paused = false;
let arrived = 0; // live rows in this second
const perSecond = new Array(60).fill(0);

function requestFrame() {
  if (frameAsked) return;
  frameAsked = true;
  requestAnimationFrame(() => {
    frameAsked = false;
    if (paused) return showPause();
    for (const view of Object.values(views)) view.flush();
    pictures.fetch();
  });
}

function showPause() {
  const count = Object.values(views).reduce((sum, { waiting }) => sum + waiting, 0);
  const news = count > MAX_ROWS ? ` · ${MAX_ROWS}+ new` : count ? ` · ${count} new` : "";
  byId("pause").textContent = paused ? `Resume${news}` : "Pause";
  byId("pause").setAttribute("aria-pressed", paused);
}

function showState(state) {
  document.body.dataset.state = state;
  byId("state").textContent = STATES[state];
  byId("notice").textContent = NOTICES[state] ?? "";
  byId("notice").hidden = !NOTICES[state];
}

function showLag({ lag_ms: lag }) {
  byId("lag").textContent = lag < 1000 ? `${Math.round(lag)} ms` : lag < 60_000 ? `${(lag / 1000).toFixed(1)} s` : `${Math.round(lag / 60_000)} min`;
}

function everySecond() {
  perSecond.push(arrived);
  perSecond.shift();
  arrived = 0;
  const rate = perSecond.slice(-5).reduce((sum, count) => sum + count, 0) / 5;
  byId("rate").textContent = rate > 0 && rate < 10 ? rate.toFixed(1) : Math.round(rate).toLocaleString();
  const top = Math.max(4, ...perSecond);
  byId("spark").setAttribute("points", perSecond.map((count, second) => `${second},${20 - (18 * count) / top}`).join(" "));
  for (const view of Object.values(views)) view.tick();
  pictures.refill();
}

function choose(tab) {
  for (const other of document.querySelectorAll("[role=tab]")) {
    other.setAttribute("aria-selected", other === tab);
    other.tabIndex = other === tab ? 0 : -1;
    byId(other.getAttribute("aria-controls")).hidden = other !== tab;
  }
}

for (const [channel, view] of Object.entries(views)) {
  const subscription = feed.subscribe(channel, (row, event) => {
    const fresh = subscription.phase === "live";
    if (fresh) arrived += 1;
    view.row(row, event, fresh);
  }, {
    last: FIRST,
    onGap: (gap) => {
      view.gap(gap);
      byId("announcement").textContent = "Rows are missing: see the gap in the list.";
    },
  });
}
feed.on("state", showState);
feed.on("heartbeat", showLag);
feed.on("error", (error) => console.warn(`rowcast: ${error.code}: ${error.message}`, error.cause ?? ""));

byId("pause").addEventListener("click", () => {
  paused = !paused;
  showPause();
  requestFrame();
});
const tabs = [...document.querySelectorAll("[role=tab]")];
for (const [place, tab] of tabs.entries()) {
  tab.addEventListener("click", () => choose(tab));
  tab.addEventListener("keydown", ({ key }) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[key];
    const next = step && tabs.at((place + step) % tabs.length);
    next?.focus();
    next?.click();
  });
}
byId("detail").addEventListener("click", ({ target }) => target === byId("detail") && byId("detail").close());
for (const origin of document.querySelectorAll(".origin")) origin.textContent = location.origin;
setInterval(everySecond, 1000);
