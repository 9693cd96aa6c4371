import asyncio
import json
import subprocess
import sys
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from devenv.children import end, spawn, strike
from rowcast.errors import CONFIGURATION
from rowcast.health import ask
from tests.api.client import ask as ask_api
from tests.api.events import Events, changes, stream
from tests.faults.product import Product
from tests.waiting import until

Start = Callable[..., "subprocess.Popen[bytes]"]


@pytest.fixture
def product(mariadb, tmp_path) -> Iterator[Product]:
    """A product that is migrated and not started."""
    product = Product(mariadb, tmp_path)
    product.migrate()
    yield product
    if product.running:
        product.kill()


@pytest.fixture
def start(product) -> Iterator[Start]:
    """Starts a command of the product's; all of them end with the test."""
    made: list[subprocess.Popen[bytes]] = []

    def _start(*arguments: str) -> subprocess.Popen[bytes]:
        with product.log.open("ab") as log:
            command = [sys.executable, "-m", "rowcast", *arguments]
            made.append(spawn(command, environment=product.environment, output=log))
        return made[-1]

    yield _start
    for process in made:
        if process.poll() is None:
            strike(process)
            process.wait()


def post(product: Product) -> Any:
    """The answer to a scraped result."""
    body = json.dumps({"account": "a", "data": {"x": 1}, "url": "http://u"}).encode()
    request = urllib.request.Request(f"{product.api}/api/scraped-result", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        return json.load(answer)


def get(product: Product, path: str) -> str:
    """The text at a path."""
    with urllib.request.urlopen(product.api + path, timeout=10) as answer:
        return answer.read().decode()


async def status(product: Product, wanted: int) -> None:
    """Return when /readyz answers with that status."""
    async with asyncio.timeout(20):
        while (await product.readiness())[0] != wanted:
            await asyncio.sleep(0.02)


async def following(product: Product) -> None:
    """Return when the owner of the journal follows the log."""
    url = product.gateway.replace("ws", "http", 1) + "readyz"
    async with asyncio.timeout(20):
        while await asyncio.to_thread(ask, url, 5.0) is not None:
            await asyncio.sleep(0.02)


async def test_it_serves_beside_the_owner_of_the_journal(product, start):
    """Posts are saved before that one runs; once it does, its channels are seen."""
    product.process = alone = start("api")  # whose end `ready` would tell
    await status(product, 503)
    assert post(product)["id"] == 1
    assert (await product.readiness())[1]["checks"]["journal"].startswith("There is no journal at ")
    start("serve", "--no-api")
    await following(product)
    await product.ready()
    assert post(product)["id"] == 2
    await until(lambda: 'rowcast_channel_head{channel="scraped_updates"} 1.0' in get(product, "/metrics"))
    assert '"scraped_updates"' in get(product, "/api/channels")
    assert "rowcast_posts_saved_total 2.0" in get(product, "/metrics")
    assert end(alone, 20) == 0


async def test_it_outlives_the_owner_and_its_journal(product, start):
    """While that one is away posts go on; a journal made anew is opened in the place of the old one."""
    owner = start("serve", "--no-api")
    product.process = start("api")
    await product.ready()
    epoch = json.loads(get(product, "/api/channels"))["epoch"]
    end(owner, 20)
    assert post(product)["id"] == 1
    for suffix in ("", "-wal", "-shm"):
        Path(product.environment["ROWCAST_JOURNAL_PATH"] + suffix).unlink(missing_ok=True)
    await status(product, 503)
    assert post(product)["id"] == 2
    start("serve", "--no-api")
    await product.ready()
    assert json.loads(get(product, "/api/channels"))["epoch"] != epoch


async def test_a_taken_port_is_told(product, start):
    """The second one on a port ends with configuration's exit code and names the setting."""
    start("serve", "--no-api")
    product.process = start("api")
    await product.ready()
    done = product.run("api")
    assert done.returncode == CONFIGURATION
    assert "api.port: cannot listen on 127.0.0.1:" in done.stderr


async def test_streams_and_polls_beside_the_owner(product, start):
    """Rows that the owner commits come, live and after a resume; with the owner's journal gone a stream ends."""
    owner = start("serve", "--no-api")
    product.process = start("api")
    await product.ready()
    await following(product)
    async with await Events.open(product.api_port, stream("scraped_updates")) as events:
        await events.take_until("live")
        post(product)
        assert (await events.take()).json["message"]["url"] == "http://u"
        poll = await ask_api(product.api_port, "GET", changes("scraped_updates", after=f"{events.id[:-1]}0", wait=20))
        assert [event["offset"] for event in poll.json["events"]] == [1]
        end(owner, 20)
        for suffix in ("", "-wal", "-shm"):
            Path(product.environment["ROWCAST_JOURNAL_PATH"] + suffix).unlink(missing_ok=True)
        assert [event.name for event in await events.rest()] == ["drain"]
    await status(product, 503)
    start("serve", "--no-api")
    await product.ready()
    async with await Events.open(product.api_port, stream("scraped_updates"), last_event_id=events.id) as events:
        assert [event.name for event in await events.take_until("gap")] == ["subscribed", "gap"]
