// One subscription through client.js. Prints what its handlers hear, one JSON object per line; takes orders on stdin.
import { createInterface } from "node:readline";
import { pathToFileURL } from "node:url";

const { client, url, channel = "cctv_updates", subscribe = {}, feed: options = {}, saved } = JSON.parse(process.argv[2]);
const say = (line) => process.stdout.write(`${JSON.stringify(line)}\n`);

// The two things of a browser that the client looks at: a window that goes online, a tab that becomes visible.
const page = new EventTarget();
globalThis.addEventListener = page.addEventListener.bind(page);
globalThis.removeEventListener = page.removeEventListener.bind(page);
globalThis.document = Object.assign(new EventTarget(), { visibilityState: "visible" });

if (saved !== undefined) {
  const values = new Map(Object.entries(saved));
  options.storage = {
    getItem: (key) => values.get(key) ?? null,
    setItem: (key, value) => (values.set(key, value), say({ saved: Object.fromEntries(values) })),
  };
}

const { Rowcast } = await import(pathToFileURL(client));
const feed = new Rowcast(url, { backoffMs: [20, 100], ...options });
for (const name of ["state", "heartbeat", "gap"]) feed.on(name, (value) => say({ [name]: value }));
feed.on("error", ({ code, message }) => say({ error: code, message }));

let subscription;
const open = () => {
  subscription = feed.subscribe(channel, (row, { epoch, offset, op, old }) => {
    say({ row: [epoch, offset], id: row.id, op, old });
    if (row.throws) throw new Error("the page's own mistake");
  }, {
    ...subscribe,
    onLive: (cursor) => say({ live: cursor }),
    onSchema: subscribe.schema && ((columns) => say({ columns: columns.map(({ name }) => name) })),
  });
};
open();

const orders = {
  online: () => page.dispatchEvent(new Event("online")),
  hide: () => (document.visibilityState = "hidden", document.dispatchEvent(new Event("visibilitychange"))),
  show: () => (document.visibilityState = "visible", document.dispatchEvent(new Event("visibilitychange"))),
  again: () => (subscription.close(), open()),
  twice: () => { try { open(); } catch (error) { say({ thrown: error.message }); } },
  leave: () => subscription.close(),
  close: () => feed.close(),
};
createInterface({ input: process.stdin }).on("line", (word) => (orders[word](), say({ obeyed: word }))).on("close", () => feed.close());
