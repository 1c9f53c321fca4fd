"""A worker with one program per directory, to be killed: ``worker.py TIER STATE DIRECTORY... -- ARGUMENTS...``."""

import asyncio
import sys
from pathlib import Path

from crossdock.runners.program.sandbox.boxes import Boxes
from crossdock.runners.program.sandbox.spec import Limits, Program, Tier


async def main() -> None:
    tier, state, *rest = sys.argv[1:]
    split = rest.index("--")
    folders, arguments = rest[:split], tuple(rest[split + 1 :])
    boxes = Boxes(Path(state), slots=len(folders), minimum=Tier(int(tier)), best=Tier(int(tier)))
    await boxes.start()
    limits = Limits(cpu=50.0, wall=100.0)
    programs = [Program(arguments=arguments, directory=Path(folder), limits=limits) for folder in folders]
    await asyncio.gather(*(boxes.run(program) for program in programs))


asyncio.run(main())
