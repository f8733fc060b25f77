"""`python -m tests.fuzz`: see the package."""

from gevent import monkey

monkey.patch_all()

import sys  # noqa: E402  # nothing may be imported before the patch
import time  # noqa: E402

import click  # noqa: E402

from tests.fuzz.run import MEMORY_GROWTH_MAX_BYTES, Run  # noqa: E402
from tests.fuzz.target import target  # noqa: E402
from tests.fuzz.workers import Workers  # noqa: E402

WARM_UP_SHARE = 0.2  # of the cases: what a process takes once is no leak


@click.command()
@click.option("--seed", default=1, show_default=True, help="Makes the cases; the same seed, the same cases.")
@click.option("--count", default=110_000, show_default=True, help="Cases.")
@click.option("--first", default=0, show_default=True, help="Number of the first case.")
@click.option("--seconds", default=570.0, show_default=True, help="Start no further case after so long.")
@click.option("--silence", "silence_s", default=16.0, show_default=True, help="Seconds for which the silent ones wait.")
def main(seed: int, count: int, first: int, seconds: float, silence_s: float) -> None:
    """Attack a proxy from both its sides, and see that nothing of it stays."""
    began = time.monotonic()
    with target() as proxy:
        run = Run(proxy, workers := Workers(proxy.grid, proxy.folder), seed, silence_s)
        start = proxy.holdings()
        run.check_session()
        done = run.cases(first, warm := int(count * WARM_UP_SHARE), began + seconds)
        before = run.settled(start)
        done += run.cases(first + warm, count - warm, began + seconds)
        after = run.settled(start)
        run.check_session()
        workers.stop()
        if traceback := proxy.tracebacks():
            run.failures.append(traceback[:4000])
    took_s = time.monotonic() - began
    growth = after.memory_bytes - before.memory_bytes
    click.echo(f"{done} cases of seed {seed} in {took_s:.0f} s ({done / took_s:.0f}/s)")
    click.echo(f"kinds: {dict(run.kinds)}\nanswers: {dict(run.answers.most_common())}")
    click.echo(f"at the start: {start}\nwarmed up:    {before}\nin the end:   {after}")
    if growth > MEMORY_GROWTH_MAX_BYTES:
        run.failures.append(f"the proxy's memory grew by {growth >> 20} MiB after the warm-up")
    for failure in run.failures:
        click.echo(f"FAILED: {failure}", err=True)
    if run.failures:
        click.echo(f"again: python -m tests.fuzz --seed {seed} --silence {silence_s:g} --first N --count M", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
