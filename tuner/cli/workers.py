"""The live workers and their devices: `workers`."""

import typer

from tuner import study_json
from tuner.cli.output import (
    AsJson,
    err,
    literal,
    moment,
    number,
    open_database,
    out,
    print_json,
    table,
)
from tuner.database import devices, workers
from tuner.database.devices import DeviceRecord

PANEL = "Inspect and export"


def add_to(app: typer.Typer) -> None:
    """Add the command of this file."""
    app.command("workers", rich_help_panel=PANEL)(workers_)


def workers_(as_json: bool = AsJson) -> None:
    """List the live workers and the load of their devices."""
    with open_database() as (_, database), database.transaction() as connection:
        alive = workers.alive(connection)
        samples = devices.latest(connection, [worker.id for worker in alive])
    if as_json:
        print_json(
            [{**study_json.shallow(worker), "devices": samples[worker.id]} for worker in alive]
        )
        return
    if not alive:
        err.print("[dim]no worker was seen in the last half minute[/]")
        return
    titles = ("use", "memory", "°C", "W")
    listing = table("worker", "since", "slots", "device", "model", *titles, right=frozenset(titles))
    for worker in alive:
        cells = f"{literal(worker.host)}:{worker.pid}", moment(worker.started_at), str(worker.slots)
        for device in samples[worker.id] or [DeviceRecord("–", "", 0)]:
            listing.add_row(
                *cells, literal(device.name), literal(device.model), *_latest_load(device)
            )
            cells = "", "", ""
    out.print(listing)


def _latest_load(device: DeviceRecord) -> tuple[str, str, str, str]:
    latest = device.latest
    if latest is None:
        return ("–", "–", "–", "–")
    use = "–" if latest.utilization is None else f"{latest.utilization:.0%}"
    total = f"{device.memory / 2**30:.0f} GiB"
    memory = total if latest.memory_used is None else f"{latest.memory_used / 2**30:.1f} of {total}"
    return use, memory, number(latest.temperature), number(latest.power)
