"""What the demo prints: what is seen, and when."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import ClassVar

from ovirt_he_agent.errors import HeAgentError

STEP_TIMEOUT_S = 30.0
PROOF_COLUMN = 34


@dataclass(eq=False)
class StepFailed(HeAgentError):
    """A step of the story was not seen."""

    step: str
    seen: str
    msg: ClassVar[str] = "the demo failed at: {self.step}; last seen: {self.seen}"


class Story:
    """Prints what is seen, and when; waits for what is to be seen next."""

    def __init__(self) -> None:
        self._began = time.monotonic()

    def tell(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.2f} s  {text}", flush=True)

    def show(self, step: str, proof: str) -> None:
        self.tell(f"{step:<{PROOF_COLUMN}} {proof}")

    async def until(self, step: str, look: Callable[[], Awaitable[str | None]]) -> None:
        """Wait until ``look`` gives the proof of ``step``, and tell both; raises ``StepFailed``."""
        deadline = time.monotonic() + STEP_TIMEOUT_S
        problem = "nothing"
        while time.monotonic() < deadline:
            try:
                proof = await look()
            except (HeAgentError, OSError, KeyError, IndexError, TypeError, ValueError, TimeoutError) as e:
                proof, problem = None, f"{type(e).__name__}: {e}"  # not there yet, or not whole
            if proof is not None:
                self.show(step, proof)
                return
            await asyncio.sleep(0.05)
        raise StepFailed(step, problem)
