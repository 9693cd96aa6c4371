// Node's ws: each row is made into text once, and sent to every client.
import { createInterface } from 'node:readline';
import { WebSocketServer } from 'ws';
import { burst } from './rows.mjs';

const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false, backlog: 4096 });
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', () => socket.send('{"type":"subscribed"}'));
});
server.on('listening', () => console.log(JSON.stringify({ ready: server.address().port })));

const orders = createInterface({ input: process.stdin });
orders.on('line', (line) => give(burst(JSON.parse(line).burst)));
orders.on('close', () => process.exit(0));

function give(rows) {
  const next = rows.next();
  if (next.done) {
    console.log('{"rows":true}');
    return;
  }
  const text = Buffer.from(JSON.stringify({ channel: 'cctv_updates', message: next.value }));
  for (const client of server.clients) client.send(text, { binary: false });
  setImmediate(give, rows); // between two rows the sockets have their turn, as between two events of a log
}
