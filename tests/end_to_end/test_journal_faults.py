"""What happens to the journal's disk and file, seen by the clients of a real `rowcast serve`."""

from __future__ import annotations

import asyncio
import contextlib
import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devenv.database import Server
from tests.conftest import MakeServer
from tests.end_to_end.conftest import MakeProduct
from tests.faults.product import Product
from tests.faults.recorder import Recorder
from tests.faults.verdict import judge, table
from tests.waiting import until

DISK = 4 << 20  # bytes; as small as it is, the filler takes most of it


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of ``DISK`` bytes."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", folder]
    mounted = subprocess.run(mount, check=False, capture_output=True)
    if mounted.returncode:
        pytest.skip("a small file system can only be mounted by root: " + mounted.stderr.decode().strip())
    yield folder
    subprocess.run(["umount", "--lazy", folder], check=True)


def insert(product: Product, first: int, count: int, size: int = 0) -> None:
    """Insert rows ``first`` and on by plain SQL, each in its own transaction."""
    row = "INSERT INTO cctv_detection_results (cctv_id, data, timestamp, snapshoot_url) VALUES (1, '{}', NOW(3), NULL);"
    pad = "x" * size
    data = ({"writer": 1, "transaction": seq, "seq": seq, "pad": pad} for seq in range(first, first + count))
    product.sql("\n".join(row.format(json.dumps(one)) for one in data))


def journal(product: Product) -> Path:
    return Path(product.environment["ROWCAST_JOURNAL_PATH"])


async def readiness(product: Product, check: str, says: str) -> None:
    """Return once /readyz is red and this check says so."""
    async with asyncio.timeout(30):
        while True:
            status, body = await product.readiness()
            if status == 503 and says in (body["checks"][check] or ""):
                return
            await asyncio.sleep(0.02)


async def test_a_full_disk_that_is_freed(mariadb: Server, make_product: MakeProduct, small_disk: Path) -> None:
    """Without room readiness is red and rows wait in the database; with room again all arrive by themselves."""
    product = make_product(mariadb, settings={"ROWCAST_JOURNAL_PATH": str(small_disk / "journal.db")})
    await product.ready()
    filler = small_disk / "filler"
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        insert(product, 0, 20)
        await recorder.until_seen(20)
        filler.write_bytes(b"x" * (3 << 20))
        with contextlib.suppress(OSError), filler.open("ab", buffering=0) as rest:
            while rest.write(b"x" * 4096):
                pass
        insert(product, 20, 200, size=1000)
        await readiness(product, "journal", "no room")
        insert(product, 220, 50)
        assert (await product.readiness())[1]["checks"]["source"].startswith("stalled")
        assert product.running
        filler.unlink()
        await recorder.until_seen(270)
        await product.ready()
        assert recorder.connects == 1
    verdict = judge(recorder.seen, table(product))
    assert verdict.clean, verdict
    assert recorder.gaps == []


def flip_a_message(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[content.index(b'"seq": 1,') + 7] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [flip_a_message, lambda path: path.write_bytes(b"Dear diary, " * 1000)])
async def test_a_damaged_journal_is_set_aside(
    mariadb: Server, make_product: MakeProduct, damage: Callable[[Path], object]
) -> None:
    """The next start puts it away and says so; clients of the old epoch are told of the gap, and rows go on."""
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        insert(product, 0, 5)
        await recorder.until_seen(5)
        assert await asyncio.to_thread(product.stop) == 0
        damage(journal(product))
        damaged = journal(product).read_bytes()
        product.start()
        await product.ready()
        await until(lambda: recorder.gaps)
        insert(product, 5, 5)
        await recorder.until_seen(10)
    assert [(gap["after"], gap["before"], gap["reason"]) for gap in recorder.gaps] == [(0, 1, "epoch")]
    assert recorder.offsets == [1, 2, 3, 4, 5, 1, 2, 3, 4, 5]
    assert len({seen.epoch for seen in recorder.seen}) == 2
    aside = next(journal(product).parent.glob("*.damaged-*Z"))
    assert aside.read_bytes() == damaged
    assert f"Set aside as {aside}" in product.log.read_text()


