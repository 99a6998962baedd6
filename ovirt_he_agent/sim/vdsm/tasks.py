"""Storage tasks: what asynchronous verbs leave behind (vdsm: lib/vdsm/storage/task.py, taskManager.py).

The emulator does the work before it answers, so every task is finished at once
and stays until it is cleared.
"""

import uuid
from collections.abc import Mapping
from dataclasses import dataclass

from ovirt_he_agent.sim.vdsm import refusals, rpc


@dataclass(frozen=True, slots=True)
class _Task:
    id: str
    verb: str
    error: refusals.Refused | None

    def status(self) -> dict[str, object]:
        failed = self.error is not None
        return {
            "taskID": self.id,
            "taskState": "finished",
            "taskResult": "cleanSuccess" if failed else "success",
            "code": self.error.code if self.error else 0,
            "message": str(self.error) if self.error else "1 jobs completed successfully",
        }


class Tasks:
    def __init__(self) -> None:
        self._tasks: dict[str, _Task] = {}

    def verbs(self) -> Mapping[str, rpc.Verb]:
        return {
            "Task.getStatus": self.get_status,
            "Task.getInfo": self.get_info,
            "Task.clear": self.clear,
            "Task.stop": self.stop,
            "Task.revert": self.stop,
            "Host.getAllTasksStatuses": self.get_all_statuses,
            "Host.getAllTasksInfo": self.get_all_info,
        }

    def finished(self, verb: str, error: refusals.Refused | None = None) -> str:
        """Record a task that has ended; its id is the verb's answer."""
        task = _Task(str(uuid.uuid4()), verb, error)
        self._tasks[task.id] = task
        return task.id

    def _find(self, task_id: object) -> _Task:
        task = self._tasks.get(task_id) if isinstance(task_id, str) else None
        if task is None:
            raise refusals.unknown_task(task_id)
        return task

    async def get_status(self, taskID: object) -> dict[str, object]:
        return self._find(taskID).status()

    async def get_info(self, taskID: object) -> dict[str, object]:
        task = self._find(taskID)
        return {"id": task.id, "verb": task.verb}

    async def clear(self, taskID: object) -> None:
        del self._tasks[self._find(taskID).id]

    async def stop(self, taskID: object) -> None:
        self._find(taskID)

    async def get_all_statuses(self) -> dict[str, object]:
        return {task.id: task.status() for task in self._tasks.values()}

    async def get_all_info(self) -> dict[str, object]:
        return {task.id: {"id": task.id, "verb": task.verb} for task in self._tasks.values()}
