// The pauses that client.js takes between eight attempts that all fail at once, with Math.random fixed.
const dice = Number(process.argv[2]);
const pauses = [];
const wait = globalThis.setTimeout;

Math.random = () => dice;
globalThis.WebSocket = class {
  constructor() { queueMicrotask(() => this.onclose({ code: 1006, reason: "" })); }
  close() {}
};
globalThis.setTimeout = (act, pause) => {
  pauses.push(pause);
  if (pauses.length < 8) return wait(act, 0);
  feed.close();
  console.log(JSON.stringify(pauses));
};

const { Rowcast } = await import("../../web/client.js");
const feed = new Rowcast("ws://nowhere.invalid/");
