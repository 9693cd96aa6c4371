// @vlasky/zongji with JSON.stringify: rows of one table, each to a JSON text.
import ZongJi from '@vlasky/zongji';

const task = JSON.parse(process.env.BENCH_TASK);
const { host, port, user, password } = task;
const zongji = new ZongJi({ host, port, user, password, dateStrings: true });
let rows = 0;
let bytes = 0;
let began = 0;
let cpu;

zongji.on('binlog', (event) => {
  if (event.getEventName() !== 'writerows') return;
  began ||= performance.now();
  cpu ||= process.cpuUsage();
  for (const row of event.rows) bytes += JSON.stringify(row).length;
  rows += event.rows.length;
  if (rows < task.rows) return;
  const used = process.cpuUsage(cpu);
  const seconds = { seconds: (performance.now() - began) / 1e3, cpu: (used.user + used.system) / 1e6 };
  console.log(JSON.stringify({ rows, bytes, ...seconds }));
  process.exit(0);
});
zongji.on('error', (error) => {
  console.error(error);
  process.exit(1);
});
zongji.start({
  serverId: 7002,
  filename: task.file,
  position: task.offset,
  includeEvents: ['tablemap', 'writerows', 'rotate'],
  includeSchema: { [task.schema]: [task.table] },
});
