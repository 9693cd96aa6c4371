// What the first users' pages have, word for word; only the address and what update() does are the test's.
const [address] = process.argv.slice(2);
const update = (message) => console.log(JSON.stringify(message));

const socket = new WebSocket(address);
socket.onopen = () => {
  socket.send(JSON.stringify({ type: "subscribe", channel: "cctv_updates" }));
};
socket.onmessage = (event) => {
  const data = JSON.parse(event.data);
  if (data.channel === "cctv_updates") {
    update(data.message);
  }
};
