// The rows of a burst, the same as bench/alone.py makes; each peer turns them into text itself.
export function* burst(count) {
  for (let id = 0; id < count - 1; id += 1) {
    yield row(id, { label: 'car', confidence: (id % 10000) / 10000, box: [id % 1920, 311, 1044, 905] });
  }
  yield row(count, { end: true });
}

function row(id, data) {
  const url = `https://cdn.example/17/2026-11-23/${String(id).padStart(9, '0')}.jpg`;
  return { id, cctv_id: 17, data, timestamp: '2026-11-23T08:19:33.999', snapshoot_url: url };
}
