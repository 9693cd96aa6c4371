// The way of the system that this one replaces: Express takes a result, saves it, then broadcasts it itself.
import { createServer } from 'node:http';
import express from 'express';
import { createPool } from 'mysql2/promise';
import { WebSocketServer } from 'ws';

const task = JSON.parse(process.env.BENCH_TASK);
const { host, port, user, password, schema: database } = task;
const pool = createPool({ host, port, user, password, database, connectionLimit: 16 });
const app = express();
const http = createServer(app);
const server = new WebSocketServer({ server: http, perMessageDeflate: false });
server.on('connection', (socket) => {
  socket.on('error', () => {});
  socket.on('message', () => socket.send('{"type":"subscribed"}'));
});

app.use(express.json());
app.post('/api/scraped-result', async (request, response) => {
  const { account, data, url } = request.body;
  try {
    const timestamp = new Date();
    const [result] = await pool.execute(
      'INSERT INTO scraped_result (account, data, url, timestamp) VALUES (?, ?, ?, ?)',
      [account, JSON.stringify(data), url, timestamp],
    );
    const message = { id: result.insertId, account, data, url, timestamp };
    const text = Buffer.from(JSON.stringify({ channel: 'scraped_updates', message }));
    for (const client of server.clients) client.send(text, { binary: false });
    response.status(201).json({ message: 'Scraped result saved', id: result.insertId });
  } catch (error) {
    console.error(error);
    response.status(500).json({ error: 'Failed to save scraped result' });
  }
});

http.listen({ port: 0, host: '127.0.0.1', backlog: 4096 }, () => {
  console.log(JSON.stringify({ ready: http.address().port }));
});
process.stdin.on('end', () => process.exit(0)).resume();
