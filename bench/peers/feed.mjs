// zongji and ws in one process: each row from the log is made into text once, and sent to every client.
import ZongJi from '@vlasky/zongji';
import { WebSocketServer } from 'ws';

const task = JSON.parse(process.env.BENCH_TASK);
const { host, port, user, password } = task;
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false, backlog: 4096 });
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', () => socket.send('{"type":"subscribed"}'));
});

const zongji = new ZongJi({ host, port, user, password, dateStrings: true });
zongji.on('binlog', (event) => {
  if (event.getEventName() !== 'writerows') return;
  for (const message of event.rows) {
    const text = Buffer.from(JSON.stringify({ channel: 'cctv_updates', message }));
    for (const client of server.clients) client.send(text, { binary: false });
  }
});
zongji.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
zongji.on('ready', () => console.log(JSON.stringify({ ready: server.address().port })));
zongji.start({
  serverId: 7003,
  startAtEnd: true,
  includeEvents: ['tablemap', 'writerows', 'rotate'],
  includeSchema: { [task.schema]: [task.table] },
});
process.stdin.on('end', () => process.exit(0)).resume();