async def test_rows_written_while_it_lay_damaged_arrive(mariadb: Server, make_product: MakeProduct) -> None:
    """The new journal has the table's rows, and what was committed meanwhile, each once."""
    product = make_product(mariadb)
    await product.ready()
    async with Recorder(product.gateway) as recorder:
        await recorder.live.wait()
        insert(product, 0, 5)
        await recorder.until_seen(5)
        assert await asyncio.to_thread(product.stop) == 0
        flip_a_message(journal(product))
        insert(product, 5, 5)
        product.start()
        await recorder.until_seen(15)
    assert [seen.message["data"]["seq"] for seen in recorder.seen] == [*range(5), *range(10)]
    assert len({seen.epoch for seen in recorder.seen[5:]} | {recorder.seen[0].epoch}) == 2


async def test_damage_met_while_serving_ends_it(mariadb: Server, make_product: MakeProduct) -> None:
    """A page that fails its checksum is not served: serve ends with the reason, and its next start sets it aside."""
    product = make_product(mariadb)
    await product.ready()
    insert(product, 0, 5)
    for first in range(5, 205, 20):  # more than the memory's tail takes, so that the first page is read from the file
        insert(product, first, 20, size=100_000)
    async with Recorder(product.gateway, offset=0) as recorder:
        await recorder.until_seen(205)
    assert await asyncio.to_thread(product.stop) == 0
    flip_a_message(journal(product))
    product.start()
    await product.ready()
    async with Recorder(product.gateway, offset=0) as late:
        await until(lambda: not product.running, 30)
        assert late.seen == []
        assert product.process is not None
        assert product.process.returncode == 75
        assert "is missing or fails its checksum" in product.last_words()
        product.start()
        await product.ready()
        await late.live.wait()
        insert(product, 205, 1)
        await late.until_seen(1)
    assert "Set aside as" in product.log.read_text()


@pytest.mark.parametrize("with_witness", [False, True])
async def test_no_offset_is_given_again_after_a_restore(
    make_server: MakeServer, make_product: MakeProduct, tmp_path: Path, with_witness: bool
) -> None:
    """An older copy is put back while clients are ahead: everybody goes on in another epoch.

    Without its witness the start finds out; with it, as when the whole folder was restored, the clients prove it.
    """
    product = make_product(make_server())
    await product.ready()
    backup = tmp_path / "backup"
    backup.mkdir()
    names = [journal(product).name, *([f"{journal(product).name}.witness"] if with_witness else [])]
    async with Recorder(product.gateway) as ahead:
        await ahead.live.wait()
        insert(product, 0, 5)
        await ahead.until_seen(5)
        assert await asyncio.to_thread(product.stop) == 0
        for name in names:
            shutil.copy(journal(product).with_name(name), backup)
        product.start()
        await product.ready()
        insert(product, 5, 5)
        await ahead.until_seen(10)
        assert await asyncio.to_thread(product.stop) == 0
        product.sql("RESET MASTER")  # what the copy would resume from is gone: it does not catch up
        for name in names:
            shutil.copy(backup / name, journal(product).with_name(name))
        product.start()
        await ahead.live.wait()
        await until(lambda: ahead.gaps, 30)
        await product.ready()
        insert(product, 10, 5)
        await until(lambda: ahead.seen[-1].message["data"]["seq"] == 14, 30)
    given: dict[tuple[str, int], int] = {}
    for seen in ahead.seen:
        assert given.setdefault((seen.epoch, seen.offset), seen.message["id"]) == seen.message["id"]
    assert ahead.seen[-1].epoch != ahead.seen[0].epoch
    assert ("older copy, restored" if with_witness else "is an older copy") in product.log.read_text()
